//! Where the original took a request and this dispatcher does not, or answers otherwise: each
//! row of the manual's table (harpcaller-protocol(7), "DIFFERENCES FROM THE ORIGINAL") is
//! played.

use std::fs;

use harp_tests::{Caller, Cluster};
use serde_json::{Value, json};

use crate::assertions::{assert_refused, field};

const CALL: &str = r#""harpcaller":1,"host":"web01","procedure":"echo""#;

/// What the manual says in its first column, and a request of that kind.
fn refused() -> Vec<(&'static str, String, &'static str, Value)> {
    let call = |more: &str| format!(r#"{{{CALL},"arguments":[],{more}}}"#);
    let about = |more: &str| {
        let job = crate::assertions::NO_JOB;
        format!(r#"{{"harpcaller":1,"read_stream":"{job}",{more}}}"#)
    };
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    let request = "invalid_request";
    let row = |named, request_line: String, key: &str| (named, request_line, request, field(key));
    vec![
        row("1.5", call(r#""timeout":1.5"#), "timeout"),
        row("1.5", call(r#""max_exec_time":0.25"#), "max_exec_time"),
        row("-1", call(r#""timeout":-1"#), "timeout"),
        row("-1", call(r#""max_exec_time":-60"#), "max_exec_time"),
        row("-1", call(r#""max_exec_time":0"#), "max_exec_time"),
        row("wrong type", call(r#""timeout":"5""#), "timeout"),
        row("wrong type", call(r#""queue":[]"#), "queue"),
        row(
            "wrong type",
            call(r#""queue":{"name":{},"concurrency":"2"}"#),
            "queue.concurrency",
        ),
        row(
            "wrong type",
            format!(r#"{{{CALL},"arguments":"a"}}"#),
            "arguments",
        ),
        row("wrong type", about(r#""since":"0""#), "since"),
        row("in a call", call(r#""wait":true"#), "wait"),
        row("in a call", call(r#""since":0"#), "since"),
        row("recent", about(r#""recent":-1"#), "recent"),
        (
            "1.0",
            r#"{"harpcaller":1.0,"host":"web01","procedure":"echo","arguments":[]}"#.to_owned(),
            "invalid_protocol",
            Value::Null,
        ),
        (
            "128",
            format!(r#"{{{CALL},"arguments":{deep}}}"#),
            request,
            field("arguments"),
        ),
    ]
}

/// The rows' first column in the manual.
fn table() -> Vec<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../man/harpcaller-protocol.7");
    let text = fs::read_to_string(file).unwrap();
    let (_, section) = text
        .split_once(".Sh DIFFERENCES FROM THE ORIGINAL\n")
        .unwrap();
    let (section, _) = section.split_once("\n.Sh ").unwrap();
    let (_, rows) = section.split_once(".Bl -column").unwrap();
    let (rows, _) = rows.split_once("\n.El").unwrap();
    let rows: Vec<_> = rows.split("\n.It ").skip(2).collect();
    let first = |row: &&str| row.split(" Ta").next().unwrap().to_owned();
    rows.iter().map(first).collect()
}

#[test]
fn what_the_original_took_is_refused_as_the_manual_says() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let rows = table();
    for (named, request, error_type, data) in refused() {
        let answer = caller.ask(&request);
        println!("{request:.100}\n    {answer}");
        assert_refused(&answer, error_type, &data);
        assert!(
            rows.iter().any(|row| row.contains(named)),
            "{named} is in no row: {rows:?}"
        );
    }
    let mut client = caller.connect();
    client.send_bytes(
        b"{\"harpcaller\":1,\"host\":\"web01\",\"procedure\":\"echo\",\"arguments\":[\"\xff\"]}\n",
    );
    assert_refused(&client.line(), "parse_error", &Value::Null);
    assert!(rows.iter().any(|row| row.contains("UTF-8")), "{rows:?}");
    // As deep as it may be, and the largest limits.
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    let job = caller.call_with("web01", "echo", &deep, r#""timeout":99999999999999999999"#);
    // Deeper than what reads replies for this test.
    let mut client = caller.send(json!({"harpcaller": 1, "get_result": job}));
    assert_eq!(client.raw_line(), format!("{{\"result\":{deep}}}"));
}

#[test]
fn ids_and_starts_are_as_the_manual_says() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let rows = table();
    let job = caller.call("web01", "echo", "[1]");
    assert_eq!(caller.result(&job.to_uppercase()), json!({"result": [1]}));
    assert_eq!(caller.status(&job.to_uppercase()), caller.status(&job));
    assert!(rows.iter().any(|row| row.contains("capitals")), "{rows:?}");

    let time = |caller: &Caller, more: &str| {
        let job = caller.call_with("nowhere", "echo", "[]", more);
        assert_eq!(caller.result(&job)["error"]["type"], "unknown_host");
        caller.status(&job)["time"].clone()
    };
    for more in [r#""info":1"#, r#""queue":{"name":{}}"#] {
        let time = time(&caller, more);
        assert!(time["start"].is_u64() && time["end"].is_u64(), "{time}");
    }
    assert!(
        rows.iter().any(|row| row.contains("unknown host")),
        "{rows:?}"
    );
}
