//! The requests of the administrative socket, as our own commands write them and as the
//! daemon reads them, whoever has written them.

use harp_jobs::record::queue_name;
use harp_proto::{JobId, Json, QueueName};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What an administrator asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum AdminRequest {
    /// Whether the daemon runs.
    Status {
        /// Whether to wait for the start to be complete.
        wait: bool,
        /// Whether to tell all that there is to tell.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        detail: bool,
    },
    /// To end.
    Stop {
        /// Whether calls that their hosts keep end too.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        end_calls: bool,
    },
    /// To end when the last running call has.
    Drain,
    /// To read the configuration again.
    ReloadConfig,
    /// The jobs.
    ListJobs {
        /// Those that have ended too.
        list_all: bool,
        /// One a line.
        stream: bool,
    },
    /// Jobs that match filters, one a line, as far as they may be listed by name and value.
    FindJobs {
        /// The filters, as the lists of clients have them: names with their values.
        names: Filters,
    },
    /// One job.
    JobInfo {
        /// Which.
        job: JobId,
        /// Whether to tell how it ended and where it stands in its queue.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        detail: bool,
    },
    /// To cancel a job.
    CancelJob {
        /// Which.
        job: JobId,
    },
    /// The queues' names.
    ListQueues,
    /// A queue's jobs.
    ListQueue {
        /// Which.
        #[serde(with = "queue_name")]
        queue: QueueName,
    },
    /// To cancel all jobs of a queue.
    CancelQueue {
        /// Which.
        #[serde(with = "queue_name")]
        queue: QueueName,
    },
    /// The hosts registry.
    ListHosts,
    /// The dispatchers that share a database.
    ListNodes,
    /// To run the registry's script.
    RefreshHosts,
    /// To let held jobs wait in their queues again.
    ResumeJobs,
    /// To delete jobs that have ended.
    PruneJobs {
        /// Those submitted longer ago than this, in seconds.
        max_age: u64,
    },
    /// To open the log file anew.
    ReopenLogs,
    /// All jobs as lines of an export, while the daemon serves its clients.
    ExportJobs,
}

/// Names of filters with their values. Several values of one name are alternatives.
pub type Filters = Vec<(String, String)>;

/// Why a line is no request.
#[derive(Debug, thiserror::Error)]
pub enum NotARequest {
    /// It is no object with the key `command`, or a key has a wrong type.
    #[error("not a request: {0}")]
    Form(#[from] serde_json::Error),
    /// There is no such command.
    #[error("unknown command {0:?}")]
    Command(String),
    /// It lacks something.
    #[error("the command {command} needs the key {key:?}")]
    Missing {
        /// The command.
        command: String,
        /// What it lacks.
        key: &'static str,
    },
    /// A queue cannot have this name.
    #[error("the queue's name {0}")]
    Queue(harp_proto::NotAQueueName),
}

/// Every key that a request can have. Others are passed over.
#[derive(Deserialize)]
struct Keys<'a> {
    command: String,
    #[serde(default)]
    wait: bool,
    #[serde(default)]
    detail: bool,
    #[serde(default)]
    end_calls: bool,
    #[serde(default)]
    list_all: bool,
    #[serde(default)]
    stream: bool,
    job: Option<String>,
    names: Option<Filters>,
    #[serde(borrow)]
    queue: Option<&'a RawValue>,
    max_age: Option<u64>,
}

impl AdminRequest {
    /// Reads a line. A job id of a wrong form is one that names no job.
    ///
    /// # Errors
    ///
    /// [`NotARequest`], to be told to whoever sent it.
    pub fn decode(line: &[u8]) -> Result<AdminRequest, NotARequest> {
        let keys: Keys<'_> = serde_json::from_slice(line)?;
        let missing = |key| NotARequest::Missing {
            command: keys.command.clone(),
            key,
        };
        let job = || {
            let job = keys.job.as_deref().ok_or_else(|| missing("job"))?;
            Ok::<_, NotARequest>(job.parse().unwrap_or(JobId::NONE))
        };
        let queue = || {
            let queue = keys.queue.ok_or_else(|| missing("queue"))?;
            let name = queue.get().parse::<Json>();
            name.map_err(harp_proto::NotAQueueName::Json)
                .and_then(|name| QueueName::from_json(&name))
                .map_err(NotARequest::Queue)
        };
        Ok(match keys.command.as_str() {
            "status" => AdminRequest::Status {
                wait: keys.wait,
                detail: keys.detail,
            },
            "stop" => AdminRequest::Stop {
                end_calls: keys.end_calls,
            },
            "drain" => AdminRequest::Drain,
            "reload_config" => AdminRequest::ReloadConfig,
            "list_jobs" => AdminRequest::ListJobs {
                list_all: keys.list_all,
                stream: keys.stream,
            },
            "find_jobs" => AdminRequest::FindJobs {
                names: keys.names.clone().ok_or_else(|| missing("names"))?,
            },
            "job_info" => AdminRequest::JobInfo {
                job: job()?,
                detail: keys.detail,
            },
            "cancel_job" => AdminRequest::CancelJob { job: job()? },
            "list_queues" => AdminRequest::ListQueues,
            "list_queue" => AdminRequest::ListQueue { queue: queue()? },
            "cancel_queue" => AdminRequest::CancelQueue { queue: queue()? },
            "list_hosts" => AdminRequest::ListHosts,
            "list_nodes" => AdminRequest::ListNodes,
            "refresh_hosts" => AdminRequest::RefreshHosts,
            "resume_jobs" => AdminRequest::ResumeJobs,
            "prune_jobs" => AdminRequest::PruneJobs {
                max_age: keys.max_age.ok_or_else(|| missing("max_age"))?,
            },
            "reopen_logs" => AdminRequest::ReopenLogs,
            "export_jobs" => AdminRequest::ExportJobs,
            _ => return Err(NotARequest::Command(keys.command)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_has_the_form_of_the_specification() {
        let job = JobId::submitted_at(1_700_000_000_000);
        let queue: QueueName = r#"{"name":"backup","n":1.0}"#.parse().unwrap();
        for (request, expected) in [
            (
                AdminRequest::Status {
                    wait: true,
                    detail: false,
                },
                r#"{"command":"status","wait":true}"#.to_owned(),
            ),
            (
                AdminRequest::Status {
                    wait: false,
                    detail: true,
                },
                r#"{"command":"status","wait":false,"detail":true}"#.to_owned(),
            ),
            (
                AdminRequest::Stop { end_calls: false },
                r#"{"command":"stop"}"#.to_owned(),
            ),
            (
                AdminRequest::Stop { end_calls: true },
                r#"{"command":"stop","end_calls":true}"#.to_owned(),
            ),
            (AdminRequest::Drain, r#"{"command":"drain"}"#.to_owned()),
            (
                AdminRequest::ReloadConfig,
                r#"{"command":"reload_config"}"#.to_owned(),
            ),
            (
                AdminRequest::ListJobs {
                    list_all: true,
                    stream: false,
                },
                r#"{"command":"list_jobs","list_all":true,"stream":false}"#.to_owned(),
            ),
            (
                AdminRequest::JobInfo { job, detail: false },
                format!(r#"{{"command":"job_info","job":"{job}"}}"#),
            ),
            (
                AdminRequest::FindJobs {
                    names: vec![("host".to_owned(), "web*".to_owned())],
                },
                r#"{"command":"find_jobs","names":[["host","web*"]]}"#.to_owned(),
            ),
            (
                AdminRequest::CancelJob { job },
                format!(r#"{{"command":"cancel_job","job":"{job}"}}"#),
            ),
            (
                AdminRequest::ListQueues,
                r#"{"command":"list_queues"}"#.to_owned(),
            ),
            (
                AdminRequest::ListQueue {
                    queue: queue.clone(),
                },
                r#"{"command":"list_queue","queue":{"n":1.0,"name":"backup"}}"#.to_owned(),
            ),
            (
                AdminRequest::CancelQueue { queue },
                r#"{"command":"cancel_queue","queue":{"n":1.0,"name":"backup"}}"#.to_owned(),
            ),
            (
                AdminRequest::ListHosts,
                r#"{"command":"list_hosts"}"#.to_owned(),
            ),
            (
                AdminRequest::ListNodes,
                r#"{"command":"list_nodes"}"#.to_owned(),
            ),
            (
                AdminRequest::RefreshHosts,
                r#"{"command":"refresh_hosts"}"#.to_owned(),
            ),
            (
                AdminRequest::ResumeJobs,
                r#"{"command":"resume_jobs"}"#.to_owned(),
            ),
            (
                AdminRequest::PruneJobs { max_age: 7 },
                r#"{"command":"prune_jobs","max_age":7}"#.to_owned(),
            ),
            (
                AdminRequest::ReopenLogs,
                r#"{"command":"reopen_logs"}"#.to_owned(),
            ),
            (
                AdminRequest::ExportJobs,
                r#"{"command":"export_jobs"}"#.to_owned(),
            ),
        ] {
            let written = serde_json::to_string(&request).unwrap();
            assert_eq!(written, expected);
            assert_eq!(
                AdminRequest::decode(written.as_bytes()).unwrap(),
                request,
                "{written}"
            );
        }
    }

    #[test]
    fn what_is_no_request_is_told_so() {
        for (line, expected) in [
            ("", "not a request"),
            ("[]", "not a request"),
            (r#"{"wait":true}"#, "command"),
            (r#"{"command":"dance"}"#, "unknown command \"dance\""),
            (
                r#"{"command":"job_info"}"#,
                "job_info needs the key \"job\"",
            ),
            (r#"{"command":"list_queue"}"#, "needs the key \"queue\""),
            (
                r#"{"command":"list_queue","queue":"x"}"#,
                "must be a JSON object",
            ),
            (r#"{"command":"prune_jobs","max_age":-1}"#, "not a request"),
        ] {
            let error = AdminRequest::decode(line.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn an_id_of_a_wrong_form_names_no_job() {
        let request = AdminRequest::decode(br#"{"command":"job_info","job":"x"}"#).unwrap();
        let expected = AdminRequest::JobInfo {
            job: JobId::NONE,
            detail: false,
        };
        assert_eq!(request, expected);
    }
}
