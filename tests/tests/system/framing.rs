//! Lines and connections (section 1).

use harp_tests::{Cluster, until};
use serde_json::json;

use crate::assertions::{NO_JOB, assert_only_runs, assert_refused};

fn status_of(job: &str) -> String {
    json!({"harpcaller": 1, "get_status": job}).to_string()
}

#[test]
fn a_carriage_return_before_the_line_feed_is_tolerated() {
    let cluster = Cluster::start();
    let mut client = cluster.caller().connect();
    client.send_bytes(format!("{}\r\n", status_of(NO_JOB)).as_bytes());
    assert_refused(&client.line(), "invalid_jobid", &json!(null));
    assert!(client.at_end());
}

#[test]
fn a_request_may_arrive_in_pieces() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "echo", "[1]");
    let mut client = caller.connect();
    for byte in format!("{}\n", status_of(&job)).bytes() {
        client.send_bytes(&[byte]);
    }
    assert_eq!(client.line()["call"]["arguments"], json!([1]));
}

#[test]
fn key_order_carries_no_meaning() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let answer = caller.ask(
        r#"{"info":5,"arguments":[2],"queue":{"concurrency":3,"name":{}},"procedure":"echo","host":"web01","harpcaller":1}"#,
    );
    let job = answer["job_id"].as_str().expect("a job");
    assert_eq!(caller.result(job), json!({"result": [2]}));
    let answer = caller.ask(format!(
        r#"{{"wait":true,"get_result":"{job}","harpcaller":1}}"#
    ));
    assert_eq!(answer, json!({"result": [2]}));
}

#[test]
fn without_hello_a_connection_answers_one_request() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "packets", r#"["1","2"]"#);
    assert_eq!(caller.result(&job), json!({"result": null}));
    for (first, lines) in [
        (status_of(&job), 1),
        (json!({"harpcaller": 1, "cancel": job}).to_string(), 1),
        (json!({"harpcaller": 1, "get_result": job}).to_string(), 1),
        (json!({"harpcaller": 1, "read_stream": job}).to_string(), 3),
        (
            json!({"harpcaller": 1, "follow_stream": job, "since": 0}).to_string(),
            3,
        ),
        (
            r#"{"harpcaller":1,"host":"web01","procedure":"echo","arguments":[]}"#.to_owned(),
            1,
        ),
    ] {
        let mut client = caller.connect();
        client.send_bytes(format!("{first}\n{}\n", status_of(&job)).as_bytes());
        assert_eq!(client.rest().len(), lines, "{first}");
    }
}

#[test]
fn a_last_line_without_its_end_is_no_request() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let trace = cluster.path("trace");
    let call = |name: &str| {
        json!({
            "harpcaller": 1, "host": "web01", "procedure": "trace", "arguments": [trace, name],
            "queue": {"name": {"q": 1}},
        })
    };
    let mut client = caller.connect();
    client.send_bytes(call("dropped").to_string().as_bytes());
    client.half_close();
    assert!(client.at_end());
    assert_only_runs(&caller, &call("kept"), &trace, "kept");
}

#[test]
fn a_client_that_stops_sending_still_gets_its_answer() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call("web01", "feed", &feed.arguments());
    let mut waiting = caller.send(json!({"harpcaller": 1, "get_result": job, "wait": true}));
    waiting.half_close();
    let mut following = caller.follow(&job, r#""since": 0"#);
    following.half_close();
    feed.send("7");
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":7}"#);
    assert!(waiting.is_quiet());
    feed.finish();
    assert_eq!(following.rest(), [r#"{"result":null}"#]);
    assert_eq!(waiting.rest(), [r#"{"result":null}"#]);
}

#[test]
fn an_error_line_is_not_lost_to_a_reset() {
    let cluster = Cluster::start();
    let mut client = cluster.caller().connect();
    client.send_bytes(b"nonsense\n");
    // More than the sockets hold, so that some of it arrives after the answer was sent.
    let more = vec![b'x'; 1 << 20];
    for _ in 0..8 {
        if !client.try_send_bytes(&more) {
            break;
        }
    }
    assert_refused(&client.line(), "parse_error", &json!(null));
}

#[test]
fn an_answer_is_not_lost_to_what_was_sent_behind_the_request() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "echo", "[1]");
    // Less than is read with the request, and more than the sockets hold.
    for more in [10, 1 << 20] {
        let mut client = caller.connect();
        let mut bytes = format!("{}\n", status_of(&job)).into_bytes();
        bytes.resize(bytes.len() + more, b'x');
        assert!(client.try_send_bytes(&bytes));
        assert_eq!(client.line()["call"]["arguments"], json!([1]));
        assert!(client.at_end());
    }
}

#[test]
fn clients_that_go_away_disturb_nobody() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call("web01", "feed", &feed.arguments());
    drop(caller.connect());
    let mut half = caller.connect();
    half.send_bytes(b"{\"harpcaller\": 1, \"get_st");
    drop(half);
    drop(caller.send(json!({"harpcaller": 1, "get_result": job})));
    drop(caller.follow(&job, r#""since": 0"#));
    for number in 0..100 {
        feed.send(&number.to_string());
    }
    feed.finish();
    assert_eq!(caller.result(&job), json!({"result": null}));
    assert_eq!(caller.read(&job, "").packets.len(), 100);
}

#[test]
fn a_client_that_hung_up_after_sending_has_submitted_its_call() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let trace = cluster.path("trace");
    let arguments = json!([trace, "x"]);
    let call =
        json!({"harpcaller": 1, "host": "web01", "procedure": "trace", "arguments": arguments});
    drop(caller.send(call));
    until("the procedure has run", || {
        let text = std::fs::read_to_string(&trace).ok()?;
        (text == "start x\nend x\n").then_some(())
    });
}
