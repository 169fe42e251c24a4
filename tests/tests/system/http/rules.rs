//! The access rules say the same by HTTP and by the client protocol (section 2; acceptance 11).

use harp_tests::{Cluster, HttpRequest};
use serde_json::{Value, json};

use super::{address, api, call};
use crate::access::identity::{Files, hello, with_tokens};

const RULES: &str = r#"
[[listen_http]]
address = "127.0.0.1:0"

[[allow]]
client = "token:shop"
host = "web*"
procedure = ["echo", "silent"]
queue = ['', '{"shop":*}']
jobs = "own"

[[allow]]
client = "token:monitor"
operations = ["read", "observe"]

[[allow]]
client = "token:operator"
operations = ["read", "cancel"]
procedure = "silent"
"#;

/// What a client is told by the client protocol: the type of an error, or nothing.
fn by_lines(cluster: &Cluster, token: &str, mut line: Value) -> Option<String> {
    line["harpcaller"] = json!(1);
    let mut client = cluster.caller().send(hello(token));
    let greeted = client.line();
    assert!(greeted["server"].is_string(), "{greeted}");
    client.send(line);
    let answer = client.line();
    answer["error"]["type"].as_str().map(str::to_owned)
}

/// What it is told by HTTP: the name of a problem, or nothing.
fn by_http(cluster: &Cluster, token: &str, request: HttpRequest) -> Option<String> {
    let answer = request.token(token).ask(address(cluster));
    if answer.status() < 400 {
        return None;
    }
    let name = answer.json()["type"].as_str().unwrap().to_owned();
    Some(name.rsplit(':').next().unwrap().to_owned())
}

#[test]
fn the_rules_say_the_same_by_both_protocols() {
    let files = Files::new();
    let tokens = ["shop", "monitor", "operator", "nobody"].map(|name| files.new_token(name));
    let cluster = with_tokens(&files).hosts(1).tables(RULES).start();
    let shop = &tokens[0];
    let submitted = |procedure: &str| {
        let request = HttpRequest::post(&api("/jobs"), call(procedure, json!([])));
        let answer = request.token(shop).ask(address(&cluster));
        assert_eq!(answer.status(), 201, "{}", answer.text());
        answer.json()["id"].as_str().unwrap().to_owned()
    };
    let (silent, echo) = (submitted("silent"), submitted("echo"));
    let nowhere = "019aa9c0-0000-7000-8000-000000000000".to_owned();
    let (mut allowed, mut refused) = (0, 0);
    for token in &tokens {
        let mut compare = |what: &str, line: Value, request: HttpRequest| {
            let lines = by_lines(&cluster, token, line);
            let http = by_http(&cluster, token, request);
            assert_eq!(lines, http, "{what} by {token}");
            if http.as_deref() == Some("forbidden") {
                refused += 1;
            } else {
                allowed += 1;
            }
        };
        for (host, procedure, queue) in [
            ("web01", "echo", json!(null)),
            ("db01", "echo", json!(null)),
            ("web01", "fail", json!(null)),
            ("web01", "echo", json!({"name": {"shop": 1}})),
            ("web01", "echo", json!({"name": {"bank": 1}})),
        ] {
            let call = json!({
                "host": host, "procedure": procedure, "arguments": [], "queue": queue,
            });
            let request = HttpRequest::post(&api("/jobs"), &call);
            compare("call", call, request);
        }
        for job in [&silent, &echo, &nowhere] {
            let path = |rest: &str| api(&format!("/jobs/{job}{rest}"));
            compare(
                "status",
                json!({"get_status": job}),
                HttpRequest::get(&path("")),
            );
            compare(
                "result",
                json!({"get_result": job, "wait": false}),
                HttpRequest::get(&path("/result")),
            );
            compare(
                "packets",
                json!({"read_stream": job}),
                HttpRequest::get(&path("/packets")),
            );
        }
        // The echo has ended: a cancel that is allowed changes nothing.
        compare(
            "cancel",
            json!({"cancel": echo}),
            HttpRequest::post(&api(&format!("/jobs/{echo}/cancel")), "{}"),
        );
        compare(
            "queues",
            json!({"list_queues": {}}),
            HttpRequest::get(&api("/queues")),
        );
        compare(
            "hosts",
            json!({"list_hosts": {}}),
            HttpRequest::get(&api("/hosts")),
        );
    }
    assert!(allowed > 20 && refused > 20, "{allowed} {refused}");

    // Lists leave out what may not be read, in the same way.
    for token in &tokens {
        let mut client = cluster.caller().send(hello(token));
        client.line();
        client.send(json!({"harpcaller": 1, "list_jobs": {"procedure": ["silent", "echo"]}}));
        let lines = client.line();
        let http = HttpRequest::get(&api("/jobs?procedure=silent&procedure=echo"));
        let http = http.token(token).ask(address(&cluster)).json();
        let ids = |page: &Value| -> Vec<String> {
            let jobs = page["jobs"].as_array().unwrap().iter();
            jobs.map(|job| job["id"].to_string()).collect()
        };
        assert_eq!(ids(&lines), ids(&http));
    }
}
