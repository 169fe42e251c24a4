//! Hosts that refuse, hang, close too early or send what they must not (section 7).

use std::time::{Duration, Instant};

use harp_tests::{
    ACKNOWLEDGE, ACKNOWLEDGE_STREAM, Closing, Cluster, FakeHost, Page, Step, refusing_address,
    unanswering_address,
};
use serde_json::{Value, json};

use crate::assertions::{assert_ended, keys};

use Step::{Close, CloseSilently, Handshake, Hang, Request, Reset};

fn packet(number: u32) -> Step {
    Step::line(&format!(r#"{{"stream":{number}}}"#))
}

fn text(text: &str) -> Step {
    Step::Send(text.to_owned().into())
}

/// A host, what its call ends with, and how many packets come before.
struct Case {
    name: &'static str,
    script: Vec<Step>,
    error_type: &'static str,
    code: Option<&'static str>,
    phase: &'static str,
    packets: usize,
}

fn network(name: &'static str, script: Vec<Step>, phase: &'static str, code: &'static str) -> Case {
    let code = Some(code);
    Case {
        name,
        script,
        error_type: "network_error",
        code,
        phase,
        packets: 0,
    }
}

fn protocol(name: &'static str, script: Vec<Step>, phase: &'static str) -> Case {
    Case {
        name,
        script,
        error_type: "protocol_error",
        code: None,
        phase,
        packets: 0,
    }
}

impl Case {
    fn after(self, packets: usize) -> Case {
        Case { packets, ..self }
    }
}

/// Calls each of the hosts and looks at what the jobs end with. All at once, so that
/// those that hang do so together.
fn judge(cases: Vec<Case>) {
    let hosts: Vec<FakeHost> = cases
        .iter()
        .map(|case| FakeHost::start(&case.script))
        .collect();
    let mut cluster = Cluster::builder()
        .hosts(0)
        .set("connect_timeout", "1")
        .set("max_packet_size", "\"100K\"");
    for (case, host) in cases.iter().zip(&hosts) {
        cluster = cluster.fake_host(case.name, host);
    }
    let cluster = cluster.start();
    let caller = cluster.caller();
    let begun = Instant::now();
    let jobs: Vec<String> = cases
        .iter()
        .map(|case| caller.call(case.name, "p", "[]"))
        .collect();
    for ((case, host), job) in cases.iter().zip(&hosts).zip(&jobs) {
        let answer = caller.result(job);
        println!("{}: {answer}", case.name);
        let data = &answer["error"]["data"];
        assert_ended(&answer, case.error_type, &data.clone());
        assert_eq!(data["phase"], case.phase, "{}: {answer}", case.name);
        assert_eq!(
            data["address"],
            json!(host.address()),
            "{}: {answer}",
            case.name
        );
        if let Some(code) = case.code {
            assert_eq!(
                keys(data),
                ["address", "code", "phase"],
                "{}: {answer}",
                case.name
            );
            assert_eq!(data["code"], code, "{}: {answer}", case.name);
        }
        let page = caller.read(job, "");
        assert_eq!(
            page.packets.len(),
            case.packets,
            "{}: packets are kept",
            case.name
        );
        assert_eq!(page.last, answer);
        assert_eq!(Page::read(&mut caller.follow(job, r#""since": 0"#)), page);
        let status = caller.status(job);
        assert!(status["time"]["end"].is_u64(), "{}: {status}", case.name);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "limits are kept: {:?}",
        begun.elapsed()
    );
}

#[test]
fn closing_early_is_a_network_error_at_every_phase() {
    judge(vec![
        network("before TLS", vec![Close], "tls", "closed"),
        network(
            "reset in TLS",
            vec![Step::AnyByte, Reset],
            "tls",
            "econnreset",
        ),
        network("after TLS", vec![Handshake, Close], "acknowledge", "closed"),
        network(
            "silently after TLS",
            vec![Handshake, CloseSilently],
            "acknowledge",
            "closed",
        ),
        network(
            "after the request",
            vec![Handshake, Request, Close],
            "acknowledge",
            "closed",
        ),
        network(
            "reset",
            vec![Handshake, Request, Reset],
            "acknowledge",
            "econnreset",
        ),
        network(
            "in the acknowledgement",
            vec![Handshake, Request, text(r#"{"harp":1,"stream_res"#), Close],
            "acknowledge",
            "closed",
        ),
        network(
            "an acknowledgement without its end",
            vec![
                Handshake,
                Request,
                text(r#"{"harp":1,"stream_result":true}"#),
                Close,
            ],
            "acknowledge",
            "closed",
        ),
        network(
            "after the acknowledgement",
            vec![Handshake, Request, ACKNOWLEDGE, Close],
            "stream",
            "closed",
        ),
        network(
            "after packets",
            vec![
                Handshake,
                Request,
                ACKNOWLEDGE_STREAM,
                packet(0),
                packet(1),
                Close,
            ],
            "stream",
            "closed",
        )
        .after(2),
        network(
            "silently after packets",
            vec![
                Handshake,
                Request,
                ACKNOWLEDGE_STREAM,
                packet(0),
                CloseSilently,
            ],
            "stream",
            "closed",
        )
        .after(1),
        network(
            "half a packet",
            vec![
                Handshake,
                Request,
                ACKNOWLEDGE_STREAM,
                packet(0),
                text(r#"{"stream":"#),
                Close,
            ],
            "stream",
            "closed",
        )
        .after(1),
        network(
            "a result without its end",
            vec![
                Handshake,
                Request,
                ACKNOWLEDGE,
                text(r#"{"result":1}"#),
                Close,
            ],
            "stream",
            "closed",
        ),
    ]);
}

#[test]
fn hanging_before_the_acknowledgement_runs_into_connect_timeout() {
    judge(vec![
        network("before TLS", vec![Hang], "tls", "etimedout"),
        network(
            "after TLS",
            vec![Handshake, Hang],
            "acknowledge",
            "etimedout",
        ),
        network(
            "after the request",
            vec![Handshake, Request, Hang],
            "acknowledge",
            "etimedout",
        ),
        network(
            "in the acknowledgement",
            vec![Handshake, Request, text(r#"{"harp":1,"#), Hang],
            "acknowledge",
            "etimedout",
        ),
    ]);
}

#[test]
fn what_is_not_the_protocol_is_a_protocol_error() {
    let streaming = |line: &str| {
        vec![
            Handshake,
            Request,
            ACKNOWLEDGE_STREAM,
            packet(0),
            Step::line(line),
            Hang,
        ]
    };
    judge(vec![
        protocol(
            "garbage",
            vec![Handshake, Request, Step::line("garbage"), Hang],
            "acknowledge",
        ),
        protocol(
            "nothing in it",
            vec![Handshake, Request, Step::line(""), Hang],
            "acknowledge",
        ),
        protocol(
            "HTTP",
            vec![Handshake, Step::line("HTTP/1.1 400 Bad Request"), Hang],
            "acknowledge",
        ),
        protocol(
            "a result too soon",
            vec![Handshake, Request, Step::line(r#"{"result":1}"#), Hang],
            "acknowledge",
        ),
        protocol(
            "a packet too soon",
            vec![Handshake, Request, Step::line(r#"{"stream":1}"#), Hang],
            "acknowledge",
        ),
        protocol(
            "another version",
            vec![
                Handshake,
                Request,
                Step::line(r#"{"harp":2,"stream_result":true}"#),
                Hang,
            ],
            "acknowledge",
        ),
        protocol(
            "a line without end",
            vec![Handshake, Request, Step::SendForever("x".into())],
            "acknowledge",
        ),
        protocol(
            "acknowledged twice",
            vec![Handshake, Request, ACKNOWLEDGE, ACKNOWLEDGE, Hang],
            "stream",
        ),
        protocol(
            "a packet that was not announced",
            vec![Handshake, Request, ACKNOWLEDGE, packet(0), Hang],
            "stream",
        ),
        protocol("garbage in the stream", streaming("garbage"), "stream").after(1),
        protocol(
            "half a line in the stream",
            streaming(r#"{"stream":"#),
            "stream",
        )
        .after(1),
        protocol("no message in the stream", streaming("{}"), "stream").after(1),
        protocol(
            "an array in the stream",
            streaming(r#"["stream",1]"#),
            "stream",
        )
        .after(1),
        protocol(
            "a broken exception",
            streaming(r#"{"exception":"x"}"#),
            "stream",
        )
        .after(1),
        protocol(
            "a broken error",
            streaming(r#"{"harp":1,"error":{"type":1}}"#),
            "stream",
        )
        .after(1),
        protocol(
            "a line without end in the stream",
            vec![
                Handshake,
                Request,
                ACKNOWLEDGE_STREAM,
                packet(0),
                Step::SendForever("x".into()),
            ],
            "stream",
        )
        .after(1),
    ]);
}

#[test]
fn a_host_that_does_not_speak_tls_is_found_out() {
    judge(vec![
        network(
            "plain harp",
            vec![ACKNOWLEDGE, Step::line(r#"{"result":1}"#), Hang],
            "tls",
            "tls",
        ),
        network(
            "plain text",
            vec![text("220 smtp.example ESMTP ready\r\n"), Hang],
            "tls",
            "tls",
        ),
        network(
            "plain noise",
            vec![Step::SendForever("nonsense ".into())],
            "tls",
            "tls",
        ),
    ]);
}

#[test]
fn a_host_that_does_not_read_the_request_runs_into_connect_timeout() {
    let big = format!("[\"{}\"]", "x".repeat(12 << 20));
    let hosts = [
        (FakeHost::start(&[Handshake, Step::Pause]), "etimedout"),
        (FakeHost::start(&[Handshake, Reset]), "econnreset"),
    ];
    for (host, code) in hosts {
        let cluster = Cluster::builder()
            .hosts(0)
            .fake_host("fake", &host)
            .set("connect_timeout", "1")
            .start();
        let caller = cluster.caller();
        let answer = caller.result(&caller.call("fake", "p", &big));
        let data = json!({"code": code, "phase": "request", "address": host.address()});
        assert_ended(&answer, "network_error", &data);
        host.go_on();
    }
}

#[test]
fn all_steps_up_to_the_acknowledgement_share_one_connect_timeout() {
    let slow = Duration::from_millis(600);
    let script = [
        Step::Dawdle(slow),
        Handshake,
        Request,
        Step::Dawdle(slow),
        ACKNOWLEDGE,
        Step::Dawdle(slow),
        Step::line(r#"{"result":null}"#),
    ];
    for (limit, expected) in [("1", "etimedout"), ("3", "")] {
        let host = FakeHost::start(&script);
        let cluster = Cluster::builder()
            .hosts(0)
            .fake_host("fake", &host)
            .set("connect_timeout", limit)
            .start();
        let caller = cluster.caller();
        let answer = caller.result(&caller.call("fake", "p", "[]"));
        if expected.is_empty() {
            assert_eq!(answer, json!({"result": null}));
        } else {
            let data = json!({"code": expected, "phase": "acknowledge", "address": host.address()});
            assert_ended(&answer, "network_error", &data);
        }
    }
}

#[test]
fn connections_that_do_not_come_about() {
    let refusing = refusing_address();
    let (unanswering, _filled) = unanswering_address();
    let cluster = Cluster::builder()
        .hosts(0)
        .set("connect_timeout", "1")
        .other_host("refusing", refusing)
        .other_host("unanswering", unanswering)
        .entry(json!({
            "hostname": "nameless", "address": "no such name", "port": 4306,
            "credentials": {"user": "u", "password": "p"},
        }))
        .start();
    let caller = cluster.caller();
    for (host, code, phase, address) in [
        ("refusing", "econnrefused", "connect", refusing.to_string()),
        (
            "unanswering",
            "etimedout",
            "connect",
            unanswering.to_string(),
        ),
        (
            "nameless",
            "nxdomain",
            "resolve",
            "no such name:4306".to_owned(),
        ),
    ] {
        let answer = caller.result(&caller.call(host, "p", "[]"));
        let data = json!({"code": code, "phase": phase, "address": address});
        assert_ended(&answer, "network_error", &data);
    }
}

#[test]
fn a_host_that_hangs_in_its_stream_is_left_to_the_timeout() {
    let host = FakeHost::start(&[Handshake, Request, ACKNOWLEDGE_STREAM, packet(0), Hang]);
    let cluster = Cluster::builder()
        .hosts(0)
        .fake_host("fake", &host)
        .set("connect_timeout", "1")
        .start();
    let caller = cluster.caller();
    let job = caller.call_with("fake", "p", "[]", r#""timeout": 2"#);
    let answer = caller.result(&job);
    assert_ended(
        &answer,
        "timeout",
        &json!({"limit": "timeout", "seconds": 2}),
    );
    assert_eq!(caller.read(&job, "").packets, ["0"]);
    assert_eq!(host.wait_closed(0), Closing::Notified);
}

#[test]
fn a_connection_that_breaks_off_in_the_stream_is_a_network_error() {
    let host = FakeHost::start(&[
        Handshake,
        Request,
        ACKNOWLEDGE_STREAM,
        packet(0),
        Step::Pause,
        Reset,
    ]);
    let cluster = Cluster::builder().hosts(0).fake_host("fake", &host).start();
    let caller = cluster.caller();
    let job = caller.call("fake", "p", "[]");
    let mut following = caller.follow(&job, r#""since": 0"#);
    assert_eq!(following.raw_line(), r#"{"packet":0,"data":0}"#);
    host.go_on();
    let data = json!({"code": "econnreset", "phase": "stream", "address": host.address()});
    assert_ended(&following.line(), "network_error", &data);
    assert_eq!(caller.read(&job, "").packets, ["0"]);
}

#[test]
fn a_host_that_never_stops_sending_ends_by_max_exec_time_or_a_cancel() {
    // Big packets: it is their bytes that keep the dispatcher busy.
    let packet = format!("{{\"stream\":\"{}\"}}\n", "x".repeat(4000));
    let host = FakeHost::start(&[
        Handshake,
        Request,
        ACKNOWLEDGE_STREAM,
        Step::SendForever(packet.into()),
    ]);
    let cluster = Cluster::builder()
        .hosts(0)
        .fake_host("fake", &host)
        .set("slot_grace", "1")
        .start();
    let caller = cluster.caller();
    let limited = caller.call_with("fake", "p", "[]", r#""max_exec_time": 1"#);
    let following = Page::read(&mut caller.follow(&limited, r#""since": 0"#));
    let data = json!({"limit": "max_exec_time", "seconds": 1});
    assert_ended(&following.last, "timeout", &data);
    assert_eq!(caller.read(&limited, "").packets, following.packets);

    let cancelled = caller.call("fake", "p", "[]");
    assert!(
        caller
            .follow(&cancelled, r#""since": 0"#)
            .raw_line()
            .starts_with(r#"{"packet":0,"#)
    );
    assert!(caller.cancel(&cancelled));
    assert_eq!(caller.result_now(&cancelled), json!({"cancelled": true}));
    // The connections are closed, at the latest when slot_grace is over.
    for connection in 0..2 {
        let _ = host.wait_closed(connection);
    }
}

#[test]
fn nothing_that_comes_after_the_end_counts() {
    let host = FakeHost::start(&[
        Handshake,
        Request,
        ACKNOWLEDGE_STREAM,
        packet(0),
        text("{\"result\":1}\n{\"stream\":1}\n{\"result\":2}\ngarbage\n"),
    ]);
    let cluster = Cluster::builder().hosts(0).fake_host("fake", &host).start();
    let caller = cluster.caller();
    let job = caller.call("fake", "p", "[]");
    assert_eq!(caller.result(&job), json!({"result": 1}));
    let page = caller.read(&job, "");
    assert_eq!(
        (page.packets, page.last),
        (vec!["0".to_owned()], json!({"result": 1}))
    );
}

#[test]
fn the_excerpt_of_a_bad_line_is_short_and_never_the_password() {
    let long = "y".repeat(100_000);
    let host = FakeHost::start(&[Handshake, Request, Step::line(&long), Hang]);
    let cluster = Cluster::builder().hosts(0).fake_host("fake", &host).start();
    let caller = cluster.caller();
    let answer: Value = caller.result(&caller.call("fake", "p", "[]"));
    assert_eq!(answer["error"]["type"], "protocol_error");
    assert!(answer.to_string().len() < 2_000, "{answer}");
    assert!(!answer.to_string().contains(harp_tests::PASSWORD));
    assert!(!cluster.log().text().contains(harp_tests::PASSWORD));
}
