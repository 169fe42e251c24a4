//! What many tests assert.

use std::path::Path;

use harp_tests::Caller;
use serde_json::{Value, json};

/// The request itself was at fault (section 7): `harpcaller` stands beside `error`.
/// `data` is null where there must be none.
#[track_caller]
pub(crate) fn assert_refused(answer: &Value, error_type: &str, data: &Value) {
    assert_eq!(
        answer["harpcaller"], 1,
        "a fault of the request says so: {answer}"
    );
    assert_eq!(keys(answer), ["error", "harpcaller"], "{answer}");
    assert_error(answer, error_type, data);
}

/// The job ended with an error (section 7): `error` stands alone.
#[track_caller]
pub(crate) fn assert_ended(answer: &Value, error_type: &str, data: &Value) {
    assert_eq!(keys(answer), ["error"], "{answer}");
    assert_error(answer, error_type, data);
}

#[track_caller]
fn assert_error(answer: &Value, error_type: &str, data: &Value) {
    let error = &answer["error"];
    assert_eq!(error["type"], error_type, "{answer}");
    assert_eq!(&error["data"], data, "{answer}");
    let message = error["message"].as_str();
    assert!(
        message.is_some_and(|message| !message.is_empty()),
        "{answer}"
    );
    if data.is_null() {
        assert_eq!(keys(error), ["message", "type"], "{answer}");
    }
}

/// Only the call of `name` runs its `trace` procedure, and no earlier call of the same
/// queue did, which would have come first.
#[track_caller]
pub(crate) fn assert_only_runs(caller: &Caller, call: &Value, trace: &Path, name: &str) {
    let answer = caller.ask(call);
    assert_eq!(
        caller.result(answer["job_id"].as_str().unwrap()),
        json!({"result": null})
    );
    assert_eq!(
        std::fs::read_to_string(trace).unwrap(),
        format!("start {name}\nend {name}\n")
    );
}

/// The data of an `invalid_request`.
pub(crate) fn field(name: &str) -> Value {
    json!({"field": name})
}

/// The keys of an object, sorted.
pub(crate) fn keys(object: &Value) -> Vec<&str> {
    let object = object.as_object().expect("an object");
    let mut keys: Vec<&str> = object.keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// A job's id has the form of the protocol: a lower case UUID.
#[track_caller]
pub(crate) fn assert_job_id(id: &str) {
    let groups: Vec<usize> = id.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "{id}");
    let digits = |digit: char| matches!(digit, '0'..='9' | 'a'..='f' | '-');
    assert!(id.chars().all(digits), "{id}");
}

/// An id that no job has.
pub(crate) const NO_JOB: &str = "8ec71d6b-28d1-4ce2-aa23-f3ea7887beda";
