//! What the daemon counts of itself, for whoever watches it. Whoever does something counts it
//! here and goes on; nobody is waited for. Whatever a client chooses is no name of a count.

pub mod by_name;
pub mod requests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_jobs::ledger;
use harp_jobs::record::{CallRecord, EndRecord};
use harp_jobs::refusal::SchemaOf;
use harp_proto::{Failure, JobId, Outcome, error_type};
use harp_time::Histogram;
use serde::Deserialize;

use self::by_name::{ByName, Labels};
use self::requests::{Asked, Protocol, Requests, Status};

/// The counts of this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Meters(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    counts: Mutex<Counts>,
    /// Those of each of [`Protocol::ALL`].
    connections: [AtomicU64; 2],
    followers: AtomicU64,
}

/// All that is counted.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Requests that were answered.
    pub requests: Requests,
    /// Connections that were refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Requests that were not allowed, by reason.
    pub unauthorized: BTreeMap<&'static str, u64>,
    /// Jobs that ended with an error, by its type.
    pub job_errors: BTreeMap<&'static str, u64>,
    /// From a job's submission to its start, of those that have ended.
    pub job_wait: Histogram,
    /// From a job's start to its end, by how it ended.
    pub job_execution: BTreeMap<&'static str, Histogram>,
    /// Ends by host and procedure, where that is wanted.
    pub by_name: ByName,
    /// Connections to hosts that were opened or could not be, by what came of it.
    pub host_connects: BTreeMap<&'static str, u64>,
    /// How long those took that were opened.
    pub host_connect: Histogram,
    /// Jobs of workers that ended since nothing was heard of those.
    pub leases_expired: u64,
    /// Values that were not what their schemas want, by what they were.
    pub violations: BTreeMap<&'static str, u64>,
    /// Runs of the registry's script that left the registry as it was.
    pub refresh_failures: u64,
    /// Why the last of its runs has left it so; `None` if that has not.
    pub refresh_failure: Option<String>,
    /// When the registry was last as the script has said, in milliseconds since 1970.
    pub refreshed: Option<u64>,
}

/// Reasons for which connections are refused.
pub const REFUSED: [&str; 3] = [
    "max_connections",
    "max_connections_per_peer",
    "max_handshakes",
];

/// Reasons for which requests are not allowed.
pub const UNAUTHORIZED: [&str; 5] = [
    "stranger",
    "unknown_token",
    "lapsed",
    "unproved",
    "forbidden",
];

/// The types of errors with which the dispatcher itself and hosts end jobs.
pub const JOB_ERRORS: [&str; 15] = [
    error_type::UNKNOWN_HOST,
    error_type::NETWORK_ERROR,
    error_type::PROTOCOL_ERROR,
    error_type::OS_ERROR,
    error_type::STORAGE_ERROR,
    error_type::TIMEOUT,
    error_type::MISSING_RESULT,
    error_type::SHUTDOWN,
    error_type::OVERLOADED,
    error_type::AUTH_ERROR,
    error_type::NO_SUCH_PROCEDURE,
    error_type::PROCEDURE_LOADING_ERROR,
    error_type::INVALID_ARGUMENT_LIST,
    error_type::SYSTEM_ERROR,
    error_type::STALE_EPOCH,
];

/// Errors of requests.
const REQUEST_ERRORS: [&str; 11] = [
    error_type::PARSE_ERROR,
    error_type::INVALID_PROTOCOL,
    error_type::INVALID_REQUEST,
    error_type::REQUEST_TOO_LARGE,
    error_type::INVALID_JOB_ID,
    error_type::STORAGE_ERROR,
    error_type::SHUTDOWN,
    error_type::OVERLOADED,
    error_type::UNAUTHORIZED,
    error_type::FORBIDDEN,
    error_type::OS_ERROR,
];

/// What can come of connecting to a host: `ok`, or the code of an error.
pub const HOST_CONNECTS: [&str; 18] = [
    "ok",
    "closed",
    "eai_again",
    "eai_fail",
    "econnaborted",
    "econnrefused",
    "econnreset",
    "ehostunreach",
    "emfile",
    "enetunreach",
    "enfile",
    "enobufs",
    "enotconn",
    "etimedout",
    "nodata",
    "nxdomain",
    "tls",
    OTHER,
];

/// What can be held against a schema.
pub const VIOLATIONS: [&str; 2] = ["arguments", "result"];

/// The ways in which jobs end.
pub const OUTCOMES: [&str; 4] = ["returned", "exception", "error", "cancelled"];

/// Whatever has no name of its own.
pub const OTHER: &str = "other";

/// Counts one more as long as it is held.
#[derive(Debug)]
pub struct Present(Arc<Inner>, Of);

#[derive(Debug, Clone, Copy)]
enum Of {
    Connections(Protocol),
    Followers,
}

impl Default for Counts {
    fn default() -> Counts {
        let zeros = |names: &[&'static str]| names.iter().map(|name| (*name, 0)).collect();
        let mut job_errors: BTreeMap<_, _> = zeros(&JOB_ERRORS);
        job_errors.insert(OTHER, 0);
        Counts {
            requests: Requests::default(),
            refused: zeros(&REFUSED),
            unauthorized: zeros(&UNAUTHORIZED),
            job_errors,
            job_wait: Histogram::new(Histogram::LONG),
            job_execution: OUTCOMES
                .into_iter()
                .map(|outcome| (outcome, Histogram::new(Histogram::LONG)))
                .collect(),
            by_name: ByName::default(),
            host_connects: zeros(&HOST_CONNECTS),
            host_connect: Histogram::new(Histogram::SHORT),
            leases_expired: 0,
            violations: zeros(&VIOLATIONS),
            refresh_failures: 0,
            refresh_failure: None,
            refreshed: None,
        }
    }
}

impl Meters {
    /// All counts of now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.counts().clone()
    }

    /// Connections of now.
    #[must_use]
    pub fn connections(&self, protocol: Protocol) -> u64 {
        self.0.connections[protocol as usize].load(Ordering::Relaxed)
    }

    /// Readers of now that follow a job to its end.
    #[must_use]
    pub fn followers(&self) -> u64 {
        self.0.followers.load(Ordering::Relaxed)
    }

    /// A client is connected.
    #[must_use]
    pub fn connected(&self, protocol: Protocol) -> Present {
        self.present(Of::Connections(protocol))
    }

    /// A reader follows a job.
    #[must_use]
    pub fn follows(&self) -> Present {
        self.present(Of::Followers)
    }

    /// A request was answered, whose answer took so long to begin.
    pub fn answered(&self, asked: Asked, status: Status, took: Duration) {
        self.0.counts().requests.note(asked, status, took);
    }

    /// A connection was refused, by this limit.
    pub fn refused(&self, limit: &str) {
        add(&mut self.0.counts().refused, limit);
    }

    /// A request was not allowed.
    pub fn unauthorized(&self, reason: &str) {
        add(&mut self.0.counts().unauthorized, reason);
    }

    /// A connection to a host was opened in this time, or could not be: the error's code.
    pub fn host_connect(&self, opened: Result<Duration, &str>) {
        let mut counts = self.0.counts();
        match opened {
            Ok(took) => {
                add(&mut counts.host_connects, "ok");
                counts.host_connect.note(took);
            }
            Err(code) => add(&mut counts.host_connects, code),
        }
    }

    /// Arguments or a result were not what their schema wants.
    pub fn violated(&self, what: SchemaOf) {
        add(&mut self.0.counts().violations, violated(what));
    }

    /// The registry is as its script has said, at this time in milliseconds since 1970.
    pub fn refreshed(&self, at: u64) {
        let mut counts = self.0.counts();
        counts.refresh_failure = None;
        counts.refreshed = Some(at);
    }

    /// A run of the registry's script has left the registry as it was.
    pub fn not_refreshed(&self, why: String) {
        let mut counts = self.0.counts();
        counts.refresh_failures += 1;
        counts.refresh_failure = Some(why);
    }

    /// Notes what the ledger tells.
    pub fn note(&self, change: &ledger::Change) {
        let ledger::What::Ended(end) = &change.what else {
            return;
        };
        let took = |from: u64, to: u64| Duration::from_millis(to.saturating_sub(from));
        let mut counts = self.0.counts();
        if let Outcome::Error(failure) = &end.outcome {
            add(&mut counts.job_errors, &failure.error_type);
            counts.leases_expired += u64::from(is_of_lease(failure));
        }
        if end.remarks.violations > 0 {
            add(&mut counts.violations, violated(SchemaOf::Result));
        }
        if let Some(started) = end.started {
            counts
                .job_wait
                .note(took(JobId::submitted(&change.job), started));
            if let Some(execution) = counts.job_execution.get_mut(way(&end.outcome)) {
                execution.note(took(started, end.ended));
            }
        }
    }

    /// Counts the end of a job by its host and procedure.
    pub fn ended(&self, labels: Labels, call: &CallRecord, end: &EndRecord) {
        let execution = end.started.map(|started| {
            let milliseconds = end.ended.saturating_sub(started);
            Duration::from_millis(milliseconds)
        });
        let names = (call.host.as_str(), call.procedure.as_str());
        let mut counts = self.0.counts();
        counts
            .by_name
            .note(labels, names, way(&end.outcome), execution);
    }

    fn present(&self, of: Of) -> Present {
        self.0.present(of).fetch_add(1, Ordering::Relaxed);
        Present(Arc::clone(&self.0), of)
    }
}

impl Inner {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        // A std mutex: held for a few map operations, never across an await.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn present(&self, of: Of) -> &AtomicU64 {
        match of {
            Of::Connections(protocol) => &self.connections[protocol as usize],
            Of::Followers => &self.followers,
        }
    }
}

fn violated(what: SchemaOf) -> &'static str {
    what.either("arguments", "result")
}

/// Whether this is the error of a job whose worker was not heard of.
fn is_of_lease(failure: &Failure) -> bool {
    #[derive(Deserialize)]
    struct Over {
        limit: String,
    }
    let data = failure
        .data
        .as_ref()
        .filter(|_| failure.error_type == error_type::TIMEOUT);
    let over = data.and_then(|data| data.decode::<Over>().ok());
    over.is_some_and(|over| over.limit == "lease")
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.present(self.1).fetch_sub(1, Ordering::Relaxed);
    }
}

/// The way in which a job has ended.
fn way(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Returned(_) => "returned",
        Outcome::Exception(_) => "exception",
        Outcome::Error(_) => "error",
        Outcome::Cancelled => "cancelled",
    }
}

/// The error of a request as one of a fixed list.
#[must_use]
pub fn request_error(name: &str) -> &'static str {
    let known = REQUEST_ERRORS.into_iter().find(|known| *known == name);
    known.unwrap_or(OTHER)
}

/// Counts one that has a name of its own, or else one more of the others.
fn add(counts: &mut BTreeMap<&'static str, u64>, name: &str) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => *counts.entry(OTHER).or_default() += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_name_is_other() {
        let meters = Meters::default();
        for code in ["econnrefused", "a code of somebody's", "other"] {
            meters.host_connect(Err(code));
        }
        let counts = meters.counts().host_connects;
        assert_eq!((counts["econnrefused"], counts[OTHER]), (1, 2));
        assert_eq!(counts.len(), HOST_CONNECTS.len());
        assert_eq!(request_error("storage_error"), "storage_error");
        assert_eq!(request_error("x"), OTHER);
    }

    #[test]
    fn who_is_present_is_counted_until_it_goes() {
        let meters = Meters::default();
        let one = meters.connected(Protocol::Http);
        let other = meters.connected(Protocol::Http);
        drop(one);
        assert_eq!(meters.connections(Protocol::Http), 1);
        assert_eq!(meters.connections(Protocol::HarpCaller), 0);
        drop(other);
        assert_eq!(meters.connections(Protocol::Http), 0);
    }
}
