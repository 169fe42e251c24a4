//! What is kept of a job.
//!
//! A job is kept in three pieces: the call as it was submitted, which never changes;
//! while it is queued or running, a small record of where it stands; and once it has
//! ended, how. Text that belongs to a user is kept byte for byte.
//!
//! The small parts are stored as JSON objects by field name. A field that an older
//! release did not write gets its default, one that a newer release added is ignored;
//! so a field is added with `#[serde(default)]`, and none ever changes its meaning.

use bytes::Bytes;
use harp_values::{Evidence, JobId, Json, Outcome, QueueName};
use serde::{Deserialize, Serialize};

use crate::hold::Token;
use crate::lineup::pool::PoolId;

/// A call as it was submitted. It never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Name of the host, as the client gave it.
    pub host: String,
    /// Name of the procedure.
    pub procedure: String,
    /// The arguments, a JSON array or object.
    pub arguments: Json,
    /// Whatever the client wanted to have kept with the job; `null` if nothing.
    pub info: Json,
    /// Longest silence of the host, in seconds.
    pub timeout: Option<u64>,
    /// Longest execution, in seconds.
    pub max_exec_time: Option<u64>,
    /// No limit of time ends it: one that the dispatcher itself keeps going.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub endless: bool,
    /// The queue that the job waits in, if any.
    pub queue: Option<QueueRecord>,
    /// The identity of who submitted it; `None` if nobody said.
    pub client: Option<String>,
    /// The key under which it was submitted (client protocol, section 8); it belongs to
    /// `client`.
    pub key: Option<String>,
    /// Seconds after its submission by which it must have started, if its client gave any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_by: Option<u64>,
    /// The trace that it is part of, as W3C's `traceparent` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// When it was submitted, in milliseconds since 1970.
    pub submitted: u64,
}

impl CallRecord {
    /// A call that asks for nothing that a call may leave out, `submitted` milliseconds
    /// after the beginning of 1970.
    #[must_use]
    pub fn new(host: &str, procedure: &str, arguments: Json, submitted: u64) -> CallRecord {
        CallRecord {
            host: host.to_owned(),
            procedure: procedure.to_owned(),
            arguments,
            info: Json::NULL,
            timeout: None,
            max_exec_time: None,
            endless: false,
            queue: None,
            client: None,
            key: None,
            start_by: None,
            trace: None,
            submitted,
        }
    }

    /// The call without what its client has sent along, which can be large.
    #[must_use]
    pub fn without_arguments(&self) -> CallRecord {
        CallRecord {
            host: self.host.clone(),
            procedure: self.procedure.clone(),
            arguments: Json::NULL,
            info: Json::NULL,
            queue: self.queue.clone(),
            client: self.client.clone(),
            key: self.key.clone(),
            trace: self.trace.clone(),
            ..*self
        }
    }
}

/// A job's place in a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueRecord {
    /// Name of the queue.
    #[serde(with = "queue_name")]
    pub name: QueueName,
    /// How many jobs of the queue run at once: what is in force in the queue, whatever
    /// the call itself asked for.
    pub concurrency: u64,
}

/// A job that has not ended: what recovery needs of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveRecord {
    /// Its place among all jobs: order in a queue is by this number.
    pub sequence: u64,
    /// The queue, if the call named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<QueueRecord>,
    /// When its execution started, in milliseconds since 1970; `None` while it is queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<u64>,
    /// Seconds after the submission by which it must have started; `None` if it may wait
    /// for as long as it takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_by: Option<u64>,
    /// When it was submitted, in milliseconds since 1970.
    pub submitted: u64,
    /// The number of the attempt that runs or comes next, from 1 on.
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub attempt: u32,
    /// From when on that attempt may start, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<u64>,
    /// The pool, if workers fetch the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<PoolId>,
    /// What the transport noted last. It is kept beside the fields, since it is no text.
    #[serde(skip)]
    pub token: Token,
}

fn first() -> u32 {
    1
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form of it")]
fn is_first(attempt: &u32) -> bool {
    *attempt == 1
}

impl LiveRecord {
    /// Of a live job of which nothing else is known.
    pub const UNKNOWN: LiveRecord = LiveRecord {
        sequence: 0,
        queue: None,
        started: None,
        start_by: None,
        submitted: 0,
        attempt: 1,
        not_before: None,
        pool: None,
        token: Token(Bytes::new()),
    };

    /// Whether a start of the dispatcher lets the job wait again: one that had not started
    /// does, if such jobs are wanted.
    #[must_use]
    pub fn waits_again(&self, resume_queued: bool) -> bool {
        self.started.is_none() && resume_queued
    }
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndRecord {
    /// When its execution started, in milliseconds since 1970; `None` if it never did.
    pub started: Option<u64>,
    /// When it ended, in milliseconds since 1970.
    pub ended: u64,
    /// The end result.
    pub outcome: Outcome,
    /// How many packets the job has collected.
    pub packets: u64,
    /// What else is known of it.
    pub remarks: Remarks,
}

/// What is known of an end beside its outcome, where there is anything to be said.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Remarks {
    /// The name that the worker gave itself which had the job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<String>,
    /// In how many places the result is not what its schema wants.
    #[serde(default, skip_serializing_if = "is_none")]
    pub violations: u64,
    /// What the call had printed, if it was cancelled; not of one that returned, or whose error
    /// says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

impl Remarks {
    /// True if there is nothing to be said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Remarks::default()
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's form of it")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A job without its outcome and packets: what status replies and lists show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// The job's id.
    pub id: JobId,
    /// The call as it was submitted.
    pub call: CallRecord,
    /// Where it stands.
    pub stage: Stage,
}

/// Where a job stands. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits in a queue.
    Queued {
        /// Its place among all jobs.
        sequence: u64,
    },
    /// It is being executed.
    Running {
        /// When its execution started.
        started: u64,
    },
    /// It has ended.
    Ended {
        /// When its execution started; `None` if it never did.
        started: Option<u64>,
        /// When it ended.
        ended: u64,
    },
}

/// A queue's name as JSON, which it is already: for `#[serde(with = ...)]`.
pub mod queue_name {
    use harp_values::{Json, QueueName};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    /// Writes the name as the JSON object that it is.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    pub fn serialize<S: Serializer>(name: &QueueName, serializer: S) -> Result<S::Ok, S::Error> {
        name.as_str()
            .parse::<Json>()
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }

    /// Reads a name, and brings it into its canonical form.
    ///
    /// # Errors
    ///
    /// If it is not the name of a queue.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<QueueName, D::Error> {
        QueueName::from_json(&Json::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_keeps_its_name_as_json() {
        let queue = QueueRecord {
            name: r#"{"b":1.0,"a":"x"}"#.parse().unwrap(),
            concurrency: 3,
        };
        let text = serde_json::to_string(&queue).unwrap();
        assert_eq!(text, r#"{"name":{"a":"x","b":1.0},"concurrency":3}"#);
        assert_eq!(serde_json::from_str::<QueueRecord>(&text).unwrap(), queue);
    }

    #[test]
    fn fields_of_other_releases_do_no_harm() {
        let text = r#"{"sequence":7,"submitted":5,"epoch":{"a":[1]}}"#;
        let live: LiveRecord = serde_json::from_str(text).unwrap();
        assert_eq!(
            live,
            LiveRecord {
                sequence: 7,
                submitted: 5,
                ..LiveRecord::UNKNOWN
            }
        );
    }
}
