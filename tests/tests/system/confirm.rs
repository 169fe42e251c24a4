//! Confirmed cancels (section 8).

use std::time::{Duration, Instant};

use harp_tests::{ACKNOWLEDGE_STREAM, Caller, Cluster, FakeHost, Step};
use serde_json::{Value, json};

use crate::assertions::NO_JOB;
use crate::leftovers::{FAMILY, Family};

const QUEUE: &str = r#""queue": {"name": {"q": 1}}"#;

fn cancel(caller: Caller, job: &str) -> Value {
    caller.ask(json!({"harpcaller": 1, "cancel": job, "confirm": true}))
}

fn confirmed() -> Value {
    json!({"cancelled": true, "remote": "confirmed"})
}

fn unconfirmed(cancelled: bool) -> Value {
    json!({"cancelled": cancelled, "remote": "unconfirmed"})
}

#[test]
fn a_confirmed_cancel_means_that_no_process_is_left() {
    let cluster = Cluster::builder()
        .procedure("family", FAMILY.0, FAMILY.1)
        .start();
    let caller = cluster.caller();
    let family = Family::new(&cluster, "family");
    let job = caller.call("web01", "family", &family.arguments());
    family.wait_complete();
    assert_eq!(cancel(caller, &job), confirmed());
    assert_eq!(family.alive(), Vec::<u32>::new());
    assert_eq!(caller.result(&job), json!({"cancelled": true}));
}

#[test]
fn where_no_host_was_asked_nothing_can_be_left() {
    let host = FakeHost::start(&[Step::Hang]);
    let cluster = Cluster::builder().fake_host("mute", &host).start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let running = caller.call_with("web01", "gate", &feed.arguments(), QUEUE);
    let queued = caller.call_with("web01", "echo", "[]", QUEUE);
    assert_eq!(cancel(caller, &queued), confirmed());
    assert_eq!(cancel(caller, &running), confirmed());
    // It is still being connected to.
    let connecting = caller.call("mute", "p", "[]");
    assert_eq!(cancel(caller, &connecting), confirmed());
}

#[test]
fn where_nothing_was_cancelled_nothing_is_confirmed() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "echo", "[]");
    let _ = caller.result(&job);
    assert_eq!(cancel(caller, &job), unconfirmed(false));
    assert_eq!(cancel(caller, NO_JOB), unconfirmed(false));
    // A client that does not ask is not told.
    let cancelled = caller.ask(json!({"harpcaller": 1, "cancel": job, "confirm": false}));
    assert_eq!(cancelled, json!({"cancelled": false}));
}

#[test]
fn a_host_of_another_make_confirms_nothing() {
    let begin = [Step::Handshake, Step::Request, ACKNOWLEDGE_STREAM];
    let script = |more: &[Step]| [&begin[..], &[Step::line(r#"{"stream":1}"#)], more].concat();
    let closes = FakeHost::start(&script(&[Step::AnyByte, Step::Close]));
    let reads_and_closes = FakeHost::start(&script(&[Step::Hang, Step::Close]));
    let hangs = FakeHost::start(&script(&[Step::AnyByte, Step::Pause]));
    let says_something = FakeHost::start(&script(&[
        Step::AnyByte,
        Step::line(r#"{"harp":1,"error":{"type":"cancelled","message":"m"}}"#),
    ]));
    let cluster = Cluster::builder()
        .hosts(0)
        .set("slot_grace", "1")
        .fake_host("closes", &closes)
        .fake_host("reads_and_closes", &reads_and_closes)
        .fake_host("hangs", &hangs)
        .fake_host("says_something", &says_something)
        .start();
    let caller = cluster.caller();
    for host in ["closes", "reads_and_closes", "hangs", "says_something"] {
        let job = caller.call(host, "p", "[]");
        let mut following = caller.follow(&job, r#""since": 0"#);
        assert_eq!(following.raw_line(), r#"{"packet":0,"data":1}"#);
        let begun = Instant::now();
        assert_eq!(cancel(caller, &job), unconfirmed(true), "{host}");
        // Bounded, whatever the host does.
        assert!(begun.elapsed() < Duration::from_secs(8), "{host}");
        assert_eq!(caller.result_now(&job), json!({"cancelled": true}));
    }
    hangs.go_on();
}
