//! Places in queues, kept for as long as a host may not know that its connection is gone
//! (`break_grace`, harpcaller.toml(5)).

use std::fs;
use std::time::{Duration, Instant};

use harp_tests::{ACKNOWLEDGE, ACKNOWLEDGE_STREAM, Caller, Cluster, FakeHost, Step, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use Step::{Close, CloseSilently, Handshake, Hang, Request, Reset};

const QUEUE: &str = r#""queue": {"name": {}}"#;

/// A host whose first call goes as scripted, and whose others return at once.
fn host(first: &[Step]) -> FakeHost {
    let end = Step::line(r#"{"result":2}"#);
    FakeHost::start_each(&[first, &[Handshake, Request, ACKNOWLEDGE, end]])
}

/// How long after the first job's end the second got its place.
fn wait_for_place(caller: &Caller, first: &str, second: &str) -> (Value, Duration) {
    let end = caller.result(first);
    let ended = Instant::now();
    assert_eq!(caller.result(second), json!({"result": 2}), "{end}");
    (end, ended.elapsed())
}

#[test]
fn a_connection_that_broke_keeps_the_place_and_one_that_was_closed_does_not() {
    let packet = Step::line(r#"{"stream":1}"#);
    for (name, fault, kept) in [
        ("gone before the acknowledgement", vec![CloseSilently], true),
        ("reset before the acknowledgement", vec![Reset], true),
        ("gone", vec![ACKNOWLEDGE, CloseSilently], true),
        ("reset", vec![ACKNOWLEDGE, Reset], true),
        (
            "gone in a stream",
            vec![ACKNOWLEDGE_STREAM, packet, CloseSilently],
            true,
        ),
        ("closed in order", vec![ACKNOWLEDGE, Close], false),
        (
            "an end",
            vec![ACKNOWLEDGE, Step::line(r#"{"result":1}"#), Close],
            false,
        ),
    ] {
        let host = host(&[&[Handshake, Request][..], &fault].concat());
        let cluster = Cluster::around(&host)
            .set("slot_grace", "0")
            .set("break_grace", "2")
            .start();
        let caller = cluster.caller();
        let jobs = [0, 1].map(|_| caller.call_with("fake", "p", "[]", QUEUE));
        let (_, waited) = wait_for_place(&caller, &jobs[0], &jobs[1]);
        // The end is a little older than the client's knowledge of it.
        let is_kept = waited > Duration::from_millis(1800);
        assert_eq!(is_kept, kept, "{name}: {waited:?}");
    }
}

#[test]
fn a_killed_harpd_keeps_the_place() {
    let cluster = Cluster::builder()
        .unkept()
        .hosts(2)
        .set("break_grace", "2")
        .start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let first = caller.call_with("web01", "gate", &feed.arguments(), QUEUE);
    feed.wait_read();
    let second = caller.call_with("web02", "echo", "[]", QUEUE);
    let id = i32::try_from(cluster.host_id("web01")).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::KILL).unwrap();
    let end = caller.result(&first);
    assert_eq!(end["error"]["type"], "network_error", "{end}");
    assert!(!caller.has_started(&second), "its procedure lives on");
    assert_eq!(caller.result(&second), json!({"result": []}));
    feed.finish();
}

#[test]
fn a_restart_does_not_shorten_it_and_a_stop_does_not_wait_for_it() {
    for in_order in [true, false] {
        let host = host(&[Handshake, Request, ACKNOWLEDGE, Reset]);
        let mut cluster = Cluster::around(&host)
            .set("slot_grace", "0")
            .set("break_grace", "5")
            .start();
        let caller = cluster.caller();
        let first = caller.call_with("fake", "p", "[]", QUEUE);
        let ended = Instant::now();
        assert_eq!(caller.result(&first)["error"]["type"], "network_error");
        let second = caller.call_with("fake", "p", "[]", QUEUE);
        if in_order {
            cluster.stop_dispatcher();
        } else {
            cluster.kill_dispatcher();
        }
        assert!(
            ended.elapsed() < Duration::from_secs(4),
            "{:?}",
            ended.elapsed()
        );
        cluster.start_dispatcher();
        assert!(!caller.has_started(&second));
        assert_eq!(caller.result(&second), json!({"result": 2}));
        let waited = ended.elapsed();
        assert!(waited > Duration::from_millis(4800), "{waited:?}");
    }
}

#[test]
fn after_a_start_of_the_machine_hosts_have_to_notice_by_themselves() {
    let first = [Handshake, Request, ACKNOWLEDGE, Hang];
    for (machine_started, kept) in [(true, 3), (false, 1)] {
        let host = host(&first);
        let mut cluster = Cluster::around(&host)
            .set("slot_grace", "1")
            .set("break_grace", "3")
            .start();
        let caller = cluster.caller();
        let running = caller.call_with("fake", "p", "[]", QUEUE);
        host.wait_for_lines(1);
        let queued = caller.call_with("fake", "p", "[]", QUEUE);
        cluster.kill_dispatcher();
        let file = cluster.path("jobs").join("boot.json");
        if machine_started {
            let mut note: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
            note["boot"] = json!("00000000-0000-4000-8000-000000000000");
            fs::write(&file, note.to_string()).unwrap();
        }
        let begun = Instant::now();
        cluster.start_dispatcher();
        // Another crash does not make the hosts know.
        cluster.kill_dispatcher();
        cluster.start_dispatcher();
        assert_eq!(caller.result(&running)["error"]["type"], "missing_result");
        assert!(!caller.has_started(&queued));
        assert_eq!(caller.result(&queued), json!({"result": 2}));
        let waited = begun.elapsed();
        assert!(waited >= Duration::from_secs(kept), "{waited:?}");
    }
}

#[test]
fn a_host_that_was_told_is_waited_for_no_longer_than_slot_grace() {
    let host = host(&[Handshake, Request, ACKNOWLEDGE, Step::Pause]);
    let cluster = Cluster::around(&host)
        .set("slot_grace", "1")
        .set("break_grace", "600")
        .start();
    let caller = cluster.caller();
    let first = caller.call_with("fake", "p", "[]", QUEUE);
    host.wait_for_lines(1);
    let second = caller.call_with("fake", "p", "[]", QUEUE);
    assert!(caller.cancel(&first));
    assert_eq!(caller.result(&second), json!({"result": 2}));
    host.go_on();
    until("both calls are known", || {
        (host.visits().len() == 2).then_some(())
    });
}

#[test]
fn a_host_that_was_told_and_closes_knows_however_it_closes() {
    let packet = Step::line(r#"{"stream":1}"#);
    for (name, acknowledged, farewell) in [
        ("closes without a word", ACKNOWLEDGE, vec![CloseSilently]),
        ("resets", ACKNOWLEDGE, vec![Reset]),
        ("closes in order", ACKNOWLEDGE, vec![Close]),
        (
            "streams, and closes without a word",
            ACKNOWLEDGE_STREAM,
            vec![CloseSilently],
        ),
        (
            "streams on, and closes without a word",
            ACKNOWLEDGE_STREAM,
            vec![packet, CloseSilently],
        ),
        ("streams, and resets", ACKNOWLEDGE_STREAM, vec![Reset]),
        (
            "streams, and closes in order",
            ACKNOWLEDGE_STREAM,
            vec![Close],
        ),
    ] {
        let first = [&[Handshake, Request, acknowledged, Hang][..], &farewell].concat();
        let host = host(&first);
        let cluster = Cluster::around(&host)
            .set("slot_grace", "600")
            .set("break_grace", "600")
            .start();
        let caller = cluster.caller();
        let first = caller.call_with("fake", "p", "[]", QUEUE);
        host.wait_for_lines(1);
        let second = caller.call_with("fake", "p", "[]", QUEUE);
        assert!(caller.cancel(&first), "{name}");
        assert_eq!(caller.result(&second), json!({"result": 2}), "{name}");
    }
}
