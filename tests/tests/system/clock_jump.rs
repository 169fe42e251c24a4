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
        .cluster()
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

/// Calls so many times, one after the other: the jobs, which have ended.
fn calls(cluster: &Cluster, count: usize) -> Vec<String> {
    let caller = cluster.caller();
    let call = |_| {
        let job = caller.call("web01", "echo", "[]");
        assert_eq!(caller.result(&job), json!({"result": []}));
        job
    };
    (0..count).map(call).collect()
}

/// Whether each of these jobs is there.
fn are_there(cluster: &Cluster, jobs: &[String]) -> Vec<bool> {
    let listed = cluster.lines(&["list", "--all"]).join("\n");
    jobs.iter().map(|job| listed.contains(job)).collect()
}

/// What `status` prints while something wants an operator's attention.
fn attention(cluster: &Cluster) -> String {
    let output = cluster.run(&["status"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

const YEAR: i64 = 365 * 86400;

#[test]
fn jobs_older_than_max_age_go_and_live_ones_stay() {
    let Some(clock) = FalseClock::make() else {
        return;
    };
    let mut cluster = clock.cluster().set("max_age", "1").start();
    cluster.restart_dispatcher();
    let caller = cluster.caller();
    let live = caller.call("web01", "silent", "[]");
    let mut gate = cluster.feed("gate");
    let long = caller.call("web01", "gate", &gate.arguments());
    gate.wait_read();
    let old = calls(&cluster, 2);
    clock.let_pass(3540);
    let young = calls(&cluster, 1);
    // A reload has the limits looked at, which happens once a minute else.
    assert!(cluster.reload().status.success());
    assert_eq!(are_there(&cluster, &old), [true; 2], "not an hour old");
    clock.let_pass(3700);
    // It was submitted as long ago as those, and its client has not even seen the end.
    gate.send("1");
    gate.finish();
    assert_eq!(caller.result(&long), json!({"result": 1}));
    assert!(cluster.reload().status.success());
    until("the old ones are gone", || {
        (are_there(&cluster, &old) == [false; 2]).then_some(())
    });
    let kept = [live, long, young[0].clone()];
    assert_eq!(are_there(&cluster, &kept), [true; 3]);
    assert!(!cluster.log().text().contains("has been set forward"));
}

#[test]
fn a_clock_that_is_ahead_makes_no_job_old() {
    let Some(clock) = FalseClock::make() else {
        return;
    };
    let mut cluster = clock.cluster().set("max_age", "1").start();
    // From now on at an address that is in its configuration, which is reloaded below.
    cluster.restart_dispatcher();
    let mut jobs = calls(&cluster, 3);
    clock.set_wall(YEAR);
    assert!(cluster.reload().status.success());
    let told = "the wall clock has been set forward: for an hour no job is pruned by age";
    let warning = cluster.log().wait_for(told);
    assert!(
        (warning["seconds"].as_i64().unwrap() - YEAR).abs() < 60,
        "{warning}"
    );
    let status = attention(&cluster);
    assert!(
        status.contains("the wall clock was set forward"),
        "{status}"
    );
    // Neither do an operator's orders go by it, nor a start.
    jobs.extend(calls(&cluster, 3));
    assert_eq!(
        cluster.lines(&["prune-jobs", "--age", "30"]),
        ["0 jobs pruned"]
    );
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    assert_eq!(
        cluster.lines(&["prune-jobs", "--age", "30"]),
        ["0 jobs pruned"]
    );
    clock.set_wall(0);
    cluster.restart_dispatcher();
    clock.set_wall(2 * YEAR);
    assert!(cluster.reload().status.success());
    let _ = calls(&cluster, 1);
    assert_eq!(are_there(&cluster, &jobs), [true; 6]);
    // All of them are what no clock is needed for.
    assert_eq!(
        cluster.lines(&["prune-jobs", "--age", "0"]),
        ["7 jobs pruned"]
    );
}

#[test]
fn what_ended_first_goes_first_whatever_the_clock_showed() {
    let Some(clock) = FalseClock::make() else {
        return;
    };
    let mut cluster = clock.cluster().start();
    // From now on at an address that is in its configuration, which is reloaded below.
    cluster.restart_dispatcher();
    let caller = cluster.caller();
    let mut gate = cluster.feed("gate");
    let long = caller.call("web01", "gate", &gate.arguments());
    gate.wait_read();
    // For some seconds the clock is ahead.
    clock.set_wall(YEAR);
    let ahead = calls(&cluster, 5);
    clock.set_wall(0);
    let newer = calls(&cluster, 4);
    clock.set_wall(-YEAR);
    let newest = calls(&cluster, 5);
    gate.send("1");
    gate.finish();
    assert_eq!(caller.result(&long), json!({"result": 1}));
    cluster.set("max_jobs", "10");
    assert!(cluster.reload().status.success());
    until("five are gone", || {
        (cluster.lines(&["list", "--all"]).len() == 10).then_some(())
    });
    assert_eq!(are_there(&cluster, &ahead), [false; 5]);
    assert_eq!(are_there(&cluster, &newer), [true; 4]);
    // So it is after a start, and for a limit in bytes.
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    clock.set_wall(YEAR);
    cluster.set("max_store_size", "'1K'");
    assert!(cluster.reload().status.success());
    until("some are gone", || {
        (cluster.lines(&["list", "--all"]).len() < 10).then_some(())
    });
    let left = cluster.lines(&["list", "--all"]).len();
    let order: Vec<String> = [newer, newest, vec![long]].concat();
    let expected: Vec<bool> = (0..10).map(|place| place >= 10 - left).collect();
    assert_eq!(are_there(&cluster, &order), expected);
}

#[test]
fn after_a_boot_with_a_clock_that_may_be_wrong_little_goes_at_once() {
    let Some(clock) = FalseClock::make() else {
        return;
    };
    let mut cluster = clock.cluster().set("max_age", "1").start();
    let jobs = calls(&cluster, 8);
    cluster.stop_dispatcher();
    clock.boot(2);
    clock.set_wall(40 * 86400);
    cluster.start_dispatcher();
    let young = calls(&cluster, 1);
    assert!(cluster.reload().status.success());
    let refused = cluster.run(&["prune-jobs"]);
    assert_eq!(String::from_utf8_lossy(&refused.stdout), "0 jobs pruned\n");
    assert!(!refused.status.success(), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("by the wall clock alone"));
    assert_eq!(are_there(&cluster, &jobs), [true; 8]);
    // An hour later a quarter of all goes, and it is said.
    clock.set_since_boot(3540);
    clock.set_wall(40 * 86400 + 3540);
    let _ = calls(&cluster, 1);
    clock.set_since_boot(3610);
    clock.set_wall(40 * 86400 + 3610);
    assert!(cluster.reload().status.success());
    until("some are gone", || {
        (cluster.log().text().contains("the others follow")).then_some(())
    });
    let left = are_there(&cluster, &jobs);
    assert_eq!(left, [false, false, true, true, true, true, true, true]);
    let status = attention(&cluster);
    assert!(status.contains("little by little"), "{status}");
    // The operator's word.
    assert_eq!(
        cluster.lines(&["prune-jobs", "--age", "1"]),
        ["6 jobs pruned"]
    );
    assert_eq!(
        are_there(&cluster, &young),
        [false],
        "it is an hour old by now"
    );
}

#[test]
fn start_by_is_not_over_because_the_clock_is_ahead_after_a_restart() {
    let Some(clock) = FalseClock::make() else {
        return;
    };
    let mut cluster = clock
        .cluster()
        .unkept()
        .set("stop_grace", "0")
        .set("slot_grace", "1")
        .start();
    let caller = cluster.caller();
    let queue = r#""queue": {"name": {}}"#;
    let _ = caller.call_with("web01", "silent", "[]", queue);
    let waiting = caller.call_with(
        "web01",
        "echo",
        "[]",
        &format!(r#"{queue}, "start_by": 600"#),
    );
    cluster.stop_dispatcher();
    clock.set_wall(3600);
    cluster.start_dispatcher();
    assert_eq!(caller.result(&waiting), json!({"result": []}));
}

#[test]
fn unless_since_asks_no_clock_that_can_be_set() {
    let Some(clock) = FalseClock::make() else {
        return;
    };
    let mut cluster = clock.cluster().start();
    let call = |cluster: &Cluster| {
        let more = r#""key": "nightly", "unless_since": 3600"#;
        let request = format!(
            r#"{{"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": [], {more}}}"#
        );
        let answer = cluster.caller().ask(request);
        let job = answer["job_id"].as_str().unwrap().to_owned();
        assert_eq!(cluster.caller().result(&job), json!({"result": []}));
        job
    };
    let first = call(&cluster);
    for years in [1, -1, 30, 0] {
        clock.set_wall(years * YEAR);
        assert_eq!(call(&cluster), first, "{years} years are none");
        cluster.restart_dispatcher();
        assert_eq!(call(&cluster), first, "{years} years are none");
    }
    clock.let_pass(3000);
    assert_eq!(call(&cluster), first);
    clock.let_pass(3700);
    let second = call(&cluster);
    assert_ne!(second, first);
    // Over a start of the machine there is the wall clock alone.
    cluster.stop_dispatcher();
    clock.boot(2);
    clock.set_wall(3800);
    clock.set_since_boot(0);
    cluster.start_dispatcher();
    assert_eq!(call(&cluster), second);
    clock.set_wall(3800 + 8000);
    clock.set_since_boot(8000);
    assert_ne!(call(&cluster), second);
}
