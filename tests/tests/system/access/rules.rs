//! Access rules (harpcaller.toml, `[[allow]]`).

use harp_tests::{Caller, Cluster, RawClient};
use serde_json::{Value, json};

use super::identity::{Files, hello, with_tokens};
use crate::assertions::{NO_JOB, assert_refused};

/// Two applications and an operator, as in the manual. Everybody else may do nothing.
const RULES: &str = r#"
[[allow]]
client = "token:shop"
host = "web*"
procedure = ["echo", "count"]
jobs = "own"

[[allow]]
client = "token:monitor"
host = "web*"
queue = ""
operations = "read"

[[allow]]
client = ["token:operator", "uid:*"]
"#;

struct Clients {
    cluster: Cluster,
    shop: String,
    monitor: String,
    operator: String,
}

impl Clients {
    fn start() -> Clients {
        let files = Files::new();
        let [shop, monitor, operator] =
            ["shop", "monitor", "operator"].map(|name| files.new_token(name));
        let cluster = with_tokens(&files).hosts(1).tables(RULES).start();
        // The tokens have been read; a file that is gone would lock them out.
        std::mem::forget(files);
        Clients {
            cluster,
            shop,
            monitor,
            operator,
        }
    }

    fn caller(&self) -> Caller {
        self.cluster.caller()
    }

    /// A line on a connection of its own, behind a `hello` with this token.
    fn ask(&self, token: &str, line: &Value) -> Value {
        let mut client = self.connect(token);
        client.send(line);
        client.line()
    }

    fn connect(&self, token: &str) -> RawClient {
        let mut client = self.caller().send(hello(token));
        assert!(client.line()["server"].is_string());
        client
    }
}

fn call(host: &str, procedure: &str) -> Value {
    json!({"harpcaller": 1, "host": host, "procedure": procedure, "arguments": []})
}

fn result(job: &Value) -> Value {
    json!({"harpcaller": 1, "get_result": job})
}

#[track_caller]
fn assert_forbidden(answer: &Value) {
    assert_refused(answer, "forbidden", &Value::Null);
    let message = answer["error"]["message"].as_str().unwrap();
    for told in ["shop", "web", "token", "echo"] {
        assert!(!message.contains(told), "nothing of the rules: {answer}");
    }
}

#[test]
fn each_client_may_do_what_the_rules_say_and_no_more() {
    let clients = Clients::start();
    let Clients {
        shop,
        monitor,
        operator,
        ..
    } = &clients;
    let own = clients.ask(shop, &call("web01", "echo"))["job_id"].clone();
    let foreign = clients.ask(operator, &call("web01", "echo"))["job_id"].clone();
    assert!(own.is_string() && foreign.is_string());
    let done = json!({"result": []});

    // What the shop may call.
    assert_forbidden(&clients.ask(shop, &call("web01", "gate")));
    assert_forbidden(&clients.ask(shop, &call("db01", "echo")));
    // Its own jobs alone, in every way of asking.
    assert_eq!(clients.ask(shop, &result(&own)), done);
    for request in [
        "get_result",
        "get_status",
        "follow_stream",
        "read_stream",
        "cancel",
    ] {
        let line = json!({"harpcaller": 1, request: foreign});
        assert_forbidden(&clients.ask(shop, &line));
        let line = json!({"harpcaller": 1, request: own});
        assert!(clients.ask(shop, &line)["error"].is_null(), "{request}");
    }
    // That there is no such job is no secret.
    let answer = clients.ask(shop, &result(&json!(NO_JOB)));
    assert_refused(&answer, "invalid_jobid", &Value::Null);

    // A client that may only read.
    assert_eq!(clients.ask(monitor, &result(&own)), done);
    assert_eq!(clients.ask(monitor, &result(&foreign)), done);
    assert_forbidden(&clients.ask(monitor, &call("web01", "echo")));
    assert_forbidden(&clients.ask(monitor, &json!({"harpcaller": 1, "cancel": own})));
    let mut queued = call("web01", "echo");
    queued["queue"] = json!({"name": {"q": 1}});
    let queued = clients.ask(operator, &queued)["job_id"].clone();
    assert_eq!(clients.ask(operator, &result(&queued)), done);
    assert_forbidden(&clients.ask(monitor, &result(&queued)));

    // Whoever has not said who it is may do nothing.
    assert_forbidden(&clients.caller().ask(result(&own)));
    assert_forbidden(&clients.caller().ask(call("web01", "echo")));
    assert_forbidden(
        &clients
            .caller()
            .ask(json!({"harpcaller": 1, "cancel": NO_JOB})),
    );
}

#[test]
fn what_was_refused_is_in_the_log() {
    let clients = Clients::start();
    assert_forbidden(&clients.ask(&clients.shop, &call("db01", "drop_tables")));
    let entry = clients.cluster.log().wait_for("request refused");
    assert_eq!(entry["client"], "token:shop");
    assert_eq!(entry["host"], "db01");
    assert_eq!(entry["procedure"], "drop_tables");
    assert_eq!(entry["refusal"], "forbidden");
    assert!(entry["peer"].as_str().unwrap().starts_with("127."));
}

#[test]
fn after_a_refusal_what_was_sent_behind_it_is_not_run() {
    let clients = Clients::start();
    let mut client = clients.connect(&clients.monitor);
    client.send(call("web01", "echo"));
    client.send(json!({"harpcaller": 1, "get_status": NO_JOB}));
    assert_forbidden(&client.line());
    assert!(client.at_end());
}

#[test]
fn a_key_belongs_to_who_uses_it() {
    let clients = Clients::start();
    let mut keyed = call("web01", "echo");
    keyed["key"] = json!("nightly");
    let shop = clients.ask(&clients.shop, &keyed);
    let operator = clients.ask(&clients.operator, &keyed);
    assert_ne!(shop["job_id"], operator["job_id"]);
    assert!(operator["existing"].is_null() || operator["existing"] == false);
    let again = clients.ask(&clients.shop, &keyed);
    assert_eq!(again["job_id"], shop["job_id"]);
    assert_eq!(again["existing"], true);
}
