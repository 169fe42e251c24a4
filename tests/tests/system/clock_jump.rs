//! A wall clock that jumps breaks no limit: they are kept by a clock that does not.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harp_tests::{Cluster, until};
use serde_json::json;

/// Moves the wall clock of a process by the seconds that a file says, and no other clock.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static time_t offset(void) {
    char text[32] = {0};
    const char *path = getenv("WALL_CLOCK_OFFSET");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return 0;
    if (read(file, text, sizeof text - 1) < 0)
        text[0] = 0;
    close(file);
    return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += offset();
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int failed = syscall(SYS_gettimeofday, now, zone);
    if (!failed)
        now->tv_sec += offset();
    return failed;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out)
        *out = now.tv_sec;
    return now.tv_sec;
}
"#;

/// Compiles the shim; false, with a word about it, where there is no C compiler.
fn compile(directory: &Path) -> bool {
    let source = directory.join("shim.c");
    std::fs::write(&source, SHIM).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([directory.join("shim.so"), source])
        .output();
    match compiled {
        Ok(output) if output.status.success() => true,
        why => {
            eprintln!("skipped: cannot compile a library with cc: {why:?}");
            false
        }
    }
}

#[test]
fn limits_hold_when_the_wall_clock_jumps() {
    let directory = tempfile::tempdir().unwrap();
    if !compile(directory.path()) {
        return;
    }
    for hours in [1, -1] {
        jump(directory.path(), hours * 3600);
    }
}

fn jump(directory: &Path, offset: i64) {
    let clock = directory.join("offset");
    std::fs::write(&clock, "0").unwrap();
    let cluster = Cluster::builder()
        .environment("LD_PRELOAD", directory.join("shim.so").to_str().unwrap())
        .environment("WALL_CLOCK_OFFSET", clock.to_str().unwrap())
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

    std::fs::write(&clock, offset.to_string()).unwrap();
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
    let directory = tempfile::tempdir().unwrap();
    if !compile(directory.path()) {
        return;
    }
    let clock = directory.path().join("offset");
    std::fs::write(&clock, "0").unwrap();
    let library = directory.path().join("shim.so");
    let mut cluster = Cluster::builder()
        .set("max_age", "1")
        .environment("LD_PRELOAD", library.to_str().unwrap())
        .environment("WALL_CLOCK_OFFSET", clock.to_str().unwrap())
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
    std::fs::write(&clock, "3540").unwrap();
    let young = call();
    let listed = || cluster.lines(&["list", "--all"]).join("\n");
    // A reload has the limits looked at, which happens once a minute else.
    assert!(cluster.reload().status.success());
    assert!(
        old.iter().all(|job| listed().contains(job)),
        "not an hour old"
    );
    std::fs::write(&clock, "3700").unwrap();
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
