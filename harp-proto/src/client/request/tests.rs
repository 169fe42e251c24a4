use proptest::prelude::*;

use super::*;

fn decode(line: &str) -> Result<Request, Fault> {
    Request::decode(&Bytes::copy_from_slice(line.as_bytes()))
}

fn call(line: &str) -> Call {
    match decode(line) {
        Ok(Request::Call(call)) => *call,
        other => panic!("{line}: {other:?}"),
    }
}

const ID: &str = "8ec71d6b-28d1-4ce2-aa23-f3ea7887beda";

#[test]
fn the_python_clients_lines_are_read() {
    // Client protocol, section 10.
    let first = call(
        r#"{"harpcaller": 1, "host": "web01", "procedure": "p", "arguments": [1, "a"], "info": null}"#,
    );
    assert_eq!(first.arguments.as_str(), r#"[1,"a"]"#);
    assert_eq!(first.info, Json::NULL);
    let second = call(
        r#"{"harpcaller": 1, "host": "web01", "procedure": "p", "arguments": {"k": 1}, "info": {"x": 1},
            "queue": {"name": {"q": 1}, "concurrency": 2}, "timeout": 5, "max_exec_time": 60}"#,
    );
    assert_eq!(second.queue.unwrap().concurrency, 2);
    assert_eq!((second.timeout, second.max_exec_time), (Some(5), Some(60)));

    let job = ID.parse().unwrap();
    for (rest, request) in [
        (
            r#""get_result": ID, "wait": true"#,
            Request::GetResult { job, wait: true },
        ),
        (
            r#""get_result": ID, "wait": false"#,
            Request::GetResult { job, wait: false },
        ),
        (
            r#""get_result": ID"#,
            Request::GetResult { job, wait: true },
        ),
        (
            r#""get_status": ID"#,
            Request::GetStatus {
                job,
                evidence: false,
                snapshot: false,
            },
        ),
        (
            r#""get_status": ID, "snapshot": true"#,
            Request::GetStatus {
                job,
                evidence: false,
                snapshot: true,
            },
        ),
        (
            r#""get_status": ID, "evidence": true"#,
            Request::GetStatus {
                job,
                evidence: true,
                snapshot: false,
            },
        ),
        (
            r#""cancel": ID"#,
            Request::Cancel {
                job,
                confirm: false,
            },
        ),
        (
            r#""follow_stream": ID, "since": 0"#,
            Request::FollowStream {
                job,
                start: StreamStart::Since(0),
                timestamps: false,
            },
        ),
        (
            r#""follow_stream": ID"#,
            Request::FollowStream {
                job,
                start: StreamStart::Recent(0),
                timestamps: false,
            },
        ),
        (
            r#""read_stream": ID, "since": null, "recent": null"#,
            Request::ReadStream {
                job,
                start: StreamStart::Since(0),
                timestamps: false,
                limit: None,
            },
        ),
    ] {
        let line = format!(
            r#"{{"harpcaller": 1, {}}}"#,
            rest.replace("ID", &format!("{ID:?}"))
        );
        assert_eq!(decode(&line), Ok(request), "{line}");
    }
}

#[test]
fn a_malformed_id_names_no_job() {
    let request = decode(r#"{"harpcaller":1,"get_status":"nonsense"}"#);
    let (job, evidence, snapshot) = (JobId::NONE, false, false);
    let expected = Request::GetStatus {
        job,
        evidence,
        snapshot,
    };
    assert_eq!(request, Ok(expected));
}

#[test]
fn null_means_absent_where_the_protocol_says_so() {
    let call = call(
        r#"{"harpcaller":1,"host":"h","procedure":"p","arguments":[],"timeout":null,
            "max_exec_time":null,"queue":null}"#,
    );
    assert_eq!(
        (call.timeout, call.max_exec_time, call.queue),
        (None, None, None)
    );
}

#[test]
fn each_fault_has_its_type_and_names_its_field() {
    let base = r#""harpcaller":1,"host":"h","procedure":"p","arguments":[]"#;
    let job = format!(r#""harpcaller":1,"get_result":"{ID}""#);
    let deep = "[".repeat(129) + &"]".repeat(129);
    for (line, error_type, field) in [
        (String::new(), "parse_error", None),
        ("nonsense".into(), "parse_error", None),
        ("{} {}".into(), "parse_error", None),
        ("[]".into(), "invalid_protocol", None),
        ("{}".into(), "invalid_protocol", None),
        (r#"{"harpcaller":2}"#.into(), "invalid_protocol", None),
        (r#"{"harpcaller":"1"}"#.into(), "invalid_protocol", None),
        (
            r#"{"harpcaller":1}"#.into(),
            "invalid_request",
            Some("procedure"),
        ),
        (
            r#"{"harpcaller":1,"harpcaller":1,"hello":{}}"#.into(),
            "invalid_request",
            Some("harpcaller"),
        ),
        (
            format!(r#"{{{base},"cancel":"{ID}"}}"#),
            "invalid_request",
            Some("cancel"),
        ),
        (
            format!(r#"{{{base},"timeuot":1}}"#),
            "invalid_request",
            Some("timeuot"),
        ),
        (
            format!(r#"{{{base},"info":1,"info":2}}"#),
            "invalid_request",
            Some("info"),
        ),
        (
            format!(r#"{{{base},"id":1}}"#),
            "invalid_request",
            Some("id"),
        ),
        (
            format!(r#"{{{base},"timeout":0}}"#),
            "invalid_request",
            Some("timeout"),
        ),
        (
            format!(r#"{{{base},"timeout":"5"}}"#),
            "invalid_request",
            Some("timeout"),
        ),
        (
            format!(r#"{{{base},"max_exec_time":1.5}}"#),
            "invalid_request",
            Some("max_exec_time"),
        ),
        (
            format!(r#"{{{base},"queue":1}}"#),
            "invalid_request",
            Some("queue"),
        ),
        (
            format!(r#"{{{base},"queue":{{}}}}"#),
            "invalid_request",
            Some("queue.name"),
        ),
        (
            format!(r#"{{{base},"queue":{{"name":"x"}}}}"#),
            "invalid_request",
            Some("queue.name"),
        ),
        (
            format!(r#"{{{base},"queue":{{"name":{{"a":1,"a":1}}}}}}"#),
            "invalid_request",
            Some("queue.name"),
        ),
        (
            format!(r#"{{{base},"queue":{{"name":{{}},"concurrency":0}}}}"#),
            "invalid_request",
            Some("queue.concurrency"),
        ),
        (
            format!(r#"{{{base},"queue":{{"name":{{}},"concurrency":-1}}}}"#),
            "invalid_request",
            Some("queue.concurrency"),
        ),
        (
            format!(r#"{{{base},"queue":{{"name":{{}},"concurency":1}}}}"#),
            "invalid_request",
            Some("queue.concurency"),
        ),
        (
            format!(r#"{{{base},"info":{deep}}}"#),
            "invalid_request",
            Some("info"),
        ),
        (
            format!(r#"{{{base},"unless_since":5}}"#),
            "invalid_request",
            Some("unless_since"),
        ),
        (
            r#"{"harpcaller":1,"procedure":"p","arguments":[]}"#.into(),
            "invalid_request",
            Some("host"),
        ),
        (
            r#"{"harpcaller":1,"host":"h","procedure":"p"}"#.into(),
            "invalid_request",
            Some("arguments"),
        ),
        (
            r#"{"harpcaller":1,"host":"h","procedure":"p","arguments":"a"}"#.into(),
            "invalid_request",
            Some("arguments"),
        ),
        (
            r#"{"harpcaller":1,"host":"h","procedure":1,"arguments":[]}"#.into(),
            "invalid_request",
            Some("procedure"),
        ),
        (
            r#"{"harpcaller":1,"host":"\ud800","procedure":"p","arguments":[]}"#.into(),
            "invalid_request",
            Some("host"),
        ),
        (
            format!(r#"{{{job},"wait":1}}"#),
            "invalid_request",
            Some("wait"),
        ),
        (
            r#"{"harpcaller":1,"get_result":1}"#.into(),
            "invalid_request",
            Some("get_result"),
        ),
        (
            format!(r#"{{"harpcaller":1,"read_stream":"{ID}","since":1,"recent":1}}"#),
            "invalid_request",
            Some("recent"),
        ),
        (
            format!(r#"{{"harpcaller":1,"read_stream":"{ID}","since":-1}}"#),
            "invalid_request",
            Some("since"),
        ),
        (
            format!(r#"{{"harpcaller":1,"read_stream":"{ID}","limit":0}}"#),
            "invalid_request",
            Some("limit"),
        ),
        (
            format!(r#"{{"harpcaller":1,"follow_stream":"{ID}","limit":1}}"#),
            "invalid_request",
            Some("limit"),
        ),
        (
            r#"{"harpcaller":1,"hello":1}"#.into(),
            "invalid_request",
            Some("hello"),
        ),
        (
            r#"{"harpcaller":1,"\ud800":1,"hello":{}}"#.into(),
            "invalid_request",
            Some("\u{fffd}\u{fffd}\u{fffd}"),
        ),
    ] {
        let Fault(failure) = decode(&line).expect_err(&line);
        assert_eq!(failure.error_type, error_type, "{line}: {failure}");
        let named = failure.data.map(|data| data.as_str().to_owned());
        assert_eq!(
            named,
            field.map(|field| format!(r#"{{"field":"{field}"}}"#)),
            "{line}"
        );
    }
    let not_utf8 = Request::decode(&Bytes::from_static(b"{\"harpcaller\":1,\"host\":\"\xff\"}"));
    assert_eq!(not_utf8.unwrap_err().0.error_type, "parse_error");
}

#[test]
fn unknown_keys_inside_hello_are_passed_over() {
    let request = decode(r#"{"harpcaller":1,"hello":{"client":"x","colour":"blue"}}"#);
    let hello = Hello {
        client: Some("x".into()),
        token: None,
    };
    assert_eq!(request, Ok(Request::Hello(hello)));
}

fn any_json() -> impl Strategy<Value = Json> {
    any::<(String, f64, Vec<i64>)>().prop_map(|value| Json::encode(&value).unwrap())
}

fn any_queue() -> impl Strategy<Value = Queue> {
    (
        proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..3),
        1..=u64::MAX,
    )
        .prop_map(|(name, concurrency)| Queue {
            name: serde_json::to_string(&name).unwrap().parse().unwrap(),
            concurrency,
        })
}

fn any_start() -> impl Strategy<Value = StreamStart> {
    prop_oneof![
        any::<u64>().prop_map(StreamStart::Since),
        any::<u64>().prop_map(StreamStart::Recent),
    ]
}

prop_compose! {
    fn any_call()(
        host: String,
        procedure: String,
        arguments in any_json(),
        timeout in proptest::option::of(1..=u64::MAX),
        max_exec_time in proptest::option::of(1..=u64::MAX),
        queue in proptest::option::of(any_queue()),
        info in any_json(),
        key: Option<(String, Option<u32>)>,
        start_by in proptest::option::of(1..=u64::MAX),
        traceparent: Option<String>,
        limits: bool,
    ) -> Call {
        let (key, unless_since) = key.unzip();
        let unless_since = unless_since.flatten().map(|seconds| u64::from(seconds) + 1);
        Call { host, procedure, arguments, timeout, max_exec_time, queue, info, key, unless_since, start_by, traceparent, limits }
    }
}

fn any_request() -> impl Strategy<Value = Request> {
    let job = any::<[u8; 16]>().prop_map(JobId::from_bytes);
    prop_oneof![
        any_call().prop_map(|call| Request::Call(Box::new(call))),
        (job.clone(), any::<bool>()).prop_map(|(job, confirm)| Request::Cancel { job, confirm }),
        (job.clone(), any::<bool>()).prop_map(|(job, wait)| Request::GetResult { job, wait }),
        (job.clone(), any::<(bool, bool)>()).prop_map(|(job, (evidence, snapshot))| {
            Request::GetStatus {
                job,
                evidence,
                snapshot,
            }
        }),
        (job.clone(), any_start(), any::<bool>()).prop_map(|(job, start, timestamps)| {
            Request::FollowStream {
                job,
                start,
                timestamps,
            }
        }),
        (
            job,
            any_start(),
            any::<bool>(),
            proptest::option::of(1..=u64::MAX)
        )
            .prop_map(|(job, start, timestamps, limit)| Request::ReadStream {
                job,
                start,
                timestamps,
                limit
            }),
        any::<(Option<String>, Option<String>)>().prop_map(|(client, token)| {
            Request::Hello(Hello {
                client,
                token: token.map(Password::new),
            })
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(request in any_request()) {
        let mut wire = BytesMut::new();
        request.encode(&mut wire);
        let newline = wire.iter().position(|byte| *byte == b'\n');
        prop_assert_eq!(newline, Some(wire.len() - 1));
        wire.truncate(wire.len() - 1);
        prop_assert_eq!(Request::decode(&wire.freeze()), Ok(request));
    }

    #[test]
    fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Request::decode(&Bytes::from(bytes));
    }

    #[test]
    fn nor_does_a_damaged_request(request in any_request(), at: usize, byte: u8) {
        let mut wire = BytesMut::new();
        request.encode(&mut wire);
        let at = at % wire.len();
        wire[at] = byte;
        let _ = Request::decode(&wire.freeze());
    }
}
