//! How much one job may leave behind, and what is done about one that goes on.

use harp_values::{Failure, Json, error_type};
use serde::{Deserialize, Serialize};

/// The limits of every job's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimits {
    /// Greatest number of packets (`max_job_packets`).
    pub max_packets: u64,
    /// Greatest sum of their JSON texts in bytes (`max_job_size`).
    pub max_bytes: u64,
    /// What is done with the packet that is one too many.
    pub policy: OutputPolicy,
}

/// What is done when a job reaches a limit of its packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputPolicy {
    /// The job ends with an error, and its host is told to stop.
    Cancel,
    /// A last packet says that those behind it are missing; the job goes on.
    Truncate,
}

impl Default for OutputLimits {
    fn default() -> OutputLimits {
        OutputLimits {
            max_packets: 10_000_000,
            max_bytes: 4 << 30,
            policy: OutputPolicy::Cancel,
        }
    }
}

/// What one job has left behind so far.
#[derive(Debug)]
pub struct Output {
    limits: OutputLimits,
    packets: u64,
    bytes: u64,
    is_full: bool,
}

/// What is to be done with a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Room {
    /// It is kept.
    Fits,
    /// It is the first that is not: this is kept in its place.
    Marker(Json),
    /// It is dropped: the marker has been kept.
    Over,
    /// The job ends with this.
    End(Failure),
}

#[derive(Serialize)]
struct Packets {
    limit: &'static str,
    packets: u64,
}

#[derive(Serialize)]
struct Bytes {
    bytes: u64,
    limit: &'static str,
}

#[derive(Serialize)]
struct Marker<T> {
    truncated: T,
}

impl Output {
    /// The output of a job that has so many packets already, the last of which is this.
    /// Their bytes do not count.
    #[must_use]
    pub fn new(limits: OutputLimits, packets: u64, last: Option<&[u8]>) -> Output {
        Output {
            limits,
            packets,
            bytes: 0,
            // One more than there may be, if the limit is still the one of that time.
            is_full: packets > limits.max_packets || last.is_some_and(is_marker),
        }
    }

    /// True if nothing of what comes is kept any more: a marker stands in its place.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.is_full
    }

    /// Counts a packet that has come.
    pub fn take(&mut self, data: &[u8]) -> Room {
        if self.is_full {
            return Room::Over;
        }
        let bytes = self.bytes + data.len() as u64;
        let Reached { message, data } = if self.packets >= self.limits.max_packets {
            let packets = self.limits.max_packets;
            let limit = "max_job_packets";
            let message = format!("more than {packets} packets, which is the limit ({limit})");
            self.reached(message, &Packets { limit, packets })
        } else if bytes > self.limits.max_bytes {
            let bytes = self.limits.max_bytes;
            let limit = "max_job_size";
            let message =
                format!("more than {bytes} bytes of packets, which is the limit ({limit})");
            self.reached(message, &Bytes { bytes, limit })
        } else {
            self.packets += 1;
            self.bytes = bytes;
            return Room::Fits;
        };
        self.is_full = true;
        match self.limits.policy {
            OutputPolicy::Cancel => Room::End(Failure {
                data: Some(data),
                ..Failure::new(error_type::OVERLOADED, message)
            }),
            OutputPolicy::Truncate => Room::Marker(data),
        }
    }

    /// What is told of a limit, in the form that the policy asks for.
    fn reached(&self, message: String, limit: &impl Serialize) -> Reached {
        let data = match self.limits.policy {
            OutputPolicy::Cancel => Json::encode(limit),
            OutputPolicy::Truncate => Json::encode(&Marker { truncated: limit }),
        };
        Reached {
            message,
            // Strings and numbers always can be encoded.
            data: data.unwrap_or(Json::NULL),
        }
    }
}

/// Whether a packet is a marker, of whatever limit. A procedure that prints the same bytes
/// has put it there itself.
fn is_marker(packet: &[u8]) -> bool {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Limit {
        bytes: Option<u64>,
        limit: String,
        packets: Option<u64>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Read {
        truncated: Limit,
    }
    /// More bytes than any marker has.
    const LONG: usize = 128;
    let read = |packet: &[u8]| {
        Json::from_trusted(bytes::Bytes::copy_from_slice(packet))
            .decode()
            .ok()
    };
    let Some(Read { truncated }) = Some(packet).filter(|it| it.len() < LONG).and_then(read) else {
        return false;
    };
    let Limit {
        bytes,
        limit,
        packets,
    } = truncated;
    match limit.as_str() {
        "max_job_size" => bytes.is_some() && packets.is_none(),
        "max_job_packets" => packets.is_some() && bytes.is_none(),
        _ => false,
    }
}

struct Reached {
    message: String,
    data: Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(policy: OutputPolicy, packets: u64) -> Output {
        let limits = OutputLimits {
            max_packets: 3,
            max_bytes: 10,
            policy,
        };
        Output::new(limits, packets, None)
    }

    #[test]
    fn so_many_packets_fit_and_no_more() {
        let mut output = output(OutputPolicy::Cancel, 1);
        for _ in 0..2 {
            assert_eq!(output.take(b"1"), Room::Fits);
        }
        let Room::End(failure) = output.take(b"1") else {
            panic!("one too many");
        };
        assert_eq!(failure.error_type, "overloaded");
        let data = failure.data.unwrap().to_string();
        assert_eq!(data, r#"{"limit":"max_job_packets","packets":3}"#);
    }

    #[test]
    fn a_marker_stands_where_packets_are_missing() {
        let mut short = output(OutputPolicy::Truncate, 0);
        assert_eq!(short.take(b"123456789"), Room::Fits);
        let marker = r#"{"truncated":{"bytes":10,"limit":"max_job_size"}}"#;
        assert_eq!(short.take(b"12"), Room::Marker(marker.parse().unwrap()));
        // One that would fit would stand behind a gap.
        assert_eq!(short.take(b"1"), Room::Over);
        // A job that is attached to again has its marker already.
        assert_eq!(output(OutputPolicy::Truncate, 4).take(b"1"), Room::Over);
        let again = |last: &str| {
            let limits = OutputLimits::default();
            Output::new(limits, 2, Some(last.as_bytes())).is_truncated()
        };
        assert!(again(marker));
        assert!(again(
            r#"{"truncated":{"limit":"max_job_packets","packets":7}}"#
        ));
        for other in [
            r#"{"truncated":true}"#,
            r#"{"truncated":{"limit":"x","packets":7}}"#,
            "7",
        ] {
            assert!(!again(other), "{other}");
        }
    }
}
