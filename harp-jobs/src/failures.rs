//! The errors with which the dispatcher itself ends a job (client protocol, section 7).

use std::time::Duration;

use harp_values::{Failure, error_type};
use serde::Serialize;

/// Whose limit of time it is that a job has reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetBy {
    /// The call's own.
    Call,
    /// The dispatcher's: the key of its configuration.
    Dispatcher(&'static str),
}

/// The registry of hosts has no such host.
#[must_use]
pub fn unknown_host(host: &str) -> Failure {
    let message = format!("the hosts registry has no host {host:?}");
    Failure::new(error_type::UNKNOWN_HOST, message).with_data(&UnknownHost { host })
}

/// The host was silent for too long.
#[must_use]
pub fn silence(limit: Duration, set_by: SetBy) -> Failure {
    timeout("reading result timed out", "timeout", limit, set_by)
}

/// The execution took too long in all.
#[must_use]
pub fn too_long(limit: Duration, set_by: SetBy) -> Failure {
    let message = "maximum execution time exceeded";
    timeout(message, "max_exec_time", limit, set_by)
}

/// The job could not start within so many seconds of its submission.
#[must_use]
pub fn not_started(seconds: u64) -> Failure {
    let limit = Duration::from_secs(seconds);
    timeout("could not start in time", "start_by", limit, SetBy::Call)
}

/// The data of a call's own limit is what the specification says; more is added for others.
fn timeout(message: &str, limit: &str, seconds: Duration, set_by: SetBy) -> Failure {
    let (set_by, setting) = match set_by {
        SetBy::Call => (None, None),
        SetBy::Dispatcher(key) => (Some("dispatcher"), Some(key)),
    };
    Failure::new(error_type::TIMEOUT, message).with_data(&Reached {
        limit,
        seconds: seconds.as_secs(),
        set_by,
        setting,
    })
}

/// The dispatcher stopped or died while the job was running.
#[must_use]
pub fn missing_result() -> Failure {
    Failure::new(error_type::MISSING_RESULT, "job interrupted abruptly")
}

/// The store failed the job while it ran.
pub fn storage(why: &dyn std::fmt::Display) -> Failure {
    Failure::new(error_type::STORAGE_ERROR, format!("job store: {why}"))
}

/// The dispatcher met a fault of its own in this job.
#[must_use]
pub fn internal() -> Failure {
    let message = "the dispatcher met a fault of its own; its log has the details";
    Failure::new(error_type::OS_ERROR, message).with_data(&Internal { code: "internal" })
}

#[derive(Serialize)]
struct UnknownHost<'a> {
    host: &'a str,
}

#[derive(Serialize)]
struct Reached<'a> {
    limit: &'a str,
    seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    set_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    setting: Option<&'a str>,
}

#[derive(Serialize)]
struct Internal<'a> {
    code: &'a str,
}
