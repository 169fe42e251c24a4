//! A dispatcher that stood still (SIGSTOP, as a suspended machine or swap would have it):
//! what has arrived meanwhile counts before limits that have passed.

use std::time::{Duration, Instant};

use harp_tests::{ACKNOWLEDGE, Cluster, FakeHost, Step, until};
use serde_json::json;

use crate::assertions::assert_ended;

use Step::{Dawdle, Handshake, Hang, Request};

/// Lets the dispatcher stand still for so long.
fn stop_for(cluster: &Cluster, time: Duration) {
    cluster.freeze_dispatcher();
    std::thread::sleep(time);
    cluster.thaw_dispatcher();
}

#[test]
fn hosts_that_talked_or_returned_meanwhile_have_kept_their_limits() {
    /// Of each kind.
    const JOBS: usize = 10;
    let directory = tempfile::tempdir().unwrap();
    let begun = directory.path().join("begun");
    let returns = format!("echo x >>{}; sleep 2; echo done", begun.display());
    let cluster = Cluster::builder()
        .procedure(
            "talks",
            "output = 'lines'",
            "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $n; sleep 0.4; done",
        )
        .procedure("returns", "output = 'text'", &returns)
        .start();
    let caller = cluster.caller();
    let call = |procedure, more| {
        (0..JOBS)
            .map(|_| caller.call_with("web01", procedure, "[]", more))
            .collect::<Vec<_>>()
    };
    let talking = call("talks", r#""timeout": 2"#);
    let lines = |job: &String| caller.read(job, "").packets.len();
    until("all of them talk", || {
        talking.iter().all(|job| lines(job) > 0).then_some(())
    });
    let returning = call("returns", r#""timeout": 3, "max_exec_time": 3"#);
    until("all of the others run", || {
        let begun = std::fs::read_to_string(&begun).unwrap_or_default();
        (begun.lines().count() == JOBS).then_some(())
    });
    stop_for(&cluster, Duration::from_secs(4));
    for job in &talking {
        assert_eq!(caller.result(job), json!({"result": {"exit_code": 0}}));
        assert_eq!(lines(job), 12);
    }
    for job in &returning {
        assert_eq!(caller.result(job), json!({"result": "done\n"}));
    }
}

#[test]
fn a_connection_that_was_being_made_has_its_time() {
    let slow = Duration::from_millis(700);
    let end = Step::line(r#"{"result":1}"#);
    let host = FakeHost::start(&[
        Dawdle(slow),
        Handshake,
        Request,
        Dawdle(slow),
        ACKNOWLEDGE,
        end,
    ]);
    let cluster = Cluster::around(&host).set("connect_timeout", "2").start();
    let caller = cluster.caller();
    let job = caller.call_with("fake", "p", "[]", r#""timeout": 2"#);
    until("it is connected to", || {
        (!host.visits().is_empty()).then_some(())
    });
    stop_for(&cluster, Duration::from_secs(3));
    assert_eq!(caller.result(&job), json!({"result": 1}));
}

#[test]
fn a_host_that_stood_still_too_is_called_as_soon_as_both_go_on() {
    for unkept in [false, true] {
        let builder = Cluster::builder().set("connect_timeout", "3");
        let cluster = if unkept {
            builder.unkept().start()
        } else {
            builder.start()
        };
        let caller = cluster.caller();
        cluster.freeze_host("web01");
        let job = caller.call("web01", "echo", "[1]");
        until("it is on record", || caller.has_started(&job).then_some(()));
        stop_for(&cluster, Duration::from_secs(4));
        cluster.thaw_host("web01");
        // What was left of its time was for TLS alone.
        assert_eq!(caller.result(&job), json!({"result": [1]}), "{unkept}");
    }
}

#[test]
fn a_host_that_is_really_silent_is_found_out_all_the_same() {
    let host = FakeHost::start(&[Handshake, Request, ACKNOWLEDGE, Hang]);
    let cluster = Cluster::around(&host).start();
    let caller = cluster.caller();
    let jobs = [
        (r#""timeout": 1"#, "timeout"),
        (r#""max_exec_time": 1"#, "max_exec_time"),
    ]
    .map(|(more, limit)| (caller.call_with("fake", "p", "[]", more), limit));
    host.wait_for_lines(2);
    stop_for(&cluster, Duration::from_secs(2));
    let begun = Instant::now();
    for (job, limit) in jobs {
        let data = json!({"limit": limit, "seconds": 1});
        assert_ended(&caller.result(&job), "timeout", &data);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}

#[test]
fn a_client_whose_request_was_under_way_is_not_too_slow() {
    let cluster = Cluster::builder()
        .set("request_timeout", "1")
        .set("idle_timeout", "1")
        .start();
    let mut slow = cluster.caller().connect();
    slow.send_bytes(br#"{"harpcaller": 1, "#);
    let mut idle = cluster.caller().connect();
    cluster.freeze_dispatcher();
    std::thread::sleep(Duration::from_secs(2));
    slow.send_bytes(b"\"get_status\": \"8ec71d6b-28d1-4ce2-aa23-f3ea7887beda\"}\n");
    idle.send_bytes(
        b"{\"harpcaller\": 1, \"get_status\": \"8ec71d6b-28d1-4ce2-aa23-f3ea7887beda\"}\n",
    );
    cluster.thaw_dispatcher();
    for mut client in [slow, idle] {
        assert!(client.raw_line().contains("invalid_jobid"));
    }
}
