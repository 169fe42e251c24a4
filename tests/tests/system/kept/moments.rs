//! What counts while a host is away, and what is told it when it is back.

use std::time::{Duration, Instant};

use harp_tests::{Cluster, FakeHost, Page, Step, Way, until};
use serde_json::json;

use super::{QUEUE, address_of, behind_a_proxy, error_data, streaming};

use Step::{CloseSilently, Handshake, Hang, Request};

#[test]
fn silence_does_not_count_while_the_host_is_away() {
    let (cluster, proxy) = behind_a_proxy(Cluster::builder());
    let caller = cluster.caller();
    let (job, mut feed, _following) = streaming(&cluster, "far", r#""timeout": 5"#);
    proxy.set(Way::Closed);
    let begun = Instant::now();
    feed.send("2");
    feed.finish();
    until("the limit would have passed", || {
        (begun.elapsed() > Duration::from_secs(7)).then_some(())
    });
    assert_eq!(caller.result_now(&job), json!({"no_result": true}));
    proxy.set(Way::Open);
    let page = Page::read(&mut caller.follow(&job, r#""since": 0"#));
    assert_eq!(page.packets, ["1", "2"]);
    assert_eq!(page.last, json!({"result": null}));
}

#[test]
fn beats_are_no_sign_of_life_of_a_procedure() {
    // A beat in a second.
    let cluster = Cluster::builder().set("keep_for", "6").start();
    let caller = cluster.caller();
    let mut gate = cluster.feed("gate");
    let arguments = gate.arguments();
    let job = caller.call_with("web01", "gate", &arguments, r#""timeout": 3"#);
    gate.wait_read();
    let data = error_data(&caller.result(&job), "timeout");
    assert_eq!(data["limit"], "timeout");
    gate.wait_abandoned();
}

#[test]
fn a_host_that_has_moved_is_looked_for_where_the_registry_says() {
    let (cluster, proxy) = behind_a_proxy(Cluster::builder());
    let (_job, mut feed, mut following) = streaming(&cluster, "far", "");
    let taken = proxy.taken();
    proxy.set(Way::Closed);
    until("the host is looked for where it was", || {
        (proxy.taken() > taken).then_some(())
    });
    let mut entry = cluster.entry("web01");
    entry["hostname"] = json!("far");
    assert_ne!(address_of(&entry), proxy.address());
    cluster.set_registry(&[entry]);
    let _ = cluster.lines(&["hosts-refresh"]);
    feed.send("2");
    assert_eq!(following.raw_line(), r#"{"packet":1,"data":2}"#);
    feed.finish();
    assert_eq!(following.line(), json!({"result": null}));
}

#[test]
fn a_cancel_whose_connection_breaks_is_told_again() {
    let (cluster, proxy) = behind_a_proxy(Cluster::builder());
    let caller = cluster.caller();
    let (job, mut feed, _following) = streaming(&cluster, "far", QUEUE);
    let next = caller.call_with("far", "echo", "[5]", QUEUE);
    proxy.set(Way::HoldingCaller);
    let mut cancel = caller.send(json!({"harpcaller": 1, "cancel": job}));
    until("something to the host is held up", || {
        proxy.holds(1).then_some(())
    });
    // It is lost with the connection.
    proxy.set(Way::Closed);
    assert_eq!(cancel.line(), json!({"cancelled": true}));
    assert!(feed.is_read(), "it goes on");
    assert!(!caller.has_started(&next), "its place is taken");
    proxy.set(Way::Open);
    feed.wait_abandoned();
    assert_eq!(caller.result(&next), json!({"result": [5]}));
    assert_eq!(caller.result_now(&job), json!({"cancelled": true}));
}

#[test]
fn a_call_whose_packets_are_lost_is_cancelled() {
    let say = |more: &str| Step::line(&format!("{{\"harp\":1,{more}}}"));
    let denied = |name: &str, data: &str| {
        say(&format!(
            r#""error":{{"type":"{name}","message":"m","data":{data}}}"#
        ))
    };
    let has = r#""stream_result":true,"boot":"a","keep":300,"up":1.5"#;
    let begin = [
        Handshake,
        Request,
        denied("wrong_boot", r#"{"boot":"a"}"#),
        Request,
        say(has),
        Step::line(r#"{"stream":0}"#),
        // It is on disk, and acknowledged.
        Request,
        CloseSilently,
    ];
    let lost = [
        Handshake,
        Request,
        denied("lost_packets", r#"{"first":5}"#),
        Hang,
    ];
    let again = [
        Handshake,
        Request,
        say(&format!(r#"{has},"since":5,"ended":false"#)),
        Request,
        denied("cancelled", r#"{"processes":0}"#),
        Hang,
    ];
    let host = FakeHost::keeping(&[&begin, &lost, &again]);
    let cluster = Cluster::builder().fake_host("fake", &host).start();
    let caller = cluster.caller();
    let job = caller.call_with("fake", "p", "[]", QUEUE);
    let data = error_data(&caller.result(&job), "missing_result");
    assert_eq!(data, json!({"lost_packets": true}));
    let lines = until("the host is told", || {
        let visit = host.visits().get(2)?.clone();
        (visit.lines.len() >= 2).then_some(visit.lines)
    });
    assert!(lines[0].contains(r#""since":5"#), "{lines:?}");
    assert_eq!(lines[1], r#"{"cancel":true}"#);
    // Nothing of it is left, says the host.
    let next = caller.call_with("web01", "echo", "[5]", QUEUE);
    assert_eq!(caller.result(&next), json!({"result": [5]}));
}
