//! Calls that outlive their connections: over restarts of the dispatcher, over breaks of the
//! network, to an end that is proved.

mod breaks;
mod cancels;
mod connections;
mod copies;
mod ends;
mod full_disk;
mod hostile_hosts;
mod hosts_gone;
mod many;
mod moments;
mod never_twice;
mod restarts;
mod shown;
mod slow_ways;

use std::net::SocketAddr;
use std::path::Path;

use harp_tests::{Caller, Cluster, ClusterBuilder, Feed, Page, Proxy, RawClient};
use serde_json::{Value, json};

const QUEUE: &str = r#""queue": {"name": {"q": 1}}"#;

/// A cluster whose host `far` is `web01` behind a proxy.
fn behind_a_proxy(builder: ClusterBuilder) -> (Cluster, Proxy) {
    let cluster = builder.start();
    let mut entry = cluster.entry("web01");
    let proxy = Proxy::to(address_of(&entry));
    entry["hostname"] = json!("far");
    entry["address"] = json!(proxy.address().ip());
    entry["port"] = json!(proxy.address().port());
    let entries = [cluster.entry("web01"), entry];
    cluster.set_registry(&entries);
    let _ = cluster.lines(&["hosts-refresh"]);
    (cluster, proxy)
}

/// A job that streams what its feed gets; its first packet, 1, is on disk. With who follows it.
#[track_caller]
fn streaming(cluster: &Cluster, host: &str, more: &str) -> (String, Feed, RawClient) {
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call_with(host, "feed", &feed.arguments(), more);
    feed.send("1");
    let mut following = caller.follow(&job, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":1}"#);
    (job, feed, following)
}

/// Where a host of a cluster is.
fn address_of(entry: &Value) -> SocketAddr {
    let address = entry["address"].as_str().unwrap();
    format!("{address}:{}", entry["port"]).parse().unwrap()
}

/// A job's packets are 1 to `last`, and it has ended well.
#[track_caller]
fn assert_all_of(caller: Caller, job: &str, last: u64) {
    let page = Page::read(&mut caller.follow(job, r#""since": 0"#));
    let numbers: Vec<String> = (1..=last).map(|number| number.to_string()).collect();
    assert_eq!(page.packets, numbers);
    assert_eq!(page.last, json!({"result": null}));
}

/// The `data` of a job that has ended with this error.
#[track_caller]
fn error_data(answer: &Value, error_type: &str) -> Value {
    assert_eq!(answer["error"]["type"], error_type, "{answer}");
    answer["error"]["data"].clone()
}

/// How often a line stands in a file.
fn count(path: &Path, line: &str) -> usize {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter(|found| *found == line).count()
}
