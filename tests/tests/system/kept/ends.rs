//! The end of a call that its host has given up by itself, and of its place in a queue.

use harp_tests::{Cluster, ClusterBuilder, Way, until};
use serde_json::json;

use super::{QUEUE, behind_a_proxy, count, error_data};

/// A procedure that takes a second to go away, and says when it is gone.
fn reluctant() -> ClusterBuilder {
    let script = "trap 'sleep 1; echo gone >> \"$1\"; exit 1' TERM
        echo here >> \"$1\"
        while :; do sleep 0.05; done";
    Cluster::builder()
        .procedure("reluctant", "output = 'json'\narguments = 'argv'", script)
        .set_host("kill_grace", "3")
        .set("slot_grace", "5")
        .set("keep_for", "2")
}

fn assert_no_overlap(cluster: &Cluster, next: &str) {
    let result = cluster.caller().result(next);
    assert_eq!(result, json!({"result": null}));
    let trace = std::fs::read_to_string(cluster.path("trace")).unwrap();
    assert_eq!(trace, "here\ngone\nstart next\nend next\n");
}

fn start_both(cluster: &Cluster) -> (String, String) {
    let caller = cluster.caller();
    let trace = cluster.path("trace");
    let arguments = json!([trace]).to_string();
    let job = caller.call_with("far", "reluctant", &arguments, QUEUE);
    until("it runs", || (count(&trace, "here") == 1).then_some(()));
    let arguments = json!([trace, "next"]).to_string();
    let next = caller.call_with("web01", "trace", &arguments, QUEUE);
    (job, next)
}

#[test]
fn a_place_is_kept_until_a_host_that_stays_away_can_have_nothing_left() {
    let (cluster, proxy) = behind_a_proxy(reluctant());
    let (job, next) = start_both(&cluster);
    proxy.set(Way::Closed);
    let data = error_data(&cluster.caller().result(&job), "network_error");
    assert_eq!(data["kept_for"], 2);
    assert_no_overlap(&cluster, &next);
}

#[test]
fn a_place_is_kept_over_restarts_too() {
    let (mut cluster, proxy) = behind_a_proxy(reluctant());
    let (job, next) = start_both(&cluster);
    proxy.set(Way::Closed);
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    let data = error_data(&cluster.caller().result(&job), "network_error");
    assert_eq!(data["kept_for"], 2);
    cluster.restart_dispatcher();
    assert_no_overlap(&cluster, &next);
}

#[test]
fn acknowledgements_that_are_held_up_give_no_place_back_before_its_time() {
    let (cluster, proxy) = behind_a_proxy(reluctant());
    let (job, next) = start_both(&cluster);
    proxy.set(Way::HoldingCaller);
    // The host says that it has ended the call, or has taken the connection for broken.
    let answer = cluster.caller().result(&job);
    let error = answer["error"]["type"].as_str().unwrap();
    assert!(["keep_over", "network_error"].contains(&error), "{answer}");
    assert_no_overlap(&cluster, &next);
}
