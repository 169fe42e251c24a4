//! Replies of the administrative socket, each a line; what an administrator is told for each
//! reason to refuse.

use std::fmt::Display;

use harp_jobs::ledger::Pruned;
use harp_jobs::record::queue_name;
use harp_jobs::refusal::{NotReloaded, Refusal};
use harp_proto::{JobId, Json, QueueName};
use serde::{Serialize, Serializer};
use serde_json::json;

use super::condition::Condition;
use crate::desk::admin::Reloaded;
use crate::desk::read::Report;
use crate::desk::view::{View, WaitingFor};
use crate::faces::listing::job_object::{error_type, outcome_name};
use crate::hosts::{RefreshResult, Refreshed};

/// A job as it is listed. Times are seconds since 1970.
#[derive(Debug, Serialize)]
pub(super) struct JobLine {
    job: JobId,
    call: Call,
    time: Times,
    queue: Option<Name>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<bool>,
    /// It waits for a word of the operator; left out where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<bool>,
    /// Its host cannot be reached; left out where it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreachable_since: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Call {
    host: String,
    procedure: String,
    arguments: Json,
}

#[derive(Debug, Serialize)]
struct Times {
    submit: u64,
    start: Option<u64>,
    end: Option<u64>,
}

/// A queue's name as the JSON that it is.
#[derive(Debug)]
pub(super) struct Name(pub(super) QueueName);

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        queue_name::serialize(&self.0, serializer)
    }
}

impl JobLine {
    /// `running` says whether it holds a place, where that is told.
    pub(super) fn of(report: Report, running: Option<bool>) -> JobLine {
        let call = report.call;
        JobLine {
            job: report.id,
            call: Call {
                host: call.host,
                procedure: call.procedure,
                arguments: call.arguments,
            },
            time: Times {
                submit: call.submitted / 1000,
                start: report.started.map(|time| time / 1000),
                end: report.ended.map(|time| time / 1000),
            },
            queue: call.queue.map(|queue| Name(queue.name)),
            client: call.client,
            running,
            held: report.held.then_some(true),
            unreachable_since: report.unreachable_since.map(|time| time / 1000),
        }
    }
}

/// A reply that tells whether the daemon runs, what is not as it should be, and if that was
/// asked for all that there is to tell.
pub(super) fn status(runs: bool, attention: &[String], condition: Option<Condition>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Status<'a> {
        result: &'static str,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        attention: &'a [String],
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<Condition>,
    }
    line(&Status {
        result: if runs { "running" } else { "stopped" },
        attention,
        status: condition,
    })
}

/// A reply that tells about one job.
pub(super) fn info(report: Report) -> Vec<u8> {
    #[derive(Serialize)]
    struct Info {
        result: &'static str,
        info: JobLine,
    }
    line(&Info {
        result: "ok",
        info: JobLine::of(report, None),
    })
}

/// A reply that tells about one job, how it ended, and where it stands in its queue.
pub(super) fn detailed_info(view: &View) -> Vec<u8> {
    #[derive(Serialize)]
    struct Info<'a> {
        #[serde(flatten)]
        job: JobLine,
        state: &'static str,
        outcome: Option<&'static str>,
        error_type: Option<&'a str>,
        ahead: Option<u64>,
        holders: Option<&'a [JobId]>,
        waiting_for: Option<&'static str>,
        place_kept: bool,
    }
    #[derive(Serialize)]
    struct Reply<'a> {
        result: &'static str,
        info: Info<'a>,
    }
    let outcome = view.end.as_ref().map(|end| &end.outcome);
    line(&Reply {
        result: "ok",
        info: Info {
            job: JobLine::of(view.report.clone(), None),
            state: view.state().name(),
            outcome: outcome.map(outcome_name),
            error_type: outcome.and_then(error_type),
            ahead: view.ahead,
            holders: view.ahead.map(|_| &view.holders[..]),
            waiting_for: view.waiting_for.map(WaitingFor::name),
            place_kept: view.place_kept,
        },
    })
}

/// A reply that names queues.
pub(super) fn queues(names: Vec<QueueName>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Queues {
        result: &'static str,
        queues: Vec<Name>,
    }
    line(&Queues {
        result: "ok",
        queues: names.into_iter().map(Name).collect(),
    })
}

/// The reply to an order to delete jobs that have ended.
pub(super) fn pruned(pruned: Pruned) -> Vec<u8> {
    let Pruned { jobs, withheld, .. } = pruned;
    if withheld {
        line(&json!({"result": "ok", "jobs_pruned": jobs, "withheld": true}))
    } else {
        line(&json!({"result": "ok", "jobs_pruned": jobs}))
    }
}

/// Numbers of a registry that was refreshed.
#[derive(Debug, Serialize)]
struct RegistryNumbers {
    hosts: usize,
    added: usize,
    removed: usize,
    lines_ignored: usize,
    lines_repeated: usize,
}

impl RegistryNumbers {
    fn of(refreshed: &Refreshed) -> RegistryNumbers {
        RegistryNumbers {
            hosts: refreshed.hosts,
            added: refreshed.added,
            removed: refreshed.removed,
            lines_ignored: refreshed.ignored,
            lines_repeated: refreshed.repeated,
        }
    }
}

/// The reply to an order to run the registry's script.
pub(super) fn refreshed(refreshed: &Refreshed) -> Vec<u8> {
    line(&json!({"result": "ok", "registry": RegistryNumbers::of(refreshed)}))
}

/// The reply to a reload, and to the run of the registry's script that came of it, if that
/// has ended by now.
pub(super) fn reloaded(reloaded: &Reloaded, registry: Option<RefreshResult>) -> Vec<u8> {
    #[derive(Serialize)]
    struct Reply<'a> {
        result: &'static str,
        listeners: usize,
        rules: usize,
        tokens: usize,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        warnings: &'a [String],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        restart_needed: &'a [&'static str],
        #[serde(skip_serializing_if = "Option::is_none")]
        registry: Option<RegistryNumbers>,
        #[serde(skip_serializing_if = "Option::is_none")]
        registry_kept: Option<String>,
    }
    let (registry, registry_kept) = match registry {
        None => (None, None),
        Some(Ok(refreshed)) => (Some(RegistryNumbers::of(&refreshed)), None),
        Some(Err(why)) => (None, Some(why.to_string())),
    };
    line(&Reply {
        result: "ok",
        listeners: reloaded.listeners,
        rules: reloaded.rules,
        tokens: reloaded.tokens,
        warnings: &reloaded.warnings,
        restart_needed: &reloaded.restart_needed,
        registry,
        registry_kept,
    })
}

/// The reply to the cancel of a job that has ended.
pub(super) fn has_ended() -> Vec<u8> {
    line(&json!({"result": "no_such_job", "ended": true}))
}

/// The reply that it is done.
pub(super) fn ok() -> Vec<u8> {
    line(&json!({"result": "ok"}))
}

/// The reply to what the desk has refused.
pub(super) fn refused(refusal: Refusal) -> Vec<u8> {
    match refusal {
        Refusal::NoSuchJob => line(&json!({"result": "no_such_job"})),
        Refusal::NotReloaded(NotReloaded::Parts(parts)) => {
            line(&json!({"result": "error", "errors": parts}))
        }
        Refusal::NotReloaded(NotReloaded::File(why))
        | Refusal::Storage { why }
        | Refusal::Failed { why } => error(why),
        Refusal::EndNotRecorded { why } => {
            error(format_args!("{}: job store: {why}", refusal.name()))
        }
        Refusal::Starting => error("harpcallerd is starting; status --wait waits for it"),
        Refusal::Closing
        | Refusal::Forbidden
        | Refusal::Stranger
        | Refusal::UnknownToken
        | Refusal::Lapsed
        | Refusal::Unproved
        | Refusal::TooLarge { .. }
        | Refusal::Full(_)
        | Refusal::NoSuchService
        | Refusal::NoSuchClaim
        | Refusal::Claimed
        | Refusal::Ended
        | Refusal::Hole { .. }
        | Refusal::Invalid { .. }
        | Refusal::Violations { .. }
        | Refusal::KeyTaken
        | Refusal::CallNotRecorded { .. } => error(refusal),
    }
}

/// A reply that says what is wrong.
pub(super) fn error(message: impl Display) -> Vec<u8> {
    line(&json!({"result": "error", "message": message.to_string()}))
}

/// A value as one line.
pub(super) fn line(value: &impl Serialize) -> Vec<u8> {
    // Text and numbers alone, which cannot fail.
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line
}
