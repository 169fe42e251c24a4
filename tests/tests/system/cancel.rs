//! Cancelling (section 3).

use harp_tests::{ACKNOWLEDGE_STREAM, Closing, Cluster, FakeHost, Step};
use serde_json::{Value, json};

const QUEUE: &str = r#""queue": {"name": {"q": 1}}"#;

#[test]
fn a_running_job_is_cancelled_on_its_host() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    for procedure in ["gate", "feed"] {
        let mut feed = cluster.feed(procedure);
        let job = caller.call("web01", procedure, &feed.arguments());
        feed.wait_read();
        assert!(caller.cancel(&job));
        feed.wait_abandoned();
        assert_eq!(caller.result(&job), json!({"cancelled": true}));
        assert_eq!(caller.result_now(&job), json!({"cancelled": true}));
        let time = &caller.status(&job)["time"];
        assert!(time["start"].is_u64() && time["end"].is_u64(), "{time}");
    }
}

#[test]
fn no_process_of_a_cancelled_call_is_left() {
    // The one that reads the feed is a child of the one that was started, and neither
    // cares for a polite request.
    let script = "trap '' TERM; (trap '' TERM; cat \"$1\") & wait; wait";
    let mut cluster = Cluster::builder()
        .unkept()
        .procedure("family", "output = 'json'\narguments = 'argv'", script)
        .start();
    let caller = cluster.caller();
    for crash in [false, true] {
        let mut feed = cluster.feed(if crash { "crash" } else { "cancel" });
        let job = caller.call("web01", "family", &feed.arguments());
        feed.wait_read();
        if crash {
            cluster.kill_dispatcher();
        } else {
            assert!(caller.cancel(&job));
        }
        feed.wait_abandoned();
    }
}

#[test]
fn the_host_is_told_by_close_notify() {
    let host = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE_STREAM,
        Step::line(r#"{"stream":1}"#),
        Step::Hang,
    ]);
    let cluster = Cluster::around(&host).start();
    let caller = cluster.caller();
    let job = caller.call("fake", "p", "[]");
    assert_eq!(
        caller.follow(&job, r#""since": 0"#).raw_line(),
        r#"{"packet":0,"data":1}"#
    );
    assert!(caller.cancel(&job));
    assert_eq!(host.wait_closed(0), Closing::Notified);
}

#[test]
fn a_queued_job_never_starts() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let trace = cluster.path("trace");
    let first = caller.call_with("web01", "gate", &feed.arguments(), QUEUE);
    let call =
        |name: &str| caller.call_with("web01", "trace", &json!([trace, name]).to_string(), QUEUE);
    let (second, third) = (call("second"), call("third"));
    let mut following = caller.follow(&second, "");
    let mut waiting = caller.send(json!({"harpcaller": 1, "get_result": second}));

    assert!(caller.cancel(&second));
    assert_eq!(following.rest(), [r#"{"cancelled":true}"#]);
    assert_eq!(waiting.rest(), [r#"{"cancelled":true}"#]);
    let time = &caller.status(&second)["time"];
    assert_eq!(time["start"], Value::Null);
    assert!(time["end"].is_u64(), "{time}");

    assert!(caller.cancel(&first));
    assert_eq!(caller.result(&third), json!({"result": null}));
    assert_eq!(
        std::fs::read_to_string(trace).unwrap(),
        "start third\nend third\n"
    );
}

#[test]
fn what_has_ended_stays_as_it_ended() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let returned = caller.call("web01", "echo", "[1]");
    assert_eq!(caller.result(&returned), json!({"result": [1]}));
    let failed = caller.call("web99", "echo", "[]");
    let error = caller.result(&failed);
    for (job, outcome) in [(&returned, json!({"result": [1]})), (&failed, error)] {
        let status = caller.status(job);
        assert!(!caller.cancel(job));
        assert_eq!(caller.result(job), outcome);
        assert_eq!(caller.status(job), status);
    }
}

#[test]
fn cancelling_twice_is_true_once() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let running = caller.call_with("web01", "gate", &feed.arguments(), QUEUE);
    let queued = caller.call_with("web01", "echo", "[]", QUEUE);
    for job in [&queued, &running] {
        assert!(caller.cancel(job));
        assert!(!caller.cancel(job));
        assert_eq!(caller.result(job), json!({"cancelled": true}));
    }
}

#[test]
fn a_whole_queue_can_be_cancelled_backwards() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let mut jobs = vec![caller.call_with("web01", "gate", &feed.arguments(), QUEUE)];
    jobs.extend((0..20).map(|_| caller.call_with("web01", "echo", "[]", QUEUE)));
    for job in jobs.iter().rev() {
        assert!(caller.cancel(job));
    }
    for job in &jobs {
        assert_eq!(caller.result(job), json!({"cancelled": true}));
    }
}

#[test]
fn a_cancel_is_recorded_before_it_is_answered() {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let running = caller.call_with("web01", "gate", &feed.arguments(), QUEUE);
    let queued = caller.call_with("web01", "echo", "[]", QUEUE);
    assert!(caller.cancel(&queued));
    assert!(caller.cancel(&running));
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    for job in [&running, &queued] {
        assert_eq!(caller.result_now(job), json!({"cancelled": true}));
    }
}

#[test]
fn a_host_that_cannot_be_reached_does_not_delay_a_cancel() {
    let host = FakeHost::start(&[Step::Hang]);
    let cluster = Cluster::around(&host).start();
    let caller = cluster.caller();
    let job = caller.call("fake", "p", "[]");
    assert!(caller.cancel(&job));
    assert_eq!(caller.result_now(&job), json!({"cancelled": true}));
}
