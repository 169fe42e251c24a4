//! What a procedure prints while it is being ended, and bytes that are no line.

use std::time::{Duration, Instant};

use harp_tests::{
    ACKNOWLEDGE, ACKNOWLEDGE_STREAM, Cluster, ClusterBuilder, FakeHost, HttpRequest, Step, until,
};
use serde_json::{Value, json};

use crate::assertions::{assert_ended, keys};

/// A shell that is ready, and at SIGTERM takes its time to say two things more. It has no
/// child then: one that is being made when the signal comes would say the first, too.
const TIDY: &str = "trap 'echo rolling back; sleep 0.5; echo rolled back; exit 1' TERM; \
     pipe=$(mktemp -u); mkfifo \"$pipe\"; exec 3<>\"$pipe\"; rm \"$pipe\"; echo ready; read line <&3";
const TIDIED: [&str; 3] = [r#""ready""#, r#""rolling back""#, r#""rolled back""#];

#[test]
fn what_comes_after_a_cancel_comes_before_the_end() {
    let cluster = Cluster::builder()
        .procedure("tidy", "output = 'lines'", TIDY)
        .start();
    let caller = cluster.caller();
    for confirm in [false, true] {
        let job = caller.call("web01", "tidy", "[]");
        let mut following = caller.follow(&job, r#""since": 0"#);
        assert_eq!(following.raw_line(), r#"{"packet":0,"data":"ready"}"#);
        let answer = caller.ask(json!({"harpcaller": 1, "cancel": job, "confirm": confirm}));
        assert_eq!(answer["cancelled"], true);
        if confirm {
            assert_eq!(answer["remote"], "confirmed");
        }
        // The reply has waited for all of it.
        let page = caller.read(&job, "");
        assert_eq!(page.packets, TIDIED);
        assert_eq!(page.last, json!({"cancelled": true}));
        assert_eq!(
            following.rest(),
            [
                r#"{"packet":1,"data":"rolling back"}"#,
                r#"{"packet":2,"data":"rolled back"}"#,
                r#"{"cancelled":true}"#
            ]
        );
    }
}

#[test]
fn what_comes_after_a_limit_comes_before_the_end() {
    let cluster = Cluster::builder()
        .procedure("tidy", "output = 'lines'", TIDY)
        .start();
    let caller = cluster.caller();
    for limit in ["timeout", "max_exec_time"] {
        let job = caller.call_with("web01", "tidy", "[]", &format!(r#""{limit}": 1"#));
        assert_ended(
            &caller.result(&job),
            "timeout",
            &json!({"limit": limit, "seconds": 1}),
        );
        assert_eq!(caller.read(&job, "").packets, TIDIED);
    }
}

/// A shell that has printed half of a document when the file `$1` is there, and takes back what it
/// has done at SIGTERM.
const HALF: &str = "trap 'echo rolled back; echo why >&2; exit 1' TERM; \
     pipe=$(mktemp -u); mkfifo \"$pipe\"; exec 3<>\"$pipe\"; rm \"$pipe\"; echo half done; \
     : > \"$1\"; read line <&3";

fn printed() -> Value {
    json!({"stdout": "half done\nrolled back\n", "stderr": "why\n"})
}

/// Both ways of calling a host, over the last of which calls end with their connections.
fn halves() -> [ClusterBuilder; 2] {
    [Cluster::builder(), Cluster::builder().unkept()].map(|builder| {
        let of = |output: &str| format!("output = '{output}'\narguments = 'argv'");
        builder
            .procedure("text", &of("text"), HALF)
            .procedure("json", &of("json"), HALF)
    })
}

/// Calls one of these, and waits until it has printed.
fn half(cluster: &Cluster, procedure: &str, more: &str) -> String {
    let mark = cluster.path(&format!("{procedure} {}", more.len()));
    let arguments = json!([mark]).to_string();
    let job = cluster
        .caller()
        .call_with("web01", procedure, &arguments, more);
    until("it has printed", || mark.exists().then_some(()));
    job
}

#[test]
fn what_a_cancelled_call_had_printed_is_kept_with_its_job() {
    for builder in halves() {
        let http = "[[listen_http]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n";
        let mut cluster = builder.tables(http).start();
        for (procedure, confirm) in [("text", false), ("json", true)] {
            let job = half(&cluster, procedure, "");
            let cancel = json!({"harpcaller": 1, "cancel": job, "confirm": confirm});
            let answer = cluster.caller().ask(cancel);
            assert_eq!(answer["cancelled"], true, "{answer}");
            if confirm {
                assert_eq!(answer["remote"], "confirmed", "{answer}");
            }
            for _ in 0..2 {
                let caller = cluster.caller();
                let ask = |evidence| {
                    caller.ask(json!({"harpcaller": 1, "get_status": job, "evidence": evidence}))
                };
                assert_eq!(ask(true)["evidence"], printed());
                assert_eq!(keys(&ask(false)), ["call", "info", "time"]);
                assert_eq!(caller.result_now(&job), json!({"cancelled": true}));
                let path = format!("/api/v1/jobs/{job}");
                let answer = HttpRequest::get(&path).ask(cluster.http_address());
                assert_eq!(answer.json()["evidence"], printed(), "{}", answer.text());
                cluster.restart_dispatcher();
            }
        }
    }
}

#[test]
fn what_a_call_had_printed_is_in_the_data_of_the_limit_that_ended_it() {
    for builder in halves() {
        let cluster = builder.start();
        let caller = cluster.caller();
        for (procedure, limit) in [("text", "timeout"), ("json", "max_exec_time")] {
            let job = half(&cluster, procedure, &format!(r#""{limit}": 2"#));
            let mut data = json!({"limit": limit, "seconds": 2});
            for (stream, text) in printed().as_object().unwrap() {
                data[stream] = text.clone();
            }
            assert_ended(&caller.result(&job), "timeout", &data);
        }
    }
}

#[test]
fn a_host_that_says_nothing_more_does_not_keep_a_job_from_its_end() {
    let script = [
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE_STREAM,
        Step::line(r#"{"stream":1}"#),
    ];
    let silent = FakeHost::start(&[&script[..], &[Step::Pause]].concat());
    // One of the original's: nothing is waited for.
    let original = [Step::Handshake, Step::Request, ACKNOWLEDGE, Step::Pause];
    let original = FakeHost::start(&original);
    let endless = [Step::SendForever("{\"stream\":1}\n".into())];
    let endless = FakeHost::start(&[&script[..], &endless].concat());
    let cluster = Cluster::builder()
        .hosts(0)
        .set("last_words", "1")
        .fake_host("silent", &silent)
        .fake_host("original", &original)
        .fake_host("endless", &endless)
        .start();
    let caller = cluster.caller();
    for host in ["silent", "endless"] {
        let job = caller.call(host, "p", "[]");
        let mut following = caller.follow(&job, r#""since": 0"#);
        assert_eq!(following.raw_line(), r#"{"packet":0,"data":1}"#);
        let begun = Instant::now();
        assert!(caller.cancel(&job));
        // Without `last_words` it would not come at all.
        assert!(begun.elapsed() < Duration::from_secs(30), "{host}");
        assert_eq!(caller.result_now(&job), json!({"cancelled": true}));
    }
    silent.go_on();
    let job = caller.call("original", "p", "[]");
    until("it runs", || (original.visits().len() == 1).then_some(()));
    let begun = Instant::now();
    assert!(caller.cancel(&job));
    assert!(begun.elapsed() < Duration::from_secs(30), "it has waited");
    original.go_on();
}

#[test]
fn with_last_words_0_a_cancel_ends_at_once() {
    let script = "trap 'sleep 2; echo > \"$1\"; exit' TERM; echo 1; while :; do sleep 0.1; done";
    let cluster = Cluster::builder()
        .set("last_words", "0")
        .procedure("slow", "output = 'lines'\narguments = 'argv'", script)
        .start();
    let caller = cluster.caller();
    let gone = cluster.path("gone");
    let job = caller.call("web01", "slow", &json!([gone]).to_string());
    let mut following = caller.follow(&job, r#""since": 0"#);
    following.raw_line();
    assert!(caller.cancel(&job));
    assert!(!gone.exists(), "the answer has waited for the host");
}

#[test]
fn bytes_are_life() {
    // Each goes on for longer than the silence that is allowed, and none has a line.
    let cluster = Cluster::builder()
        .procedure(
            "dots",
            "output = 'lines'",
            "for i in 1 2 3 4 5 6 7 8; do printf .; sleep 0.4; done; echo; echo end",
        )
        .procedure(
            "bar",
            "output = 'lines'",
            "for i in 1 2 3 4 5 6 7 8; do printf \"$i of 8\\r\"; sleep 0.4; done; echo; echo end",
        )
        .procedure(
            "stderr",
            "output = 'json-lines'",
            "for i in 1 2 3 4 5 6 7 8; do printf \"$i of 8\\r\" >&2; sleep 0.4; done; echo '\"end\"'",
        )
        .procedure("document", "output = 'text'", "while :; do echo .; sleep 0.2; done")
        .start();
    let caller = cluster.caller();
    let call = |procedure| caller.call_with("web01", procedure, "[]", r#""timeout": 2"#);
    let jobs = ["dots", "bar", "stderr"].map(|procedure| (procedure, call(procedure)));
    let document = call("document");
    for (procedure, job) in &jobs {
        let result = caller.result(job);
        assert!(result.get("result").is_some(), "{procedure}: {result}");
        let packets = caller.read(job, "").packets;
        assert_eq!(packets.last().unwrap(), r#""end""#);
        if *procedure == "bar" {
            assert!(packets.contains(&r#""3 of 8\r""#.to_owned()), "{packets:?}");
        }
    }
    // Its limit is the time until its result.
    let ended = caller.result(&document);
    assert_eq!(ended["error"]["data"]["limit"], "timeout", "{ended}");
    let printed = ended["error"]["data"]["stdout"]
        .as_str()
        .unwrap_or_default();
    assert!(printed.starts_with(".\n."), "{ended}");
}
