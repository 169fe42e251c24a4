//! Lists by the client protocol, and with the command (HTTP contract, section 15).

use std::process::Command;

use harp_tests::{Cluster, ask, binary};
use serde_json::{Value, json};

use crate::assertions::assert_refused;

fn submit(cluster: &Cluster, procedure: &str, arguments: Value) -> String {
    let call = json!({
        "harpcaller": 1, "host": "web01", "procedure": procedure, "arguments": arguments,
        "queue": {"name": {"of": procedure}},
    });
    let answer = ask(cluster.address(), call);
    answer["job_id"].as_str().unwrap().to_owned()
}

fn harp(cluster: &Cluster, words: &[&str]) -> String {
    let output = Command::new(binary("harp"))
        .args(words)
        .args(["--dispatcher", &cluster.address().to_string()])
        .env("HOME", cluster.path(""))
        .env_remove("XDG_CONFIG_HOME")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn jobs_queues_and_hosts_are_listed_without_http() {
    let cluster = Cluster::start();
    let list = |request: Value| ask(cluster.address(), request);
    let first = submit(&cluster, "silent", json!([]));
    let second = submit(&cluster, "silent", json!([]));
    let other = submit(&cluster, "echo", json!({"a": 1}));
    let end = ask(
        cluster.address(),
        json!({"harpcaller": 1, "get_result": other}),
    );
    assert_eq!(end["result"], json!({"a": 1}));

    let page = list(json!({"harpcaller": 1, "list_jobs": {
        "state": ["queued", "running"], "queue": {"of": "silent"}, "limit": 1,
    }}));
    assert_eq!(page["jobs"][0]["id"], second);
    assert!(page["jobs"][0]["arguments_head"].is_string());
    let page = list(json!({"harpcaller": 1, "list_jobs": {
        "state": ["queued", "running"], "queue": {"of": "silent"}, "limit": 1,
        "cursor": page["next"],
    }}));
    assert_eq!(page["jobs"][0]["id"], first);
    let page = list(json!({"harpcaller": 1, "list_jobs": {"arguments.a": 1}}));
    assert_eq!(page["jobs"][0]["id"], other);
    let queues = list(json!({"harpcaller": 1, "list_queues": {}}));
    assert_eq!(queues["queues"][0]["name"], json!({"of": "silent"}));
    let hosts = list(json!({"harpcaller": 1, "list_hosts": {"q": "WEB"}}));
    assert_eq!(hosts["hosts"][0]["name"], "web01");
    for (request, field) in [
        (json!({"list_jobs": {"sate": "queued"}}), "sate"),
        (json!({"list_jobs": {"state": "done"}}), "state"),
        (json!({"list_hosts": {"limit": 0}}), "limit"),
        (json!({"list_queues": []}), "list_queues"),
    ] {
        let mut request = request;
        request["harpcaller"] = json!(1);
        assert_refused(&list(request), "invalid_request", &json!({"field": field}));
    }

    let table = harp(&cluster, &["jobs", "procedure=silent"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("JOB ") && lines[0].contains("STATE"),
        "{table}"
    );
    assert!(
        lines[1].starts_with(&second) && lines[2].starts_with(&first),
        "{table}"
    );
    let json = harp(&cluster, &["--json", "jobs", "--limit", "1", "state=ended"]);
    let job: Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(job["id"], other);
    assert!(harp(&cluster, &["queues"]).contains("{\"of\":\"silent\"}"));
    assert!(harp(&cluster, &["hosts"]).contains("web01"));
}
