//! All that is known of a job at one moment.

use std::time::{Duration, SystemTime};

use harp_proto::client::reply::{Snapshot, StatusReply};
use harp_proto::{Evidence, Json, Outcome};
use serde::{Serialize, Serializer};

use crate::job_status::since_1970;
use crate::{Error, JobState, JobStatus};

/// All that is known of a job at one moment: made by
/// [`RemoteCall::snapshot`](crate::RemoteCall::snapshot).
///
/// It serializes with the names of the dispatcher's lists: `state`, `host`, `procedure`,
/// `arguments`, `info`, `submitted`, `started` and `ended` in milliseconds since 1970,
/// `packets`, and an [`Outcome`]'s keys if it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobSnapshot {
    /// Call and times; the times to the millisecond.
    pub status: JobStatus,
    /// Packets collected so far.
    pub packets: u64,
    /// How it ended, `None` if it has not.
    pub outcome: Option<Outcome>,
}

impl JobSnapshot {
    /// Where the job stands.
    #[must_use]
    pub fn state(&self) -> JobState {
        self.status.state()
    }

    pub(crate) fn of(mut reply: StatusReply) -> Result<JobSnapshot, Error> {
        let Some(snapshot) = reply.snapshot.take() else {
            return Err(Error::protocol(
                "the dispatcher knows snapshots, and sent none",
            ));
        };
        let Snapshot {
            submitted,
            started,
            ended,
            packets,
            outcome,
        } = snapshot;
        let time = |milliseconds| since_1970(Duration::from_millis(milliseconds));
        let mut status = JobStatus::of(reply)?;
        status.submit_time = time(submitted)?;
        status.start_time = started.map(time).transpose()?;
        status.end_time = ended.map(time).transpose()?;
        Ok(JobSnapshot {
            status,
            packets,
            outcome,
        })
    }
}

impl Serialize for JobSnapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            state: JobState,
            host: &'a str,
            procedure: &'a str,
            arguments: &'a Json,
            info: &'a Json,
            submitted: u64,
            started: Option<u64>,
            ended: Option<u64>,
            packets: u64,
            #[serde(flatten)]
            outcome: Option<&'a Outcome>,
            #[serde(skip_serializing_if = "Option::is_none")]
            evidence: Option<&'a Evidence>,
        }
        let milliseconds = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            u64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
        };
        let status = &self.status;
        let shown = Shown {
            state: self.state(),
            host: &status.host,
            procedure: &status.procedure,
            arguments: &status.arguments,
            info: &status.info,
            submitted: milliseconds(status.submit_time),
            started: status.start_time.map(milliseconds),
            ended: status.end_time.map(milliseconds),
            packets: self.packets,
            outcome: self.outcome.as_ref(),
            evidence: status.evidence.as_ref(),
        };
        shown.serialize(serializer)
    }
}
