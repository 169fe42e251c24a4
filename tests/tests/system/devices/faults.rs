//! Devices that do what they must not, go away, or are started anew.

use harp_tests::{EVENT, FakeDevice, event, until};
use serde_json::{Value, json};

use super::{around, reachable, wait_for_packets, wait_for_standing};

/// The error that a job ends with.
fn error(caller: harp_tests::Caller, job: &str) -> Value {
    caller.result(job)["error"].clone()
}

#[test]
fn a_reply_that_comes_too_late_is_nobodys() {
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    let job = caller.call_with("rig1", "command:1", "[]", "\"timeout\": 1");
    let late = device.next();
    assert_eq!(error(caller, &job)["type"], "timeout");
    // It takes its connection with it.
    until("the device is connected to anew", || {
        (device.dealers() == 2).then_some(())
    });
    let job = caller.call("rig1", "command:2", "[]");
    let request = device.next();
    late.reply(100, &json!("late"));
    assert_eq!(request.json()["command"], 2);
    request.reply(100, &json!("in time"));
    assert_eq!(caller.result(&job), json!({"result": "in time"}));
}

#[test]
fn a_device_that_lives_and_does_not_reply_is_given_up() {
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    let job = caller.call_with("rig1", "command:1", "[]", "\"timeout\": 3");
    let _never_replied = device.next();
    // It gives up before its turn comes.
    let behind = caller.call_with("rig1", "command:2", "[]", "\"timeout\": 1");
    // Heartbeats are no signs of a command.
    until("the job has ended", || {
        device.beat("0.12.0", 1.0);
        caller.result_now(&job)["error"].is_object().then_some(())
    });
    assert_eq!(error(caller, &job)["type"], "timeout");
    // Waiting for one's turn counts as silence.
    assert_eq!(error(caller, &behind)["type"], "timeout");
}

#[test]
fn what_is_no_reply_is_told_and_the_next_command_goes_out() {
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    let nonce = |request: &harp_tests::DeviceRequest| request.nonce();
    for frames in [
        vec![b"".to_vec(), b"garbage".to_vec()],
        vec![b"".to_vec(), b"[100]".to_vec()],
        vec![b"".to_vec(), br#"{"command":1,"result":100}"#.to_vec()],
        vec![b"".to_vec(), b"NONCE".to_vec(), b"more".to_vec()],
        vec![b"NONCE".to_vec()],
    ] {
        let job = caller.call("rig1", "command:1", "[]");
        let request = device.next();
        let good = format!(
            r#"{{"nonce":{},"command":1,"result":100}}"#,
            nonce(&request)
        );
        let frames: Vec<_> = frames
            .iter()
            .map(|frame| match &frame[..] {
                b"NONCE" => good.as_bytes(),
                frame => frame,
            })
            .collect();
        request.send(&frames);
        let error = error(caller, &job);
        assert_eq!(error["type"], "protocol_error", "{error}");
        assert_eq!(error["data"]["phase"], "acknowledge", "{error}");
    }
    let job = caller.call("rig1", "command:2", "[]");
    device.next().reply(100, &json!(2));
    assert_eq!(caller.result(&job), json!({"result": 2}));
}

#[test]
fn an_answer_to_nobody_is_dropped_and_counted() {
    let device = FakeDevice::start();
    let open = "[[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n";
    let cluster = around(&device).tables(open).start();
    let caller = cluster.caller();
    let job = caller.call("rig1", "command:1", "[]");
    let request = device.next();
    let other = format!(
        r#"{{"nonce":{},"command":1,"result":100,"data":"other"}}"#,
        request.nonce() + 1
    );
    request.send(&[b"", other.as_bytes()]);
    device.publish(harp_tests::COMMAND_RESULT, &other);
    request.reply(100, &json!("its own"));
    assert_eq!(caller.result(&job), json!({"result": "its own"}));
    until("both are counted", || {
        let metrics = harp_tests::HttpRequest::get("/metrics").ask(cluster.http_address());
        let text = metrics.text().to_owned();
        text.contains("harpcaller_device_stray_answers_total 2\n")
            .then_some(())
    });
}

#[test]
fn a_device_that_is_not_there_is_told_as_such() {
    let device = FakeDevice::start();
    let (events, commands) = device.addresses();
    let entry = device.entry("rig1");
    device.stop();
    let cluster = harp_tests::Cluster::builder()
        .hosts(0)
        .entry(entry)
        .set("connect_timeout", "1")
        .start();
    let caller = cluster.caller();
    for procedure in ["get_status", "events"] {
        let error = error(caller, &caller.call("rig1", procedure, "[]"));
        assert_eq!(error["type"], "network_error", "{error}");
        assert_eq!(error["data"]["code"], "econnrefused", "{error}");
        assert_eq!(error["data"]["phase"], "connect", "{error}");
    }
    // A call that waits has it looked for again soon.
    let job = caller.call("rig1", "get_status", "[]");
    let device = FakeDevice::start_at(events, commands);
    device.next().reply(100, &json!("here"));
    assert_eq!(caller.result(&job), json!({"result": "here"}));
}

#[test]
fn no_command_goes_out_unless_the_device_is_listened_to() {
    let device = FakeDevice::start();
    // Its result could be missed: where it should publish there is its other socket.
    let mut entry = device.entry("rig1");
    entry["event_port"] = entry["command_port"].clone();
    let cluster = harp_tests::Cluster::builder()
        .hosts(0)
        .entry(entry)
        .set("connect_timeout", "1")
        .start();
    let caller = cluster.caller();
    let error = error(caller, &caller.call("rig1", "get_status", "[]"));
    assert_eq!(error["type"], "protocol_error", "{error}");
    assert_eq!(error["data"]["phase"], "connect", "{error}");
    assert!(!device.has_request());
}

#[test]
fn a_device_whose_heartbeats_stop_is_unreachable() {
    let device = FakeDevice::start();
    let cluster = around(&device).set("connect_timeout", "1").start();
    let caller = cluster.caller();
    device.wait_for_subscribers(1);
    reachable(&cluster);
    // A call that is under way goes on.
    let running = caller.call("rig1", "command:1", "[]");
    let request = device.next();
    device.beat("0.12.0", 100.0);
    device.beat("0.12.0", 100.1);
    let silent = wait_for_standing(&cluster, |host| host["state"] == json!("unreachable"));
    assert_eq!(silent["device"]["interval"], 100);
    assert!(
        silent["device"]["why"]
            .as_str()
            .unwrap()
            .contains("heartbeat"),
        "{silent}"
    );
    let error = error(caller, &caller.call("rig1", "get_status", "[]"));
    assert_eq!(error["data"]["code"], "no_heartbeat", "{error}");
    assert_eq!(error["data"]["phase"], "connect", "{error}");
    request.reply(100, &json!("done"));
    assert_eq!(caller.result(&running), json!({"result": "done"}));
    // One that beats again is there.
    device.beat("0.12.0", 200.0);
    let job = caller.call("rig1", "get_status", "[]");
    until("the command goes out", || {
        device.beat("0.12.0", 200.0);
        device.has_request().then_some(())
    });
    device.next().reply(100, &json!("here"));
    assert_eq!(caller.result(&job), json!({"result": "here"}));
}

#[test]
fn a_device_that_was_started_anew_has_forgotten_its_commands() {
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    device.wait_for_subscribers(1);
    reachable(&cluster);
    let other = json!({"identifier": "other", "version": "0.13.0", "timestamp": 2.0}).to_string();
    let signs: [(&str, &dyn Fn()); 4] = [
        ("it was launched", &|| device.event(201, 1)),
        ("a lower index", &|| device.event(7, 3)),
        ("another version", &|| device.beat("0.13.0", 1.0)),
        ("another identifier", &|| {
            device.publish(harp_tests::HEARTBEAT, &other);
        }),
    ];
    device.beat("0.12.0", 1.0);
    device.event(7, 1000);
    for (sign, give) in signs {
        let job = caller.call("rig1", "command:1", "[]");
        device.next().reply(201, &Value::Null);
        device.event(8, 1500);
        wait_for_packets(&caller, &job, 1);
        give();
        let error = error(caller, &job);
        assert_eq!(error["type"], "missing_result", "{sign}: {error}");
        assert_eq!(error["data"], json!({"host_restarted": true}), "{sign}");
    }
}

#[test]
fn emergencies_come_twice_and_are_no_restart() {
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    let job = caller.call("rig1", "command:1", "[]");
    let request = device.next();
    request.reply(201, &Value::Null);
    // The second of the two comes behind a later event.
    device.publish_all(&[
        (harp_tests::EMERGENCY, event(101, 10)),
        (EVENT, event(7, 11)),
        (EVENT, event(101, 10)),
        (EVENT, event(7, 12)),
    ]);
    device.result(&request, 100, &json!("done"));
    assert_eq!(caller.result(&job), json!({"result": "done"}));
    let packets = super::packets(&caller, &job);
    let told: Vec<_> = packets
        .iter()
        .map(|packet| (&packet["topic"], &packet["index"]))
        .collect();
    assert_eq!(
        told,
        [
            (&json!("emergency"), &json!(10)),
            (&json!("event"), &json!(11)),
            (&json!("event"), &json!(12)),
        ]
    );
}

#[test]
fn a_connection_that_breaks_before_the_reply_ends_the_call() {
    let device = FakeDevice::start();
    let (events, commands) = device.addresses();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    let job = caller.call("rig1", "command:1", "[]");
    let _request = device.next();
    device.stop();
    let device = FakeDevice::start_at(events, commands);
    let error = error(caller, &job);
    assert_eq!(error["type"], "network_error", "{error}");
    assert_eq!(error["data"]["phase"], "acknowledge", "{error}");
    let job = caller.call("rig1", "command:2", "[]");
    device.next().reply(100, &json!(2));
    assert_eq!(caller.result(&job), json!({"result": 2}));
}

#[test]
fn what_was_announced_goes_on_over_a_restart_of_the_dispatcher() {
    let device = FakeDevice::start();
    let mut cluster = around(&device).start();
    let caller = cluster.caller();
    let announced = caller.call("rig1", "command:1", "[]");
    let request = device.next();
    request.reply(201, &Value::Null);
    device.event(7, 1);
    wait_for_packets(&caller, &announced, 1);
    let unanswered = caller.call("rig1", "command:2", "[]");
    let second = device.next();
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    let caller = cluster.caller();
    // Its command may have gone out.
    assert_eq!(error(caller, &unanswered)["type"], "missing_result");
    reachable(&cluster);
    device.event(7, 2);
    let packets = wait_for_packets(&caller, &announced, 3);
    let topics: Vec<_> = packets.iter().map(|packet| &packet["topic"]).collect();
    assert_eq!(topics, ["event", "gap", "event"], "{packets:?}");
    device.result(&request, 100, &json!("done"));
    assert_eq!(caller.result(&announced), json!({"result": "done"}));
    let job = caller.call("rig1", "command:3", "[]");
    let third = device.next();
    assert!(third.nonce() > second.nonce(), "no nonce twice");
    third.reply(100, &json!(3));
    assert_eq!(caller.result(&job), json!({"result": 3}));
}

#[test]
fn a_stop_lets_go_of_what_was_announced_and_waits_for_the_rest() {
    let device = FakeDevice::start();
    let mut cluster = around(&device).start();
    let caller = cluster.caller();
    let announced = caller.call("rig1", "command:1", "[]");
    let request = device.next();
    request.reply(201, &Value::Null);
    device.event(7, 1);
    wait_for_packets(&caller, &announced, 1);
    let unanswered = caller.call("rig1", "command:2", "[]");
    let second = device.next();
    cluster.ask_dispatcher_to_stop();
    let _ = cluster.log().wait_for("stopping");
    second.reply(100, &json!("just in time"));
    let status = cluster.wait_dispatcher_ended();
    assert!(status.success(), "{status}");
    cluster.start_dispatcher();
    let caller = cluster.caller();
    assert_eq!(
        caller.result(&unanswered),
        json!({"result": "just in time"})
    );
    reachable(&cluster);
    device.result(&request, 100, &json!("done"));
    assert_eq!(caller.result(&announced), json!({"result": "done"}));
}

#[test]
fn a_device_that_the_registry_loses_takes_its_jobs_with_it() {
    let device = FakeDevice::start();
    let cluster = around(&device).set("host_db_allow_empty", "true").start();
    let caller = cluster.caller();
    let announced = caller.call("rig1", "command:1", "[]");
    device.next().reply(201, &Value::Null);
    let stream = caller.call("rig1", "events", "[]");
    device.event(7, 1);
    wait_for_packets(&caller, &announced, 1);
    cluster.set_registry(&[]);
    let refreshed = cluster.run(&["hosts-refresh"]);
    assert!(refreshed.status.success(), "{refreshed:?}");
    assert_eq!(error(caller, &announced)["type"], "unknown_host");
    assert_eq!(error(caller, &stream)["type"], "unknown_host");
}

#[test]
fn a_device_that_stalls_within_a_large_message_keeps_no_memory_from_others() {
    let large = |index| {
        let text = "x".repeat(8 * 1024 * 1024);
        json!({"kind": 7, "when": 1.5, "index": index, "context": text}).to_string()
    };
    let (stalling, other) = (FakeDevice::start(), FakeDevice::start());
    let cluster = around(&stalling)
        .entry(other.entry("rig2"))
        .set("host_memory", "\"1M\"")
        .start();
    let caller = cluster.caller();
    let stream = |device: &FakeDevice, host: &str| {
        let job = caller.call(host, "events", "[]");
        until("it streams", || {
            device.event(7, 1);
            (!super::packets(&caller, &job).is_empty()).then_some(())
        });
        job
    };
    let (first, second) = (stream(&stalling, "rig1"), stream(&other, "rig2"));
    let is_last = |job: &str, index: u64| {
        until("the event has come", || {
            let packets = super::packets(&caller, job);
            let last = packets.last().cloned();
            last.filter(|last| last["index"] == index)
        })
    };
    // What is of nobody but the one is his, however slow he is.
    stalling.publish_half(EVENT, &large(2));
    other.publish(EVENT, &large(2));
    let come = is_last(&second, 2);
    assert_eq!(
        come["context"].as_str().map(str::len),
        Some(8 * 1024 * 1024)
    );
    // The one that stalled is connected to anew, which is told.
    until("it is heard again", || {
        stalling.event(7, 9);
        let packets = super::packets(&caller, &first);
        packets
            .iter()
            .any(|packet| packet["topic"] == "gap")
            .then_some(())
    });
    is_last(&first, 9);
}
