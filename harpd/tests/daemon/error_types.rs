//! Each error type that the host protocol predefines, provoked one by one.

use std::collections::BTreeSet;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::host::{Harpd, Host, request};

/// Host protocol, "Then".
const PREDEFINED: [&str; 11] = [
    "parse_error",
    "invalid_protocol",
    "invalid_request",
    "auth_error",
    "no_such_procedure",
    "procedure_loading_error",
    "cancelled",
    "invalid_argument_list",
    "timeout",
    "shutdown",
    "system_error",
];

/// How the caller of a request comes by the error.
enum Then {
    /// It reads on.
    Reads,
    /// It closes when the call is acknowledged.
    Closes,
    /// harpd is told to stop when the call is acknowledged.
    Stops,
}

fn host() -> Host {
    Host::new()
        .script("one", "", "echo 1")
        .script("wait", "", "exec sleep 1000")
        .script("slow", "timeout = 1", "exec sleep 1000")
        .script("words", "arguments = 'argv'", "true")
        .command("missing", "", &["/nonexistent/command"])
}

/// The answers to this line, of which the last is an error.
async fn answers(harpd: &Harpd, line: &str, then: &Then) -> Vec<Value> {
    let mut caller = harpd.connect().await;
    caller.send_line(line).await;
    match then {
        Then::Reads => {}
        Then::Closes => {
            caller.acknowledged(false).await;
            caller.close().await;
        }
        Then::Stops => {
            caller.acknowledged(false).await;
            harpd.signal(Signal::TERM);
        }
    }
    caller.rest().await
}

#[tokio::test]
async fn each_predefined_type_is_told() {
    let auth = r#""auth":{"user":"rpc","password":"secret"}"#;
    let empty = json!([]);
    let zero_byte = json!(["\0"]);
    let table = [
        ("nonsense".to_owned(), Then::Reads, "parse_error"),
        ("[]".to_owned(), Then::Reads, "invalid_protocol"),
        (
            format!(r#"{{"procedure":"one","arguments":[],{auth}}}"#),
            Then::Reads,
            "invalid_protocol",
        ),
        (
            format!(r#"{{"harp":2,"procedure":"one","arguments":[],{auth}}}"#),
            Then::Reads,
            "invalid_protocol",
        ),
        (
            format!(r#"{{"harp":1,"procedure":"one","arguments":1,{auth}}}"#),
            Then::Reads,
            "invalid_request",
        ),
        (
            r#"{"harp":1,"procedure":"one","arguments":[]}"#.to_owned(),
            Then::Reads,
            "invalid_request",
        ),
        (
            format!("{}\nmore", request("one", &empty)),
            Then::Reads,
            "invalid_request",
        ),
        (
            request("one", &empty).replace("secret", "wrong"),
            Then::Reads,
            "auth_error",
        ),
        (request("none", &empty), Then::Reads, "no_such_procedure"),
        (
            request("missing", &empty),
            Then::Reads,
            "procedure_loading_error",
        ),
        (
            request("words", &zero_byte),
            Then::Reads,
            "invalid_argument_list",
        ),
        (request("slow", &empty), Then::Reads, "timeout"),
        (request("wait", &empty), Then::Closes, "cancelled"),
        // Last, since it ends harpd.
        (request("wait", &empty), Then::Stops, "shutdown"),
    ];
    let harpd = host().start();
    let mut told = BTreeSet::from(["system_error"]);
    for (line, then, error_type) in &table {
        let answers = answers(&harpd, line, then).await;
        let last = answers.last().expect("an answer");
        assert_eq!(last["harp"], 1, "{line}: {last}");
        assert_eq!(last["error"]["type"], *error_type, "{line}: {last}");
        assert!(last["error"]["message"].is_string(), "{line}: {last}");
        told.insert(error_type);
        if *error_type == "no_such_procedure" {
            assert_eq!(last["error"]["data"], json!({"procedure": "none"}));
        }
        // Only a procedure that ran has been acknowledged before.
        let before = usize::from(*error_type == "timeout");
        assert_eq!(answers.len(), 1 + before, "{line}: {answers:?}");
    }
    // By `a_system_error_is_told`.
    assert_eq!(told, BTreeSet::from(PREDEFINED));
}

/// A harpd that may have no more files open than it has cannot make the pipes of a call.
#[tokio::test]
async fn a_system_error_is_told() {
    let harpd = host().start();
    assert_eq!(harpd.end("one", json!([])).await, json!({"result": 1}));
    let mut caller = harpd.connect().await;
    let files = rustix::process::Resource::Nofile;
    let limit = rustix::process::Rlimit {
        current: Some(0),
        ..rustix::process::getrlimit(files)
    };
    rustix::process::prlimit(Some(harpd.pid()), files, limit).unwrap();
    caller.send_line(&request("one", &json!([]))).await;
    let error = caller.rest().await.pop().unwrap()["error"].take();
    assert_eq!(error["type"], "system_error", "{error}");
}
