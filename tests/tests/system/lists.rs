//! Lists by the client protocol, and with the command (HTTP contract, section 15).

use std::process::Command;

use harp_tests::{Cluster, HttpRequest, ask, binary};
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

    let table = cluster.harp(&["jobs", "procedure=silent"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[0].starts_with("JOB ") && lines[0].contains("STATE"),
        "{table}"
    );
    assert!(
        lines[1].starts_with(&second) && lines[2].starts_with(&first),
        "{table}"
    );
    let json = cluster.harp(&["--json", "jobs", "--limit", "1", "state=ended"]);
    let job: Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(job["id"], other);
    assert!(cluster.harp(&["queues"]).contains("{\"of\":\"silent\"}"));
    assert!(cluster.harp(&["hosts"]).contains("web01"));
}

/// The cluster's host with two procedures that the registry describes.
fn described() -> Cluster {
    let cluster = Cluster::builder().tables(
        "[[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n\
         [[allow]]\nclient = 'anonymous'\nprocedure = ['echo', 'silent']\n\
         [[allow]]\nclient = 'anonymous'\noperations = ['admin', 'observe']\n",
    );
    let cluster = cluster.start();
    let mut entry = cluster.entry("web01");
    entry["procedures"] = json!({
        "echo": {
            "description": "Says what it is told.\nTwice if need be.",
            "arguments_schema": {"maximum": 12345678901234567890_u64},
        },
        "secret": {"description": "not for everybody"},
        "silent": {},
    });
    let mut wrong = entry.clone();
    wrong["hostname"] = json!("web02");
    wrong["procedures"] = json!({"echo": {"description": 7}});
    cluster.set_registry(&[entry, wrong]);
    let refreshed = cluster.run(&["hosts-refresh"]);
    assert!(refreshed.status.success(), "{refreshed:?}");
    cluster
}

#[test]
fn procedures_are_listed_for_whoever_may_call_them() {
    let cluster = described();
    let list = |wanted: Value| {
        ask(
            cluster.address(),
            json!({"harpcaller": 1, "list_procedures": wanted}),
        )
    };
    let names = |page: &Value| -> Vec<String> {
        let procedures = page["procedures"].as_array().unwrap().iter();
        let name = |procedure: &Value| procedure["name"].as_str().unwrap().to_owned();
        procedures.map(name).collect()
    };
    let all = list(json!({}));
    assert_eq!(names(&all), ["echo", "silent"]);
    assert_eq!(
        all["procedures"][0],
        json!({
            "host": "web01", "name": "echo",
            "description": "Says what it is told.\nTwice if need be.",
            "arguments_schema": {"maximum": 12345678901234567890_u64}, "result_schema": null,
            "source": "registry", "learned": null,
        })
    );
    assert_eq!(names(&list(json!({"q": "TWICE"}))), ["echo"]);
    assert_eq!(
        list(json!({"host": "web02"}))["procedures"],
        json!([]),
        "what is wrong with a description does no harm to its host"
    );
    assert_eq!(
        cluster
            .log()
            .count("procedures of hosts in the hosts registry passed over"),
        1
    );
    let first = list(json!({"limit": 1}));
    let second = list(json!({"limit": 1, "cursor": first["next"]}));
    assert_eq!(
        (names(&first), names(&second)),
        (vec!["echo".to_owned()], vec!["silent".to_owned()])
    );
    let third = list(json!({"limit": 1, "cursor": second["next"]}));
    assert_eq!((names(&third).len(), &third["next"]), (0, &json!(null)));
    assert_refused(
        &list(json!({"hosts": "web01"})),
        "invalid_request",
        &json!({"field": "hosts"}),
    );

    let http = |path: &str| HttpRequest::get(&format!("/api/v1{path}")).ask(cluster.http_address());
    assert_eq!(http("/procedures").json(), all);
    assert_eq!(
        names(&http("/hosts/web01/procedures?q=lent").json()),
        ["silent"]
    );
    assert_eq!(http("/hosts/nowhere/procedures").status(), 404);
    assert_eq!(http("/hosts/web01/procedures?host=web01").status(), 400);

    let table = cluster.harp(&["list", "web*"]);
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("HOST "), "{table}");
    assert!(
        lines[1].ends_with("echo       Says what it is told."),
        "{table}"
    );
    let told = cluster.harp(&["describe", "web01", "echo"]);
    assert!(
        told.contains("Twice if need be.") && told.contains("\"maximum\": 12345678901234567890"),
        "{told}"
    );
    let json = cluster.harp(&["--json", "describe", "web01", "silent"]);
    let procedure: Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(procedure["source"], "registry");
    let nobody = Command::new(binary("harp"))
        .args([
            "describe",
            "web01",
            "secret",
            "--dispatcher",
            &cluster.address().to_string(),
        ])
        .env("HOME", cluster.path(""))
        .env_remove("XDG_CONFIG_HOME")
        .output()
        .unwrap();
    assert_eq!(nobody.status.code(), Some(7), "{nobody:?}");
}

#[test]
fn hosts_are_asked_for_their_procedures_if_harp_is_told_to() {
    let cluster = Cluster::builder()
        .procedure("add", "description = 'Adds.'", "echo 1")
        .procedure("sub", "description = 'Subtracts.'", "echo 1")
        .start();
    assert!(!cluster.harp(&["list"]).contains("Adds."));
    let told = cluster.harp(&["list", "--refresh", "web*"]);
    assert!(
        told.contains("Adds.") && told.contains("Subtracts."),
        "{told}"
    );
    let told = cluster.harp(&["describe", "--refresh", "web01", "add"]);
    assert!(
        told.contains("known by   host") && told.contains("Adds."),
        "{told}"
    );
    // What it has said is known from then on.
    assert!(cluster.harp(&["list"]).contains("Subtracts."));
}
