//! A host's harpd ends while the dispatcher is away, or beside it.

use harp_tests::{Cluster, until};
use serde_json::json;

use super::{QUEUE, error_data, streaming};

/// A job that streams, whose first packet is on disk, and one behind it in its queue.
fn start_both(cluster: &Cluster) -> (String, String, harp_tests::Feed) {
    let caller = cluster.caller();
    let (job, feed, _following) = streaming(cluster, "web01", QUEUE);
    let next = caller.call_with("web01", "echo", "[5]", QUEUE);
    (job, next, feed)
}

#[test]
fn a_host_that_was_killed_while_the_dispatcher_was_away_has_lost_the_call() {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let (job, next, feed) = start_both(&cluster);
    cluster.kill_dispatcher();
    cluster.kill_host("web01");
    cluster.start_host("web01");
    feed.wait_abandoned();
    cluster.start_dispatcher();
    let data = error_data(&caller.result(&job), "missing_result");
    assert_eq!(data, json!({"host_restarted": true}));
    assert_eq!(caller.read(&job, "").packets, ["1"]);
    // Nothing of it is left: its life is among the earlier ones.
    assert_eq!(caller.result(&next), json!({"result": [5]}));
}

#[test]
fn a_host_that_is_killed_under_a_call_has_lost_it() {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let (job, next, feed) = start_both(&cluster);
    cluster.kill_host("web01");
    cluster.start_host("web01");
    let data = error_data(&caller.result(&job), "missing_result");
    assert_eq!(data, json!({"host_restarted": true}));
    assert_eq!(caller.result(&next), json!({"result": [5]}));
    feed.wait_abandoned();
}

#[test]
fn a_host_that_stops_while_the_dispatcher_is_away_waits_for_its_ends_to_be_fetched() {
    let mut cluster = Cluster::builder().set_host("stop_grace", "60").start();
    let caller = cluster.caller();
    let (job, _next, _feed) = start_both(&cluster);
    cluster.kill_dispatcher();
    cluster.ask_host_to_stop("web01");
    cluster.start_dispatcher();
    let _ = error_data(&caller.result(&job), "shutdown");
    assert_eq!(caller.read(&job, "").packets, ["1"]);
    // It goes as soon as its ends are fetched.
    until("the host has ended", || {
        cluster.host_has_ended("web01").then_some(())
    });
}
