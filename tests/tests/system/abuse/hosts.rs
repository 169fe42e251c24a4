//! Hosts that drip, and a registry script that prints without end or forks.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use harp_tests::{ACKNOWLEDGE_STREAM, Cluster, FakeHost, Step, until};
use serde_json::{Value, json};

use super::memory;
use crate::assertions::assert_ended;

#[test]
fn a_host_that_sends_a_byte_a_second_lives_no_longer_than_the_call_may() {
    let mut script = vec![Step::Handshake, Step::Request, ACKNOWLEDGE_STREAM];
    for byte in r#"{"stream":1234567890}"#.chars() {
        script.push(Step::Send(Cow::Owned(byte.to_string())));
        script.push(Step::Dawdle(Duration::from_secs(1)));
    }
    let host = FakeHost::start(&script);
    let cluster = Cluster::around(&host).set("slot_grace", "1").start();
    let caller = cluster.caller();
    let begun = Instant::now();
    let job = caller.call_with("fake", "p", "[]", r#""timeout": 2, "max_exec_time": 4"#);
    // Each byte is a sign of life, and none of them a message.
    let data = json!({"limit": "max_exec_time", "seconds": 4});
    assert_ended(&caller.result(&job), "timeout", &data);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_registry_script_that_prints_without_end_is_killed() {
    let cluster = Cluster::builder().set("host_db_refresh", "1").start();
    let before = memory(&cluster);
    let hosts = cluster.entry("web01");
    cluster.set_registry_script("exec yes '{\"hostname\": \"endless\"}'");
    let entry = until("the script is given up", || {
        cluster
            .log()
            .all("hosts registry not refreshed, it stays as it was")
            .into_iter()
            .next()
    });
    let error = entry["error"].as_str().unwrap();
    assert!(error.contains("printed more than"), "{error}");
    let caller = cluster.caller();
    let job = caller.call("web01", "echo", "[]");
    assert_eq!(caller.result(&job), json!({"result": []}), "{hosts}");
    let grown = memory(&cluster).saturating_sub(before);
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes more");
}

#[test]
fn a_registry_script_whose_children_go_on_is_ended_with_them() {
    let cluster = Cluster::builder()
        .set("host_db_refresh", "1")
        .set("host_db_script_timeout", "1")
        .start();
    // The script itself ends at once; what it leaves behind has its output.
    cluster.set_registry_script(
        "cd \"$(dirname \"$0\")\"
        for child in 1 2 3 4 5; do sleep 600 & echo $! >> children; done",
    );
    let _ = cluster
        .log()
        .wait_for("hosts registry not refreshed, it stays as it was");
    cluster.set_registry_script("exec cat \"$(dirname \"$0\")/hosts.jsonl\"");
    let children = std::fs::read_to_string(cluster.path("children")).unwrap();
    assert!(children.lines().count() >= 5);
    until("the children are gone", || {
        let is_gone = |child: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        children.lines().all(is_gone).then_some(())
    });
    let caller = cluster.caller();
    let job = caller.call("web01", "echo", "[]");
    assert_eq!(caller.result(&job)["error"], Value::Null);
}
