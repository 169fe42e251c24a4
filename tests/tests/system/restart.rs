//! What a stop, a crash and a start do to jobs (sections 2, 7 and 9).

use std::time::{Duration, Instant};

use harp_tests::{ACKNOWLEDGE, Caller, Cluster, FakeHost, Page, Step, until};
use serde_json::{Value, json};

use crate::assertions::assert_ended;

const QUEUE: &str = r#""queue": {"name": {"q": 1}}"#;

#[track_caller]
fn assert_interrupted(answer: &Value) {
    assert_ended(answer, "missing_result", &Value::Null);
    assert_eq!(answer["error"]["message"], "job interrupted abruptly");
}

/// Everything a client can ask about jobs, as text.
fn everything(caller: Caller, jobs: &[String]) -> Vec<String> {
    jobs.iter()
        .flat_map(|job| {
            [
                json!({"harpcaller": 1, "get_result": job, "wait": false}),
                json!({"harpcaller": 1, "get_status": job}),
                json!({"harpcaller": 1, "read_stream": job, "timestamps": true}),
                json!({"harpcaller": 1, "follow_stream": job, "since": 1}),
            ]
        })
        .flat_map(|request| caller.send(request).rest())
        .collect()
}

#[test]
fn what_was_known_before_is_known_after() {
    let mut cluster = Cluster::builder().unkept().start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let cancelled = caller.call("web01", "gate", &feed.arguments());
    assert!(caller.cancel(&cancelled));
    let odd = r#"[1e5,1.0,{"b":1,"a":2,"b":[ ]},"\ud800\/"]"#;
    let jobs = vec![
        caller.call_with("web01", "echo", odd, &format!(r#""info":{odd}"#)),
        caller.call(
            "web01",
            "packets",
            &json!(["1e5", "{\"b\":1.0,\"b\":2}", "3"]).to_string(),
        ),
        caller.call("web01", "count", "[5000]"),
        caller.call("web01", "blob", "[2000000, 100, 2000000]"),
        caller.call("web01", "fail", r#"[3, "went wrong"]"#),
        caller.call("web99", "echo", "[]"),
        cancelled,
    ];
    for job in &jobs {
        let _ = caller.raw_result(job);
    }
    let before = everything(caller, &jobs);
    cluster.restart_dispatcher();
    assert!(
        everything(caller, &jobs) == before,
        "the same after an orderly restart"
    );
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    assert!(
        everything(caller, &jobs) == before,
        "the same after a crash"
    );
}

#[test]
fn an_orderly_stop_ends_what_runs_and_keeps_what_waits() {
    let mut cluster = Cluster::builder().unkept().set("stop_grace", "1").start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let trace = cluster.path("trace");
    let running = caller.call_with("web01", "feed", &feed.arguments(), QUEUE);
    feed.send("1");
    feed.send("2");
    let queued: Vec<String> = (0..5)
        .map(|number| {
            let arguments = json!([trace, number.to_string()]).to_string();
            caller.call_with("web01", "trace", &arguments, QUEUE)
        })
        .collect();
    let mut following = caller.follow(&running, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":1}"#);
    assert_eq!(following.raw_line(), r#"{"packet":1,"data":2}"#);
    let mut waiting = caller.send(json!({"harpcaller": 1, "get_result": running}));
    let mut waiting_queued = caller.send(json!({"harpcaller": 1, "get_result": queued[0]}));
    let mut following_queued = caller.follow(&queued[4], "");

    let begun = Instant::now();
    cluster.stop_dispatcher();
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "stop_grace: {:?}",
        begun.elapsed()
    );
    for client in [&mut following, &mut waiting] {
        assert_interrupted(&client.line());
        assert!(client.at_end());
    }
    // An error line would be taken for the end of their job.
    assert!(waiting_queued.at_end());
    assert!(following_queued.at_end());
    feed.wait_abandoned();

    cluster.start_dispatcher();
    let page = caller.read(&running, "");
    assert_eq!(page.packets, ["1", "2"]);
    assert_interrupted(&page.last);
    let time = &caller.status(&running)["time"];
    assert!(time["start"].is_u64() && time["end"].is_u64(), "{time}");
    for job in &queued {
        assert_eq!(caller.result(job), json!({"result": null}));
    }
    let order: String = (0..5)
        .map(|number| format!("start {number}\nend {number}\n"))
        .collect();
    assert_eq!(std::fs::read_to_string(trace).unwrap(), order);
}

#[test]
fn a_job_that_ends_within_stop_grace_has_its_result() {
    let mut cluster = Cluster::builder().unkept().set("stop_grace", "600").start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let running = caller.call_with("web01", "gate", &feed.arguments(), QUEUE);
    let queued = caller.call_with("web01", "echo", "[]", QUEUE);
    let mut waiting = caller.send(json!({"harpcaller": 1, "get_result": running}));
    feed.wait_read();
    cluster.ask_dispatcher_to_stop();
    let _ = cluster.log().wait_for("stopping");
    feed.send("42");
    feed.finish();
    assert_eq!(waiting.rest(), [r#"{"result":42}"#]);
    assert!(cluster.wait_dispatcher_ended().success());
    // Its successor did not start while the dispatcher was stopping, and does now.
    cluster.start_dispatcher();
    assert_eq!(caller.result(&queued), json!({"result": []}));
    assert_eq!(caller.result(&running), json!({"result": 42}));
}

#[test]
fn without_resume_queued_what_waited_ends() {
    let mut cluster = Cluster::builder().unkept().set("stop_grace", "0").start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let running = caller.call_with("web01", "gate", &feed.arguments(), QUEUE);
    let queued = caller.call_with("web01", "echo", "[]", QUEUE);
    cluster.stop_dispatcher();
    cluster.set("resume_queued", "false");
    cluster.start_dispatcher();
    for job in [&running, &queued] {
        assert_interrupted(&caller.result_now(job));
    }
    let time = &caller.status(&queued)["time"];
    assert_eq!(time["start"], Value::Null);
    assert!(time["end"].is_u64(), "{time}");
}

#[test]
fn a_crash_ends_what_ran_and_keeps_what_waited() {
    let mut cluster = Cluster::builder().unkept().set("slot_grace", "1").start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let trace = cluster.path("trace");
    let running = caller.call_with("web01", "feed", &feed.arguments(), QUEUE);
    let queued: Vec<String> = (0..3)
        .map(|number| {
            let arguments = json!([trace, number.to_string()]).to_string();
            caller.call_with("web01", "trace", &arguments, QUEUE)
        })
        .collect();
    for number in 0..100 {
        feed.send(&number.to_string());
    }
    // What a follower was shown is on disk.
    let mut following = caller.follow(&running, r#""since": 0"#);
    for number in 0..100 {
        assert_eq!(
            following.raw_line(),
            format!(r#"{{"packet":{number},"data":{number}}}"#)
        );
    }
    cluster.kill_dispatcher();
    feed.wait_abandoned();
    cluster.start_dispatcher();

    assert_interrupted(&caller.result_now(&running));
    let page = Page::read(&mut caller.follow(&running, r#""since": 0"#));
    assert_eq!(page.packets.len(), 100);
    assert_interrupted(&page.last);
    let time = &caller.status(&running)["time"];
    assert!(time["start"].is_u64() && time["end"].is_u64(), "{time}");
    for job in &queued {
        assert_eq!(caller.result(job), json!({"result": null}));
    }
    let order: String = (0..3)
        .map(|number| format!("start {number}\nend {number}\n"))
        .collect();
    assert_eq!(std::fs::read_to_string(trace).unwrap(), order);
}

#[test]
fn after_a_crash_a_busy_queue_waits_for_slot_grace() {
    let host = FakeHost::start_each(&[
        &[Step::Handshake, Step::Request, ACKNOWLEDGE, Step::Hang],
        &[
            Step::Handshake,
            Step::Request,
            ACKNOWLEDGE,
            Step::line(r#"{"result":2}"#),
        ],
    ]);
    let mut cluster = Cluster::around(&host).set("slot_grace", "2").start();
    let caller = cluster.caller();
    let running = caller.call_with("fake", "p", "[]", QUEUE);
    let queued = caller.call_with("fake", "p", "[]", QUEUE);
    host.wait_for_lines(1);
    cluster.kill_dispatcher();
    let begun = Instant::now();
    cluster.start_dispatcher();
    assert_interrupted(&caller.result_now(&running));
    assert!(!caller.has_started(&queued));
    assert_eq!(caller.result(&queued), json!({"result": 2}));
    assert!(
        begun.elapsed() >= Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
}

/// A cluster with a procedure that takes a second to go away, and says when it is gone.
fn reluctant() -> Cluster {
    let script = "trap 'sleep 1; echo gone >> \"$1\"; exit 1' TERM
        echo here >> \"$1\"
        while :; do sleep 0.05; done";
    Cluster::builder()
        .unkept()
        .procedure("reluctant", "output = 'json'\narguments = 'argv'", script)
        .set_host("kill_grace", "30")
        .set("slot_grace", "5")
        .start()
}

/// Calls that procedure and waits until it runs.
fn run_reluctant(cluster: &Cluster) -> String {
    let trace = cluster.path("trace");
    let arguments = json!([trace]).to_string();
    let job = cluster
        .caller()
        .call_with("web01", "reluctant", &arguments, QUEUE);
    until("the procedure runs", || {
        let text = std::fs::read_to_string(&trace).unwrap_or_default();
        (text == "here\n").then_some(())
    });
    job
}

fn call_trace(cluster: &Cluster, name: &str) -> String {
    let arguments = json!([cluster.path("trace"), name]).to_string();
    cluster
        .caller()
        .call_with("web01", "trace", &arguments, QUEUE)
}

#[track_caller]
fn assert_no_overlap(cluster: &Cluster, jobs: &[(&str, &str)]) {
    let mut expected = "here\ngone\n".to_owned();
    for (job, name) in jobs {
        assert_eq!(cluster.caller().result(job), json!({"result": null}));
        expected += &format!("start {name}\nend {name}\n");
    }
    let trace = std::fs::read_to_string(cluster.path("trace")).unwrap();
    assert_eq!(trace, expected);
}

#[test]
fn procedures_do_not_overlap_after_two_crashes() {
    let mut cluster = reluctant();
    let first = run_reluctant(&cluster);
    let second = call_trace(&cluster, "second");
    for _ in 0..2 {
        cluster.kill_dispatcher();
        cluster.start_dispatcher();
    }
    assert_interrupted(&cluster.caller().result_now(&first));
    let third = call_trace(&cluster, "third");
    assert_no_overlap(&cluster, &[(&second, "second"), (&third, "third")]);
}

#[test]
fn procedures_do_not_overlap_after_a_cancel_and_a_crash() {
    let mut cluster = reluctant();
    let first = run_reluctant(&cluster);
    let second = call_trace(&cluster, "second");
    assert!(cluster.caller().cancel(&first));
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    let third = call_trace(&cluster, "third");
    assert_no_overlap(&cluster, &[(&second, "second"), (&third, "third")]);
    let answer = cluster.caller().result_now(&first);
    assert_eq!(answer, json!({"cancelled": true}));
}

#[test]
fn a_new_call_does_not_overlap_after_a_cancel_and_a_crash() {
    // Nothing waits: all that is left of the queue is the place of the first.
    let mut cluster = reluctant();
    let first = run_reluctant(&cluster);
    assert!(cluster.caller().cancel(&first));
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    let second = call_trace(&cluster, "second");
    assert_no_overlap(&cluster, &[(&second, "second")]);
}

#[test]
fn a_restart_keeps_the_concurrency_of_a_queue() {
    let mut cluster = Cluster::builder()
        .unkept()
        .set("stop_grace", "0")
        .set("slot_grace", "0")
        .start();
    let caller = cluster.caller();
    let mut feeds: Vec<_> = (0..6)
        .map(|number| cluster.feed(&number.to_string()))
        .collect();
    let jobs: Vec<String> = feeds
        .iter()
        .map(|feed| {
            let queue = r#""queue": {"name": {}, "concurrency": 2}"#;
            caller.call_with("web01", "gate", &feed.arguments(), queue)
        })
        .collect();
    feeds[0].wait_read();
    feeds[1].wait_read();
    cluster.restart_dispatcher();
    // The first two ended; the next two have their places, and a newcomer joins them.
    feeds[2].wait_read();
    feeds[3].wait_read();
    let queue = r#""queue": {"name": {}, "concurrency": 9}"#;
    let newcomer = caller.call_with("web01", "echo", "[]", queue);
    let started: Vec<bool> = jobs.iter().map(|job| caller.has_started(job)).collect();
    assert_eq!(started, [true, true, true, true, false, false]);
    assert!(!caller.has_started(&newcomer));
}

#[test]
fn a_started_call_is_never_made_again() {
    let host = FakeHost::start(&[Step::Handshake, Step::Request, ACKNOWLEDGE, Step::Hang]);
    let mut cluster = Cluster::around(&host).start();
    let caller = cluster.caller();
    for number in 1..=5 {
        let job = caller.call("fake", "p", "[]");
        host.wait_for_lines(number);
        cluster.kill_dispatcher();
        cluster.start_dispatcher();
        assert_interrupted(&caller.result(&job));
    }
    assert_eq!(host.visits().len(), 5);
}

#[test]
fn an_answered_call_survives_a_crash_at_once() {
    let mut cluster = Cluster::builder().unkept().set("slot_grace", "0").start();
    let caller = cluster.caller();
    for number in 0..5 {
        let feed = cluster.feed(&number.to_string());
        let held = caller.call_with("web01", "gate", &feed.arguments(), QUEUE);
        let more = format!(r#"{QUEUE}, "info": "kept""#);
        let job = caller.call_with("web01", "echo", &format!("[{number}]"), &more);
        cluster.kill_dispatcher();
        cluster.start_dispatcher();
        assert_eq!(caller.status(&job)["info"], "kept");
        assert_eq!(caller.result(&job), json!({"result": [number]}));
        assert_interrupted(&caller.result_now(&held));
    }
}

#[test]
fn one_store_serves_one_dispatcher() {
    let cluster = Cluster::builder().unkept().start();
    let caller = cluster.caller();
    let mut text = std::fs::read_to_string(cluster.config()).unwrap();
    let own = text
        .lines()
        .find(|line| line.starts_with("listen"))
        .unwrap()
        .to_owned();
    text = text.replace(&own, r#"listen = ["127.0.0.1:0"]"#);
    let config = cluster.path("second.toml");
    std::fs::write(&config, text).unwrap();
    let output = std::process::Command::new(harp_tests::binary("harpcallerd"))
        .arg("--socket")
        .arg(cluster.path("second"))
        .arg("start")
        .arg("--config")
        .arg(config)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        complaint.contains("jobs"),
        "the store's place is named: {complaint}"
    );
    let job = caller.call("web01", "echo", "[]");
    assert_eq!(caller.result(&job), json!({"result": []}));
}
