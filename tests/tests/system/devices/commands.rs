//! Commands: their names, arguments, order and answers.

use std::process::Command;

use harp_tests::{FakeDevice, binary};
use serde_json::{Value, json};

use super::{around, around_with, reachable, wait_for_packets};

#[test]
fn a_command_is_called_like_any_procedure() {
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    let job = caller.call("rig1", "get_status", "[]");
    let request = device.next();
    let nonce = request.nonce();
    assert_eq!(
        request.text(),
        format!(r#"{{"command":400,"nonce":{nonce}}}"#),
        "nothing that the device would change"
    );
    request.reply(100, &json!({"mode": "idle", "aB": 1.5}));
    assert_eq!(
        caller.result(&job),
        json!({"result": {"mode": "idle", "aB": 1.5}})
    );

    // From the command line, too.
    let harp = Command::new(binary("harp"))
        .args([
            "call",
            "-d",
            &cluster.address().to_string(),
            "rig1",
            "custom:12",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let request = device.next();
    assert_eq!(request.json()["command"], 99999);
    assert_eq!(request.json()["custom_command"], 12);
    assert!(request.nonce() > nonce, "never twice");
    request.reply(100, &json!("done"));
    let said = harp.wait_with_output().unwrap();
    assert!(said.status.success());
    assert_eq!(String::from_utf8_lossy(&said.stdout), "done\n");
}

#[test]
fn what_the_device_answers_decides() {
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    let pending = json!({"result": {"pending": true}});
    let failed = |kind: &str, message: &str| {
        let data = json!({"errorCode": 0, "errorKind": 0, "data": [1]});
        json!({"exception": {"type": kind, "message": message, "data": data}})
    };
    for (result, expected) in [
        (200, pending),
        (
            0,
            failed("unrecognized", "the device does not know this command"),
        ),
        (400, failed("failed", "the command failed")),
        (
            500,
            failed("exception", "the device's handler of this command failed"),
        ),
        (
            9999,
            failed("unavailable", "the device does not take this command now"),
        ),
    ] {
        let job = caller.call("rig1", "command:77", "{}");
        let request = device.next();
        assert_eq!(request.json()["data"], json!({}));
        request.reply(result, &json!([1]));
        assert_eq!(caller.result(&job), expected);
    }
    // What it could not read at all it answers without a nonce.
    let job = caller.call("rig1", "command:77", "{}");
    device.next().send(&[
        b"",
        br#"{"nonce":0,"command":0,"result":0,"errorMessage":"what?"}"#,
    ]);
    assert_eq!(caller.result(&job)["exception"]["message"], "what?");
}

#[test]
fn a_number_can_depend_on_the_version() {
    for (version, start, stop) in [("0.9.7", 100, 110), ("0.12.0", 50, 55)] {
        let device = FakeDevice::start();
        let cluster = around(&device).start();
        let caller = cluster.caller();
        let job = caller.call("rig1", "start_acquisition", "[]");
        device.wait_for_subscribers(1);
        // Until its version is known the command waits.
        assert!(!device.has_request());
        device.beat(version, 1.0);
        let request = device.next();
        assert_eq!(request.json()["command"], start, "{version}");
        request.reply(100, &Value::Null);
        assert_eq!(caller.result(&job), json!({"result": null}));
        let job = caller.call("rig1", "stop_acquisition", "[]");
        let request = device.next();
        assert_eq!(request.json()["command"], stop, "{version}");
        request.reply(100, &Value::Null);
        assert_eq!(caller.result(&job), json!({"result": null}));
    }
}

#[test]
fn arguments_that_the_device_would_change_are_refused() {
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    reachable(&cluster);
    for (procedure, arguments, kind, told) in [
        (
            "get_status",
            r#"{"deep": {"er": [0, {"x": "Hello"}]}}"#,
            "invalid_argument_list",
            "deep.er.1.x",
        ),
        (
            "get_status",
            r#"{"a": "two words"}"#,
            "invalid_argument_list",
            " a:",
        ),
        (
            "get_status",
            r#"{"URL": 1}"#,
            "invalid_argument_list",
            "URL",
        ),
        (
            "get_status",
            r#"["idle"]"#,
            "invalid_argument_list",
            "one object",
        ),
        (
            "events",
            r#"{"topics": ["heartbeat"]}"#,
            "invalid_argument_list",
            "topics",
        ),
        ("GET_STATUS", "[]", "no_such_procedure", "GET_STATUS"),
        ("command:0", "[]", "no_such_procedure", "command:0"),
    ] {
        let error = caller.result(&caller.call("rig1", procedure, arguments))["error"].clone();
        assert_eq!(error["type"], kind, "{procedure} {arguments}: {error}");
        assert!(error["message"].as_str().unwrap().contains(told), "{error}");
    }
    assert!(!device.has_request(), "nothing of it has gone out");

    let cluster = around_with(&device, &json!({"strict": false})).start();
    let caller = cluster.caller();
    let job = caller.call(
        "rig1",
        "get_status",
        r#"{"URL": "Two Words", "n": 1E5, "e": "é"}"#,
    );
    let request = device.next();
    assert!(
        request
            .text()
            .ends_with(r#""data":{"URL":"Two Words","n":1e5,"e":"\u00e9"}}"#),
        "{}",
        request.text()
    );
    request.reply(100, &Value::Null);
    assert_eq!(caller.result(&job), json!({"result": null}));
}

#[test]
fn one_command_at_a_time_goes_out_and_the_others_in_order() {
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    let jobs: Vec<_> = (1..=4)
        .map(|number| {
            let job = caller.call("rig1", &format!("command:{number}"), "[]");
            if number == 1 {
                reachable(&cluster);
            }
            job
        })
        .collect();
    for (number, job) in (1..).zip(&jobs) {
        let request = device.next();
        assert_eq!(request.json()["command"], number);
        assert!(!device.has_request(), "the reply has not come");
        request.reply(100, &json!(number));
        assert_eq!(caller.result(job), json!({"result": number}));
    }
    assert_eq!(device.dealers(), 1);
}

#[test]
fn a_command_that_is_announced_runs_until_its_result_and_streams_events() {
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    let job = caller.call("rig1", "command:9", "[]");
    let request = device.next();
    request.reply(201, &Value::Null);
    // The announcement is a reply: the next one goes out.
    let other = caller.call("rig1", "command:10", "[]");
    let next = device.next();
    device.event(1101, 5);
    let streamed = wait_for_packets(&caller, &job, 1);
    assert_eq!(
        streamed,
        [
            json!({"topic": "event", "kind": 1101, "when": 1_795_285_355.5, "index": 5, "context": {"n": 5}})
        ]
    );
    // The result of the other comes before its reply, on the other socket.
    device.result(&next, 100, &json!("early"));
    assert_eq!(caller.result_now(&job)["error"], Value::Null);
    device.result(&request, 100, &json!({"done": true}));
    assert_eq!(caller.result(&job), json!({"result": {"done": true}}));
    next.reply(201, &Value::Null);
    assert_eq!(caller.result(&other), json!({"result": "early"}));
    // What ended with its reply has streamed nothing.
    let job = caller.call("rig1", "command:11", "[]");
    let request = device.next();
    device.event(1101, 6);
    request.reply(100, &json!(1));
    assert_eq!(caller.result(&job), json!({"result": 1}));
    assert_eq!(
        caller.status(&job)["stream"]["count"].as_u64().unwrap_or(0),
        0
    );
}

#[test]
fn a_cancel_ends_the_job_and_nobody_can_confirm_it() {
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    let job = caller.call("rig1", "command:9", "[]");
    let request = device.next();
    request.reply(201, &Value::Null);
    device.event(7, 1);
    wait_for_packets(&caller, &job, 1);
    let cancel = |job: &str| caller.ask(json!({"harpcaller": 1, "cancel": job, "confirm": true}));
    assert_eq!(
        cancel(&job),
        json!({"cancelled": true, "remote": "unconfirmed"})
    );
    device.result(&request, 100, &json!("late"));
    assert_eq!(caller.result(&job), json!({"cancelled": true}));

    // One that has not gone out is not at the device.
    let first = caller.call("rig1", "command:1", "[]");
    let request = device.next();
    let waiting = caller.call("rig1", "command:2", "[]");
    assert_eq!(
        cancel(&waiting),
        json!({"cancelled": true, "remote": "confirmed"})
    );
    request.reply(100, &json!(1));
    assert_eq!(caller.result(&first), json!({"result": 1}));
    assert!(!device.has_request());
}
