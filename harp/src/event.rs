//! The lines of `--json` (harp(1), OUTPUT FOR PROGRAMS): names and fields here are a
//! promise to scripts.

use harp_client::{CallLimits, Evidence, Failure, JobId, Json, Outcome};
use serde::Serialize;

use crate::details::Details;

/// One line. Fields that do not apply are left out.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    /// A call was accepted.
    Submitted {
        #[serde(flatten)]
        subject: &'a Subject,
        /// True if the key had made the job before.
        existing: bool,
        /// With `--timeout` or `--max-exec-time`: what holds.
        #[serde(skip_serializing_if = "Option::is_none")]
        limits: Option<Limits>,
    },
    /// A packet.
    Packet {
        #[serde(flatten)]
        subject: &'a Subject,
        number: u64,
        data: &'a Json,
    },
    /// The job ended.
    Ended {
        #[serde(flatten)]
        subject: &'a Subject,
        /// `outcome`: `returned`, `exception`, `error` or `cancelled`; with it `result`,
        /// `exception` or `error`.
        #[serde(flatten)]
        outcome: &'a Outcome,
    },
    /// The job goes on, and this command does not wait for it.
    NotFinished {
        #[serde(flatten)]
        subject: &'a Subject,
        /// The number of the packet after the last that was printed.
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<u64>,
    },
    /// A host that was not called any more after Ctrl-C.
    NotCalled {
        #[serde(flatten)]
        subject: &'a Subject,
    },
    /// There is no outcome to be had.
    Failed {
        #[serde(flatten)]
        subject: &'a Subject,
        /// `unreachable`, `refused`, `usage`, `error`, `cancelled` or `interrupted`.
        reason: &'static str,
        message: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        phase: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a Failure>,
    },
    /// The answer to a cancel.
    Cancel {
        #[serde(flatten)]
        subject: &'a Subject,
        cancelled: bool,
        /// With `--confirm`.
        #[serde(skip_serializing_if = "Option::is_none")]
        confirmed: Option<bool>,
    },
    /// What is on record of a job. Times are seconds since 1970, or null.
    Status {
        #[serde(flatten)]
        subject: &'a Subject,
        procedure: &'a str,
        arguments: &'a Json,
        info: &'a Json,
        /// `queued`, `running` or `ended`.
        state: &'static str,
        submit_time: u64,
        start_time: Option<u64>,
        end_time: Option<u64>,
        /// What a call that was cancelled had printed.
        #[serde(skip_serializing_if = "Option::is_none")]
        evidence: Option<&'a Evidence>,
        /// Left out if the dispatcher does not tell.
        #[serde(flatten)]
        details: Option<&'a Details>,
    },
    /// A worker has fetched a job.
    Claimed {
        #[serde(flatten)]
        subject: &'a Subject,
        service: &'a str,
    },
    /// The job of a worker was ended otherwise, and its command with it.
    Lost {
        #[serde(flatten)]
        subject: &'a Subject,
        service: &'a str,
    },
    /// After the last of several hosts: how many came to which end.
    Summary {
        hosts: usize,
        #[serde(flatten)]
        ends: std::collections::BTreeMap<&'static str, usize>,
    },
}

/// Which call a line is about; what is not known is left out.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Subject {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<JobId>,
}

/// Limits of a job's time, in seconds.
#[derive(Debug, Serialize)]
pub(crate) struct Limits {
    timeout: u64,
    max_exec_time: u64,
}

impl Subject {
    pub(crate) fn host(name: &str) -> Subject {
        Subject {
            host: Some(name.to_owned()),
            job: None,
        }
    }

    pub(crate) fn job(id: JobId) -> Subject {
        Subject {
            host: None,
            job: Some(id),
        }
    }
}

impl From<CallLimits> for Limits {
    fn from(limits: CallLimits) -> Limits {
        Limits {
            timeout: limits.timeout.as_secs(),
            max_exec_time: limits.max_exec_time.as_secs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_users_are_copied_as_they_are() {
        let subject = Subject::host("web01");
        let data: Json = r#"{"b":1.0,"a":1e5}"#.parse().unwrap();
        let packet = Event::Packet {
            subject: &subject,
            number: 3,
            data: &data,
        };
        assert_eq!(
            serde_json::to_string(&packet).unwrap(),
            r#"{"event":"packet","host":"web01","number":3,"data":{"b":1.0,"a":1e5}}"#
        );
        let outcome = Outcome::Exception(Failure::new("t", "m").with_data(&[1]));
        assert_eq!(
            serde_json::to_string(&Event::Ended {
                subject: &subject,
                outcome: &outcome,
            })
            .unwrap(),
            concat!(
                r#"{"event":"ended","host":"web01","outcome":"exception","#,
                r#""exception":{"type":"t","message":"m","data":[1]}}"#
            )
        );
    }
}
