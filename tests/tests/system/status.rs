//! A job's call, times and info (section 5).

use std::time::{SystemTime, UNIX_EPOCH};

use harp_tests::{Caller, Cluster, FakeHost, Step, until};
use serde_json::{Value, json};

use crate::assertions::keys;

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[test]
fn a_status_says_what_was_called_and_when() {
    let cluster = Cluster::builder().unkept().start();
    let caller = cluster.caller();
    let before = now();
    let mut feed = cluster.feed("feed");
    let more = r#""info": {"ticket": [17]}, "queue": {"name": {"q": 1}}"#;
    let running = caller.call_with("web01", "gate", &feed.arguments(), more);
    let queued = caller.call_with("web01", "echo", r#"{"k":1}"#, more);

    let status = caller.status(&running);
    assert_eq!(keys(&status), ["call", "info", "time"]);
    assert_eq!(keys(&status["call"]), ["arguments", "host", "procedure"]);
    assert_eq!(keys(&status["time"]), ["end", "start", "submit"]);
    assert_eq!(status["call"]["host"], "web01");
    assert_eq!(status["call"]["procedure"], "gate");
    assert_eq!(status["info"], json!({"ticket": [17]}));
    assert!(status["time"]["start"].is_u64(), "{status}");
    assert_eq!(status["time"]["end"], Value::Null);

    let status = caller.status(&queued);
    assert_eq!(
        status["call"],
        json!({"host": "web01", "procedure": "echo", "arguments": {"k": 1}})
    );
    assert!(status["time"]["submit"].is_u64(), "{status}");
    assert_eq!(status["time"]["start"], Value::Null);
    assert_eq!(status["time"]["end"], Value::Null);

    feed.send("1");
    feed.finish();
    assert_eq!(caller.result(&queued), json!({"result": {"k": 1}}));
    for job in [&running, &queued] {
        let time = &caller.status(job)["time"];
        let times = ["submit", "start", "end"].map(|key| time[key].as_u64().expect("a time"));
        assert!(times.is_sorted(), "{times:?}");
        assert!(
            before <= times[0] && times[2] <= now(),
            "{times:?} in seconds since 1970"
        );
    }
}

#[test]
fn info_is_null_unless_given_and_comes_back_untouched() {
    let cluster = Cluster::builder().unkept().start();
    let caller = cluster.caller();
    for (more, info) in [
        ("", json!(null)),
        (r#""info": null"#, json!(null)),
        (r#""info": false"#, json!(false)),
        (r#""info": "text""#, json!("text")),
        (r#""info": {"a": {"b": []}}"#, json!({"a": {"b": []}})),
    ] {
        let job = caller.call_with("web01", "echo", "[]", more);
        assert_eq!(caller.status(&job)["info"], info);
        assert_eq!(caller.result(&job), json!({"result": []}));
        assert_eq!(caller.status(&job)["info"], info);
    }
}

/// Puts a call into a queue where it has to wait, and then gives it its place.
fn call_after_waiting(cluster: &Cluster, name: &str, host: &str, more: &str) -> String {
    let caller = cluster.caller();
    let queue = format!(r#""queue": {{"name": {{"q": "{name}"}}}}"#);
    let feed = cluster.feed(name);
    let held = caller.call_with("web01", "gate", &feed.arguments(), &queue);
    let job = caller.call_with(host, "p", "[]", &format!("{queue}{more}"));
    assert!(!caller.has_started(&job));
    feed.finish();
    assert_eq!(caller.result(&held), json!({"result": null}));
    job
}

#[track_caller]
fn assert_all_times(caller: Caller, job: &str) {
    let time = &caller.status(job)["time"];
    let times = ["submit", "start", "end"].map(|key| time[key].as_u64());
    assert!(times.iter().all(Option::is_some), "{time}");
    assert!(times.is_sorted(), "{time}");
}

#[test]
fn a_job_that_left_its_queue_keeps_its_start_however_it_fails() {
    let host = FakeHost::start(&[Step::Hang]);
    let cluster = Cluster::builder()
        .unkept()
        .fake_host("fake", &host)
        .set("connect_timeout", "2")
        .start();
    let caller = cluster.caller();
    for (host, more, error_type) in [
        ("fake", r#", "timeout": 1"#, "timeout"),
        ("fake", r#", "max_exec_time": 1"#, "timeout"),
        ("fake", "", "network_error"),
        ("web99", "", "unknown_host"),
    ] {
        let job = call_after_waiting(&cluster, &format!("{host}{}", more.len()), host, more);
        let answer = caller.result(&job);
        assert_eq!(answer["error"]["type"], error_type, "{answer}");
        assert_all_times(caller, &job);
    }
}

#[test]
fn a_job_that_left_its_queue_keeps_its_start_when_it_is_cut_short() {
    let host = FakeHost::start(&[Step::AnyByte, Step::Hang]);
    let mut cluster = Cluster::builder()
        .unkept()
        .fake_host("fake", &host)
        .set("stop_grace", "0")
        .start();
    let caller = cluster.caller();
    let in_tls = |least| {
        until("the host hangs in TLS", || {
            let visits = host.visits();
            let is_there = visits.last().is_some_and(|last| last.closed.is_none());
            (visits.len() >= least && is_there).then_some(())
        });
    };
    let cancelled = call_after_waiting(&cluster, "a", "fake", "");
    in_tls(1);
    assert!(caller.cancel(&cancelled));
    assert_all_times(caller, &cancelled);

    // Nobody has run it, so the next start begins it.
    let interrupted = call_after_waiting(&cluster, "b", "fake", "");
    in_tls(2);
    let start = until("the start is on record", || {
        caller.status(&interrupted)["time"]["start"].as_u64()
    });
    cluster.restart_dispatcher();
    in_tls(3);
    assert!(caller.cancel(&interrupted));
    for job in [&cancelled, &interrupted] {
        assert_all_times(caller, job);
    }
    assert_eq!(caller.status(&interrupted)["time"]["start"], start);
}
