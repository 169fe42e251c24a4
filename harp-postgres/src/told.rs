//! What a round tells: lines of what has become of its requests, and of who has a turn now.

use bytes::Bytes;
use harp_jobs::record::{CallRecord, EndRecord};
use harp_values::JobId;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::digest::Digest;
use crate::fault::Fault;
use crate::record::{decode_call, decode_outcome, decode_remarks};

/// One line.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    /// The element of the round that it is about, from 1 on; `None` for turns.
    pub(crate) element: Option<usize>,
    pub(crate) what: String,
    pub(crate) job: Option<JobId>,
    pub(crate) attempt: u32,
    pub(crate) owner: u32,
    pub(crate) at: Option<u64>,
    pub(crate) started: Option<u64>,
    pub(crate) packets: u64,
    pub(crate) size: u64,
    pub(crate) data: Option<Bytes>,
    /// The transport's note; of an end, what is remarked of it.
    pub(crate) token: Bytes,
    pub(crate) queue: Option<Digest>,
    pub(crate) flag: bool,
    pub(crate) concurrency: Option<u64>,
}

impl Told {
    pub(crate) fn read(row: &Row) -> Result<Told, Fault> {
        let number = |name| -> Result<Option<u64>, Fault> {
            let number: Option<i64> = row.try_get(name)?;
            Ok(number.map(i64::cast_unsigned))
        };
        let small = |name| -> Result<Option<u32>, Fault> {
            let number: Option<i32> = row.try_get(name)?;
            Ok(number.map(i32::cast_unsigned))
        };
        let bytes = |name| -> Result<Option<Bytes>, Fault> {
            let bytes: Option<&[u8]> = row.try_get(name)?;
            Ok(bytes.map(Bytes::copy_from_slice))
        };
        let job: Option<Uuid> = row.try_get("job")?;
        Ok(Told {
            element: small("n")?.map(|n| n as usize),
            what: row.try_get("what")?,
            job: job.map(|job| JobId::from_bytes(job.into_bytes())),
            attempt: small("attempt")?.unwrap_or_default(),
            owner: small("owner")?.unwrap_or_default(),
            at: number("at")?,
            started: number("started")?,
            packets: number("packets")?.unwrap_or_default(),
            size: number("size")?.unwrap_or_default(),
            data: bytes("data")?,
            token: bytes("token")?.unwrap_or_default(),
            queue: bytes("queue")?.and_then(|digest| Digest::read(&digest)),
            flag: row.try_get::<_, Option<bool>>("flag")?.unwrap_or_default(),
            concurrency: number("concurrency")?,
        })
    }

    /// The call that the line tells, if it can be read, with the concurrency in force.
    pub(crate) fn call(&self) -> Option<CallRecord> {
        decode_call(self.data.as_ref()?, self.concurrency)
    }

    /// The end that the line tells, if it can be read.
    pub(crate) fn end(&self) -> Option<EndRecord> {
        Some(EndRecord {
            started: self.started,
            ended: self.at?,
            outcome: decode_outcome(self.data.as_ref()?)?,
            packets: self.packets,
            remarks: decode_remarks(&self.token),
        })
    }
}
