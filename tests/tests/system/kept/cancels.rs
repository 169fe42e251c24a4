//! Cancels of calls whose hosts cannot be reached.

use std::time::{Duration, Instant};

use harp_tests::{Cluster, Way, until};
use serde_json::json;

use super::{QUEUE, behind_a_proxy};

#[test]
fn a_cancel_ends_the_job_at_once_and_is_delivered_later() {
    let (cluster, proxy) = behind_a_proxy(Cluster::builder());
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call_with("far", "feed", &feed.arguments(), QUEUE);
    feed.send("1");
    let mut following = caller.follow(&job, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":1}"#);
    let next = caller.call_with("far", "echo", "[5]", QUEUE);
    let taken = proxy.taken();
    proxy.set(Way::Closed);
    until("the host is tried again", || {
        (proxy.taken() > taken).then_some(())
    });
    let begun = Instant::now();
    let answer = caller.ask(json!({"harpcaller": 1, "cancel": job, "confirm": true}));
    assert_eq!(answer, json!({"cancelled": true, "remote": "unconfirmed"}));
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert!(feed.is_read(), "it goes on");
    assert!(!caller.has_started(&next), "its place is taken");
    proxy.set(Way::Open);
    feed.wait_abandoned();
    assert_eq!(caller.result(&next), json!({"result": [5]}));
}

#[test]
fn a_restart_forgets_neither_the_cancel_nor_the_place() {
    let (mut cluster, proxy) = behind_a_proxy(Cluster::builder());
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call_with("far", "feed", &feed.arguments(), QUEUE);
    feed.send("1");
    let next = caller.call_with("far", "echo", "[5]", QUEUE);
    let taken = proxy.taken();
    proxy.set(Way::Closed);
    until("the host is tried again", || {
        (proxy.taken() > taken).then_some(())
    });
    assert!(caller.cancel(&job));
    for _ in 0..2 {
        cluster.kill_dispatcher();
        cluster.start_dispatcher();
    }
    cluster.restart_dispatcher();
    assert!(!caller.has_started(&next), "its place is taken");
    proxy.set(Way::Open);
    feed.wait_abandoned();
    assert_eq!(caller.result(&next), json!({"result": [5]}));
    assert_eq!(caller.result_now(&job), json!({"cancelled": true}));
}

#[test]
fn a_cancel_of_a_host_that_is_there_is_proved() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call("web01", "feed", &feed.arguments());
    feed.send("1");
    let answer = caller.ask(json!({"harpcaller": 1, "cancel": job, "confirm": true}));
    assert_eq!(answer, json!({"cancelled": true, "remote": "confirmed"}));
    feed.wait_abandoned();
}
