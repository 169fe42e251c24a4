//! The procedure `events`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use harp_tests::{EMERGENCY, EVENT, FakeDevice, binary, event, until};
use serde_json::{Value, json};

use super::{around, packets, reachable, wait_for_packets};

#[test]
fn events_are_streamed_until_they_are_cancelled() {
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    let stream = |arguments: &str| {
        let job = caller.call_with("rig1", "events", arguments, "\"timeout\": 1");
        until("it streams", || {
            device.event(900, 1);
            (!packets(&caller, &job).is_empty()).then_some(())
        });
        job
    };
    let all = stream("[]");
    let some = caller.call_with("rig1", "events", r#"{"kinds": [101, 5]}"#, "\"timeout\": 1");
    let emergencies = caller.call("rig1", "events", r#"{"topics": ["emergency"]}"#);
    let plain = caller.call("rig1", "events", r#"{"topics": ["event"], "kinds": [101]}"#);
    device.wait_for_subscribers(1);
    // All of them have begun when a later call has.
    stream("{}");
    until("all have what they want", || {
        device.publish_all(&[
            (EMERGENCY, event(101, 50)),
            (EVENT, event(101, 50)),
            (EVENT, event(5, 51)),
            (EVENT, event(6, 52)),
        ]);
        let counts = [&some, &emergencies, &plain].map(|job| packets(&caller, job).len());
        counts.iter().all(|count| *count > 0).then_some(())
    });
    let of = |job: &str| packets(&caller, job);
    assert!(
        of(&some)
            .iter()
            .all(|packet| packet["kind"] == 101 || packet["kind"] == 5)
    );
    assert!(
        of(&emergencies)
            .iter()
            .all(|packet| packet["topic"] == "emergency")
    );
    assert!(
        of(&plain)
            .iter()
            .all(|packet| packet["topic"] == "event" && packet["kind"] == 101)
    );
    let twins = of(&all);
    let twins = twins.iter().filter(|packet| packet["kind"] == 101);
    assert!(
        twins.clone().all(|packet| packet["topic"] == "emergency"),
        "each once"
    );

    // Silence does not end it: others have run out of theirs twice meanwhile.
    for _ in 0..2 {
        let job = caller.call_with("rig1", "command:1", "[]", "\"timeout\": 1");
        assert_eq!(caller.result(&job)["error"]["type"], "timeout");
    }
    assert!(caller.result_now(&all)["result"].is_null());
    let cancelled = caller.ask(json!({"harpcaller": 1, "cancel": all, "confirm": true}));
    assert_eq!(cancelled, json!({"cancelled": true, "remote": "confirmed"}));
    let limited = caller.call_with("rig1", "events", "[]", "\"max_exec_time\": 1");
    let error = caller.result(&limited)["error"].clone();
    assert_eq!(
        (&error["type"], &error["data"]["limit"]),
        (&json!("timeout"), &json!("max_exec_time"))
    );
}

#[test]
fn the_command_follows_what_a_device_publishes() {
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    let job = caller.call("rig1", "events", r#"{"kinds": [7]}"#);
    until("it streams", || {
        device.event(7, 1);
        (!packets(&caller, &job).is_empty()).then_some(())
    });
    let harp = |command: &str| {
        let mut harp = Command::new(binary("harp"));
        harp.args([command, "--dispatcher", &cluster.address().to_string()]);
        harp.arg("--json").arg(&job).stdout(Stdio::piped());
        harp
    };
    let mut follows = harp("follow").spawn().unwrap();
    let lines = BufReader::new(follows.stdout.take().unwrap());
    let mut events = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap())
        .filter_map(|line| Some(line["data"]["index"].as_u64()?).filter(|index| *index > 1));
    for index in 2..50 {
        device.event(7, index);
        device.event(8, index);
        assert_eq!(events.next(), Some(index));
    }
    assert!(caller.cancel(&job));
    assert_eq!(events.next(), None);
    assert!(!follows.wait().unwrap().success(), "it was cancelled");
    // It is there next week, too.
    let read = harp("stream").output().unwrap();
    let read = String::from_utf8(read.stdout).unwrap();
    assert!(read.contains("\"index\":49"), "{read}");
}

#[test]
fn what_was_missed_is_told() {
    let device = FakeDevice::start();
    let (events, commands) = device.addresses();
    let mut cluster = around(&device).start();
    let caller = cluster.caller();
    let job = caller.call("rig1", "events", "[]");
    until("it streams", || {
        device.event(7, 1);
        (!packets(&caller, &job).is_empty()).then_some(())
    });
    // The device goes away and comes back.
    device.stop();
    let device = FakeDevice::start_at(events, commands);
    device.wait_for_subscribers(1);
    reachable(&cluster);
    device.event(7, 100);
    let of_gaps = |packets: &[Value]| {
        let gaps = packets.iter().filter(|packet| packet["topic"] == "gap");
        gaps.cloned().collect::<Vec<_>>()
    };
    let seen = until("the event behind the gap has come", || {
        let packets = packets(&caller, &job);
        packets
            .last()
            .is_some_and(|last| last["index"] == 100)
            .then_some(packets)
    });
    let gaps = of_gaps(&seen);
    assert_eq!(gaps.len(), 1, "{seen:?}");
    assert!(
        gaps[0]["since"].as_u64() <= gaps[0]["until"].as_u64(),
        "{gaps:?}"
    );

    // So do the dispatcher, by an order and by a crash: the job goes on.
    for (round, index) in [(2, 200), (3, 300)] {
        match round {
            2 => cluster.restart_dispatcher(),
            _ => {
                cluster.kill_dispatcher();
                cluster.start_dispatcher();
            }
        }
        let caller = cluster.caller();
        reachable(&cluster);
        device.event(7, index);
        let seen = until("the event behind the gap has come", || {
            let packets = packets(&caller, &job);
            packets
                .last()
                .is_some_and(|last| last["index"] == index)
                .then_some(packets)
        });
        assert_eq!(of_gaps(&seen).len(), round, "{seen:?}");
    }
    assert!(cluster.caller().cancel(&job));
}

#[test]
fn no_event_is_lost_however_quickly_they_come() {
    const COUNT: u64 = 30_000;
    let device = FakeDevice::start();
    let cluster = around(&device).start();
    let caller = cluster.caller();
    let job = caller.call("rig1", "command:1", "[]");
    let request = device.next();
    request.reply(201, &Value::Null);
    device.event(7, 1);
    wait_for_packets(&caller, &job, 1);
    for batch in 0..COUNT / 1000 {
        let messages: Vec<_> = (0..1000)
            .map(|number| (EVENT, event(8, 2 + batch * 1000 + number)))
            .collect();
        device.publish_all(&messages);
    }
    device.result(&request, 100, &json!("done"));
    assert_eq!(caller.result(&job), json!({"result": "done"}));
    let packets = packets(&caller, &job);
    let indices: Vec<_> = packets
        .iter()
        .filter_map(|packet| packet["index"].as_u64())
        .collect();
    assert_eq!(indices.len() as u64, COUNT + 1);
    assert!(
        indices.iter().copied().eq(1..COUNT + 2),
        "each once, in order"
    );
}
