//! Hosts that refuse, hang, close too early or send what they must not (section 7).

mod connecting;
mod streaming;

use std::time::{Duration, Instant};

use harp_tests::{ACKNOWLEDGE, ACKNOWLEDGE_STREAM, Cluster, FakeHost, Page, Step};
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
fn the_excerpt_of_a_bad_line_is_short_and_never_the_password() {
    let long = "y".repeat(100_000);
    let host = FakeHost::start(&[Handshake, Request, Step::line(&long), Hang]);
    let cluster = Cluster::around(&host).start();
    let caller = cluster.caller();
    let answer: Value = caller.result(&caller.call("fake", "p", "[]"));
    assert_eq!(answer["error"]["type"], "protocol_error");
    assert!(answer.to_string().len() < 2_000, "{answer}");
    assert!(!answer.to_string().contains(harp_tests::PASSWORD));
    assert!(!cluster.log().text().contains(harp_tests::PASSWORD));
}
