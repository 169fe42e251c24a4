//! Cancels of calls whose hosts cannot be reached.

use harp_tests::{Cluster, Way, until};
use serde_json::json;

use super::{QUEUE, behind_a_proxy, streaming};

#[test]
fn a_cancel_ends_the_job_at_once_and_is_delivered_later() {
    let (cluster, proxy) = behind_a_proxy(Cluster::builder());
    let caller = cluster.caller();
    let (job, mut feed, _following) = streaming(&cluster, "far", QUEUE);
    let next = caller.call_with("far", "echo", "[5]", QUEUE);
    let taken = proxy.taken();
    proxy.set(Way::Closed);
    until("the host is tried again", || {
        (proxy.taken() > taken).then_some(())
    });
    // The host keeps it for longer than the answer is waited for.
    let answer = caller.ask(json!({"harpcaller": 1, "cancel": job, "confirm": true}));
    assert_eq!(answer, json!({"cancelled": true, "remote": "unconfirmed"}));
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

#[test]
fn a_cancel_of_what_a_stop_leaves_is_not_answered() {
    let builder = Cluster::builder().set("stop_grace", "60");
    let (mut cluster, proxy) = behind_a_proxy(builder);
    let mut far = cluster.entry("web01");
    far["hostname"] = json!("far");
    far["address"] = json!(proxy.address().ip());
    far["port"] = json!(proxy.address().port());
    let mut plain = cluster.entry("web01");
    plain["keep"] = json!(false);
    cluster.set_registry(&[far, plain]);
    let _ = cluster.lines(&["hosts-refresh"]);
    let caller = cluster.caller();
    let mut kept = cluster.feed("kept");
    let mut waited_for = cluster.feed("waited_for");
    let job = caller.call("far", "gate", &kept.arguments());
    let other = caller.call("web01", "gate", &waited_for.arguments());
    kept.wait_read();
    waited_for.wait_read();
    cluster.ask_dispatcher_to_stop();
    until("the job is left to the next start", || {
        (proxy.live() == 0).then_some(())
    });
    let mut cancel = caller.send(json!({"harpcaller": 1, "cancel": job}));
    waited_for.send("1");
    waited_for.finish();
    assert!(cancel.at_end(), "nothing is known of it");
    assert!(cluster.wait_dispatcher_ended().success());
    assert!(kept.is_read(), "it goes on");
    cluster.start_dispatcher();
    assert_eq!(caller.result_now(&other), json!({"result": 1}));
    assert!(caller.cancel(&job));
    kept.wait_abandoned();
}
