//! Two dispatchers with one job: that of a copy of the store, and that of the original. The
//! newer has the call, and the older one ends nothing.

use std::process::Command;

use harp_tests::{Cluster, Feed, Page};
use serde_json::json;

use super::{QUEUE, error_data, streaming};

fn copy(cluster: &Cluster, from: &str, to: &str) {
    let copied = Command::new("cp")
        .arg("-a")
        .args([cluster.path(from), cluster.path(to)])
        .status();
    assert!(copied.unwrap().success());
}

/// A job that streams and has the first packet on disk.
fn start(cluster: &Cluster) -> (String, Feed) {
    let (job, feed, _following) = streaming(cluster, "web01", QUEUE);
    (job, feed)
}

#[test]
fn a_dispatcher_that_was_asleep_cannot_take_a_call_back() {
    let cluster = Cluster::start();
    let (job, mut feed) = start(&cluster);
    cluster.halt_dispatcher();
    copy(&cluster, "jobs", "copy");
    let other = cluster.start_other(&cluster.path("copy"));
    let mut following = other.caller().follow(&job, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":1}"#);
    feed.send("2");
    assert_eq!(following.raw_line(), r#"{"packet":1,"data":2}"#);
    // The older one finds its connection closed, and asks for the call.
    cluster.thaw_dispatcher();
    let data = error_data(&cluster.caller().result(&job), "missing_result");
    assert_eq!(data, json!({"stale_epoch": true}));
    // A cancel of an ended job reaches nobody.
    assert!(!cluster.caller().cancel(&job));
    feed.send("3");
    feed.finish();
    let page = Page::read(&mut other.caller().follow(&job, r#""since": 0"#));
    assert_eq!(page.packets, ["1", "2", "3"]);
    assert_eq!(page.last, json!({"result": null}));
}

#[test]
fn a_store_put_back_from_a_copy_takes_no_call_and_ends_none() {
    let mut cluster = Cluster::start();
    let (job, mut feed) = start(&cluster);
    let caller = cluster.caller();
    let next = caller.call_with("web01", "echo", "[5]", QUEUE);
    cluster.stop_dispatcher();
    copy(&cluster, "jobs", "backup");
    cluster.start_dispatcher();
    let mut following = caller.follow(&job, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":1}"#);
    feed.send("2");
    assert_eq!(following.raw_line(), r#"{"packet":1,"data":2}"#);
    cluster.kill_dispatcher();
    std::fs::rename(cluster.path("jobs"), cluster.path("original")).unwrap();
    copy(&cluster, "backup", "jobs");
    // Its start has the number that the original's start after the copy had.
    cluster.start_dispatcher();
    let data = error_data(&caller.result(&job), "missing_result");
    assert_eq!(data, json!({"stale_epoch": true}));
    assert_eq!(caller.read(&job, "").packets, ["1"]);
    assert!(feed.is_read(), "the call goes on");
    // What waited in the copy may have been run by the original.
    assert_eq!(caller.result_now(&next), json!({"no_result": true}));
    cluster.stop_dispatcher();

    // The original has lost nothing by that.
    std::fs::rename(cluster.path("jobs"), cluster.path("copy")).unwrap();
    std::fs::rename(cluster.path("original"), cluster.path("jobs")).unwrap();
    cluster.start_dispatcher();
    feed.send("3");
    feed.finish();
    let page = Page::read(&mut caller.follow(&job, r#""since": 0"#));
    assert_eq!(page.packets, ["1", "2", "3"]);
    assert_eq!(page.last, json!({"result": null}));
}
