//! One packet of a job.

use std::time::{Duration, SystemTime};

use harp_proto::Json;
use harp_proto::client::Packet as Sent;
use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::Error;
use crate::job_status::since_1970;

/// A packet of a job.
///
/// It serializes as `harp --json` shows it: `number` and `data`, and with its time also `time`
/// in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Its number, from 0, without holes.
    pub number: u64,
    /// What the procedure sent.
    pub data: Json,
    /// With [`timestamps`](crate::Packets::timestamps): when the dispatcher received it, to
    /// the millisecond.
    pub time: Option<SystemTime>,
}

impl Packet {
    /// What the procedure sent, as a type of the reader's choice.
    ///
    /// ```no_run
    /// # async fn example(job: harp_client::RemoteCall) -> Result<(), harp_client::Error> {
    /// #[derive(serde::Deserialize)]
    /// struct Progress {
    ///     percent: f64,
    /// }
    ///
    /// let mut packets = job.follow().since(0);
    /// while let Some(packet) = packets.next().await {
    ///     println!("{} %", packet?.decode::<Progress>()?.percent);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::UnexpectedResult`](crate::ErrorKind::UnexpectedResult) if it has not the
    /// shape of `T`.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.data
            .decode()
            .map_err(|error| Error::unexpected_packet(self.number, error))
    }

    pub(crate) fn of(sent: Sent) -> Result<Packet, Error> {
        Ok(Packet {
            number: sent.number,
            data: sent.data,
            time: sent
                .time
                .map(|time| since_1970(Duration::from_millis(time)))
                .transpose()?,
        })
    }
}

impl Serialize for Packet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("number", &self.number)?;
        map.serialize_entry("data", &self.data)?;
        if let Some(time) = self.time {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            let milliseconds = u64::try_from(since.unwrap_or_default().as_millis());
            map.serialize_entry("time", &milliseconds.unwrap_or(u64::MAX))?;
        }
        map.end()
    }
}
