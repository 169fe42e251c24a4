//! How a job ended (section 4).

use harp_tests::{ACKNOWLEDGE, Cluster, FakeHost, Step};
use serde_json::json;

#[test]
fn every_way_to_end_has_its_reply_with_and_without_waiting() {
    let host = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE,
        Step::line(r#"{"harp":1,"error":{"type":"odd","message":"never seen"}}"#),
    ]);
    let cluster = Cluster::builder().fake_host("fake", &host).start();
    let caller = cluster.caller();
    let feed = cluster.feed("never finished");
    let cancelled = caller.call("web01", "gate", &feed.arguments());
    assert!(caller.cancel(&cancelled));
    for (job, outcome) in [
        (caller.call("web01", "echo", "[1]"), json!({"result": [1]})),
        (
            caller.call("web01", "packets", r#"["1"]"#),
            json!({"result": null}),
        ),
        (
            caller.call("web01", "say", r#"["1"]"#),
            json!({"result": {"exit_code": 0}}),
        ),
        (
            caller.call("web01", "fail", r#"[3, "went wrong"]"#),
            json!({"exception": {
                "type": "exit_status", "message": "went wrong",
                "data": {"exit_code": 3, "stderr": "went wrong\n"},
            }}),
        ),
        (cancelled, json!({"cancelled": true})),
        (
            caller.call("fake", "p", "[]"),
            json!({"error": {"type": "odd", "message": "never seen"}}),
        ),
    ] {
        let waited = caller.ask(json!({"harpcaller": 1, "get_result": job}));
        assert_eq!(waited, outcome);
        assert_eq!(caller.result(&job), outcome);
        assert_eq!(caller.result_now(&job), outcome);
    }
}

#[test]
fn a_job_that_goes_on_has_no_result_yet() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let queue = r#""queue": {"name": {}}"#;
    let running = caller.call_with("web01", "gate", &feed.arguments(), queue);
    let queued = caller.call_with("web01", "echo", "[]", queue);
    for job in [&running, &queued] {
        assert_eq!(caller.result_now(job), json!({"no_result": true}));
    }
    let mut waiting = [
        caller.send(json!({"harpcaller": 1, "get_result": running})),
        caller.send(json!({"harpcaller": 1, "get_result": running, "wait": true})),
        caller.send(json!({"harpcaller": 1, "get_result": queued, "wait": true})),
    ];
    feed.send("42");
    assert_eq!(caller.result_now(&running), json!({"no_result": true}));
    assert!(waiting.iter_mut().all(harp_tests::RawClient::is_quiet));
    feed.finish();
    let answers = waiting.map(|mut client| client.rest());
    assert_eq!(answers[0], [r#"{"result":42}"#]);
    assert_eq!(answers[1], [r#"{"result":42}"#]);
    assert_eq!(answers[2], [r#"{"result":[]}"#]);
}

#[test]
fn a_result_is_there_the_moment_the_wait_ends() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    for number in 0..100 {
        let job = caller.call("web01", "echo", &format!("[{number}]"));
        let outcome = json!({"result": [number]});
        assert_eq!(caller.result(&job), outcome);
        assert_eq!(caller.result_now(&job), outcome);
        assert!(caller.status(&job)["time"]["end"].is_u64());
    }
}
