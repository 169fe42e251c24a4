//! Restarts and crashes of the dispatcher under calls that their hosts keep.

use std::time::{Duration, Instant};

use harp_tests::{Cluster, outlive, until};
use serde_json::json;

use super::{QUEUE, assert_all_of, error_data, streaming};

#[test]
fn a_restart_interrupts_nothing() {
    let mut cluster = Cluster::builder().set("stop_grace", "60").start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let mut gate = cluster.feed("gate");
    let streaming = caller.call_with("web01", "feed", &feed.arguments(), QUEUE);
    let quiet = caller.call("web01", "gate", &gate.arguments());
    let queued = caller.call_with("web01", "echo", "[5]", QUEUE);
    feed.send("1");
    feed.send("2");
    gate.wait_read();
    let mut following = caller.follow(&streaming, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":1}"#);
    assert_eq!(following.raw_line(), r#"{"packet":1,"data":2}"#);
    let mut waiting = caller.send(json!({"harpcaller": 1, "get_result": quiet}));
    let begun = Instant::now();
    cluster.stop_dispatcher();
    let stopped = begun.elapsed();
    assert!(
        stopped < Duration::from_secs(30),
        "it waits for no call: {stopped:?}"
    );
    // An error line would be taken for the end of their jobs.
    assert!(following.at_end());
    assert!(waiting.at_end());
    feed.send("3");
    gate.send("42");
    gate.finish();
    cluster.start_dispatcher();
    feed.send("4");
    feed.finish();
    assert_all_of(caller, &streaming, 4);
    assert_eq!(caller.result(&quiet), json!({"result": 42}));
    assert_eq!(caller.result(&queued), json!({"result": [5]}));
}

#[test]
fn a_crash_interrupts_nothing() {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call_with("web01", "feed", &feed.arguments(), QUEUE);
    let queued = caller.call_with("web01", "echo", "[5]", QUEUE);
    for number in 1..=20 {
        feed.send(&number.to_string());
        if number % 5 == 0 {
            cluster.kill_dispatcher();
            cluster.start_dispatcher();
        }
    }
    assert!(!caller.has_started(&queued), "its place is taken");
    feed.finish();
    assert_all_of(caller, &job, 20);
    assert_eq!(caller.result(&queued), json!({"result": [5]}));
}

#[test]
fn a_call_whose_output_was_truncated_goes_on_to_its_end() {
    for (key, value, fits) in [("max_job_packets", "5", 5), ("max_job_size", "7", 7)] {
        let mut cluster = Cluster::builder()
            .set(key, value)
            .set("job_limit_policy", r#""truncate""#)
            .start();
        let caller = cluster.caller();
        let mut feed = cluster.feed("feed");
        let job = caller.call("web01", "feed", &feed.arguments());
        let mut following = caller.follow(&job, r#""since": 0"#);
        // A byte each.
        for number in 0..9 {
            feed.send(&number.to_string());
        }
        for number in 0..fits {
            let line = following.raw_line();
            assert_eq!(line, format!(r#"{{"packet":{number},"data":{number}}}"#));
        }
        let marker = following.raw_line();
        assert!(marker.contains(r#""truncated""#), "{marker}");
        for _ in 0..2 {
            // What is dropped is acknowledged too, and forgotten by the host.
            let begun = Instant::now();
            until("everything is acknowledged", || {
                (begun.elapsed() > Duration::from_millis(500)).then_some(())
            });
            cluster.kill_dispatcher();
            cluster.start_dispatcher();
            feed.send("1");
        }
        feed.finish();
        assert_eq!(caller.result(&job), json!({"result": null}), "{key}");
        let page = caller.read(&job, r#""since": 0"#);
        assert_eq!(page.packets.len(), fits + 1, "{key}: {page:?}");
    }
}

/// By hand, for long: `cargo run -p harp-tests --example outlive -- --kills 200 --calls 50`.
#[test]
fn no_crash_loses_or_doubles_anything_of_many_calls() {
    let seed = u64::from(std::process::id());
    let report = outlive::run(outlive::Options {
        kills: 8,
        calls: 8,
        seed,
    });
    assert!(report.broken.is_empty(), "seed {seed}: {report:?}");
    assert!(report.packets > 100, "{report:?}");
}

#[test]
fn a_stop_can_end_what_hosts_keep_too() {
    let mut cluster = Cluster::builder().set("stop_grace", "0").start();
    let caller = cluster.caller();
    let (job, feed, mut following) = streaming(&cluster, "web01", "");
    assert!(cluster.run(&["stop", "--end-calls"]).status.success());
    assert!(cluster.wait_dispatcher_ended().success());
    let _ = error_data(&following.line(), "missing_result");
    feed.wait_abandoned();
    cluster.start_dispatcher();
    let _ = error_data(&caller.result_now(&job), "missing_result");
}

#[test]
fn a_drain_waits_for_what_hosts_keep() {
    let mut cluster = Cluster::builder().set("stop_grace", "0").start();
    let caller = cluster.caller();
    let mut gate = cluster.feed("gate");
    let job = caller.call("web01", "gate", &gate.arguments());
    gate.wait_read();
    let mut draining = cluster.command().arg("drain").spawn().unwrap();
    let _ = cluster
        .log()
        .wait_for("draining: no new calls, and the end when the running ones have ended");
    gate.send("42");
    gate.finish();
    assert!(draining.wait().unwrap().success());
    assert!(cluster.wait_dispatcher_ended().success());
    cluster.start_dispatcher();
    assert_eq!(caller.result_now(&job), json!({"result": 42}));
}

#[test]
fn time_that_passes_while_the_dispatcher_is_away_is_judged_by_what_the_host_says() {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let limit = r#""max_exec_time": 1"#;
    let mut gate = cluster.feed("gate");
    let ended = caller.call_with("web01", "gate", &gate.arguments(), limit);
    gate.wait_read();
    let mut other = cluster.feed("other");
    let busy = caller.call_with("web01", "gate", &other.arguments(), limit);
    other.wait_read();
    cluster.kill_dispatcher();
    let begun = Instant::now();
    gate.send("42");
    gate.finish();
    until("the limit has passed", || {
        (begun.elapsed() > Duration::from_secs(2)).then_some(())
    });
    cluster.start_dispatcher();
    assert_eq!(caller.result(&ended), json!({"result": 42}));
    let data = error_data(&caller.result(&busy), "timeout");
    assert_eq!(data["limit"], "max_exec_time");
    other.wait_abandoned();
}
