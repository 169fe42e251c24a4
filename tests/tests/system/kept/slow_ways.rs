//! What is sent takes longer than the host keeps a call, or cannot be taken for so long.

use std::fs;
use std::time::{Duration, Instant};

use harp_tests::{Cluster, Page, until};
use serde_json::json;

use super::{behind_a_proxy, count};
use crate::storage_faults::limit_files;

/// Seconds for which a host keeps a call here.
const KEEP: u64 = 4;

/// Longer than an end is kept.
const LONG: Duration = Duration::from_secs(2 * KEEP + 1);

/// Bytes that a way takes in a second.
const PACE: u32 = 64 * 1024;

#[test]
fn a_message_that_takes_longer_than_the_lease_arrives() {
    let length = LONG.as_secs() * u64::from(PACE);
    let large = format!("echo run >> $1; head -c {length} /dev/zero | tr '\\0' x");
    let streams = "output = 'lines'\narguments = 'argv'";
    let answers = "output = 'text'\narguments = 'argv'";
    let builder = Cluster::builder()
        .set("keep_for", &KEEP.to_string())
        .procedure("packet", streams, &format!("echo 1; {large}; echo; echo 3"))
        .procedure("result", answers, &large);
    let (cluster, proxy) = behind_a_proxy(builder);
    let caller = cluster.caller();
    proxy.slow_down(PACE);
    let runs = ["of_packet", "of_result"].map(|name| cluster.path(name));
    let job = |procedure: &str, run| caller.call("far", procedure, &json!([run]).to_string());
    // Both at the same time: each has a connection of its own.
    let (packet, result) = (job("packet", &runs[0]), job("result", &runs[1]));
    let page = Page::read(&mut caller.follow(&packet, r#""since": 0"#));
    let lengths: Vec<_> = page.packets.iter().map(String::len).collect();
    let length = length as usize;
    assert_eq!(lengths, [3, length + 2, 3]);
    assert_eq!(page.last, json!({"result": {"exit_code": 0}}));
    let answer = caller.result(&result);
    let text = answer["result"]
        .as_str()
        .unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(text.len(), length);
    for run in &runs {
        assert_eq!(count(run, "run"), 1);
    }
}

#[test]
fn a_disk_that_takes_nothing_for_longer_than_the_lease_ends_no_call() {
    // More than a job may have on its way to the disk, so that its host is not read.
    let script = "echo run >> $1; i=0; while [ $i -lt 300 ]; do
        head -c 10000 /dev/zero | tr '\\0' x; echo; i=$((i + 1)); [ -e $1.go ] || sleep 0.01
    done";
    let keys = "output = 'lines'\narguments = 'argv'";
    let cluster = Cluster::builder()
        .set("keep_for", &KEEP.to_string())
        .procedure("much", keys, script)
        .start();
    let caller = cluster.caller();
    let run = cluster.path("run");
    let job = caller.call("web01", "much", &json!([run]).to_string());
    let mut following = caller.follow(&job, r#""since": 0"#);
    let _ = following.raw_line();
    limit_files(&cluster, Some(1));
    let _ = cluster
        .log()
        .wait_for("writing to the job store failed; calls are refused until it succeeds again");
    fs::write(run.with_extension("go"), "").unwrap();
    let begun = Instant::now();
    until("the lease would be over", || {
        (begun.elapsed() > LONG).then_some(())
    });
    limit_files(&cluster, None);
    let page = Page::read(&mut caller.follow(&job, r#""since": 0"#));
    assert_eq!(page.last, json!({"result": {"exit_code": 0}}));
    assert_eq!(page.packets.len(), 300);
    assert_eq!(count(&run, "run"), 1);
}
