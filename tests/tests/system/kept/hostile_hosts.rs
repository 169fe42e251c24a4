//! Hosts that speak `harp/2` and say what they should not: the job ends, soon and with what
//! went wrong, and no other call is harmed.

use harp_tests::{Cluster, ClusterBuilder, FakeHost, Step};
use serde_json::{Value, json};

use super::assert_all_of;

use Step::{CloseSilently, Handshake, Hang, Request};

/// The answer to a request that names no life.
const LIFE: &str = r#"{"harp":1,"error":{"type":"wrong_boot","message":"m","data":{"boot":"a"}}}"#;

/// An acknowledgement with these keys behind its first ones.
fn acknowledged(more: &str) -> String {
    format!(r#"{{"harp":1,"stream_result":true,"boot":"a"{more}}}"#)
}

fn good() -> String {
    acknowledged(r#","keep":2,"up":1.5"#)
}

fn error(error_type: &str, data: &Value) -> String {
    json!({"harp": 1, "error": {"type": error_type, "message": "m", "data": data}}).to_string()
}

/// A host that says this to each request which names its life, and closes.
fn host(lines: &[String]) -> FakeHost {
    let mut script = vec![Handshake, Request, Step::line(LIFE), Request];
    script.extend(lines.iter().map(|line| Step::line(line)));
    script.push(Hang);
    let again = [Handshake, Request, Step::line("nonsense"), Hang];
    FakeHost::keeping(&[&script, &again])
}

/// A host that has a call and a packet of it, loses the connection, and says this to each
/// attach.
fn attached(lines: &[String]) -> FakeHost {
    let begin = [Handshake, Request, Step::line(LIFE), Request];
    let begin = begin.into_iter().chain([
        Step::line(&good()),
        Step::line(r#"{"stream":0}"#),
        // It is on disk, and acknowledged.
        Request,
        CloseSilently,
    ]);
    let begin: Vec<Step> = begin.collect();
    let mut script = vec![Handshake, Request];
    script.extend(lines.iter().map(|line| Step::line(line)));
    script.push(Hang);
    FakeHost::keeping(&[&begin, &script])
}

fn builder() -> ClusterBuilder {
    Cluster::builder()
        .set("keep_for", "2")
        .set("slot_grace", "1")
        .set("connect_timeout", "2")
        .set("connect_patience", "0")
        .set("max_packet_size", "\"16K\"")
}

/// Each host ends its call with an error of this type, beside a good one whose call goes on.
fn assert_ends(hosts: &[(&str, FakeHost, &str)]) {
    let mut builder = builder();
    for (number, (_, host, _)) in hosts.iter().enumerate() {
        builder = builder.fake_host(&format!("host{number}"), host);
    }
    let cluster = builder.start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let undisturbed = caller.call("web01", "feed", &feed.arguments());
    feed.send("1");
    let jobs: Vec<String> = (0..hosts.len())
        .map(|number| caller.call(&format!("host{number}"), "p", "[]"))
        .collect();
    for (job, (what, _, expected)) in jobs.iter().zip(hosts) {
        let answer = caller.result(job);
        let error = &answer["error"]["type"];
        assert_eq!(error, expected, "{what}: {answer}");
    }
    feed.send("2");
    feed.finish();
    assert_all_of(caller, &undisturbed, 2);
    // Nobody has met a fault of the dispatcher's own.
    let log = cluster.log().text();
    assert!(!log.contains("please report it"), "{log}");
}

#[test]
fn what_a_host_should_not_say_to_a_request_ends_the_job() {
    let long = "x".repeat(100);
    let huge = format!("{{\"stream\":\"{}\"}}", "x".repeat(40_000));
    let packet = || r#"{"stream":1}"#.to_owned();
    let silent = r#"{"harp":1,"stream_result":false,"boot":"a","keep":2,"up":1.5}"#.to_owned();
    let protocol = "protocol_error";
    let of = |what, lines: Vec<String>, expected| (what, host(&lines), expected);
    assert_ends(&[
        of("no JSON", vec!["nonsense".to_owned()], protocol),
        of("no object", vec!["[1]".to_owned()], protocol),
        of("no message", vec!["{}".to_owned()], protocol),
        of(
            "a time before the start",
            vec![r#"{"up":-1}"#.to_owned()],
            protocol,
        ),
        of("no time", vec![r#"{"up":"soon"}"#.to_owned()], protocol),
        of("a packet of no call", vec![packet()], protocol),
        of(
            "a result of no call",
            vec![r#"{"result":1}"#.to_owned()],
            protocol,
        ),
        of("no keep", vec![acknowledged(r#","up":1"#)], protocol),
        of(
            "a keep of nothing",
            vec![acknowledged(r#","keep":0,"up":1"#)],
            protocol,
        ),
        of("no up", vec![acknowledged(r#","keep":2"#)], protocol),
        of(
            "half of an attach",
            vec![acknowledged(r#","keep":2,"up":1,"since":0"#)],
            protocol,
        ),
        of(
            "no life",
            vec![r#"{"harp":1,"stream_result":true,"keep":2,"up":1}"#.to_owned()],
            protocol,
        ),
        of(
            "a life with a long name",
            vec![good().replace(r#""a""#, &format!("{long:?}"))],
            protocol,
        ),
        of(
            "an acknowledgement of harp/1",
            vec![r#"{"harp":1,"stream_result":true}"#.to_owned()],
            protocol,
        ),
        of("two acknowledgements", vec![good(), good()], protocol),
        of(
            "a packet of what does not stream",
            vec![silent, packet()],
            protocol,
        ),
        of("a packet that is too long", vec![good(), huge], protocol),
        of(
            "a beat that is none",
            vec![good(), r#"{"up":null}"#.to_owned()],
            protocol,
        ),
        of(
            "another life on the same connection",
            vec![error("wrong_boot", &json!({"boot": "b"}))],
            "wrong_boot",
        ),
        of(
            "the life that was asked for",
            vec![LIFE.to_owned()],
            "wrong_boot",
        ),
        of(
            "no such call, to a request",
            vec![error("no_such_call", &json!({"boot": "a"}))],
            "no_such_call",
        ),
        of(
            "lost packets, to a request",
            vec![error("lost_packets", &json!({"first": 3}))],
            "lost_packets",
        ),
        of(
            "a newer one, to a request",
            vec![error("stale_epoch", &json!(null))],
            "missing_result",
        ),
        of(
            "a line of ours that it does not like",
            vec![good(), error("invalid_request", &json!(null))],
            "invalid_request",
        ),
    ]);
}

#[test]
fn what_a_host_should_not_say_to_an_attach_ends_the_job() {
    let after = |more: &str| acknowledged(&format!(r#","keep":2,"up":1.5{more}"#));
    let lost = |first: Value| error("lost_packets", &json!({ "first": first }));
    let of = |what, line: String, expected| (what, attached(&[line]), expected);
    assert_ends(&[
        of("no JSON", "nonsense".to_owned(), "protocol_error"),
        of("no since", after(""), "protocol_error"),
        of("no ended", after(r#","since":1"#), "protocol_error"),
        of(
            "more than there can be",
            after(r#","since":9007199254740992,"ended":false"#),
            "protocol_error",
        ),
        of(
            "another since",
            after(r#","since":7,"ended":false"#),
            "missing_result",
        ),
        of(
            "packets that were not acknowledged",
            lost(json!(5)),
            "missing_result",
        ),
        of(
            "more than there can be are lost",
            lost(json!(u64::MAX)),
            "network_error",
        ),
        of("a first that is none", lost(json!("x")), "network_error"),
        of(
            "a newer one",
            error("stale_epoch", &json!(null)),
            "missing_result",
        ),
        of(
            "another life",
            error("no_such_call", &json!({"boot": "b"})),
            "missing_result",
        ),
        of(
            "its life, and it remembers",
            error("no_such_call", &json!({"boot": "a"})),
            "missing_result",
        ),
        of(
            "a life that is none",
            error("no_such_call", &json!({"boot": 7})),
            "network_error",
        ),
        of(
            "a life with a long name",
            error("no_such_call", &json!({"boot": "x".repeat(100)})),
            "network_error",
        ),
        of("a wrong life", LIFE.to_owned(), "network_error"),
        of(
            "a wrong password",
            error("auth_error", &json!(null)),
            "network_error",
        ),
    ]);
}

#[test]
fn a_host_that_would_keep_a_call_for_ever_is_waited_for_as_long_as_was_asked() {
    let for_ever = acknowledged(r#","keep":99999999999999999999,"up":1.5"#);
    let script = [
        Handshake,
        Request,
        Step::line(LIFE),
        Request,
        Step::line(&for_ever),
        CloseSilently,
    ];
    let host = FakeHost::keeping(&[&script, &[Handshake, CloseSilently]]);
    let cluster = builder().fake_host("fake", &host).start();
    let caller = cluster.caller();
    let job = caller.call("fake", "p", "[]");
    let answer = caller.result(&job);
    assert_eq!(answer["error"]["type"], "network_error", "{answer}");
    assert_eq!(answer["error"]["data"]["kept_for"], 2, "{answer}");
}

#[test]
fn a_flood_of_beats_ends_the_job_and_takes_no_memory() {
    let script = [
        Handshake,
        Request,
        Step::line(LIFE),
        Request,
        Step::line(&good()),
        Step::SendForever("{\"up\":1.5}\n".into()),
    ];
    let host = FakeHost::keeping(&[&script, &[Handshake, CloseSilently]]);
    let cluster = builder().fake_host("fake", &host).start();
    let caller = cluster.caller();
    let job = caller.call("fake", "p", "[]");
    let answer = caller.result(&job);
    assert_eq!(answer["error"]["type"], "protocol_error", "{answer}");
    let status = format!("/proc/{}/status", cluster.dispatcher_id());
    let status = std::fs::read_to_string(status).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next());
    let kilobytes: u64 = kilobytes.unwrap().parse().unwrap();
    assert!(kilobytes < 200 << 10, "{kilobytes} KiB");
}
