//! Two dispatchers over one database, with a real host: what their users would notice.

use std::fs;
use std::path::Path;

use harp_tests::{Caller, OtherDispatcher, until};
use serde_json::{Value, json};

use crate::daemon::Kept;

const QUEUE: &str = r#""queue": {"name": {"q": 1}}"#;

fn lines(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The nodes and their states, as this one has them.
fn states(at: &OtherDispatcher) -> Vec<(String, String)> {
    let nodes = at.lines(&["nodes"]);
    let nodes = nodes.iter().map(|node| -> (String, String) {
        let node: Value = serde_json::from_str(node).unwrap();
        let text = |key: &str| node[key].as_str().unwrap().to_owned();
        assert!(node["epoch"].is_u64() && node["running"].is_u64() && node["beat_age"].is_f64());
        (text("name"), text("state"))
    });
    nodes.collect()
}

/// Waits until a job runs, as this dispatcher has it.
fn runs(caller: &Caller, job: &str) {
    until("the job runs", || caller.has_started(job).then_some(()));
}

#[test]
fn any_node_follows_cancels_and_answers_what_another_runs() {
    let Some(kept) = Kept::new() else { return };
    kept.init();
    let cluster = kept.cluster();
    let beta = cluster.start_node("beta", &kept.table_of("beta"));
    let (at_alpha, at_beta) = (cluster.caller(), beta.caller());
    let job = at_alpha.call("web01", "echo", r#"[1.0,{"b":1,"a":"\ud800\/"}]"#);
    assert_eq!(at_beta.raw_result(&job), at_alpha.raw_result(&job));
    // Packets come as they are there.
    let mut feed = cluster.feed("feed");
    let running = at_alpha.call_with("web01", "feed", &feed.arguments(), QUEUE);
    let mut following = at_beta.follow(&running, r#""since": 0"#);
    for number in 0..3 {
        feed.send(&number.to_string());
        let line = format!(r#"{{"packet":{number},"data":{number}}}"#);
        assert_eq!(following.raw_line(), line);
    }
    // One waits in the queue, handed in at the other node.
    let waiting = at_beta.call_with("web01", "echo", "[2]", QUEUE);
    let withdrawn = at_beta.call_with("web01", "echo", "[3]", QUEUE);
    assert!(!at_alpha.has_started(&waiting));
    assert!(at_alpha.cancel(&withdrawn));
    assert_eq!(at_beta.raw_result(&withdrawn), r#"{"cancelled":true}"#);
    // A cancel reaches whoever runs the job; what waited has its turn.
    assert!(at_beta.cancel(&running));
    assert_eq!(at_alpha.raw_result(&running), r#"{"cancelled":true}"#);
    assert_eq!(at_alpha.raw_result(&waiting), r#"{"result":[2]}"#);
    assert_eq!(beta.lines(&["list", "--all"]).len(), 4);
    let nothing = "019dd4f4-9a30-7000-8000-000000000001";
    assert_eq!(at_beta.result_now(nothing), at_alpha.result_now(nothing));
}

/// Calls that wait behind one that runs, handed in at both nodes by turns.
fn submit_by_turns(callers: [&Caller; 2], trace: &Path, names: &[String]) -> Vec<String> {
    let calls = names.iter().zip([0, 1].into_iter().cycle());
    let calls = calls.map(|(name, at)| {
        let arguments = json!([trace, name]).to_string();
        callers[at].call_with("web01", "trace", &arguments, QUEUE)
    });
    calls.collect()
}

#[test]
fn the_calls_of_a_node_that_is_killed_go_on_at_another() {
    let Some(kept) = Kept::new() else { return };
    kept.init();
    let mut cluster = kept.cluster();
    let beta = cluster.start_node("beta", &kept.table_of("beta"));
    let (at_alpha, at_beta) = (cluster.caller(), beta.caller());
    // One runs and says something; it has a queue in which the others wait.
    let mut feed = cluster.feed("feed");
    let running = at_alpha.call_with("web01", "feed", &feed.arguments(), QUEUE);
    feed.send("0");
    let mut following = at_beta.follow(&running, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":0}"#);
    let trace = cluster.path("trace");
    let names: Vec<String> = (0..8).map(|number| format!("call{number}")).collect();
    let waiting = submit_by_turns([&at_alpha, &at_beta], &trace, &names);
    let other = at_alpha.call("web01", "silent", "[]");
    runs(&at_alpha, &other);
    let waiter = std::thread::spawn({
        let (caller, job) = (beta.caller(), other.clone());
        move || caller.raw_result(&job)
    });
    cluster.kill_dispatcher();
    // What it said meanwhile, and says from now on, comes by the other one.
    feed.send("1");
    assert_eq!(following.raw_line(), r#"{"packet":1,"data":1}"#);
    // A cancel of what the dead one ran reaches the host.
    assert!(at_beta.cancel(&other));
    assert_eq!(waiter.join().unwrap(), r#"{"cancelled":true}"#);
    let given_up = [
        ("alpha".into(), "dead".into()),
        ("beta".into(), "alive".into()),
    ];
    until("the node is given up", || {
        (states(&beta) == given_up).then_some(())
    });
    assert!(lines(&trace).is_empty(), "the place was not free");
    feed.finish();
    for job in &waiting {
        let _ = at_beta.raw_result(job);
    }
    let each = |name: &String| [format!("start {name}"), format!("end {name}")];
    let wanted: Vec<String> = names.iter().flat_map(each).collect();
    assert_eq!(lines(&trace), wanted, "each once, one by one, in order");
    // Back again it answers for all of them, and takes up what another one leaves.
    cluster.start_dispatcher();
    let at_alpha = cluster.caller();
    for job in &waiting {
        assert_eq!(at_alpha.raw_result(job), at_beta.raw_result(job));
    }
    let mut feed = cluster.feed("second");
    let handed_over = at_beta.call("web01", "feed", &feed.arguments());
    feed.send("0");
    let mut following = at_alpha.follow(&handed_over, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":0}"#);
    beta.stop();
    feed.send("1");
    assert_eq!(following.raw_line(), r#"{"packet":1,"data":1}"#);
    feed.finish();
    let _ = at_alpha.raw_result(&handed_over);
    until("nothing is left that lives", || {
        let left = "select (select count(*) from harp.live) + (select count(*) from harp.debt) \
                    + (select count(*) from harp.queue)";
        (kept.database.ask(left) == "0").then_some(())
    });
}

#[test]
fn a_node_that_stood_still_lets_go_of_what_others_have_taken_over() {
    let Some(kept) = Kept::new() else { return };
    kept.init();
    let cluster = kept.cluster();
    let beta: OtherDispatcher = cluster.start_node("beta", &kept.table_of("beta"));
    let mut feed = cluster.feed("feed");
    let running = beta.caller().call("web01", "feed", &feed.arguments());
    feed.send("0");
    let at_alpha = cluster.caller();
    let mut following = at_alpha.follow(&running, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":0}"#);
    beta.set_frozen(true);
    let _ = cluster
        .log()
        .wait_for("a node has given no sign of life: its jobs go to others");
    feed.send("1");
    assert_eq!(following.raw_line(), r#"{"packet":1,"data":1}"#);
    beta.set_frozen(false);
    // It follows now what it had run, and runs calls again.
    let mut again = beta.caller().follow(&running, r#""since": 0"#);
    for number in 0..2 {
        assert_eq!(
            again.raw_line(),
            format!(r#"{{"packet":{number},"data":{number}}}"#)
        );
    }
    feed.send("2");
    assert_eq!(again.raw_line(), r#"{"packet":2,"data":2}"#);
    assert_eq!(following.raw_line(), r#"{"packet":2,"data":2}"#);
    feed.finish();
    let _ = beta.caller().raw_result(&running);
    let taken = until("it takes calls", || {
        let request = json!({"harpcaller": 1, "procedure": "echo", "host": "web01",
                             "arguments": [7], "key": "again"});
        let answer = beta.caller().ask(request);
        answer["job_id"].as_str().map(str::to_owned)
    });
    assert_eq!(at_alpha.raw_result(&taken), r#"{"result":[7]}"#);
}
