//! Recordings that the dispatcher keeps going by itself.

use harp_tests::{Caller, EVENT, FakeDevice, event, until};
use serde_json::{Value, json};

use super::{around_with, packets, reachable};

/// All recordings, the oldest first.
fn recordings(caller: &Caller) -> Vec<Value> {
    let answer =
        caller.ask(json!({"harpcaller": 1, "list_jobs": {"client": ["device"], "limit": 100}}));
    let mut jobs = answer["jobs"].as_array().cloned().unwrap_or_default();
    jobs.reverse();
    jobs
}

/// The indices of all events that were recorded, and how many gaps.
fn recorded(caller: &Caller) -> (Vec<u64>, usize) {
    let jobs = recordings(caller);
    let ids = jobs.iter().filter_map(|job| job["id"].as_str());
    let packets: Vec<_> = ids.flat_map(|id| packets(caller, id)).collect();
    let gaps = packets
        .iter()
        .filter(|packet| packet["topic"] == "gap")
        .count();
    (
        packets
            .iter()
            .filter_map(|packet| packet["index"].as_u64())
            .collect(),
        gaps,
    )
}

#[test]
fn a_recording_goes_on_by_itself_and_tells_what_it_has_missed() {
    let device = FakeDevice::start();
    let mut cluster = around_with(&device, &json!({"record": true}))
        .set("max_exec_time", "1")
        .set("default_timeout", "1")
        .start();
    let caller = cluster.caller();
    device.wait_for_subscribers(1);
    reachable(&cluster);
    device.event(7, 1);
    until("the event is recorded", || {
        (recorded(&caller).0 == [1]).then_some(())
    });
    let jobs = recordings(&caller);
    assert_eq!(jobs.len(), 1, "{jobs:?}");
    assert_eq!(jobs[0]["procedure"], "events");
    // No limit of time ends it: those of others have passed twice meanwhile.
    for _ in 0..2 {
        let job = caller.call("rig1", "command:1", "[]");
        assert_eq!(caller.result(&job)["error"]["type"], "timeout");
    }
    device.event(7, 2);
    until("it goes on", || {
        (recorded(&caller) == (vec![1, 2], 0)).then_some(())
    });

    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    let caller = cluster.caller();
    reachable(&cluster);
    device.event(7, 3);
    until("it goes on with a gap", || {
        (recorded(&caller) == (vec![1, 2, 3], 1)).then_some(())
    });
    let after = recordings(&caller);
    assert_eq!(
        (after.len(), &after[0]["id"]),
        (1, &jobs[0]["id"]),
        "the same job"
    );
    assert_eq!(after[0]["state"], "running");

    // Whoever cancels it gets another one.
    assert!(caller.cancel(jobs[0]["id"].as_str().unwrap()));
    until("another one is begun", || {
        (recordings(&caller).len() == 2).then_some(())
    });
    device.event(7, 4);
    until("nothing is lost between them", || {
        (recorded(&caller).0 == [1, 2, 3, 4]).then_some(())
    });

    // The registry ends it.
    cluster.set_registry(&[device.entry("rig1")]);
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    until("it has ended", || {
        let jobs = recordings(&caller);
        (jobs.len() == 2 && jobs[1]["outcome"] == "returned").then_some(())
    });
}

#[test]
fn what_is_missed_between_two_recordings_and_two_lives_is_told() {
    let device = FakeDevice::start();
    let mut cluster = around_with(&device, &json!({"record": true})).start();
    let caller = cluster.caller();
    device.wait_for_subscribers(1);
    reachable(&cluster);
    device.event(7, 1);
    until("the event is recorded, the first without a gap", || {
        (recorded(&caller) == (vec![1], 0)).then_some(())
    });
    // Another one is begun in a second, if the dispatcher lives that long.
    let job = recordings(&caller)[0]["id"].take();
    assert!(caller.cancel(job.as_str().unwrap()));
    cluster.kill_dispatcher();
    device.event(7, 2);
    cluster.start_dispatcher();
    let caller = cluster.caller();
    reachable(&cluster);
    device.event(7, 3);
    until("the next one tells what is missing", || {
        (recorded(&caller) == (vec![1, 3], 1)).then_some(())
    });
}

#[test]
fn one_recording_follows_the_other_without_a_gap() {
    const COUNT: u64 = 5000;
    let device = FakeDevice::start();
    let cluster = around_with(&device, &json!({"record": true}))
        .set("max_job_packets", "700")
        .start();
    let caller = cluster.caller();
    device.wait_for_subscribers(1);
    reachable(&cluster);
    for batch in 0..COUNT / 500 {
        let messages: Vec<_> = (0..500)
            .map(|number| (EVENT, event(8, 1 + batch * 500 + number)))
            .collect();
        device.publish_all(&messages);
    }
    let (indices, gaps) = until("all are recorded", || {
        let (indices, gaps) = recorded(&caller);
        (indices.len() as u64 >= COUNT).then_some((indices, gaps))
    });
    assert!(indices.iter().copied().eq(1..=COUNT), "each once, in order");
    assert_eq!(gaps, 0);
    let jobs = recordings(&caller);
    assert_eq!(jobs.len(), 8);
    assert!(
        jobs[..7].iter().all(|job| job["outcome"] == "returned"),
        "{jobs:?}"
    );
}
