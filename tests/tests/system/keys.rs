//! Idempotent submission: `key` and `unless_since` (section 8).

use std::collections::{HashMap, HashSet};
use std::thread;

use harp_tests::{Caller, Cluster, until};
use serde_json::{Value, json};

use crate::assertions::{assert_refused, keys};

const QUEUE: &str = r#""queue": {"name": {"q": 1}}"#;

/// Submits a call; the job, and whether there was one before.
#[track_caller]
fn submit(caller: Caller, procedure: &str, arguments: &Value, more: &str) -> (String, bool) {
    let answer = caller.ask(call(procedure, arguments, more));
    let job = answer["job_id"].as_str();
    let job = job.unwrap_or_else(|| panic!("refused: {answer}"));
    if !answer["existing"].is_null() {
        assert_eq!(answer["existing"], true, "{answer}");
        assert_eq!(keys(&answer), ["existing", "harpcaller", "job_id"]);
    }
    (job.to_owned(), answer["existing"] == true)
}

fn call(procedure: &str, arguments: &Value, more: &str) -> String {
    format!(
        r#"{{"harpcaller": 1, "host": "web01", "procedure": {}, "arguments": {arguments}, {more}}}"#,
        json!(procedure)
    )
}

fn trace(cluster: &Cluster) -> String {
    std::fs::read_to_string(cluster.path("trace")).unwrap_or_default()
}

#[test]
fn the_same_key_is_the_same_job_however_many_ask_at_once() {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let arguments = json!([cluster.path("trace"), "x"]);
    let asking: Vec<_> = (0..60)
        .map(|number| {
            let arguments = arguments.clone();
            let key = number % 3;
            // Some wait in a queue, some do not.
            let queue = if key == 0 {
                String::new()
            } else {
                format!("{QUEUE}, ")
            };
            thread::spawn(move || {
                let more = format!(r#"{queue}"key": "k{key}""#);
                (key, submit(caller, "trace", &arguments, &more))
            })
        })
        .collect();
    let mut jobs: HashMap<usize, HashSet<String>> = HashMap::new();
    let mut new = 0;
    for asked in asking {
        let (key, (job, existing)) = asked.join().unwrap();
        jobs.entry(key).or_default().insert(job);
        new += usize::from(!existing);
    }
    assert_eq!(new, 3);
    assert!(jobs.values().all(|jobs| jobs.len() == 1), "{jobs:?}");
    for job in jobs.values().flatten() {
        assert_eq!(caller.result(job), json!({"result": null}));
    }
    assert_eq!(trace(&cluster).lines().count(), 6, "each of them ran once");

    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    for (key, jobs) in &jobs {
        let again = submit(caller, "trace", &arguments, &format!(r#""key": "k{key}""#));
        assert_eq!((HashSet::from([again.0]), again.1), (jobs.clone(), true));
    }
    assert_eq!(trace(&cluster).lines().count(), 6);
}

#[test]
fn a_key_stands_for_one_call() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let (job, _) = submit(caller, "echo", &json!([1, {"a": "b"}]), r#""key": "k""#);
    for other in [
        call("gate", &json!([1, {"a": "b"}]), r#""key": "k""#),
        call("echo", &json!([1, {"a": "c"}]), r#""key": "k""#),
        call("echo", &json!([1, {"a": "b"}]), r#""key": "k""#).replace("web01", "web02"),
        call("echo", &json!([1]), r#""key": "k", "unless_since": 1"#),
    ] {
        let taken = json!({"field": "key", "key_taken": true});
        assert_refused(&caller.ask(&other), "invalid_request", &taken);
    }
    // White space means nothing, and the rest of the call may differ.
    let same = r#"{"harpcaller": 1, "host": "web01", "procedure": "echo",
        "arguments": [ 1 , { "a" : "b" } ], "timeout": 3, "info": 7, "key": "k"}"#;
    let again = caller.ask(same.replace('\n', " "));
    assert_eq!(
        again,
        json!({"harpcaller": 1, "job_id": job, "existing": true})
    );
    // Without a key, every call is a job of its own.
    let (other, existing) = submit(caller, "echo", &json!([1]), r#""key": null"#);
    assert!(other != job && !existing);
}

#[test]
fn unless_since_asks_what_became_of_the_last_job() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    // One that failed or was cancelled does not stand in the way.
    let failing = json!([3, "went wrong"]);
    let keyed = r#""key": "failing", "unless_since": 3600"#;
    let (failed, _) = submit(caller, "fail", &failing, keyed);
    let _ = caller.result(&failed);
    let (second, existing) = submit(caller, "fail", &failing, keyed);
    assert!(second != failed && !existing);
    let _ = caller.result(&second);
    // Without it, every earlier job counts, and the last one is told.
    let last = submit(caller, "fail", &failing, r#""key": "failing""#);
    assert_eq!(last, (second, true));

    // One that lives always does, one that returned only for a time.
    let mut feed = cluster.feed("feed");
    let gate: Value = serde_json::from_str(&feed.arguments()).unwrap();
    let keyed = r#""key": "gate", "unless_since": 1"#;
    let (running, _) = submit(caller, "gate", &gate, keyed);
    feed.wait_read();
    let submitted = caller.status(&running)["time"]["submit"].as_u64().unwrap();
    until("a second is over", || {
        let job = caller.call("web01", "echo", "[]");
        let now = caller.status(&job)["time"]["submit"].as_u64().unwrap();
        (now > submitted + 1).then_some(())
    });
    assert_eq!(
        submit(caller, "gate", &gate, keyed),
        (running.clone(), true)
    );
    feed.send("1");
    feed.finish();
    assert_eq!(caller.result(&running), json!({"result": 1}));
    let long = r#""key": "gate", "unless_since": 3600"#;
    assert_eq!(submit(caller, "gate", &gate, long), (running.clone(), true));
    let (next, existing) = submit(caller, "gate", &gate, keyed);
    assert!(next != running && !existing);
    assert_eq!(submit(caller, "gate", &gate, long), (next, true));
}

#[test]
fn a_call_that_made_no_job_leaves_no_place_behind() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let arguments = |name: &str| json!([cluster.path("trace"), name]);
    let first = caller.call_with("web01", "gate", &feed.arguments(), QUEUE);
    let keyed = format!(r#"{QUEUE}, "key": "k""#);
    let (second, _) = submit(caller, "trace", &arguments("second"), &keyed);
    for _ in 0..5 {
        let again = submit(caller, "trace", &arguments("second"), &keyed);
        assert_eq!(again, (second.clone(), true));
    }
    // A queue that only such a call has named does not exist.
    let elsewhere = r#""queue": {"name": {"q": 2}}, "key": "k""#;
    let again = submit(caller, "trace", &arguments("second"), elsewhere);
    assert_eq!(again, (second.clone(), true));
    let other = caller.call_with("web01", "echo", "[]", r#""queue": {"name": {"q": 2}}"#);
    assert_eq!(caller.result(&other), json!({"result": []}));

    let (third, _) = submit(caller, "trace", &arguments("third"), QUEUE);
    assert!(caller.cancel(&first));
    for job in [&second, &third] {
        assert_eq!(caller.result(job), json!({"result": null}));
    }
    assert_eq!(
        trace(&cluster),
        "start second\nend second\nstart third\nend third\n"
    );
}
