//! `timeout` and `max_exec_time` (section 2), with real limits of one second.

use std::time::{Duration, Instant};

use harp_tests::{ACKNOWLEDGE_STREAM, Cluster, FakeHost, Page, Step};
use serde_json::{Value, json};

use crate::assertions::assert_ended;

fn limit(name: &str, seconds: u64) -> Value {
    json!({"limit": name, "seconds": seconds})
}

#[track_caller]
fn assert_timed_out(answer: &Value, name: &str, seconds: u64) {
    assert_ended(answer, "timeout", &limit(name, seconds));
    let message = match name {
        "timeout" => "reading result timed out",
        _ => "maximum execution time exceeded",
    };
    assert_eq!(answer["error"]["message"], message);
}

#[test]
fn a_silent_host_is_given_up() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let begun = Instant::now();
    let jobs = ["silent", "silent_stream"]
        .map(|procedure| caller.call_with("web01", procedure, "[]", r#""timeout": 1"#));
    for job in &jobs {
        assert_timed_out(&caller.result(job), "timeout", 1);
    }
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "on time: {:?}",
        begun.elapsed()
    );
}

#[test]
fn the_procedure_of_a_timed_out_call_is_stopped() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call_with("web01", "gate", &feed.arguments(), r#""timeout": 1"#);
    feed.wait_read();
    assert_timed_out(&caller.result(&job), "timeout", 1);
    feed.wait_abandoned();
}

#[test]
fn silence_counts_from_the_last_message() {
    // 2.4 s in all, never more than 0.6 s of silence.
    let script = "for i in 0 1 2 3; do sleep 0.6; echo $i; done";
    let cluster = Cluster::builder()
        .procedure("drip", "output = 'json-lines'", script)
        .start();
    let caller = cluster.caller();
    let job = caller.call_with("web01", "drip", "[]", r#""timeout": 2"#);
    assert_eq!(caller.result(&job), json!({"result": null}));
    assert_eq!(caller.read(&job, "").packets, ["0", "1", "2", "3"]);
}

#[test]
fn packets_before_the_silence_are_kept() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call_with("web01", "feed", &feed.arguments(), r#""timeout": 1"#);
    feed.send("1");
    feed.send("2");
    let page = Page::read(&mut caller.follow(&job, r#""since": 0"#));
    assert_eq!(page.packets, ["1", "2"]);
    assert_timed_out(&page.last, "timeout", 1);
    assert_eq!(caller.read(&job, "").packets, ["1", "2"]);
}

#[test]
fn a_busy_stream_ends_on_time() {
    // As busy as a host can be.
    let host = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE_STREAM,
        Step::SendForever("{\"stream\":1}\n".into()),
    ]);
    // That the host goes on sending afterwards, and its place in a queue would be kept,
    // must not keep the end from being told.
    let cluster = Cluster::builder()
        .fake_host("fake", &host)
        .set("slot_grace", "60")
        .start();
    let caller = cluster.caller();
    for (host, procedure) in [("web01", "busy"), ("fake", "p")] {
        let begun = Instant::now();
        let job = caller.call_with(host, procedure, "[]", r#""max_exec_time": 1"#);
        assert_timed_out(&caller.result(&job), "max_exec_time", 1);
        let took = begun.elapsed();
        assert!(took >= Duration::from_secs(1), "{took:?}");
        assert!(took < Duration::from_secs(10), "on time: {took:?}");
        let page = caller.read(&job, r#""recent": 5"#);
        assert!(!page.packets.is_empty());
    }
}

/// What a limit of the dispatcher's own is told with.
#[track_caller]
fn assert_set_by_dispatcher(answer: &Value, name: &str, setting: &str) {
    let data = json!({
        "limit": name, "seconds": 1, "set_by": "dispatcher", "setting": setting,
    });
    assert_ended(answer, "timeout", &data);
}

fn call_with_limits(more: &str) -> String {
    format!(
        r#"{{"harpcaller":1,"host":"web01","procedure":"echo","arguments":[],"limits":true{more}}}"#
    )
}

#[test]
fn who_asks_is_told_which_limits_hold() {
    let cluster = Cluster::builder()
        .set("default_timeout", "30")
        .set("max_exec_time", "60")
        .start();
    let caller = cluster.caller();
    for (more, timeout, max_exec_time) in [
        ("", 30, 60),
        (r#","timeout":5"#, 5, 60),
        (r#","timeout":900,"max_exec_time":900"#, 900, 60),
        (r#","max_exec_time":7"#, 30, 7),
    ] {
        let answer = caller.ask(call_with_limits(more));
        let limits = json!({"timeout": timeout, "max_exec_time": max_exec_time});
        assert_eq!(answer["limits"], limits, "{more}");
    }
    let keyed = call_with_limits(r#","key":"k""#);
    assert!(caller.ask(&keyed)["limits"].is_object());
    let again = caller.ask(&keyed);
    assert_eq!(
        (&again["existing"], again.get("limits")),
        (&json!(true), None)
    );
}

#[test]
fn max_exec_time_is_lowered_to_its_ceiling_without_a_word() {
    let cluster = Cluster::builder().set("max_exec_time", "1").start();
    let caller = cluster.caller();
    for more in [
        "",
        r#""max_exec_time": 3600"#,
        r#""max_exec_time": 3600, "timeout": 3600"#,
    ] {
        let job = caller.call_with("web01", "busy", "[]", more);
        let answer = caller.result(&job);
        assert_set_by_dispatcher(&answer, "max_exec_time", "max_exec_time");
    }
}

#[test]
fn the_configured_timeout_holds_unless_the_call_says_otherwise() {
    let cluster = Cluster::builder()
        .set("default_timeout", "1")
        .procedure("slow", "output = 'json'", "sleep 1.6; echo 1")
        .start();
    let caller = cluster.caller();
    let job = caller.call("web01", "silent", "[]");
    assert_set_by_dispatcher(&caller.result(&job), "timeout", "default_timeout");
    // Above the default, which the original did not allow.
    let job = caller.call_with("web01", "slow", "[]", r#""timeout": 30"#);
    assert_eq!(caller.result(&job), json!({"result": 1}));
}

#[test]
fn waiting_in_a_queue_counts_for_neither_limit() {
    let cluster = Cluster::builder()
        .procedure("nap", "output = 'json'", "sleep 1.5; echo 1")
        .start();
    let caller = cluster.caller();
    let queue = r#""queue": {"name": {}}"#;
    let first = caller.call_with("web01", "nap", "[]", queue);
    let limits = format!(r#"{queue}, "timeout": 1, "max_exec_time": 1"#);
    let second = caller.call_with("web01", "echo", "[2]", &limits);
    assert_eq!(caller.result(&second), json!({"result": [2]}));
    assert_eq!(caller.result(&first), json!({"result": 1}));
}

#[test]
fn connecting_is_part_of_the_execution() {
    let host = FakeHost::start(&[Step::Hang]);
    let cluster = Cluster::around(&host).start();
    let caller = cluster.caller();
    for name in ["timeout", "max_exec_time"] {
        let job = caller.call_with("fake", "p", "[]", &format!(r#""{name}": 1"#));
        assert_timed_out(&caller.result(&job), name, 1);
    }
}

#[test]
fn a_limit_beyond_all_time_is_no_limit() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let more = r#""timeout": 18446744073709551615, "max_exec_time": 99999999999999999999"#;
    let job = caller.call_with("web01", "echo", "[]", more);
    assert_eq!(caller.result(&job), json!({"result": []}));
}
