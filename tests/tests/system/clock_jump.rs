//! A wall clock that jumps breaks no limit: they are kept by a clock that does not.

use std::time::{Duration, Instant};

use harp_tests::false_clock::FalseClock;
use harp_tests::{Cluster, until};
use serde_json::json;

#[test]
fn limits_hold_when_the_wall_clock_jumps() {
    let Some(clock) = FalseClock::make() else {
        return;
    };
    for hours in [1, -1] {
        clock.set_wall(0);
        jump(&clock, hours * 3600);
    }
}

fn jump(clock: &FalseClock, offset: i64) {
    let cluster = clock
        .given_to(Cluster::builder())
        .procedure("limited", "output = 'json'\ntimeout = 3", "exec sleep 600")
        .start();
    let caller = cluster.caller();
    let queue = r#""queue": {"name": {}}"#;
    let mut feed = cluster.feed("feed");
    let unlimited = caller.call_with("web01", "gate", &feed.arguments(), queue);
    let queued = caller.call_with(
        "web01",
        "echo",
        "[]",
        &format!(r#"{queue}, "start_by": 600"#),
    );
    let jobs = [
        (
            "timeout",
            caller.call_with("web01", "silent", "[]", r#""timeout": 3"#),
        ),
        (
            "max_exec_time",
            caller.call_with("web01", "busy", "[]", r#""max_exec_time": 3"#),
        ),
        (
            "start_by",
            caller.call_with("web01", "echo", "[]", &format!(r#"{queue}, "start_by": 3"#)),
        ),
        // This limit is harpd's.
        ("", caller.call("web01", "limited", "[]")),
    ];
    let begun = Instant::now();
    feed.wait_read();
    let before = caller.status(&unlimited)["time"]["submit"]
        .as_i64()
        .unwrap();

    clock.set_wall(offset);
    // The dispatcher sees the jump.
    let job = caller.call("web01", "echo", "[]");
    assert_eq!(caller.result(&job), json!({"result": []}));
    let after = caller.status(&job)["time"]["submit"].as_i64().unwrap();
    assert!((after - before - offset).abs() < 30, "{before} {after}");

    for (limit, job) in &jobs {
        let answer = caller.result(job);
        let took = begun.elapsed();
        assert_eq!(answer["error"]["type"], "timeout", "{answer}");
        if !limit.is_empty() {
            let data = json!({"limit": limit, "seconds": 3});
            assert_eq!(answer["error"]["data"], data);
        }
        assert!(took >= Duration::from_millis(2500), "{limit}: {took:?}");
        assert!(took < Duration::from_secs(12), "{limit}: {took:?}");
        let time = &caller.status(job)["time"];
        let (submit, end) = (time["submit"].as_i64(), time["end"].as_i64());
        assert!(end >= submit, "no job ends before it began: {time}");
    }
    // What has not reached its limit has not been ended by an hour that was none.
    assert_eq!(caller.result_now(&unlimited), json!({"no_result": true}));
    assert_eq!(caller.result_now(&queued), json!({"no_result": true}));
    feed.send("1");
    feed.finish();
    assert_eq!(caller.result(&unlimited), json!({"result": 1}));
    assert_eq!(caller.result(&queued), json!({"result": []}));
}

#[test]
fn jobs_older_than_max_age_go_and_live_ones_stay() {
    let Some(clock) = FalseClock::make() else {
        return;
    };
    let mut cluster = clock
        .given_to(Cluster::builder())
        .set("max_age", "1")
        .start();
    cluster.restart_dispatcher();
    let caller = cluster.caller();
    let live = caller.call("web01", "silent", "[]");
    let call = || {
        let job = caller.call("web01", "echo", "[]");
        assert_eq!(caller.result(&job), json!({"result": []}));
        job
    };
    let old = [call(), call()];
    clock.set_wall(3540);
    let young = call();
    let listed = || cluster.lines(&["list", "--all"]).join("\n");
    // A reload has the limits looked at, which happens once a minute else.
    assert!(cluster.reload().status.success());
    assert!(
        old.iter().all(|job| listed().contains(job)),
        "not an hour old"
    );
    clock.set_wall(3700);
    assert!(cluster.reload().status.success());
    until("the old ones are gone", || {
        let listed = listed();
        (!old.iter().any(|job| listed.contains(job))).then_some(())
    });
    let listed = listed();
    assert!(
        listed.contains(&live) && listed.contains(&young),
        "{listed}"
    );
}
