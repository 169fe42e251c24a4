//! The way to the host breaks under a call.

use std::time::Duration;

use harp_tests::{Cluster, Page, Way, until};
use serde_json::{Value, json};

use super::{behind_a_proxy, streaming};

#[test]
fn a_break_loses_nothing() {
    let (cluster, proxy) = behind_a_proxy(Cluster::builder());
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call("far", "feed", &feed.arguments());
    let mut following = caller.follow(&job, r#""since": 0"#);
    for number in 0..60 {
        feed.send(&number.to_string());
        let line = following.raw_line();
        assert_eq!(line, format!(r#"{{"packet":{number},"data":{number}}}"#));
        match number {
            10 | 20 | 21 => proxy.cut(),
            30 => {
                proxy.set(Way::Closed);
                for number in 31..40 {
                    feed.send(&number.to_string());
                }
                let taken = proxy.taken();
                until("the host is tried again", || {
                    (proxy.taken() > taken + 2).then_some(())
                });
                proxy.set(Way::Open);
                for number in 31..40 {
                    let line = following.raw_line();
                    assert_eq!(line, format!(r#"{{"packet":{number},"data":{number}}}"#));
                }
                break;
            }
            _ => {}
        }
    }
    feed.finish();
    assert_eq!(following.line(), json!({"result": null}));
}

#[test]
fn a_host_that_stays_away_for_longer_than_it_keeps_the_call_ends_it() {
    let (cluster, proxy) = behind_a_proxy(Cluster::builder().set("keep_for", "2"));
    let caller = cluster.caller();
    let (job, feed, _following) = streaming(&cluster, "far", "");
    proxy.set(Way::Closed);
    let answer = caller.result(&job);
    assert_eq!(answer["error"]["type"], "network_error", "{answer}");
    assert_eq!(answer["error"]["data"]["kept_for"], 2, "{answer}");
    assert_ne!(answer["error"]["data"]["phase"], Value::Null, "{answer}");
    feed.wait_abandoned();
}

#[test]
fn a_way_that_swallows_is_taken_for_a_break() {
    // Three beats of a sixth of it.
    let (cluster, proxy) = behind_a_proxy(Cluster::builder().set("keep_for", "12"));
    let caller = cluster.caller();
    let (job, mut feed, _following) = streaming(&cluster, "far", "");
    let taken = proxy.taken();
    proxy.set(Way::Swallowing);
    feed.send("2");
    until("the host is tried again", || {
        (proxy.taken() > taken).then_some(())
    });
    std::thread::sleep(Duration::from_millis(10));
    proxy.cut();
    proxy.set(Way::Open);
    feed.finish();
    let page = Page::read(&mut caller.follow(&job, r#""since": 0"#));
    assert_eq!(page.packets, ["1", "2"]);
    assert_eq!(page.last, json!({"result": null}));
}
