//! The errors with which the dispatcher itself ends a job (client protocol, section 7).

use std::time::Duration;

use harp_proto::{Failure, error_type};
use serde_json::json;

pub(crate) fn unknown_host(host: &str) -> Failure {
    let message = format!("the hosts registry has no host {host:?}");
    Failure::new(error_type::UNKNOWN_HOST, message).with_data(&json!({ "host": host }))
}

/// The host was silent for too long.
pub(crate) fn silence(limit: Duration) -> Failure {
    timeout("reading result timed out", "timeout", limit)
}

/// The execution took too long in all.
pub(crate) fn too_long(limit: Duration) -> Failure {
    timeout("maximum execution time exceeded", "max_exec_time", limit)
}

/// The job could not start within so many seconds of its submission.
pub(crate) fn not_started(seconds: u64) -> Failure {
    let limit = Duration::from_secs(seconds);
    timeout("could not start in time", "start_by", limit)
}

fn timeout(message: &str, limit: &str, seconds: Duration) -> Failure {
    let data = json!({ "limit": limit, "seconds": seconds.as_secs() });
    Failure::new(error_type::TIMEOUT, message).with_data(&data)
}

/// The dispatcher stopped or died while the job was running.
pub(crate) fn missing_result() -> Failure {
    Failure::new(error_type::MISSING_RESULT, "job interrupted abruptly")
}

/// The store failed the job while it ran.
pub(crate) fn storage(why: &dyn std::fmt::Display) -> Failure {
    Failure::new(error_type::STORAGE_ERROR, format!("job store: {why}"))
}

pub(crate) fn internal() -> Failure {
    let message = "the dispatcher met a fault of its own; its log has the details";
    Failure::new(error_type::OS_ERROR, message).with_data(&json!({ "code": "internal" }))
}
