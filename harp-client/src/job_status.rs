//! The dispatcher's record of a job.

use std::fmt;
use std::time::{Duration, SystemTime};

use harp_proto::client::reply::StatusReply;
use harp_proto::{Evidence, Json};
use serde::{Deserialize, Serialize, Serializer};

use crate::Error;

/// The dispatcher's record of a job. Times are whole seconds.
///
/// It serializes as `harp status --json` shows it: `state` beside these fields, times in
/// seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStatus {
    /// The host.
    pub host: String,
    /// The procedure.
    pub procedure: String,
    /// The arguments: an array or an object.
    pub arguments: Json,
    /// Info that the submitter attached, `null` if nothing.
    pub info: Json,
    /// Time of the job's submission.
    pub submit_time: SystemTime,
    /// Time when it left its queue; `None` if it has not, or was cancelled before.
    pub start_time: Option<SystemTime>,
    /// Time of its end, `None` if it has not ended.
    pub end_time: Option<SystemTime>,
    /// What its call had printed, if it was cancelled and the dispatcher knows.
    pub evidence: Option<Evidence>,
}

/// Where a job stands. It serializes to its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits in its queue.
    Queued,
    /// It has left its queue and has not ended.
    Running,
    /// It has its outcome.
    Ended,
}

impl JobStatus {
    /// Where the job stands.
    #[must_use]
    pub fn state(&self) -> JobState {
        match (self.start_time, self.end_time) {
            (_, Some(_)) => JobState::Ended,
            (Some(_), None) => JobState::Running,
            (None, None) => JobState::Queued,
        }
    }

    pub(crate) fn of(reply: StatusReply) -> Result<JobStatus, Error> {
        Ok(JobStatus {
            submit_time: since_1970(Duration::from_secs(reply.time.submit))?,
            start_time: seconds(reply.time.start)?,
            end_time: seconds(reply.time.end)?,
            host: reply.host,
            procedure: reply.procedure,
            arguments: reply.arguments,
            info: reply.info,
            evidence: reply.evidence,
        })
    }
}

impl JobState {
    /// Its word: `queued`, `running` or `ended`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            JobState::Queued => "queued",
            JobState::Running => "running",
            JobState::Ended => "ended",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for JobStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'a> {
            host: &'a str,
            procedure: &'a str,
            arguments: &'a Json,
            info: &'a Json,
            state: JobState,
            submit_time: u64,
            start_time: Option<u64>,
            end_time: Option<u64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            evidence: Option<&'a Evidence>,
        }
        let seconds = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH);
            since.unwrap_or_default().as_secs()
        };
        let shown = Shown {
            host: &self.host,
            procedure: &self.procedure,
            arguments: &self.arguments,
            info: &self.info,
            state: self.state(),
            submit_time: seconds(self.submit_time),
            start_time: self.start_time.map(seconds),
            end_time: self.end_time.map(seconds),
            evidence: self.evidence.as_ref(),
        };
        shown.serialize(serializer)
    }
}

fn seconds(time: Option<u64>) -> Result<Option<SystemTime>, Error> {
    time.map(|seconds| since_1970(Duration::from_secs(seconds)))
        .transpose()
}

/// A time as the wire has it.
///
/// # Errors
///
/// If it is beyond what this system can count to.
pub(crate) fn since_1970(time: Duration) -> Result<SystemTime, Error> {
    SystemTime::UNIX_EPOCH
        .checked_add(time)
        .ok_or_else(|| Error::protocol(format!("the dispatcher sent the time {time:?}")))
}
