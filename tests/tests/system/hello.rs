//! Persistent connections (section 8).

use harp_tests::{Caller, Cluster, Page, RawClient};
use serde_json::{Value, json};

use crate::assertions::{NO_JOB, assert_only_runs, assert_refused, field, keys};

fn greet(caller: Caller) -> RawClient {
    let mut client = caller.send(json!({"harpcaller": 1, "hello": {}}));
    assert!(client.line()["server"].is_string());
    client
}

#[test]
fn hello_says_who_answers_and_what_is_in_force() {
    let cluster = Cluster::start();
    for hello in [
        json!({}),
        json!({"client": "harp-tests/1", "token": "secret"}),
        json!({"client": null, "token": null}),
        json!({"something": {"new": true}, "client": "x"}),
    ] {
        let mut client = cluster
            .caller()
            .send(json!({"harpcaller": 1, "hello": hello}));
        let answer = client.line();
        assert_eq!(keys(&answer), ["features", "harpcaller", "server"]);
        assert_eq!(answer["harpcaller"], 1);
        let version = answer["server"]
            .as_str()
            .and_then(|server| server.strip_prefix("harpcallerd/"));
        assert!(
            version.is_some_and(|version| version.split('.').count() == 3),
            "{answer}"
        );
        let features = answer["features"].as_array().expect("an array");
        for feature in [
            "keep_alive",
            "timestamps",
            "limit",
            "key",
            "unless_since",
            "start_by",
            "confirm",
            "limits",
            "list",
        ] {
            assert!(features.contains(&json!(feature)), "{feature}: {answer}");
        }
    }
}

#[test]
fn one_connection_serves_a_whole_job() {
    let cluster = Cluster::start();
    let mut client = greet(cluster.caller());
    client.send(
        r#"{"harpcaller":1,"host":"web01","procedure":"count","arguments":[3],"info":"mine"}"#,
    );
    let job = client.line()["job_id"].as_str().expect("a job").to_owned();
    client.send(json!({"harpcaller": 1, "follow_stream": job, "since": 0}));
    let page = Page::read(&mut client);
    assert_eq!(
        (page.packets.len(), page.last),
        (3, json!({"result": null}))
    );
    client.send(json!({"harpcaller": 1, "get_result": job}));
    assert_eq!(client.line(), json!({"result": null}));
    client.send(json!({"harpcaller": 1, "read_stream": job, "limit": 2}));
    let page = Page::read(&mut client);
    assert_eq!(
        (page.packets.len(), page.last),
        (2, json!({"continue": true}))
    );
    client.send(json!({"harpcaller": 1, "get_status": job}));
    assert_eq!(client.line()["info"], "mine");
    client.send(json!({"harpcaller": 1, "cancel": job}));
    assert_eq!(client.line(), json!({"cancelled": false}));
    client.half_close();
    assert!(client.at_end());
}

#[test]
fn requests_may_be_pipelined_and_are_answered_in_order() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call("web01", "feed", &feed.arguments());
    feed.send("1");
    let requests = [
        json!({"harpcaller": 1, "hello": {}}),
        json!({"harpcaller": 1, "cancel": NO_JOB}),
        json!({"harpcaller": 1, "get_result": job, "wait": false}),
        json!({"harpcaller": 1, "follow_stream": job, "since": 0}),
        json!({"harpcaller": 1, "get_result": job, "wait": true}),
        json!({"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": []}),
        json!({"harpcaller": 1, "get_result": job, "wait": false}),
    ];
    let mut client = caller.connect();
    let lines: String = requests
        .iter()
        .map(|request| format!("{request}\n"))
        .collect();
    client.send_bytes(lines.as_bytes());
    assert!(client.line()["server"].is_string());
    assert_eq!(client.line(), json!({"cancelled": false}));
    assert_eq!(client.line(), json!({"no_result": true}));
    assert_eq!(client.raw_line(), r#"{"packet":0,"data":1}"#);
    // Whoever follows occupies its connection.
    assert!(client.is_quiet());
    feed.finish();
    assert_eq!(client.line(), json!({"result": null}));
    assert_eq!(client.line(), json!({"result": null}));
    assert!(client.line()["job_id"].is_string());
    assert_eq!(client.line(), json!({"result": null}));
}

#[test]
fn the_last_request_before_a_half_close_is_answered() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call("web01", "gate", &feed.arguments());
    let mut client = greet(caller);
    client.send(json!({"harpcaller": 1, "get_result": job}));
    client.send_bytes(b"{\"harpcaller\":1,\"get_status\":\"never ended");
    client.half_close();
    feed.send("1");
    feed.finish();
    assert_eq!(client.rest(), [r#"{"result":1}"#]);
}

#[test]
fn after_an_error_about_a_request_those_behind_it_are_not_run() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let trace = cluster.path("trace");
    let call = |name: &str| {
        json!({
            "harpcaller": 1, "host": "web01", "procedure": "trace", "arguments": [trace, name],
            "queue": {"name": {}},
        })
    };
    for (bad, error_type, data) in [
        ("nonsense".to_owned(), "parse_error", Value::Null),
        ("{}".to_owned(), "invalid_protocol", Value::Null),
        (
            r#"{"harpcaller":1,"cancel":1}"#.to_owned(),
            "invalid_request",
            field("cancel"),
        ),
        (
            r#"{"harpcaller":1,"hello":{},"id":7}"#.to_owned(),
            "invalid_request",
            field("id"),
        ),
        (
            json!({"harpcaller": 1, "get_result": NO_JOB}).to_string(),
            "invalid_jobid",
            Value::Null,
        ),
        (
            json!({"harpcaller": 1, "follow_stream": NO_JOB}).to_string(),
            "invalid_jobid",
            Value::Null,
        ),
    ] {
        let mut client = greet(caller);
        client.send(format!("{bad}\n{}", call("behind")));
        assert_refused(&client.line(), error_type, &data);
        assert!(client.at_end(), "{bad}");
    }
    assert_only_runs(&caller, &call("last"), &trace, "last");
}

#[test]
fn the_error_of_a_job_ends_no_connection() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web99", "echo", "[]");
    let mut client = greet(caller);
    for _ in 0..3 {
        client.send(json!({"harpcaller": 1, "get_result": job}));
        assert_eq!(client.line()["error"]["type"], "unknown_host");
        client.send(json!({"harpcaller": 1, "follow_stream": job}));
        assert_eq!(client.line()["error"]["type"], "unknown_host");
    }
}

#[test]
fn a_persistent_connection_may_be_idle_and_greet_again() {
    let cluster = Cluster::builder()
        .set("default_timeout", "1")
        .set("max_exec_time", "1")
        .start();
    let caller = cluster.caller();
    let mut client = greet(caller);
    // The limits of jobs mean nothing to connections.
    let job = caller.call("web01", "silent", "[]");
    assert_eq!(caller.result(&job)["error"]["type"], "timeout");
    client.send(json!({"harpcaller": 1, "hello": {}}));
    assert!(client.line()["server"].is_string());
    client.send(json!({"harpcaller": 1, "cancel": NO_JOB}));
    assert_eq!(client.line(), json!({"cancelled": false}));
}
