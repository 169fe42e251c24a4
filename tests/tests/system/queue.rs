//! Queues (section 2).

use std::time::{Duration, Instant};

use harp_tests::{ACKNOWLEDGE, Caller, Cluster, FakeHost, Feed, Step, until};
use serde_json::json;

use crate::assertions::assert_ended;

fn queue(name: &str, concurrency: u32) -> String {
    format!(r#""queue": {{"name": {name}, "concurrency": {concurrency}}}"#)
}

/// A call that holds its place until its feed is finished.
fn hold(caller: Caller, feed: &Feed, queue: &str) -> String {
    caller.call_with("web01", "gate", &feed.arguments(), queue)
}

#[test]
fn with_concurrency_one_procedures_never_overlap_and_keep_their_order() {
    const JOBS: usize = 15;
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let trace = cluster.path("trace");
    // One is the default.
    let queue = r#""queue": {"name": {"service": "nginx"}}"#;
    let jobs: Vec<_> = (0..JOBS)
        .map(|number| {
            let arguments = json!([trace, number.to_string()]).to_string();
            caller.call_with("web01", "trace", &arguments, queue)
        })
        .collect();
    for job in &jobs {
        assert_eq!(caller.result(job), json!({"result": null}));
    }
    let expected: String = (0..JOBS)
        .map(|number| format!("start {number}\nend {number}\n"))
        .collect();
    assert_eq!(std::fs::read_to_string(trace).unwrap(), expected);
}

#[test]
fn as_many_jobs_run_as_the_first_call_said() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feeds: Vec<_> = (0..5)
        .map(|number| cluster.feed(&number.to_string()))
        .collect();
    let jobs: Vec<_> = feeds
        .iter()
        .enumerate()
        .map(|(number, feed)| {
            // What later calls say counts for nothing.
            hold(caller, feed, &queue("{}", if number == 0 { 2 } else { 4 }))
        })
        .collect();
    let started = || {
        jobs.iter()
            .map(|job| caller.has_started(job))
            .collect::<Vec<bool>>()
    };
    feeds[0].wait_read();
    feeds[1].wait_read();
    assert_eq!(started(), [true, true, false, false, false]);
    feeds.remove(1).finish();
    // The places are taken over one by one.
    feeds[1].wait_read();
    assert_eq!(started(), [true, true, true, false, false]);
    feeds.remove(0).finish();
    feeds[1].wait_read();
    assert_eq!(started(), [true, true, true, true, false]);
    for feed in feeds {
        feed.finish();
    }
    for job in &jobs {
        assert_eq!(caller.result(job), json!({"result": null}));
    }
}

#[test]
fn an_empty_queue_is_gone_and_can_be_made_anew() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call_with("web01", "echo", "[]", &queue("{}", 1));
    assert_eq!(caller.result(&job), json!({"result": []}));
    let feeds = [cluster.feed("a"), cluster.feed("b"), cluster.feed("c")];
    // The result may be shown a little before the place is given back.
    let first = until("the old queue is gone", || {
        let first = hold(caller, &feeds[0], &queue("{}", 2));
        let second = hold(caller, &feeds[1], &queue("{}", 2));
        let both = caller.has_started(&second);
        if !both {
            assert!(caller.cancel(&second) && caller.cancel(&first));
        }
        both.then_some(first)
    });
    let third = hold(caller, &feeds[2], &queue("{}", 2));
    assert!(!caller.has_started(&third));
    assert!(caller.cancel(&first));
    until("the third has its place", || {
        caller.has_started(&third).then_some(())
    });
}

#[test]
fn names_are_equal_by_value() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let name = r#"{"a": 1, "b": {"x": ["\u0041", null], "y": "é"}}"#;
    let first = hold(caller, &feed, &queue(name, 1));
    for (name, same) in [
        (r#"{"b":{"y":"\u00e9","x":["A",null]},"a":1}"#, true),
        (r#"{"\u0061":1,"b":{"x":["A",null],"y":"é"}}"#, true),
        (r#"{"a":1.0,"b":{"x":["A",null],"y":"é"}}"#, false),
        (r#"{"a":"1","b":{"x":["A",null],"y":"é"}}"#, false),
        (r#"{"a":1,"b":{"x":[null,"A"],"y":"é"}}"#, false),
        (r#"{"a":1,"b":{"x":["a",null],"y":"é"}}"#, false),
        (r#"{"a":1}"#, false),
        ("{}", false),
    ] {
        let job = caller.call_with("web01", "echo", "[]", &queue(name, 1));
        assert_eq!(caller.has_started(&job), !same, "{name}");
    }
    assert!(caller.cancel(&first));
}

#[test]
fn queues_do_not_wait_for_each_other_nor_for_calls_without_one() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let held = hold(caller, &feed, &queue(r#"{"q": 1}"#, 1));
    let waiting = caller.call_with("web01", "echo", "[1]", &queue(r#"{"q": 1}"#, 1));
    let other = caller.call_with("web01", "echo", "[2]", &queue(r#"{"q": 2}"#, 1));
    let without = caller.call("web01", "echo", "[3]");
    assert_eq!(caller.result(&other), json!({"result": [2]}));
    assert_eq!(caller.result(&without), json!({"result": [3]}));
    assert!(!caller.has_started(&waiting));
    assert!(caller.cancel(&held));
    assert_eq!(caller.result(&waiting), json!({"result": [1]}));
}

#[test]
fn a_job_of_a_host_that_is_unknown_or_down_gives_its_place_back() {
    let cluster = Cluster::builder()
        .other_host("down", harp_tests::refusing_address())
        .start();
    let caller = cluster.caller();
    let jobs = ["web99", "down", "web01"]
        .map(|host| caller.call_with(host, "echo", "[]", &queue("{}", 1)));
    assert_eq!(caller.result(&jobs[2]), json!({"result": []}));
    assert_eq!(caller.result(&jobs[0])["error"]["type"], "unknown_host");
    assert_eq!(caller.result(&jobs[1])["error"]["type"], "network_error");
}

/// How a job that its host does not let go of comes to its end.
#[derive(Clone, Copy, PartialEq)]
enum End {
    Cancel,
    TimeOut,
}

/// A host that does not let go of its first call, and answers its second: what it does
/// with the first after its acknowledgement.
fn clinging_host(first: &[Step]) -> FakeHost {
    let first = [&[Step::Handshake, Step::Request, ACKNOWLEDGE], first].concat();
    FakeHost::start_each(&[
        &first,
        &[
            Step::Handshake,
            Step::Request,
            ACKNOWLEDGE,
            Step::line(r#"{"result":2}"#),
        ],
    ])
}

/// Makes two calls in one queue of concurrency 1, brings the first to its end while the
/// host still clings to it, and returns the second.
fn end_the_first(caller: &Caller, host: &FakeHost, end: End) -> String {
    let more = format!(r#"{}, "timeout": 1"#, queue("{}", 1));
    let first = caller.call_with("fake", "p", "[]", &more);
    host.wait_for_lines(1);
    let second = caller.call_with("fake", "p", "[]", &queue("{}", 1));
    if end == End::Cancel {
        assert!(caller.cancel(&first));
        assert_eq!(caller.result(&first), json!({"cancelled": true}));
    } else {
        let data = json!({"limit": "timeout", "seconds": 1});
        assert_ended(&caller.result(&first), "timeout", &data);
    }
    second
}

#[test]
fn a_place_is_kept_until_the_host_is_done() {
    for end in [End::Cancel, End::TimeOut] {
        // After close_notify it goes on sending, until the test lets it close.
        let host = clinging_host(&[Step::Pause, Step::Close]);
        let cluster = Cluster::around(&host).set("slot_grace", "600").start();
        let caller = cluster.caller();
        let second = end_the_first(&caller, &host, end);
        assert!(
            !caller.has_started(&second),
            "the host is still busy with the first"
        );
        host.go_on();
        assert_eq!(caller.result(&second), json!({"result": 2}));
        assert_eq!(host.visits().len(), 2);
    }
}

#[test]
fn a_place_is_kept_no_longer_than_slot_grace() {
    for end in [End::Cancel, End::TimeOut] {
        let host = clinging_host(&[Step::Pause]);
        let cluster = Cluster::around(&host).set("slot_grace", "1").start();
        let caller = cluster.caller();
        let second = end_the_first(&caller, &host, end);
        let ended = Instant::now();
        assert_eq!(caller.result(&second), json!({"result": 2}));
        // The end is a little older than the client's knowledge of it.
        assert!(
            ended.elapsed() > Duration::from_millis(800),
            "after {:?}",
            ended.elapsed()
        );
        host.go_on();
    }
}

#[test]
fn after_a_cancel_the_next_procedure_starts_when_the_first_is_gone() {
    // It takes its time to go away, and says when it does.
    let script = "trap 'sleep 0.5; echo gone >> \"$1\"; exit 1' TERM
        echo here >> \"$1\"
        while :; do sleep 0.05; done";
    let cluster = Cluster::builder()
        .procedure("reluctant", "output = 'json'\narguments = 'argv'", script)
        .set_host("kill_grace", "30")
        .start();
    let caller = cluster.caller();
    let trace = cluster.path("trace");
    let first = caller.call_with(
        "web01",
        "reluctant",
        &json!([trace]).to_string(),
        &queue("{}", 1),
    );
    until("the first runs", || {
        std::fs::read_to_string(&trace)
            .ok()
            .filter(|text| !text.is_empty())
            .map(drop)
    });
    let arguments = json!([trace, "second"]).to_string();
    let second = caller.call_with("web01", "trace", &arguments, &queue("{}", 1));
    assert!(caller.cancel(&first));
    assert_eq!(caller.result(&second), json!({"result": null}));
    let text = std::fs::read_to_string(trace).unwrap();
    assert_eq!(text, "here\ngone\nstart second\nend second\n");
}

#[test]
fn hundreds_of_jobs_wait_and_run_in_order() {
    const JOBS: usize = 300;
    let host = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE,
        Step::line(r#"{"result":null}"#),
    ]);
    let cluster = Cluster::builder().fake_host("fake", &host).start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let held = hold(caller, &feed, &queue("{}", 1));
    let jobs: Vec<_> = (0..JOBS)
        .map(|number| caller.call_with("fake", &format!("p{number}"), "[]", &queue("{}", 1)))
        .collect();
    assert!(caller.cancel(&held));
    assert_eq!(caller.result(jobs.last().unwrap()), json!({"result": null}));
    let called: Vec<String> = host
        .visits()
        .iter()
        .map(|visit| {
            let request: serde_json::Value = serde_json::from_str(&visit.lines[0]).unwrap();
            request["procedure"].as_str().unwrap().to_owned()
        })
        .collect();
    let expected: Vec<_> = (0..JOBS).map(|number| format!("p{number}")).collect();
    assert_eq!(called, expected);
}
