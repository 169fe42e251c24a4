//! Values that belong to the user come out as they came in (section 1).

use harp_tests::{ACKNOWLEDGE, ACKNOWLEDGE_STREAM, Cluster, FakeHost, Step};
use serde_json::{Value, json};

use crate::assertions::{assert_ended, assert_refused, field};

/// JSON texts that a careless hand would change.
const TEXTS: [&str; 16] = [
    "1e5",
    "1E+2",
    "1.0",
    "-0",
    "0.10",
    "123456789012345678901234567890",
    "1e999",
    "3.141592653589793238462643383279",
    r#"{"b":1,"a":2}"#,
    r#"{"a":1,"a":2,"a":{"a":3}}"#,
    r#""\u0041\/\t\u00e9\\""#,
    r#""\ud83d\ude00""#,
    r#""😀é""#,
    r#""\ud800""#,
    r#""\u0000""#,
    r#"[[],{},"",null,true,false]"#,
];

#[test]
fn arguments_results_and_info_are_passed_on_byte_for_byte() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    for text in TEXTS {
        let arguments = format!("[{text}]");
        let job = caller.call_with("web01", "echo", &arguments, &format!(r#""info":{text}"#));
        assert_eq!(
            caller.raw_result(&job),
            format!(r#"{{"result":{arguments}}}"#)
        );
        let status = caller.ask_raw(json!({"harpcaller": 1, "get_status": job}));
        assert!(
            status.ends_with(&format!(r#","info":{text}}}"#)),
            "{status}"
        );
        assert!(
            status.contains(&format!(r#""arguments":{arguments}}}"#)),
            "{status}"
        );
    }
}

#[test]
fn named_arguments_keep_their_order_and_their_repetitions() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let arguments = r#"{"z":1,"a":1.0,"z":[1e5]}"#;
    let job = caller.call("web01", "echo", arguments);
    assert_eq!(
        caller.raw_result(&job),
        format!(r#"{{"result":{arguments}}}"#)
    );
}

#[test]
fn packets_are_passed_on_byte_for_byte() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let job = caller.call("web01", "packets", &json!(TEXTS).to_string());
    let followed = harp_tests::Page::read(&mut caller.follow(&job, r#""since": 0"#));
    assert_eq!(followed.packets, TEXTS);
    assert_eq!(caller.read(&job, "").packets, TEXTS);
}

#[test]
fn the_data_of_exceptions_and_errors_is_passed_on_byte_for_byte() {
    for text in TEXTS {
        let exception = format!(r#"{{"exception":{{"type":"T","message":"M","data":{text}}}}}"#);
        let error = format!(r#"{{"error":{{"type":"T","message":"M","data":{text}}}}}"#);
        let late = format!(r#"{{"harp":1,{}"#, &error[1..]);
        let scripts = [
            vec![
                Step::Handshake,
                Step::Request,
                ACKNOWLEDGE,
                Step::line(&exception),
            ],
            vec![
                Step::Handshake,
                Step::Request,
                ACKNOWLEDGE_STREAM,
                Step::line(&late),
            ],
            vec![Step::Handshake, Step::Request, Step::line(&late)],
        ];
        let host = FakeHost::start_each(&scripts.each_ref().map(Vec::as_slice));
        let cluster = Cluster::around(&host).start();
        let caller = cluster.caller();
        for expected in [&exception, &error, &error] {
            let job = caller.call("fake", "p", "[]");
            assert_eq!(&caller.raw_result(&job), expected);
        }
    }
}

#[test]
fn white_space_goes_and_nothing_else() {
    let pretty = "printf '{\\n  \"a b\": [ 1,\\r\\n\\t2 ] ,\\n  \"c\" : \" \\\\n \"\\n}\\n'";
    let cluster = Cluster::builder()
        .procedure("pretty", "output = 'json'", pretty)
        .start();
    let caller = cluster.caller();
    let job = caller.call("web01", "pretty", "[]");
    assert_eq!(
        caller.raw_result(&job),
        r#"{"result":{"a b":[1,2],"c":" \n "}}"#
    );

    let arguments = "[ 1 ,\t{ \"a b\" : \" x \" } ]";
    let job = caller.call_with("web01", "echo", arguments, "\"info\" : [ ]");
    assert_eq!(caller.raw_result(&job), r#"{"result":[1,{"a b":" x "}]}"#);
    let status = caller.ask_raw(json!({"harpcaller": 1, "get_status": job}));
    assert!(status.ends_with(r#""info":[]}"#), "{status}");
}

fn nested(depth: usize) -> String {
    "[".repeat(depth) + &"]".repeat(depth)
}

#[test]
fn nesting_is_accepted_down_to_128_and_refused_below() {
    let cluster = Cluster::start();
    let caller = cluster.caller();
    let deepest = nested(128);
    let job = caller.call_with("web01", "echo", &deepest, &format!(r#""info":{deepest}"#));
    assert_eq!(
        caller.raw_result(&job),
        format!(r#"{{"result":{deepest}}}"#)
    );
    let status = caller.ask_raw(json!({"harpcaller": 1, "get_status": job}));
    assert!(
        status.ends_with(&format!(r#""info":{deepest}}}"#)),
        "{status}"
    );

    let too_deep = nested(129);
    let call = r#""harpcaller":1,"host":"web01","procedure":"echo""#;
    for (request, key) in [
        (format!(r#"{{{call},"arguments":{too_deep}}}"#), "arguments"),
        (
            format!(r#"{{{call},"arguments":[],"info":{too_deep}}}"#),
            "info",
        ),
        (
            format!(r#"{{{call},"arguments":[],"queue":{{"name":{{"a":{deepest}}}}}}}"#),
            "queue.name",
        ),
    ] {
        assert_refused(&caller.ask(request), "invalid_request", &field(key));
    }
}

#[test]
fn a_host_that_nests_too_deep_does_not_speak_the_protocol() {
    let line = format!(r#"{{"stream":{}}}"#, nested(129));
    let deepest = format!(r#"{{"stream":{}}}"#, nested(128));
    let host = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE_STREAM,
        Step::line(&deepest),
        Step::line(&line),
    ]);
    let cluster = Cluster::around(&host).start();
    let caller = cluster.caller();
    let job = caller.call("fake", "p", "[]");
    let ended: Value = caller.result(&job);
    let data = ended["error"]["data"].clone();
    assert_eq!(data["phase"], "stream");
    assert_ended(&ended, "protocol_error", &data);
    assert_eq!(caller.read(&job, "").packets, [nested(128)]);
}
