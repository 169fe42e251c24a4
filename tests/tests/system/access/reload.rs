//! Another tokens file, and other rules, by a reload.

use std::fs;

use harp_tests::{RawClient, until};
use serde_json::{Value, json};

use super::identity::{Files, hello, listeners, with_tokens};
use crate::assertions::assert_refused;

#[test]
fn a_token_of_the_file_before_is_refused_after_a_reload() {
    let (old, new) = (Files::new(), Files::new());
    let (old_token, new_token) = (old.new_token("shop"), new.new_token("shop"));
    let mut cluster = with_tokens(&old)
        .tables("[[listener]]\naddress = '127.0.0.1:0'")
        .start();
    cluster.restart_dispatcher();
    let address = until("the second start listens", || {
        listeners(&cluster).get(2).copied()
    });
    let greet = |token: &str| {
        let mut client = RawClient::connect(address);
        client.send(hello(token));
        client.line()
    };
    assert!(greet(&old_token)["server"].is_string());
    assert_eq!(greet(&new_token)["error"]["type"], "unauthorized");
    cluster.set("tokens_file", &json!(new.path("tokens")).to_string());
    let output = cluster.reload();
    assert!(output.status.success(), "{output:?}");
    assert!(greet(&new_token)["server"].is_string());
    assert_eq!(greet(&old_token)["error"]["type"], "unauthorized");
    // A file that cannot be read leaves this one in force.
    cluster.set("tokens_file", "'/nonexistent/tokens'");
    assert_eq!(cluster.reload().status.code(), Some(1));
    assert!(greet(&new_token)["server"].is_string());
}

#[test]
fn other_rules_hold_for_the_next_request_of_a_connection_that_is_open() {
    let files = Files::new();
    let shop = files.new_token("shop");
    let rule =
        |procedure: &str| format!("[[allow]]\nclient = 'token:shop'\nprocedure = '{procedure}'\n");
    let mut cluster = with_tokens(&files).hosts(1).tables(&rule("echo")).start();
    // From the second start on its port stands in the file.
    cluster.restart_dispatcher();
    let connect = || {
        let mut client = cluster.caller().send(hello(&shop));
        assert!(client.line()["server"].is_string());
        client
    };
    let call = |client: &mut RawClient, procedure: &str| {
        client.send(
            json!({"harpcaller": 1, "host": "web01", "procedure": procedure,
            "arguments": []}),
        );
        client.line()
    };
    // (`Cluster::reload` would write the file anew.)
    let (mut one, mut other) = (connect(), connect());
    assert!(call(&mut one, "echo")["job_id"].is_string());

    let text = fs::read_to_string(cluster.config()).unwrap();
    let changed = text.replace(&rule("echo"), &rule("count"));
    assert_ne!(changed, text);
    fs::write(cluster.config(), changed).unwrap();
    let output = cluster.run(&["reload"]);
    assert!(output.status.success(), "{output:?}");
    let answer = call(&mut other, "count");
    assert!(answer["job_id"].is_string(), "{answer}");
    assert_refused(&call(&mut one, "echo"), "forbidden", &Value::Null);

    // Rules that cannot be understood leave these in force.
    fs::write(
        cluster.config(),
        text.replace("[[allow]]", "[[allow]]\noperations = 'fly'"),
    )
    .unwrap();
    assert_eq!(cluster.run(&["reload"]).status.code(), Some(1));
    assert!(call(&mut other, "count")["job_id"].is_string());
}
