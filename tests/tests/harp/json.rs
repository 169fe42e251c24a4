//! The lines of `--json`: harp(1) promises these fields.

use harp_tests::Cluster;
use serde_json::json;

use crate::command::{Harp, detached, path};

#[test]
fn a_call_is_told_from_its_id_to_its_end() {
    let cluster = Cluster::start();
    let done = Harp::of(&cluster, &["call", "--json", "web01", "count", "2"]).run();
    let done = done.expect(0);
    assert_eq!(done.err, "");
    let events = done.events();
    let job = events[0]["job"].as_str().unwrap();
    assert_eq!(
        events,
        [
            json!({"event": "submitted", "host": "web01", "job": job, "existing": false}),
            json!({"event": "packet", "host": "web01", "job": job, "number": 0, "data": 0}),
            json!({"event": "packet", "host": "web01", "job": job, "number": 1, "data": 1}),
            json!({
                "event": "ended", "host": "web01", "job": job,
                "outcome": "returned", "result": null,
            }),
        ]
    );

    let done = Harp::of(&cluster, &["call", "--json", "web01", "fail", "3", "oh"]).run();
    let end = done.expect(1).events().remove(1);
    assert_eq!(end["outcome"], "exception");
    assert_eq!(end["exception"]["type"], "exit_status");
    assert_eq!(end["exception"]["message"], "oh");
    assert_eq!(end["exception"]["data"]["exit_code"], 3);
}

#[test]
fn a_job_is_told_without_its_host_where_that_is_not_known() {
    let cluster = Cluster::start();
    let mut feed = cluster.feed("feed");
    let job = detached(&cluster, &["--info", "i", "web01", "feed", &path(&feed)]);
    let events = |line: &[&str], code| {
        let line = [&["--json"], line].concat();
        Harp::of(&cluster, &line).run().expect(code).events()
    };
    feed.wait_read();
    let not_finished = json!({"event": "not_finished", "job": job});
    assert_eq!(
        events(&["result", &job], 5),
        std::slice::from_ref(&not_finished)
    );
    assert_eq!(events(&["stream", &job], 5), [not_finished]);

    let status = events(&["status", &job], 0).remove(0);
    let time = status["submit_time"].as_u64().unwrap();
    assert!(time > 1_700_000_000, "{status}");
    assert_eq!(
        status,
        json!({
            "event": "status", "host": "web01", "job": job, "procedure": "feed",
            "arguments": [path(&feed)], "info": "i", "state": "running",
            "submit_time": time, "start_time": status["start_time"], "end_time": null,
            "outcome": null, "error_type": null, "queue": null, "ahead": null,
            "waiting_for": null, "holders": [], "place_kept": false,
        })
    );

    let cancel = |cancelled: bool| json!({"event": "cancel", "job": job, "cancelled": cancelled});
    assert_eq!(events(&["cancel", &job], 0), [cancel(true)]);
    assert_eq!(events(&["cancel", &job], 8), [cancel(false)]);
    assert_eq!(
        events(&["result", &job], 4),
        [json!({"event": "ended", "job": job, "outcome": "cancelled"})]
    );
    feed.wait_abandoned();
}

#[test]
fn several_hosts_and_what_failed_are_told() {
    let cluster = Cluster::start();
    let line = ["call", "--json", "--hosts", "web01,nobody", "echo", "1"];
    let events = Harp::of(&cluster, &line).run().expect(3).events();
    assert_eq!(
        events.last().unwrap(),
        &json!({"event": "summary", "hosts": 2, "returned": 1, "error": 1})
    );
    let ended = events.iter().filter(|event| event["event"] == "ended");
    let mut ends: Vec<_> = ended
        .map(|event| (&event["host"], &event["outcome"]))
        .collect();
    ends.sort_by_key(|(host, _)| host.as_str());
    assert_eq!(
        ends,
        [
            (&json!("nobody"), &json!("error")),
            (&json!("web01"), &json!("returned"))
        ]
    );

    let line = ["status", "8ec71d6b-28d1-4ce2-aa23-f3ea7887beda", "--json"];
    let done = Harp::of(&cluster, &line).run().expect(7);
    let failed = done.events().remove(0);
    assert_eq!(failed["event"], "failed");
    assert_eq!(failed["reason"], "refused");
    assert_eq!(failed["error"]["type"], "invalid_jobid");
    assert!(done.err.contains("no job with this ID"), "{done:#?}");
}
