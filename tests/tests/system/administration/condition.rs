//! How a dispatcher is, as `status` tells it to people and to what watches over it.

use std::fs;

use harp_tests::{Cluster, Feed, until};
use serde_json::{Value, json};

/// The exit code and the object of `status --json`.
fn told(cluster: &Cluster) -> (Option<i32>, Value) {
    let output = cluster.run(&["status", "--json"]);
    let told = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), told)
}

/// Has a call run until the feed is finished.
fn running(cluster: &Cluster, feed: &mut Feed, more: &str) -> String {
    let job = cluster
        .caller()
        .call_with("web01", "gate", &feed.arguments(), more);
    until("it runs", || feed.is_read().then_some(()));
    job
}

#[test]
fn one_that_serves_tells_its_figures() {
    let cluster = Cluster::start();
    let queue = r#""queue": {"name": {"q": 1}}"#;
    let mut feed = cluster.feed("gate");
    running(&cluster, &mut feed, queue);
    let _ = cluster.caller().call_with("web01", "echo", "[]", queue);
    let (code, told) = told(&cluster);
    assert_eq!((code, &told["state"]), (Some(0), &json!("serving")));
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert!(told["since"].as_u64() > Some(1_700_000_000), "{told}");
    let jobs = &told["jobs"];
    assert_eq!((&jobs["queued"], &jobs["running"]), (&json!(1), &json!(1)));
    assert!(jobs["oldest_waiting"].is_u64() && told["connections"].is_u64());
    let store = &told["store"];
    assert_eq!(store["is_written"], true);
    assert!(store["free"].as_u64() > Some(0) && store["size"].as_u64() > Some(0));
    assert_eq!(store["directory"], json!(cluster.path("jobs")));
    let registry = &told["registry"];
    assert_eq!(
        (&registry["hosts"], &registry["error"]),
        (&json!(1), &json!(null))
    );
    assert!(registry["refreshed"].is_u64(), "{registry}");
    assert_eq!(told["lines_lost"], json!({"log": 0, "audit": 0}));
    assert_eq!(told["attention"], json!([]));

    let lines = cluster.lines(&["status", "-v"]);
    assert_eq!(lines[0], "harpcallerd is running");
    let jobs = "jobs         1 queued, 1 running; the oldest has waited for";
    assert!(lines.iter().any(|line| line.starts_with(jobs)), "{lines:?}");
    for name in [
        "process ",
        "version ",
        "connections ",
        "store ",
        "registry ",
        "lines lost ",
    ] {
        assert!(
            lines.iter().any(|line| line.starts_with(name)),
            "{name}: {lines:?}"
        );
    }
}

#[test]
fn a_registry_that_cannot_be_refreshed_needs_an_operator() {
    let cluster = Cluster::builder().start();
    let entry = cluster.entry("web01");
    cluster.set_registry_script("echo out of order >&2; exit 3");
    assert_eq!(cluster.run(&["hosts-refresh"]).status.code(), Some(1));
    let (code, degraded) = told(&cluster);
    assert_eq!((code, &degraded["state"]), (Some(2), &json!("degraded")));
    let why = degraded["attention"][0].as_str().unwrap();
    assert!(
        why.contains("hosts registry") && why.contains("hosts.sh"),
        "{why}"
    );
    assert_eq!(degraded["registry"]["hosts"], 1);
    let output = cluster.run(&["status"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(text, format!("harpcallerd is running\n{why}\n"));

    cluster.set_registry_script(&format!("echo '{entry}'"));
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    assert_eq!(told(&cluster).0, Some(0));
}

#[test]
fn one_that_drains_says_so_until_its_end() {
    let mut cluster = Cluster::start();
    let mut feed = cluster.feed("gate");
    running(&cluster, &mut feed, "");
    let mut drain = cluster.command().arg("drain").spawn().unwrap();
    until("it drains", || {
        let (code, told) = told(&cluster);
        (told["state"] == "draining" && code == Some(3)).then_some(())
    });
    let output = cluster.run(&["status"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.starts_with("harpcallerd is running\nit takes no calls"),
        "{text}"
    );
    feed.finish();
    assert!(drain.wait().unwrap().success());
    assert!(cluster.wait_dispatcher_ended().success());
    assert_eq!(
        told(&cluster),
        (Some(1), json!({"state": "stopped", "attention": []}))
    );
}

#[test]
fn one_that_does_not_answer_needs_an_operator() {
    let cluster = Cluster::builder().hosts(0).start();
    cluster.halt_dispatcher();
    let output = cluster.run(&["status", "--timeout", "1"]);
    cluster.thaw_dispatcher();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        text,
        "harpcallerd is running\nthe daemon has not answered within 1 s\n"
    );
}

#[test]
fn a_trust_file_that_cannot_be_used_any_more_is_an_error_once() {
    const MESSAGE: &str = "trust file unusable, no host is called until it can be used again";
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let file = cluster.path("ca.pem");
    let good = fs::read(&file).unwrap();
    fs::write(&file, "-----BEGIN CERTIFICATE-----\nnonsense\n").unwrap();
    for _ in 0..3 {
        let answer = caller.result(&caller.call("web01", "echo", "[]"));
        assert!(answer["error"].is_object(), "{answer}");
    }
    let errors = cluster.log().all(MESSAGE);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(
        errors[0]["error"].as_str().unwrap().contains("ca.pem"),
        "{errors:?}"
    );
    fs::write(&file, good).unwrap();
    let answer = caller.result(&caller.call("web01", "echo", "[]"));
    assert_eq!(answer, json!({"result": []}));
    assert_eq!(cluster.log().count("trust files are usable again"), 1);
}
