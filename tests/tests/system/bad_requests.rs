//! What a request that cannot be understood gets (sections 1 and 7): its error line,
//! then the end of the connection.

use std::time::{Duration, Instant};

use harp_tests::Cluster;
use serde_json::{Value, json};

use crate::assertions::{NO_JOB, assert_refused, field};

/// A request whose key of this name is wrong, and nothing else.
fn wrong(key: &str, request: &str) -> (String, &'static str, Value) {
    let request = request
        .replace(
            "CALL",
            r#""harpcaller":1,"host":"web01","procedure":"echo","arguments":[]"#,
        )
        .replace("JOB", &json!(NO_JOB).to_string());
    (request, "invalid_request", field(key))
}

fn unreadable(request: &str) -> (String, &'static str, Value) {
    (request.to_owned(), "parse_error", Value::Null)
}

fn foreign(request: &str) -> (String, &'static str, Value) {
    (request.to_owned(), "invalid_protocol", Value::Null)
}

#[test]
fn each_fault_has_its_error_and_names_its_field() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    for (request, error_type, data) in [
        unreadable(""),
        unreadable(" "),
        unreadable("nonsense"),
        unreadable("{"),
        unreadable("{} {}"),
        unreadable("{'harpcaller': 1}"),
        unreadable(r#"{"harpcaller":1,"hello":{},}"#),
        unreadable("GET / HTTP/1.1"),
        foreign("[]"),
        foreign("1"),
        foreign("null"),
        foreign(r#""harpcaller""#),
        foreign("{}"),
        foreign(r#"{"harpcaller":2,"hello":{}}"#),
        foreign(r#"{"harpcaller":"1","hello":{}}"#),
        foreign(r#"{"harpcaller":null,"hello":{}}"#),
        foreign(r#"{"harp":1,"procedure":"echo","arguments":[],"auth":{}}"#),
        // Operations: one, and only one.
        wrong("procedure", r#"{"harpcaller":1}"#),
        wrong(
            "procedure",
            r#"{"harpcaller":1,"host":"web01","arguments":[]}"#,
        ),
        wrong("procedure", r#"{"harpcaller":1,"queue_cancel":{}}"#),
        wrong("cancel", r#"{CALL,"cancel":JOB}"#),
        wrong(
            "get_status",
            r#"{"harpcaller":1,"get_result":JOB,"get_status":JOB}"#,
        ),
        wrong("hello", r#"{"harpcaller":1,"cancel":JOB,"hello":{}}"#),
        // Keys that are unknown, in the wrong place or there twice.
        wrong("timeuot", r#"{CALL,"timeuot":5}"#),
        wrong("id", r#"{CALL,"id":1}"#),
        wrong("wait", r#"{CALL,"wait":true}"#),
        wrong("wait", r#"{"harpcaller":1,"get_status":JOB,"wait":true}"#),
        wrong("info", r#"{"harpcaller":1,"cancel":JOB,"info":null}"#),
        wrong("host", r#"{"harpcaller":1,"hello":{},"host":"web01"}"#),
        wrong(
            "timestamps",
            r#"{"harpcaller":1,"get_result":JOB,"timestamps":true}"#,
        ),
        wrong(
            "harpcaller",
            r#"{"harpcaller":1,"harpcaller":1,"get_status":JOB}"#,
        ),
        wrong("info", r#"{CALL,"info":1,"info":1}"#),
        wrong("procedure", r#"{CALL,"procedure":"echo"}"#),
        wrong("timeout", r#"{CALL,"timeout":null,"timeout":1}"#),
        wrong("\n", r#"{CALL,"\n":1}"#),
        // A call.
        wrong(
            "host",
            r#"{"harpcaller":1,"procedure":"echo","arguments":[]}"#,
        ),
        wrong(
            "host",
            r#"{"harpcaller":1,"host":null,"procedure":"echo","arguments":[]}"#,
        ),
        wrong(
            "host",
            r#"{"harpcaller":1,"host":["web01"],"procedure":"echo","arguments":[]}"#,
        ),
        wrong(
            "host",
            r#"{"harpcaller":1,"host":"\ud800","procedure":"echo","arguments":[]}"#,
        ),
        wrong(
            "procedure",
            r#"{"harpcaller":1,"host":"web01","procedure":1,"arguments":[]}"#,
        ),
        wrong(
            "procedure",
            r#"{"harpcaller":1,"host":"web01","procedure":null,"arguments":[]}"#,
        ),
        wrong(
            "arguments",
            r#"{"harpcaller":1,"host":"web01","procedure":"echo"}"#,
        ),
        wrong(
            "arguments",
            r#"{"harpcaller":1,"host":"web01","procedure":"echo","arguments":null}"#,
        ),
        wrong(
            "arguments",
            r#"{"harpcaller":1,"host":"web01","procedure":"echo","arguments":"a"}"#,
        ),
        wrong(
            "arguments",
            r#"{"harpcaller":1,"host":"web01","procedure":"echo","arguments":1}"#,
        ),
        wrong("timeout", r#"{CALL,"timeout":0}"#),
        wrong("timeout", r#"{CALL,"timeout":-1}"#),
        wrong("timeout", r#"{CALL,"timeout":1.5}"#),
        wrong("timeout", r#"{CALL,"timeout":1e1}"#),
        wrong("timeout", r#"{CALL,"timeout":"5"}"#),
        wrong("timeout", r#"{CALL,"timeout":true}"#),
        wrong("max_exec_time", r#"{CALL,"max_exec_time":0}"#),
        wrong("max_exec_time", r#"{CALL,"max_exec_time":2.0}"#),
        wrong("max_exec_time", r#"{CALL,"max_exec_time":[5]}"#),
        wrong("queue", r#"{CALL,"queue":"q"}"#),
        wrong("queue", r#"{CALL,"queue":[]}"#),
        wrong("queue.name", r#"{CALL,"queue":{}}"#),
        wrong("queue.name", r#"{CALL,"queue":{"concurrency":1}}"#),
        wrong("queue.name", r#"{CALL,"queue":{"name":"q"}}"#),
        wrong("queue.name", r#"{CALL,"queue":{"name":null}}"#),
        wrong("queue.name", r#"{CALL,"queue":{"name":["q"]}}"#),
        wrong("queue.name", r#"{CALL,"queue":{"name":{"a":1,"a":1}}}"#),
        wrong(
            "queue.name",
            r#"{CALL,"queue":{"name":{"a":1,"\u0061":1}}}"#,
        ),
        wrong(
            "queue.name",
            r#"{CALL,"queue":{"name":{"a":{"b":1,"b":2}}}}"#,
        ),
        wrong("queue.name", r#"{CALL,"queue":{"name":{},"name":{}}}"#),
        wrong(
            "queue.concurrency",
            r#"{CALL,"queue":{"name":{},"concurrency":0}}"#,
        ),
        wrong(
            "queue.concurrency",
            r#"{CALL,"queue":{"name":{},"concurrency":-2}}"#,
        ),
        wrong(
            "queue.concurrency",
            r#"{CALL,"queue":{"name":{},"concurrency":"2"}}"#,
        ),
        wrong(
            "queue.concurrency",
            r#"{CALL,"queue":{"name":{},"concurrency":1.0}}"#,
        ),
        wrong(
            "queue.concurency",
            r#"{CALL,"queue":{"name":{},"concurency":2}}"#,
        ),
        // Extensions (section 8).
        wrong("key", r#"{CALL,"key":7}"#),
        wrong("unless_since", r#"{CALL,"unless_since":60}"#),
        wrong("unless_since", r#"{CALL,"key":"k","unless_since":0}"#),
        wrong("start_by", r#"{CALL,"start_by":0}"#),
        wrong("confirm", r#"{"harpcaller":1,"cancel":JOB,"confirm":1}"#),
        // About a job.
        wrong("cancel", r#"{"harpcaller":1,"cancel":null}"#),
        wrong("get_result", r#"{"harpcaller":1,"get_result":17}"#),
        wrong("get_status", r#"{"harpcaller":1,"get_status":[JOB]}"#),
        wrong("follow_stream", r#"{"harpcaller":1,"follow_stream":{}}"#),
        wrong("read_stream", r#"{"harpcaller":1,"read_stream":true}"#),
        wrong("wait", r#"{"harpcaller":1,"get_result":JOB,"wait":1}"#),
        wrong("wait", r#"{"harpcaller":1,"get_result":JOB,"wait":"true"}"#),
        wrong("since", r#"{"harpcaller":1,"read_stream":JOB,"since":-1}"#),
        wrong(
            "since",
            r#"{"harpcaller":1,"follow_stream":JOB,"since":"0"}"#,
        ),
        wrong(
            "recent",
            r#"{"harpcaller":1,"read_stream":JOB,"recent":0.5}"#,
        ),
        wrong(
            "recent",
            r#"{"harpcaller":1,"read_stream":JOB,"since":0,"recent":0}"#,
        ),
        wrong(
            "recent",
            r#"{"harpcaller":1,"follow_stream":JOB,"recent":1,"since":1}"#,
        ),
        wrong(
            "timestamps",
            r#"{"harpcaller":1,"read_stream":JOB,"timestamps":1}"#,
        ),
        wrong("limit", r#"{"harpcaller":1,"read_stream":JOB,"limit":0}"#),
        wrong("limit", r#"{"harpcaller":1,"read_stream":JOB,"limit":-5}"#),
        wrong("limit", r#"{"harpcaller":1,"follow_stream":JOB,"limit":5}"#),
        wrong("hello", r#"{"harpcaller":1,"hello":null}"#),
        wrong("hello", r#"{"harpcaller":1,"hello":true}"#),
        wrong("hello.client", r#"{"harpcaller":1,"hello":{"client":1}}"#),
        wrong("hello.token", r#"{"harpcaller":1,"hello":{"token":[]}}"#),
    ] {
        // What is sent behind it is not looked at.
        let mut client = caller.connect();
        client.send(format!(
            "{request}\n{{\"harpcaller\":1,\"get_status\":\"{NO_JOB}\"}}"
        ));
        let answer = client.line();
        assert!(
            client.at_end(),
            "{request}: the connection stays open after {answer}"
        );
        println!("{request}\n    {answer}");
        assert_refused(&answer, error_type, &data);
    }
    let job = caller.call("web01", "echo", "[]");
    assert_eq!(caller.result(&job), json!({"result": []}));
}

#[test]
fn bytes_that_are_no_text_are_no_request() {
    let cluster = Cluster::start();
    for bytes in [
        &b"{\"harpcaller\":1,\"host\":\"\xff\",\"procedure\":\"p\",\"arguments\":[]}\n"[..],
        b"{\"harpcaller\":1,\"host\":\"h\",\"procedure\":\"p\",\"arguments\":[\"\xc3\x28\"]}\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
        b"\0\n",
        b"\xef\xbb\xbf{\"harpcaller\":1,\"hello\":{}}\n",
    ] {
        let mut client = cluster.caller().connect();
        client.send_bytes(bytes);
        assert_refused(&client.line(), "parse_error", &Value::Null);
        assert!(client.at_end());
    }
}

#[test]
fn a_request_of_very_many_keys_holds_nobody_up() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "echo", "[]");
    assert_eq!(caller.result(&job), json!({"result": []}));
    let keys: String = (0..60_000)
        .map(|number| format!(r#","key{number}":{number}"#))
        .collect();
    let begun = Instant::now();
    // As many as can be looked at at once, and more.
    let mut clients: Vec<_> = (0..8)
        .map(|_| caller.send(format!(r#"{{"harpcaller":1,"get_status":"{job}"{keys}}}"#)))
        .collect();
    assert!(caller.status(&job)["time"]["end"].is_u64());
    for client in &mut clients {
        assert_refused(&client.line(), "invalid_request", &field("key0"));
        assert!(client.at_end());
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "at once: {took:?}");
}

#[test]
fn no_operation_finds_a_job_that_does_not_exist() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    for id in [
        NO_JOB,
        "00000000-0000-0000-0000-000000000000",
        "8ec71d6b28d14ce2aa23f3ea7887beda",
        "nonsense",
        "",
        "\u{0}",
    ] {
        for request in [
            json!({"harpcaller": 1, "get_result": id}),
            json!({"harpcaller": 1, "get_result": id, "wait": true}),
            json!({"harpcaller": 1, "get_result": id, "wait": false}),
            json!({"harpcaller": 1, "get_status": id}),
            json!({"harpcaller": 1, "follow_stream": id}),
            json!({"harpcaller": 1, "follow_stream": id, "since": 5}),
            json!({"harpcaller": 1, "read_stream": id}),
            json!({"harpcaller": 1, "read_stream": id, "recent": 1}),
        ] {
            let answer = caller.ask(&request);
            assert_refused(&answer, "invalid_jobid", &Value::Null);
            assert_eq!(answer["error"]["message"], "no job with this ID");
        }
        let answer = caller.ask(json!({"harpcaller": 1, "cancel": id}));
        assert_eq!(answer, json!({"cancelled": false}));
    }
}
