//! A store whose disk takes nothing for a while, without an error: the writer waits.

use harp_tests::disk::Mount;
use harp_tests::{ACKNOWLEDGE_STREAM, Closing, Cluster, FakeHost, Step, until};
use serde_json::json;

/// More than the calls with a text of 1 MB each that fit into what the dispatcher keeps
/// in memory for its store.
const CALLS: usize = 72;

#[test]
fn a_job_whose_packets_find_no_room_is_not_deaf() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("image");
    let Some(disk) = Mount::in_file(&image, &directory.path().join("disk")) else {
        return;
    };
    let host = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE_STREAM,
        Step::Pause,
        Step::line(r#"{"stream":"a packet"}"#),
        Step::Hang,
    ]);
    let cluster = Cluster::builder()
        .set(
            "stream_directory",
            &json!(disk.at().join("jobs")).to_string(),
        )
        .set("max_live_jobs", &(CALLS + 2).to_string())
        // All these calls have room in memory, so that they fill what waits for the disk.
        .set("client_memory", "\"1G\"")
        .fake_host("talkative", &host)
        .start();
    let caller = cluster.caller();
    let cancelled = caller.call("talkative", "p", "[]");
    let limited = caller.call_with("talkative", "p", "[]", r#""max_exec_time": 3"#);
    host.wait_for_lines(2);

    let Some(stalled) = disk.stall() else {
        return;
    };
    let text = "x".repeat(1_000_000);
    let mut calls: Vec<_> = (0..=CALLS)
        .map(|_| {
            caller.send(json!({
                "harpcaller": 1, "host": "nowhere", "procedure": "p", "arguments": [text],
            }))
        })
        .collect();
    // There is a place for all but one of them: once that one is refused, all others
    // wait for the disk.
    let refused = until("all calls are being recorded", || {
        calls.iter().position(|call| call.has_answer())
    });
    let refused = calls.remove(refused).line();
    assert_eq!(refused["error"]["type"], "overloaded", "{refused}");
    host.go_on();
    host.go_on();
    let mut cancel = caller.send(json!({"harpcaller": 1, "cancel": cancelled}));
    for connection in 0..2 {
        assert_eq!(host.wait_closed(connection), Closing::Notified);
    }
    // Nothing of it is shown before it is on disk.
    assert!(cancel.is_quiet());
    for job in [&cancelled, &limited] {
        assert_eq!(caller.result_now(job), json!({"no_result": true}));
    }

    drop(stalled);
    assert_eq!(cancel.line(), json!({"cancelled": true}));
    assert_eq!(caller.result(&cancelled), json!({"cancelled": true}));
    let late = caller.result(&limited);
    assert_eq!(late["error"]["data"]["limit"], "max_exec_time", "{late}");
    for call in &mut calls {
        let job = call.line()["job_id"].as_str().unwrap().to_owned();
        let end = caller.result(&job);
        assert_eq!(end["error"]["type"], "unknown_host", "{end}");
    }
    assert!(!cluster.log().text().contains("cannot be recorded"));
}
