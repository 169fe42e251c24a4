//! `start_by` (section 8).

use std::time::{Duration, Instant};

use harp_tests::{Cluster, until};
use serde_json::{Value, json};

use crate::assertions::assert_ended;

const QUEUE: &str = r#""queue": {"name": {"q": 1}}"#;

#[track_caller]
fn assert_not_started(cluster: &Cluster, job: &str, seconds: u64) {
    let caller = cluster.caller();
    let answer = caller.result(job);
    let data = json!({"limit": "start_by", "seconds": seconds});
    assert_ended(&answer, "timeout", &data);
    assert_eq!(answer["error"]["message"], "could not start in time");
    let time = &caller.status(job)["time"];
    assert_eq!(time["start"], Value::Null);
    assert!(time["end"].is_u64(), "{time}");
}

#[test]
fn a_job_that_cannot_start_in_time_ends() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let trace = cluster.path("trace");
    let call = |name: &str, more: &str| {
        let arguments = json!([trace, name]).to_string();
        caller.call_with("web01", "trace", &arguments, &format!("{QUEUE}{more}"))
    };
    // One that starts in time may run for longer than that.
    let more = format!(r#"{QUEUE}, "start_by": 1"#);
    let first = caller.call_with("web01", "gate", &feed.arguments(), &more);
    let begun = Instant::now();
    let patient = call("patient", r#", "start_by": 600"#);
    let late = [
        call("a", r#", "start_by": 2"#),
        call("b", r#", "start_by": 1"#),
    ];
    let last = call("last", "");
    let mut following = caller.follow(&late[1], "");
    assert_not_started(&cluster, &late[1], 1);
    assert_eq!(following.line()["error"]["type"], "timeout");
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_not_started(&cluster, &late[0], 2);
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert!(begun.elapsed() < Duration::from_secs(10), "on time");
    assert!(!caller.cancel(&late[0]));

    feed.send("1");
    feed.finish();
    assert_eq!(caller.result(&first), json!({"result": 1}));
    for job in [&patient, &last] {
        assert_eq!(caller.result(job), json!({"result": null}));
    }
    assert_eq!(
        std::fs::read_to_string(trace).unwrap(),
        "start patient\nend patient\nstart last\nend last\n"
    );
}

#[test]
fn it_counts_over_a_restart() {
    let mut cluster = Cluster::builder().set("slot_grace", "60").start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let trace = cluster.path("trace");
    // Its place is kept over the crash: the others go on waiting.
    let _ = caller.call_with("web01", "feed", &feed.arguments(), QUEUE);
    feed.wait_read();
    let begun = Instant::now();
    let [during, after] = [1, 4].map(|seconds| {
        let arguments = json!([trace, "x"]).to_string();
        let more = format!(r#"{QUEUE}, "start_by": {seconds}"#);
        caller.call_with("web01", "trace", &arguments, &more)
    });
    cluster.kill_dispatcher();
    until("a second is over", || {
        (begun.elapsed() > Duration::from_millis(1100)).then_some(())
    });
    cluster.start_dispatcher();
    assert_not_started(&cluster, &during, 1);
    assert_not_started(&cluster, &after, 4);
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(3), "{took:?}");
    // From the submission, not from the start.
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(!trace.exists());
}
