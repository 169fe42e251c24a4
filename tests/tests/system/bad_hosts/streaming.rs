//! Hosts that fail while they send packets, or do not stop.

use harp_tests::{ACKNOWLEDGE_STREAM, Closing, Cluster, FakeHost, Page, Step};
use serde_json::json;

use super::{packet, text};
use crate::assertions::assert_ended;

use Step::{Handshake, Hang, Request, Reset};

#[test]
fn a_host_that_hangs_in_its_stream_is_left_to_the_timeout() {
    let host = FakeHost::start(&[Handshake, Request, ACKNOWLEDGE_STREAM, packet(0), Hang]);
    let cluster = Cluster::around(&host).set("connect_timeout", "1").start();
    let caller = cluster.caller();
    let job = caller.call_with("fake", "p", "[]", r#""timeout": 2"#);
    let answer = caller.result(&job);
    assert_ended(
        &answer,
        "timeout",
        &json!({"limit": "timeout", "seconds": 2}),
    );
    assert_eq!(caller.read(&job, "").packets, ["0"]);
    assert_eq!(host.wait_closed(0), Closing::Notified);
}

#[test]
fn a_connection_that_breaks_off_in_the_stream_is_a_network_error() {
    let host = FakeHost::start(&[
        Handshake,
        Request,
        ACKNOWLEDGE_STREAM,
        packet(0),
        Step::Pause,
        Reset,
    ]);
    let cluster = Cluster::around(&host).start();
    let caller = cluster.caller();
    let job = caller.call("fake", "p", "[]");
    let mut following = caller.follow(&job, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":0}"#);
    host.go_on();
    let data = json!({"code": "econnreset", "phase": "stream", "address": host.address()});
    assert_ended(&following.line(), "network_error", &data);
    assert_eq!(caller.read(&job, "").packets, ["0"]);
}

#[test]
fn a_host_that_never_stops_sending_ends_by_max_exec_time_or_a_cancel() {
    // Big packets: it is their bytes that keep the dispatcher busy.
    let packet = format!("{{\"stream\":\"{}\"}}\n", "x".repeat(4000));
    let host = FakeHost::start(&[
        Handshake,
        Request,
        ACKNOWLEDGE_STREAM,
        Step::SendForever(packet.into()),
    ]);
    let cluster = Cluster::around(&host).set("slot_grace", "1").start();
    let caller = cluster.caller();
    let limited = caller.call_with("fake", "p", "[]", r#""max_exec_time": 1"#);
    let following = Page::read(&mut caller.follow(&limited, r#""since": 0"#));
    let data = json!({"limit": "max_exec_time", "seconds": 1});
    assert_ended(&following.last, "timeout", &data);
    assert_eq!(caller.read(&limited, "").packets, following.packets);

    let cancelled = caller.call("fake", "p", "[]");
    assert!(
        caller
            .follow(&cancelled, r#""since": 0"#)
            .raw_line()
            .starts_with(r#"{"packet":0,"#)
    );
    assert!(caller.cancel(&cancelled));
    assert_eq!(caller.result_now(&cancelled), json!({"cancelled": true}));
    // The connections are closed, at the latest when slot_grace is over.
    for connection in 0..2 {
        let _ = host.wait_closed(connection);
    }
}

#[test]
fn nothing_that_comes_after_the_end_counts() {
    let host = FakeHost::start(&[
        Handshake,
        Request,
        ACKNOWLEDGE_STREAM,
        packet(0),
        text("{\"result\":1}\n{\"stream\":1}\n{\"result\":2}\ngarbage\n"),
    ]);
    let cluster = Cluster::around(&host).start();
    let caller = cluster.caller();
    let job = caller.call("fake", "p", "[]");
    assert_eq!(caller.result(&job), json!({"result": 1}));
    let page = caller.read(&job, "");
    assert_eq!(
        (page.packets, page.last),
        (vec!["0".to_owned()], json!({"result": 1}))
    );
}
