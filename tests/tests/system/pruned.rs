//! Jobs that are pruned while somebody reads them.

use harp_tests::{Cluster, Page};
use serde_json::json;

use crate::assertions::assert_refused;

/// More packets than fit into the buffers of a connection.
fn long_job(cluster: &Cluster) -> String {
    let caller = cluster.caller();
    let sizes = vec![1_000_000; 40];
    let job = caller.call("web01", "blob", &json!(sizes).to_string());
    assert_eq!(caller.result(&job), json!({"result": null}));
    job
}

#[test]
fn a_reader_of_a_job_that_is_pruned_is_told_and_nothing_is_stuck() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = long_job(&cluster);
    let mut readers = ["follow_stream", "read_stream"]
        .map(|operation| caller.send(json!({"harpcaller": 1, operation: job, "since": 0})));
    let first: Vec<String> = readers.iter_mut().map(|reader| reader.raw_line()).collect();
    assert!(cluster.run(&["prune-jobs", "--age", "0"]).status.success());
    assert!(cluster.lines(&["list", "--all"]).is_empty());

    for (mut reader, first) in readers.into_iter().zip(first) {
        // What was on its way comes whole and in order; then the reader is told.
        let page = Page::read(&mut reader);
        let (_, packet) = harp_tests::packet(&first).unwrap();
        assert!(page.packets.iter().all(|other| other == packet));
        assert!(page.packets.len() < 39, "nothing was left to be read");
        assert_refused(&page.last, "invalid_jobid", &json!(null));
        assert!(reader.at_end());
    }
    assert_refused(&caller.result(&job), "invalid_jobid", &json!(null));
    let next = caller.call("web01", "echo", "[]");
    assert_eq!(caller.result(&next), json!({"result": []}));
}
