//! The audit log (harpcaller.toml, `audit_file`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use harp_tests::{Cluster, until};
use serde_json::{Value, json};

use super::identity::{Files, hello, with_tokens};
use crate::assertions::keys;

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn wait_for(path: &Path, event: &str) -> Value {
    until(&format!("{event} is in the audit log"), || {
        lines(path).into_iter().find(|line| line["event"] == event)
    })
}

#[test]
fn who_did_what_is_written_down() {
    let files = Files::new();
    let token = files.new_token("shop");
    let path = files.path("audit");
    let mut cluster = with_tokens(&files)
        .hosts(1)
        .set("audit_file", &json!(path).to_string())
        .tables("[[allow]]\nclient = '*'\nprocedure = ['feed', 'echo']\n")
        .start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let mut client = caller.send(hello(&token));
    assert!(client.line()["server"].is_string());
    let arguments: Value = serde_json::from_str(&feed.arguments()).unwrap();
    client.send(
        json!({"harpcaller": 1, "host": "web01", "procedure": "feed",
        "arguments": arguments, "queue": {"name": {"q": 1}}}),
    );
    let job = client.line()["job_id"].clone();
    feed.wait_read();
    client.send(json!({"harpcaller": 1, "cancel": job}));
    assert_eq!(client.line(), json!({"cancelled": true}));

    let accepted = wait_for(&path, "accepted");
    assert_eq!(
        keys(&accepted),
        [
            "client",
            "event",
            "host",
            "job",
            "peer",
            "procedure",
            "queue",
            "time"
        ]
    );
    let cancelled = wait_for(&path, "cancelled");
    let ended = wait_for(&path, "ended");
    for line in [&accepted, &cancelled, &ended] {
        assert_eq!(line["client"], "token:shop", "{line}");
        assert_eq!(line["host"], "web01", "{line}");
        assert_eq!(line["procedure"], "feed", "{line}");
        assert_eq!(line["queue"], json!({"q": 1}), "{line}");
        assert_eq!(line["job"], job, "{line}");
        assert!(line["time"].as_u64().unwrap() > 1_700_000_000_000, "{line}");
    }
    assert!(cancelled["peer"].as_str().unwrap().starts_with("127."));
    assert_eq!(ended["outcome"], "cancelled");

    // Refusals: a call, and a wrong token.
    let call = json!({"harpcaller": 1, "host": "web01", "procedure": "gate", "arguments": []});
    assert_eq!(caller.ask(call)["error"]["type"], "forbidden");
    let refused = wait_for(&path, "refused");
    assert_eq!(refused["client"], "anonymous");
    assert_eq!(refused["operation"], "call");
    assert_eq!(refused["procedure"], "gate");
    assert_eq!(refused["error"], "forbidden");
    let wrong = "0".repeat(64);
    assert_eq!(caller.ask(hello(&wrong))["error"]["type"], "unauthorized");

    // Everything is in the file when the dispatcher has stopped, and never a credential.
    cluster.stop_dispatcher();
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("\"operation\":\"hello\""), "{text}");
    assert!(!text.contains(&token) && !text.contains(&wrong));
    assert!(!text.contains("arguments"), "{text}");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    // A start appends.
    cluster.start_dispatcher();
    cluster.stop_dispatcher();
    assert!(fs::read_to_string(&path).unwrap().starts_with(&text));
}

#[test]
fn arguments_are_in_it_if_asked_for() {
    let files = Files::new();
    let path = files.path("audit");
    let cluster = Cluster::builder()
        .set("audit_file", &json!(path).to_string())
        .set("audit_arguments", "true")
        .start();
    let caller = cluster.caller();
    let job = caller.call("web01", "echo", "[1.50, \"x\"]");
    assert_eq!(caller.raw_result(&job), r#"{"result":[1.50,"x"]}"#);
    wait_for(&path, "ended");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(r#""arguments":[1.50,"x"]"#), "{text}");
}

#[test]
fn a_full_disk_costs_lines_of_it_and_nothing_else() {
    let cluster = Cluster::builder()
        .set("audit_file", "\"/dev/full\"")
        .start();
    let caller = cluster.caller();
    for _ in 0..20 {
        let job = caller.call("web01", "echo", "[]");
        assert_eq!(caller.result(&job), json!({"result": []}));
    }
    let _ = cluster
        .log()
        .wait_for("the audit log cannot be written; lines are lost");
    assert_eq!(
        cluster
            .log()
            .count("the audit log cannot be written; lines are lost"),
        1
    );
}

/// The lines of one event.
fn of(path: &Path, event: &str) -> Vec<Value> {
    let lines = lines(path).into_iter();
    lines.filter(|line| line["event"] == event).collect()
}

/// The user that runs the tests, as the daemon names it.
fn user() -> String {
    let uid = rustix::process::getuid().as_raw();
    let name = std::process::Command::new("id").arg("-un").output();
    let name = name.ok().filter(|output| output.status.success());
    match name.and_then(|output| String::from_utf8(output.stdout).ok()) {
        Some(name) => format!("uid:{}", name.trim()),
        None => format!("uid:#{uid}"),
    }
}

#[test]
fn what_administrators_do_stands_in_it_with_who_they_are() {
    let files = Files::new();
    let path = files.path("audit");
    let mut cluster = Cluster::builder()
        .set("audit_file", &json!(path).to_string())
        .start();
    let caller = cluster.caller();
    let queue = r#""queue": {"name": {"q": 1}, "concurrency": 1}"#;
    let running = caller.call_with("web01", "silent", "[]", queue);
    let waiting = caller.call_with("web01", "silent", "[]", queue);
    for arguments in [
        &["cancel", &waiting][..],
        &["queue-cancel", r#"{"q": 1}"#],
        &["hosts-refresh"],
        &["prune-jobs", "--age", "7"],
        &["reopen-logs"],
        &["reload"],
    ] {
        assert!(cluster.run(arguments).status.success(), "{arguments:?}");
    }
    // What only looks leaves no line, what is not done does.
    for arguments in [
        &["status"][..],
        &["list"],
        &["info", &running],
        &["queue-list"],
    ] {
        assert!(cluster.run(arguments).status.success(), "{arguments:?}");
    }
    let late = cluster.run(&["cancel", &running]);
    assert_eq!(late.status.code(), Some(1), "it has ended: {late:?}");
    cluster.set("max_live_jobs", "\"many\"");
    assert!(!cluster.reload().status.success());
    cluster.set("max_live_jobs", "");
    assert!(cluster.run(&["stop"]).status.success());
    assert!(cluster.wait_dispatcher_ended().success());

    let user = user();
    let cancelled = of(&path, "cancelled");
    assert_eq!(cancelled.len(), 1, "{cancelled:?}");
    assert_eq!(cancelled[0]["job"], waiting.as_str());
    assert_eq!(cancelled[0]["procedure"], "silent");
    let acts = of(&path, "administered");
    let operations: Vec<_> = acts.iter().map(|line| line["operation"].clone()).collect();
    let expected = [
        "queue-cancel",
        "hosts-refresh",
        "prune-jobs",
        "reopen-logs",
        "reload",
        "reload",
        "stop",
    ];
    assert_eq!(operations, expected, "{acts:?}");
    assert_eq!(acts[0]["queue"], json!({"q": 1}));
    assert_eq!(acts[2]["max_age"], 7 * 86400);
    let errors: Vec<_> = acts.iter().map(|line| line["error"].clone()).collect();
    assert_eq!(errors[5], "not_reloaded");
    assert_eq!(errors.iter().filter(|error| error.is_null()).count(), 6);
    let uid = rustix::process::getuid().as_raw();
    for line in acts.iter().chain(&cancelled) {
        assert_eq!(line["client"], user, "{line}");
        let peer = line["peer"].as_str().unwrap();
        assert!(peer.starts_with(&format!("local:uid={uid},pid=")), "{line}");
    }
}

#[test]
fn strangers_and_lines_that_are_too_long_stand_in_it_and_names_are_cut() {
    let files = Files::new();
    let _ = files.new_token("shop");
    let path = files.path("audit");
    let cluster = with_tokens(&files)
        .set("audit_file", &json!(path).to_string())
        .set("max_request_size", "\"200K\"")
        .tables("[[listener]]\naddress = '127.0.0.1:0'\n")
        .start();
    let closed = super::identity::listeners(&cluster)[0];
    let hello = json!({"harpcaller": 1, "hello": {}});
    let told = harp_tests::ask(closed, &hello);
    assert_eq!(told["error"]["type"], "unauthorized");
    for (address, error) in [
        (closed, "unauthorized"),
        (cluster.address(), "request_too_large"),
    ] {
        let mut client = harp_tests::RawClient::connect(address);
        client.try_send_bytes(&vec![b'x'; 300_000]);
        assert_eq!(client.line()["error"]["type"], error);
    }
    let refused = until("all three are noted", || {
        let refused = of(&path, "refused");
        (refused.len() == 3).then_some(refused)
    });
    let of_line = |line: &Value| (line["operation"].clone(), line["error"].clone());
    let noted: Vec<_> = refused.iter().map(of_line).collect();
    assert_eq!(
        noted,
        [
            (json!("hello"), json!("unauthorized")),
            (json!("request"), json!("unauthorized")),
            (json!("request"), json!("request_too_large")),
        ]
    );

    // Whatever is asked for, and whoever asks: a line stays a line.
    let long = "n\u{e9}".repeat(30_000);
    let caller = cluster.caller();
    let job = caller.call(&long, &long, "[]");
    let _ = caller.result(&job);
    for event in ["accepted", "ended"] {
        let line = wait_for(&path, event);
        for name in ["host", "procedure"] {
            let name = line[name].as_str().unwrap();
            assert!(name.len() < 300 && name.ends_with("..."), "{name}");
            assert!(long.starts_with(name.trim_end_matches('.')), "{name}");
        }
    }
}

#[test]
fn an_exception_has_its_type_and_an_error_is_its_own() {
    let files = Files::new();
    let path = files.path("audit");
    let cluster = Cluster::builder()
        .set("audit_file", &json!(path).to_string())
        .procedure("failing", "output = 'json'", "exit 9")
        .start();
    let caller = cluster.caller();
    let failing = caller.call("web01", "failing", "[]");
    let unknown = caller.call("nowhere", "echo", "[]");
    for job in [&failing, &unknown] {
        let _ = caller.result(job);
    }
    let ended = until("both have ended", || {
        let ended = of(&path, "ended");
        (ended.len() == 2).then_some(ended)
    });
    let of_job = |job: &str| ended.iter().find(|line| line["job"] == job).unwrap();
    let line = of_job(&failing);
    assert_eq!(
        (&line["outcome"], &line["type"]),
        (&json!("exception"), &json!("exit_status"))
    );
    let line = of_job(&unknown);
    assert_eq!(line["outcome"], "unknown_host");
    assert!(line.get("type").is_none(), "{line}");
}
