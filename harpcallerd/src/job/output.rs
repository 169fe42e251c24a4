//! How much one job may leave behind: `max_job_packets` and `max_job_size`, and what is
//! done about a job that goes on.

use harp_proto::{Failure, Json, error_type};
use harp_service::Table;
use serde_json::{Value, json};

/// The limits of every job's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimits {
    /// Greatest number of packets.
    pub max_packets: u64,
    /// Greatest sum of their JSON texts in bytes.
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

impl OutputLimits {
    /// Takes their keys out of the configuration.
    pub(crate) fn take(table: &Table<'_>) -> OutputLimits {
        let default = OutputLimits::default();
        let policy = table.one_of("job_limit_policy", &["cancel", "truncate"]);
        OutputLimits {
            max_packets: table
                .integer("max_job_packets", 1..=u64::MAX)
                .unwrap_or(default.max_packets),
            max_bytes: table.size("max_job_size").unwrap_or(default.max_bytes),
            policy: match policy.as_deref() {
                Some("truncate") => OutputPolicy::Truncate,
                _ => OutputPolicy::Cancel,
            },
        }
    }
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
pub(super) struct Output {
    limits: OutputLimits,
    packets: u64,
    bytes: u64,
    is_full: bool,
}

/// What is to be done with a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It is kept.
    Fits,
    /// It is the first that is not: this is kept in its place.
    Marker(Json),
    /// It is dropped: the marker has been kept.
    Over,
    /// The job ends with this.
    End(Failure),
}

impl Output {
    pub(super) fn new(limits: OutputLimits) -> Output {
        Output {
            limits,
            packets: 0,
            bytes: 0,
            is_full: false,
        }
    }

    /// Counts a packet that has come.
    pub(super) fn take(&mut self, data: &[u8]) -> Room {
        if self.is_full {
            return Room::Over;
        }
        let bytes = self.bytes + data.len() as u64;
        let (message, reached) = if self.packets >= self.limits.max_packets {
            let most = self.limits.max_packets;
            (
                format!("more than {most} packets, which is the limit (max_job_packets)"),
                json!({"limit": "max_job_packets", "packets": most}),
            )
        } else if bytes > self.limits.max_bytes {
            let most = self.limits.max_bytes;
            (
                format!("more than {most} bytes of packets, which is the limit (max_job_size)"),
                json!({"limit": "max_job_size", "bytes": most}),
            )
        } else {
            self.packets += 1;
            self.bytes = bytes;
            return Room::Fits;
        };
        self.is_full = true;
        match self.limits.policy {
            OutputPolicy::Cancel => {
                Room::End(Failure::new(error_type::OVERLOADED, message).with_data(&reached))
            }
            OutputPolicy::Truncate => Room::Marker(marker(&reached)),
        }
    }
}

/// The packet that says where packets are missing.
fn marker(reached: &Value) -> Json {
    // Strings and numbers always can be encoded.
    Json::encode(&json!({ "truncated": reached })).unwrap_or(Json::NULL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(policy: OutputPolicy) -> Output {
        Output::new(OutputLimits {
            max_packets: 3,
            max_bytes: 10,
            policy,
        })
    }

    fn packet(text: &str) -> Json {
        text.parse().unwrap()
    }

    #[test]
    fn so_many_packets_fit_and_no_more() {
        let mut output = output(OutputPolicy::Cancel);
        for _ in 0..3 {
            assert_eq!(output.take(b"1"), Room::Fits);
        }
        let Room::End(failure) = output.take(b"1") else {
            panic!("one too many");
        };
        assert_eq!(failure.error_type, "overloaded");
        assert_eq!(
            failure.data.unwrap().to_string(),
            r#"{"limit":"max_job_packets","packets":3}"#
        );
    }

    #[test]
    fn a_marker_stands_where_packets_are_missing() {
        let mut output = output(OutputPolicy::Truncate);
        assert_eq!(output.take(b"123456789"), Room::Fits);
        assert_eq!(
            output.take(b"12"),
            Room::Marker(packet(
                r#"{"truncated":{"bytes":10,"limit":"max_job_size"}}"#
            ))
        );
        // One that would fit would stand behind a gap.
        assert_eq!(output.take(b"1"), Room::Over);
    }
}
