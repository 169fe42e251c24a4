//! Errors and exceptions of a host pass through with their own type, message and data
//! (section 7).

use harp_tests::{ACKNOWLEDGE, ACKNOWLEDGE_STREAM, Cluster, FakeHost, Page, Step};
use serde_json::{Value, json};

use crate::assertions::{assert_ended, keys};

#[test]
fn wrong_credentials_are_the_hosts_error() {
    let mut cluster = Cluster::start();
    let good = cluster.entry("web01");
    let mut stranger = good.clone();
    stranger["hostname"] = json!("stranger");
    stranger["credentials"]["user"] = json!("stranger");
    let mut mistyped = good.clone();
    mistyped["hostname"] = json!("mistyped");
    mistyped["credentials"]["password"] = json!("open sesam");
    cluster.set_registry(&[good, stranger, mistyped]);
    cluster.set("host_db_refresh", "1");
    cluster.restart_dispatcher();
    cluster.wait_for_refresh();
    let caller = cluster.caller();
    for host in ["stranger", "mistyped"] {
        let answer = caller.result(&caller.call(host, "echo", "[]"));
        assert_eq!(answer["error"]["type"], "auth_error", "{answer}");
        assert_ended(&answer, "auth_error", &answer["error"]["data"].clone());
    }
    assert_eq!(
        caller.result(&caller.call("web01", "echo", "[]")),
        json!({"result": []})
    );
}

#[test]
fn a_procedure_that_is_not_there_is_the_hosts_error() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    for procedure in ["nothing", "", "../procedures/echo", "echo\n"] {
        let answer = caller.result(&caller.call("web01", procedure, "[]"));
        assert_ended(
            &answer,
            "no_such_procedure",
            &json!({"procedure": procedure}),
        );
    }
}

#[test]
fn how_a_procedure_failed_is_told() {
    let cluster = Cluster::builder()
        .procedure("killed", "output = 'json'", "kill -TERM $$")
        .procedure("chatter", "output = 'json'", "echo this is no JSON")
        .procedure("mute", "output = 'json'", "exit 9")
        .start();
    let caller = cluster.caller();
    let exception = |procedure: &str| {
        let answer = caller.result(&caller.call("web01", procedure, "[]"));
        answer["exception"].clone()
    };
    let killed = exception("killed");
    assert_eq!(killed["type"], "signal", "{killed}");
    assert_eq!(killed["data"]["signal"], "SIGTERM", "{killed}");
    let chatter = exception("chatter");
    assert_eq!(chatter["type"], "invalid_output", "{chatter}");
    assert!(chatter.to_string().contains("this is no JSON"), "{chatter}");
    let mute = exception("mute");
    assert_eq!(mute["type"], "exit_status", "{mute}");
    assert_eq!(mute["data"]["exit_code"], 9, "{mute}");
    assert!(
        mute["message"]
            .as_str()
            .is_some_and(|message| !message.is_empty()),
        "{mute}"
    );
}

#[test]
fn a_host_that_stops_tells_its_calls() {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call("web01", "feed", &feed.arguments());
    feed.send("1");
    let mut following = caller.follow(&job, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":1}"#);
    cluster.stop_host("web01");
    feed.wait_abandoned();
    // The host's word, not the dispatcher's: there is no "harpcaller" beside it.
    let answer = following.line();
    assert_ended(&answer, "shutdown", &answer["error"]["data"].clone());
    let answer = caller.result(&caller.call("web01", "echo", "[]"));
    assert_eq!(answer["error"]["data"]["code"], "econnrefused", "{answer}");
}

#[test]
fn a_host_may_use_any_type_it_likes() {
    // Those that the dispatcher uses itself, too: what tells them apart is "harpcaller".
    let types = ["invalid_jobid", "shutdown", "no such thing", "", "timeout"];
    let error = |name: &str, data: &str| {
        format!(
            r#"{{"type":{},"message":"as the host says"{data}}}"#,
            json!(name)
        )
    };
    let mut scripts = Vec::new();
    let mut expected = Vec::new();
    for name in types {
        for data in ["", r#","data":null"#, r#","data":{"a":[1.0]}"#] {
            let error = error(name, data);
            let line = format!(r#"{{"harp":1,"error":{error}}}"#);
            scripts.push(vec![Step::Handshake, Step::Request, Step::line(&line)]);
            scripts.push(vec![
                Step::Handshake,
                Step::Request,
                ACKNOWLEDGE_STREAM,
                Step::line(r#"{"stream":1}"#),
                Step::line(&line),
            ]);
            let outcome = format!(r#"{{"error":{error}}}"#);
            expected.extend([(outcome.clone(), 0), (outcome, 1)]);
        }
    }
    let slices: Vec<&[Step]> = scripts.iter().map(Vec::as_slice).collect();
    let host = FakeHost::start_each(&slices);
    // A host that says it is shutting down would be asked again.
    let cluster = Cluster::around(&host).set("connect_patience", "0").start();
    let caller = cluster.caller();
    for (outcome, packets) in expected {
        let job = caller.call("fake", "p", "[]");
        assert_eq!(caller.raw_result(&job), outcome);
        assert_eq!(caller.read(&job, "").packets.len(), packets);
        let followed = Page::read(&mut caller.follow(&job, r#""since": 0"#));
        assert_eq!(
            followed.last,
            serde_json::from_str::<Value>(&outcome).unwrap()
        );
    }
}

#[test]
fn exceptions_pass_through_with_and_without_data() {
    for data in [
        "",
        r#","data":null"#,
        r#","data":{"class":"E","module":"m"}"#,
    ] {
        let exception = format!(r#"{{"exception":{{"type":"KeyError","message":"x"{data}}}}}"#);
        let host = FakeHost::start(&[
            Step::Handshake,
            Step::Request,
            ACKNOWLEDGE,
            Step::line(&exception),
        ]);
        let cluster = Cluster::around(&host).start();
        let caller = cluster.caller();
        let job = caller.call("fake", "p", "[]");
        assert_eq!(caller.raw_result(&job), exception);
    }
}

#[test]
fn a_message_that_is_no_text_does_not_cost_the_rest() {
    // Half a surrogate pair, as Python makes one of a byte that is not UTF-8.
    let failure = r#"{"type":"UnicodeError","message":"caf\udce9","data":{"at":[1.0,3]}}"#;
    for (line, kind) in [
        (format!(r#"{{"exception":{failure}}}"#), "exception"),
        (format!(r#"{{"harp":1,"error":{failure}}}"#), "error"),
    ] {
        let host = FakeHost::start(&[
            Step::Handshake,
            Step::Request,
            ACKNOWLEDGE,
            Step::line(&line),
        ]);
        let cluster = Cluster::around(&host).start();
        let caller = cluster.caller();
        let job = caller.call("fake", "p", "[]");
        let answer = caller.raw_result(&job);
        assert!(answer.contains(r#""data":{"at":[1.0,3]}"#), "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(keys(&answer), [kind]);
        assert_eq!(answer[kind]["type"], "UnicodeError", "{answer}");
        let message = answer[kind]["message"].as_str();
        assert!(
            message.is_some_and(|message| message.starts_with("caf")),
            "{answer}"
        );
        assert_eq!(caller.read(&job, "").last, answer);
    }
}

#[test]
fn an_error_of_the_host_that_is_an_ext_word_is_not_taken_for_ours() {
    // A host that says "cancelled" of its own accord: the job was not cancelled here.
    let line =
        r#"{"harp":1,"error":{"type":"cancelled","message":"by me","data":{"processes":0}}}"#;
    let host = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE,
        Step::line(line),
    ]);
    let cluster = Cluster::around(&host).start();
    let caller = cluster.caller();
    let answer = caller.result(&caller.call("fake", "p", "[]"));
    assert_ended(&answer, "cancelled", &json!({"processes": 0}));
}

#[test]
fn a_host_that_says_more_than_we_know_is_understood() {
    let host = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        Step::line(r#"{"call_id":"x","stream_result":true,"harp":1}"#),
        Step::line(r#"{"time":5,"stream":1}"#),
        Step::line(r#"{"result":2,"took":0.1}"#),
    ]);
    let cluster = Cluster::around(&host).start();
    let caller = cluster.caller();
    let job = caller.call("fake", "p", "[]");
    assert_eq!(caller.result(&job), json!({"result": 2}));
    assert_eq!(caller.read(&job, "").packets, ["1"]);
}

#[test]
fn the_request_to_the_host_is_that_of_its_protocol() {
    let host = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE,
        Step::line(r#"{"result":null}"#),
    ]);
    let cluster = Cluster::around(&host).start();
    let caller = cluster.caller();
    let job = caller.call_with("fake", "proc", r#"{"b":1.0,"a":[]}"#, r#""info": {"x": 1}"#);
    assert_eq!(caller.result(&job), json!({"result": null}));
    let line = host.visits()[0].lines[0].clone();
    assert!(line.contains(r#""arguments":{"b":1.0,"a":[]}"#), "{line}");
    let request: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        request,
        json!({
            "harp": 1, "procedure": "proc", "arguments": {"b": 1.0, "a": []},
            "auth": {"user": harp_tests::USER, "password": harp_tests::PASSWORD},
        })
    );
}
