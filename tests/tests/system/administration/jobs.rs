//! Jobs and queues: listed, shown, cancelled.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use harp_tests::{Cluster, until};
use serde_json::{Value, json};

use super::{complaint, objects};
use crate::assertions::{NO_JOB, keys};

#[test]
fn jobs_are_listed_shown_and_cancelled() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let arguments = r#"[{"text":"\u00e9 1e5","n":1.50}]"#;
    let ended = caller.call("web01", "echo", arguments);
    let _ = caller.result(&ended);
    let queue = r#""queue": {"name": {"q": "list"}, "concurrency": 1}"#;
    let running = caller.call_with("web01", "silent", "[]", queue);
    let queued = caller.call_with("web01", "silent", "[]", queue);
    until("it runs", || caller.has_started(&running).then_some(()));

    let live = objects(&cluster.lines(&["list"]));
    assert_eq!(live.len(), 2, "{live:?}");
    assert_eq!(live[0]["job"], running.as_str());
    assert_eq!(live[1]["job"], queued.as_str());
    for job in &live {
        assert_eq!(keys(job), ["call", "job", "time"]);
        assert_eq!(keys(&job["call"]), ["arguments", "host", "procedure"]);
        assert_eq!(keys(&job["time"]), ["end", "start", "submit"]);
        assert_eq!(job["call"]["procedure"], "silent");
        assert!(job["time"]["end"].is_null());
    }
    assert!(live[0]["time"]["start"].is_u64() && live[1]["time"]["start"].is_null());

    let all = cluster.lines(&["list", "--all", "--queue"]);
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(
        all[0].contains(arguments),
        "arguments are copied: {}",
        all[0]
    );
    let all = objects(&all);
    assert_eq!(all[0]["job"], ended.as_str());
    assert!(all[0]["queue"].is_null() && all[0].get("queue").is_some());
    assert!(all[0]["time"]["end"].is_u64());
    assert_eq!(all[1]["queue"], json!({"q": "list"}));
    assert_eq!(objects(&cluster.lines(&["list", "--all"]))[1], live[0]);

    let info = objects(&cluster.lines(&["info", &running])).remove(0);
    for key in keys(&live[0]) {
        assert_eq!(info[key], live[0][key], "{info}");
    }
    assert!(cluster.run(&["cancel", &queued]).status.success());
    assert_eq!(caller.result(&queued), json!({"cancelled": true}));
    assert!(cluster.run(&["cancel", &running]).status.success());
    assert_eq!(caller.result(&running), json!({"cancelled": true}));
    let late = cluster.run(&["cancel", &running]);
    assert_eq!(complaint(&late, 1), "harpcallerd: the job has ended\n");
    for arguments in [["info", NO_JOB], ["cancel", NO_JOB], ["info", "nonsense"]] {
        let told = complaint(&cluster.run(&arguments), 1);
        assert_eq!(told, "harpcallerd: no such job\n");
    }
}

#[test]
fn a_queue_is_listed_and_cancelled_as_a_whole() {
    let cluster = Cluster::builder()
        .procedure(
            "cling",
            "output = 'json'\narguments = 'argv'",
            "echo $2 >> $1; exec sleep 600",
        )
        .start();
    let caller = cluster.caller();
    assert!(cluster.lines(&["queue-list"]).is_empty());
    let queue = r#""queue": {"name": {"n": 1.0, "a": "x"}, "concurrency": 2}"#;
    let trace = cluster.path("trace");
    let jobs: Vec<_> = (0..40)
        .map(|number| {
            let arguments = json!([trace, number.to_string()]).to_string();
            caller.call_with("web01", "cling", &arguments, queue)
        })
        .collect();
    let other = caller.call_with(
        "web01",
        "silent",
        "[]",
        r#""queue": {"name": {"other": 1}, "concurrency": 1}"#,
    );
    let started = || {
        fs::read_to_string(&trace)
            .unwrap_or_default()
            .lines()
            .count()
    };
    until("two run", || (started() == 2).then_some(()));

    let names = cluster.lines(&["queue-list"]);
    assert_eq!(names, [r#"{"a":"x","n":1.0}"#, r#"{"other":1}"#]);
    // Equal by value, whatever its form.
    let name = r#"{ "a": "\u0078", "n": 1.0 }"#;
    let listed = objects(&cluster.lines(&["queue-list", name]));
    let of = |job: &Value| job["job"].as_str().unwrap().to_owned();
    assert_eq!(listed.iter().map(of).collect::<Vec<_>>(), jobs);
    let running = listed.iter().filter(|job| job["running"] == true).count();
    assert_eq!((running, listed[39]["running"].clone()), (2, json!(false)));
    assert!(
        cluster
            .lines(&["queue-list", r#"{"no": "such"}"#])
            .is_empty()
    );

    assert_eq!(
        cluster.lines(&["queue-cancel", name]),
        ["40 jobs cancelled"]
    );
    for job in &jobs {
        assert_eq!(caller.result_now(job), json!({"cancelled": true}));
        let started = !caller.status(job)["time"]["start"].is_null();
        assert_eq!(started, jobs[..2].contains(job), "none starts in between");
    }
    until("the hosts are done", || {
        (cluster.lines(&["queue-list"]) == [r#"{"other":1}"#]).then_some(())
    });
    assert_eq!(started(), 2);
    assert!(caller.has_started(&other));
    assert_eq!(caller.result_now(&other), json!({"no_result": true}));
    for wrong in ["name", "[]", "{"] {
        let told = complaint(&cluster.run(&["queue-cancel", wrong]), 1);
        assert!(told.contains("queue's name"), "{told}");
    }
}

#[test]
fn a_list_without_end_stops_with_its_reader() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    for _ in 0..600 {
        let _ = caller.call("nowhere", "echo", "[]");
    }
    until("all have ended", || {
        cluster.lines(&["list"]).is_empty().then_some(())
    });
    assert_eq!(cluster.lines(&["list", "--all"]).len(), 600);
    // Nobody reads on after the first line.
    let mut list = cluster.command();
    list.args(["list", "--all"]).stdout(Stdio::piped());
    let mut list = list.spawn().unwrap();
    let mut first = String::new();
    let mut lines = BufReader::new(list.stdout.take().unwrap());
    lines.read_line(&mut first).unwrap();
    assert!(first.starts_with(r#"{"job":"#), "{first}");
    drop(lines);
    assert!(list.wait().unwrap().success());
}

/// A hundred thousand ended jobs would take minutes to make; what counts is that the
/// first line does not wait for the last.
#[test]
fn the_first_line_of_a_list_does_not_wait_for_the_last() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let long = json!(["x".repeat(200_000)]).to_string();
    for _ in 0..100 {
        let _ = caller.call("nowhere", "echo", &long);
    }
    until("all have ended", || {
        cluster.lines(&["list"]).is_empty().then_some(())
    });
    let socket = UnixStream::connect(cluster.socket()).unwrap();
    writeln!(
        &socket,
        r#"{{"command": "list_jobs", "list_all": true, "stream": true}}"#
    )
    .unwrap();
    let mut lines = BufReader::new(&socket);
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert!(first.starts_with(r#"{"job":"#));
    // The rest is not read, and stays in the dispatcher's store, not in its memory.
    let memory = || {
        let status = fs::read_to_string(format!("/proc/{}/status", cluster.dispatcher_id()));
        let status = status.unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kilobytes = line.unwrap().split_whitespace().nth(1).unwrap();
        kilobytes.parse::<u64>().unwrap()
    };
    let before = memory();
    let asked = Instant::now();
    let mut others = Vec::new();
    for _ in 0..5 {
        let socket = UnixStream::connect(cluster.socket()).unwrap();
        writeln!(
            &socket,
            r#"{{"command": "list_jobs", "list_all": true, "stream": true}}"#
        )
        .unwrap();
        let mut first = [0; 1];
        (&socket).read_exact(&mut first).unwrap();
        others.push(socket);
    }
    assert!(asked.elapsed() < Duration::from_secs(10));
    let grown = memory().saturating_sub(before);
    assert!(grown < 60_000, "five lists of 20 MB each took {grown} KB");
}
