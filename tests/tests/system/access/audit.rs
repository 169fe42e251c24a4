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
