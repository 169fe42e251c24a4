//! What the configuration bounds: `request_too_large`, `overloaded`, packets over the
//! limit, and `shutdown` (section 7).

use harp_tests::{ACKNOWLEDGE, ACKNOWLEDGE_STREAM, Cluster, FakeHost, RawClient, Step, until};
use serde_json::{Value, json};

use crate::assertions::{NO_JOB, assert_ended, assert_refused};

const KIB: usize = 1024;
/// By how much a line may be longer than its JSON text.
const ALLOWANCE: usize = 64 * KIB;

/// What counts of a call of [`call_of`] beside its arguments: host, procedure and info.
const BESIDE: usize = "web01echo[0]".len();

/// A call whose text, as far as it counts, is so many bytes.
fn call_of(size: usize) -> String {
    let arguments = format!("[\"{}\"]", "x".repeat(size - BESIDE - "[\"\"]".len()));
    format!(
        r#"{{"harpcaller":1,"host":"web01","procedure":"echo","arguments":{arguments},"info":[0]}}"#
    )
}

#[test]
fn a_request_may_be_as_long_as_the_limit_says() {
    let cluster = Cluster::builder()
        .set("max_request_size", "\"100K\"")
        .start();
    let caller = cluster.caller();
    let limit = 100 * KIB;
    let answer = caller.ask(call_of(limit));
    let job = answer["job_id"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(
        caller.raw_result(job).len() + BESIDE,
        limit + r#"{"result":}"#.len()
    );

    // Its text is too long, its line is not.
    let too_large = json!({"limit": limit});
    assert_refused(
        &caller.ask(call_of(limit + 1)),
        "request_too_large",
        &too_large,
    );

    // Its line is too long, too, and no end of it is waited for.
    for length in [limit + ALLOWANCE + 1, 10 * limit] {
        let mut client = caller.connect();
        client.try_send_bytes(&vec![b' '; length]);
        assert_refused(&client.line(), "request_too_large", &too_large);
        assert!(client.at_end());
    }
    // White space is no text.
    let spaces = " ".repeat(limit + ALLOWANCE - 200);
    let line = format!(r#"{{"harpcaller":1,"get_status":{spaces}"{NO_JOB}"}}"#);
    assert_refused(&caller.ask(line), "invalid_jobid", &Value::Null);
}

#[test]
fn a_request_of_sixteen_mebibytes_passes_and_more_does_not() {
    const LIMIT: usize = 16 * 1024 * KIB;
    let host = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE,
        Step::line(r#"{"result":null}"#),
    ]);
    let cluster = Cluster::builder()
        .hosts(0)
        .fake_host("web01", &host)
        .start();
    let caller = cluster.caller();
    let answer = caller.ask(call_of(LIMIT));
    let job = answer["job_id"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(caller.result(job), json!({"result": null}));
    assert!(host.visits()[0].lines[0].len() > LIMIT - BESIDE);
    let answer = caller.ask(call_of(LIMIT + 1));
    assert_refused(&answer, "request_too_large", &json!({"limit": LIMIT}));
}

#[test]
fn a_packet_or_result_over_the_limit_is_no_message_of_the_protocol() {
    const LIMIT: usize = 100 * KIB;
    let cluster = Cluster::builder()
        .set("max_packet_size", "\"100K\"")
        .start();
    let caller = cluster.caller();
    let address = cluster.entry("web01");
    let address = format!("127.0.0.1:{}", address["port"]);
    for size in [LIMIT + 1, LIMIT + ALLOWANCE, 20 * LIMIT] {
        let job = caller.call("web01", "blob", &format!("[{LIMIT}, {size}, 5]"));
        let answer = caller.result(&job);
        let data = &answer["error"]["data"];
        assert_eq!(
            (&data["phase"], &data["address"]),
            (&json!("stream"), &json!(address))
        );
        assert_ended(&answer, "protocol_error", &data.clone());
        let page = caller.read(&job, "");
        let lengths: Vec<usize> = page.packets.iter().map(String::len).collect();
        assert_eq!(lengths, [LIMIT], "what came before is kept");

        let job = caller.call("web01", "big_result", &format!("[{size}]"));
        assert_eq!(caller.result(&job)["error"]["type"], "protocol_error");
    }
    let job = caller.call("web01", "big_result", &format!("[{LIMIT}]"));
    assert_eq!(
        caller.raw_result(&job).len(),
        LIMIT + r#"{"result":}"#.len()
    );
}

#[test]
fn packets_over_sixteen_mebibytes_are_refused_by_default() {
    const LIMIT: usize = 16 * 1024 * KIB;
    let packet = format!(r#"{{"stream":"{}"}}"#, "x".repeat(LIMIT - 1));
    let host = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE_STREAM,
        Step::line(&packet),
    ]);
    let cluster = Cluster::around(&host).start();
    let caller = cluster.caller();
    let answer = caller.result(&caller.call("fake", "p", "[]"));
    assert_eq!(answer["error"]["type"], "protocol_error");
    assert_eq!(answer["error"]["data"]["phase"], "stream");
    // What is wrong is said without repeating all of it.
    assert!(answer.to_string().len() < 4 * KIB);
}

#[test]
fn too_many_live_jobs_are_refused_until_one_has_ended() {
    let cluster = Cluster::builder().set("max_live_jobs", "2").start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let queue = r#""queue": {"name": {}}"#;
    let running = caller.call_with("web01", "gate", &feed.arguments(), queue);
    let queued = caller.call_with("web01", "echo", "[]", queue);
    let call = json!({"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": []});
    assert_refused(&caller.ask(&call), "overloaded", &Value::Null);
    // Everything else is answered.
    assert_eq!(caller.result_now(&running), json!({"no_result": true}));
    assert!(caller.cancel(&queued));
    let answer = caller.ask(&call);
    let job = answer["job_id"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(caller.result(job), json!({"result": []}));
}

#[test]
fn too_many_connections_are_told_so() {
    let cluster = Cluster::builder().set("max_connections", "2").start();
    let caller = cluster.caller();
    let hello = json!({"harpcaller": 1, "hello": {}});
    let mut clients: Vec<RawClient> = (0..2)
        .map(|_| {
            let mut client = caller.send(&hello);
            assert!(client.line()["server"].is_string());
            client
        })
        .collect();
    for _ in 0..3 {
        let mut one_too_many = caller.connect();
        assert_refused(&one_too_many.line(), "overloaded", &Value::Null);
        assert!(one_too_many.at_end());
    }
    // Those that have a place keep it.
    for client in &mut clients {
        client.send(json!({"harpcaller": 1, "cancel": NO_JOB}));
        assert_eq!(client.line(), json!({"cancelled": false}));
    }
    clients.pop();
    until("the place is free again", || {
        let mut client = caller.send(&hello);
        client.line()["server"].is_string().then_some(())
    });
}

#[test]
fn a_dispatcher_that_is_stopping_takes_no_new_calls() {
    let mut cluster = Cluster::builder().unkept().set("stop_grace", "600").start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let running = caller.call("web01", "feed", &feed.arguments());
    feed.send("1");
    let mut waiting = caller.send(json!({"harpcaller": 1, "get_result": running}));
    let mut following = caller.follow(&running, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":1}"#);
    let mut persistent = caller.send(json!({"harpcaller": 1, "hello": {}}));
    assert!(persistent.line()["server"].is_string());

    cluster.ask_dispatcher_to_stop();
    let call = json!({"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": []});
    let refused = until("calls are refused", || {
        let answer = caller.ask(&call);
        answer["error"].is_object().then_some(answer)
    });
    assert_refused(&refused, "shutdown", &Value::Null);
    // Everything else is answered, and what runs may come to its end.
    assert_eq!(caller.result_now(&running), json!({"no_result": true}));
    persistent.send(json!({"harpcaller": 1, "get_status": running}));
    assert_eq!(persistent.line()["time"]["end"], Value::Null);
    feed.send("2");
    assert_eq!(following.raw_line(), r#"{"packet":1,"data":2}"#);
    feed.finish();
    assert_eq!(following.rest(), [r#"{"result":null}"#]);
    assert_eq!(waiting.rest(), [r#"{"result":null}"#]);
    assert!(persistent.at_end());
    assert!(cluster.wait_dispatcher_ended().success());
    cluster.start_dispatcher();
    assert_eq!(caller.result_now(&running), json!({"result": null}));
    assert_eq!(caller.read(&running, "").packets, ["1", "2"]);
}
