//! An identity counts no longer than what it rests on: it is asked for again at every
//! request, and within 10 s of whoever waits or follows.

use std::time::{Duration, Instant};

use harp_tests::certificates::Authority;
use harp_tests::{LineClient, RawClient, until};
use serde_json::{Value, json};

use super::identity::{Files, hello, listeners, with_tokens};
use crate::assertions::{NO_JOB, assert_refused};

fn cancel() -> Value {
    json!({"harpcaller": 1, "cancel": NO_JOB})
}

#[track_caller]
fn assert_unauthorized(answer: &Value) {
    assert_refused(answer, "unauthorized", &Value::Null);
}

/// A call that goes on until it is cancelled.
fn endless() -> Value {
    json!({"harpcaller": 1, "host": "web01", "procedure": "silent_stream", "arguments": []})
}

#[test]
fn a_deleted_token_ends_requests_waits_and_streams_of_open_connections() {
    let files = Files::new();
    let token = files.new_token("shop");
    let audit = files.path("audit");
    let cluster = with_tokens(&files)
        .hosts(1)
        .set("audit_file", &json!(audit).to_string())
        .start();
    let connect = || {
        let mut client = cluster.caller().send(hello(&token));
        assert!(client.line()["server"].is_string());
        client
    };
    let mut client = connect();
    client.send(endless());
    let job = client.line()["job_id"].clone();
    let ask = |question: Value| {
        let mut client = connect();
        client.send(question);
        client
    };
    let mut waiting = vec![
        ask(json!({"harpcaller": 1, "get_result": job})),
        ask(json!({"harpcaller": 1, "follow_stream": job, "since": 0})),
    ];
    client.send(cancel());
    assert_eq!(client.line(), json!({"cancelled": false}));
    // One who has not said who it is is not asked.
    let mut anonymous = cluster
        .caller()
        .send(json!({"harpcaller": 1, "follow_stream": job}));

    files.write("tokens", "# nobody\n");
    let deleted = Instant::now();
    client.send(cancel());
    assert_unauthorized(&client.line());
    assert!(client.at_end());
    for client in &mut waiting {
        assert_unauthorized(&client.line());
        assert!(client.at_end());
    }
    assert!(deleted.elapsed() < Duration::from_secs(10));
    assert!(anonymous.is_quiet());
    let noted = until("all three are in the audit log", || {
        let text = std::fs::read_to_string(&audit).ok()?;
        let refused = text.matches("\"error\":\"unauthorized\"").count();
        (refused == 3).then_some(text)
    });
    assert!(noted.contains("\"operation\":\"read\""), "{noted}");
    drop(anonymous);
}

#[test]
fn another_token_of_the_same_name_is_another_proof() {
    let files = Files::new();
    let old = files.new_token("shop");
    let cluster = with_tokens(&files).start();
    let mut client = cluster.caller().send(hello(&old));
    assert!(client.line()["server"].is_string());
    files.write("tokens", "");
    let new = files.new_token("shop");
    client.send(cancel());
    assert_unauthorized(&client.line());
    // A client that authenticates again is known again, on the same connection too.
    let mut client = cluster.caller().send(hello(&new));
    assert!(client.line()["server"].is_string());
    files.write("tokens", "");
    let newest = files.new_token("shop");
    client.send(hello(&newest));
    assert!(client.line()["server"].is_string());
    client.send(cancel());
    assert_eq!(client.line(), json!({"cancelled": false}));
}

#[test]
fn a_removed_authority_ends_open_connections() {
    let files = Files::new();
    let (clients, others) = (Authority::new("clients"), Authority::new("others"));
    let cluster = harp_tests::Cluster::builder()
        .tables(&files.tls_listener(&clients))
        .start();
    let address = listeners(&cluster)[0];
    let shop = clients.issue_to("shop");
    let connect = || {
        let mut client = LineClient::tls(address, Authority::shared(), Some(&shop)).unwrap();
        let hello = json!({"harpcaller": 1, "hello": {}});
        assert!(client.ask(hello).unwrap()["server"].is_string());
        client
    };
    let (mut client, mut follower) = (connect(), connect());
    let job = client.ask(endless()).unwrap()["job_id"].clone();
    follower
        .send(json!({"harpcaller": 1, "follow_stream": job}))
        .unwrap();
    assert_eq!(client.ask(cancel()).unwrap(), json!({"cancelled": false}));
    files.write("clients.pem", &others.pem());
    assert_unauthorized(&client.ask(cancel()).unwrap());
    assert_unauthorized(&follower.line().unwrap());
}

/// Rules that are taken away count for a client that follows already.
#[test]
fn other_rules_end_what_waits_at_once() {
    let files = Files::new();
    let _ = files.new_token("shop");
    let mut cluster = with_tokens(&files).hosts(1).start();
    cluster.restart_dispatcher();
    let caller = cluster.caller();
    let job = caller.call("web01", "silent_stream", "[]");
    let questions = [
        json!({"harpcaller": 1, "get_result": job}),
        json!({"harpcaller": 1, "follow_stream": job}),
    ];
    let mut clients: Vec<RawClient> = questions
        .into_iter()
        .map(|line| caller.send(line))
        .collect();
    until("the job runs", || caller.has_started(&job).then_some(()));
    let config = cluster.config();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n[[allow]]\nclient = 'token:*'\n")).unwrap();
    assert!(cluster.run(&["reload"]).status.success());
    for client in &mut clients {
        assert_refused(&client.line(), "forbidden", &Value::Null);
        assert!(client.at_end());
    }
    assert!(cluster.run(&["cancel", &job]).status.success());
}
