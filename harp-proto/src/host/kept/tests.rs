use std::time::Duration;

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::host;
use crate::{Failure, JobId, Json, Traceparent};

const JOB: &str = "8ec71d6b-28d1-4ce2-aa23-f3ea7887beda";

fn line_of(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut wire = BytesMut::new();
    encode(&mut wire);
    let mut line = wire.freeze();
    assert_eq!(
        line.iter().position(|byte| *byte == b'\n'),
        Some(line.len() - 1)
    );
    line.truncate(line.len() - 1);
    line
}

fn refused(line: &str) -> (String, Option<String>) {
    let failure = Order::decode(&Bytes::copy_from_slice(line.as_bytes())).unwrap_err();
    let data = failure.data.map(|data| data.as_str().to_owned());
    (failure.error_type, data)
}

#[test]
fn orders_look_as_specified() {
    let auth = r#""auth":{"user":"u","password":"p"}"#;
    for line in [
        format!(
            r#"{{"harp":1,"procedure":"p","arguments":[],{auth},"call":"{JOB}","keep":300,"epoch":1048577,"boot":null}}"#
        ),
        format!(
            r#"{{"harp":1,"procedure":"p","arguments":{{}},{auth},"call":"{JOB}/2","keep":1,"epoch":0,"up":17.250000,"boot":"b"}}"#
        ),
        format!(
            r#"{{"harp":1,"procedure":"p","arguments":[],{auth},"call":"{JOB}","keep":300,"epoch":1,"boot":"b","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}}"#
        ),
        format!(r#"{{"harp":1,"attach":"{JOB}","since":7,"epoch":3,{auth}}}"#),
        r#"{"ack":7,"up":0.000001}"#.to_owned(),
        r#"{"ack":0,"up":86400.500000,"end":true}"#.to_owned(),
        r#"{"cancel":true}"#.to_owned(),
    ] {
        let order = Order::decode(&Bytes::from(line.clone())).unwrap();
        assert_eq!(line_of(|out| order.encode(out)), line);
    }
}

#[test]
fn an_order_that_is_wrong_is_refused_with_the_field() {
    let auth = r#""auth":{"user":"u","password":"p"}"#;
    let call = |keys: &str| format!(r#"{{"harp":1,"procedure":"p","arguments":[],{auth},{keys}}}"#);
    let keep = r#""keep":300,"epoch":1,"boot":null"#;
    for (line, error_type, field) in [
        ("x".to_owned(), "parse_error", ""),
        ("[]".to_owned(), "invalid_protocol", ""),
        (
            format!(r#"{{"attach":"{JOB}","since":0,"epoch":1,{auth}}}"#),
            "invalid_protocol",
            "",
        ),
        (call(keep), "invalid_request", "call"),
        (
            call(&format!(r#""call":"x",{keep}"#)),
            "invalid_request",
            "call",
        ),
        (
            call(&format!(r#""call":"{JOB}/1",{keep}"#)),
            "invalid_request",
            "call",
        ),
        (
            call(&format!(r#""call":1,{keep}"#)),
            "invalid_request",
            "call",
        ),
        (
            call(&format!(r#""call":"{JOB}","epoch":1"#)),
            "invalid_request",
            "keep",
        ),
        (
            call(&format!(r#""call":"{JOB}","keep":0,"epoch":1"#)),
            "invalid_request",
            "keep",
        ),
        (
            call(&format!(r#""call":"{JOB}","keep":-1,"epoch":1"#)),
            "invalid_request",
            "keep",
        ),
        (
            call(&format!(r#""call":"{JOB}","keep":1"#)),
            "invalid_request",
            "epoch",
        ),
        (
            call(&format!(
                r#""call":"{JOB}","keep":1,"epoch":9007199254740992"#
            )),
            "invalid_request",
            "epoch",
        ),
        (
            call(&format!(r#""call":"{JOB}","keep":1,"epoch":1,"boot":7"#)),
            "invalid_request",
            "boot",
        ),
        (
            call(&format!(r#""call":"{JOB}","keep":1,"epoch":1,"boot":"""#)),
            "invalid_request",
            "boot",
        ),
        (
            call(&format!(r#""call":"{JOB}","keep":1,"epoch":1,"up":-1"#)),
            "invalid_request",
            "up",
        ),
        (
            call(&format!(r#""call":"{JOB}","keep":1,"epoch":1,"up":"1""#)),
            "invalid_request",
            "up",
        ),
        (
            call(&format!(r#""call":"{JOB}",{keep},"x":1"#)),
            "invalid_request",
            "x",
        ),
        (
            format!(r#"{{"harp":1,"attach":"{JOB}","epoch":1,{auth}}}"#),
            "invalid_request",
            "since",
        ),
        (
            format!(r#"{{"harp":1,"attach":"{JOB}","since":0,"epoch":1}}"#),
            "invalid_request",
            "auth",
        ),
        (
            format!(r#"{{"harp":1,"attach":"{JOB}","since":0,"epoch":1,"procedure":"p",{auth}}}"#),
            "invalid_request",
            "procedure",
        ),
        (r#"{"ack":1}"#.to_owned(), "invalid_request", "up"),
        (r#"{"ack":-1,"up":1}"#.to_owned(), "invalid_request", "ack"),
        (
            r#"{"ack":1,"up":1,"end":1}"#.to_owned(),
            "invalid_request",
            "end",
        ),
        (
            r#"{"ack":1,"ack":2,"up":1}"#.to_owned(),
            "invalid_request",
            "ack",
        ),
        (
            r#"{"ack":1,"up":1,"cancel":true}"#.to_owned(),
            "invalid_request",
            "cancel",
        ),
        (
            r#"{"cancel":false}"#.to_owned(),
            "invalid_request",
            "cancel",
        ),
        (
            r#"{"cancel":true,"x":1}"#.to_owned(),
            "invalid_request",
            "x",
        ),
    ] {
        let data = (!field.is_empty()).then(|| format!(r#"{{"field":"{field}"}}"#));
        assert_eq!(refused(&line), (error_type.to_owned(), data), "{line}");
    }
}

#[test]
fn messages_look_as_specified() {
    for line in [
        r#"{"harp":1,"stream_result":true,"keep":300,"boot":"b","up":1.500000}"#,
        r#"{"harp":1,"stream_result":false,"keep":1,"boot":"b","up":0.000000,"since":4,"ended":true}"#,
        r#"{"up":12.000000}"#,
        r#"{"stream":{"up":1}}"#,
        r#"{"result":null}"#,
        r#"{"harp":1,"error":{"type":"stale_epoch","message":"m"}}"#,
    ] {
        let message = Message::decode(&Bytes::from_static(line.as_bytes())).unwrap();
        assert_eq!(line_of(|out| message.encode(out)), line);
    }
    for line in [
        r#"{"harp":1,"stream_result":true}"#,
        r#"{"harp":1,"stream_result":true,"keep":300,"boot":"b"}"#,
        r#"{"harp":1,"stream_result":true,"keep":300,"up":1}"#,
        r#"{"harp":1,"stream_result":true,"keep":300,"boot":"b","up":1,"since":1}"#,
        r#"{"harp":1,"stream_result":true,"keep":300,"boot":"b","up":1,"ended":true}"#,
        r#"{"up":"x"}"#,
        r#"{"up":null}"#,
        r#"{}"#,
    ] {
        assert!(
            Message::decode(&Bytes::from_static(line.as_bytes())).is_err(),
            "{line}"
        );
    }
}

#[test]
fn denials_keep_their_data() {
    let boot = || "0193".to_owned();
    for denial in [
        Denial::WrongBoot {
            boot: boot(),
            takes_traceparent: false,
        },
        Denial::WrongBoot {
            boot: boot(),
            takes_traceparent: true,
        },
        Denial::NoSuchCall {
            boot: Some(boot()),
            earlier: vec!["a".into(), "b".into()],
            remembers: None,
        },
        Denial::NoSuchCall {
            boot: None,
            earlier: Vec::new(),
            remembers: Some(0),
        },
        Denial::StaleEpoch,
        Denial::LostPackets { first: 9 },
    ] {
        assert_eq!(Denial::of_failure(&denial.to_failure()), Some(denial));
    }
    // What a procedure calls so is none of ours.
    assert_eq!(Denial::of_failure(&Failure::new("wrong_boot", "m")), None);
    assert_eq!(Denial::of_failure(&Failure::new("x", "m")), None);
}

fn any_up() -> impl Strategy<Value = Uptime> {
    (0..10_u64.pow(15)).prop_map(|micros| Uptime::after(Duration::from_micros(micros)))
}

fn any_call() -> impl Strategy<Value = CallId> {
    (any::<[u8; 16]>(), 1..=u32::MAX).prop_map(|(bytes, attempt)| CallId {
        job: JobId::from_bytes(bytes),
        attempt,
    })
}

fn any_order() -> impl Strategy<Value = Order> {
    let texts = any::<(String, String, String)>();
    let call = (
        texts,
        any_call(),
        1..=MAX_KEEP,
        0..EPOCH_LIMIT,
        "[!-~]{1,64}",
        proptest::option::of(any_up()),
        any::<bool>(),
    )
        .prop_map(
            |((procedure, user, password), call, keep, epoch, boot, up, traced)| {
                Order::Call(Request {
                    call: host::Request {
                        procedure,
                        arguments: "[1]".parse().unwrap(),
                        user,
                        password: password.into(),
                    },
                    keep: Keep {
                        call,
                        keep: Duration::from_secs(keep),
                        epoch,
                        boot: Some(boot),
                        up,
                        traceparent: traced.then_some(Traceparent {
                            trace: [7; 16],
                            span: [8; 8],
                            is_sampled: true,
                        }),
                    },
                })
            },
        );
    let attach = (
        texts,
        any_call(),
        any::<u64>(),
        0..EPOCH_LIMIT,
        proptest::option::of(any_up()),
    )
        .prop_map(|((_, user, password), call, since, epoch, up)| {
            Order::Attach(Attach {
                call,
                since,
                epoch,
                up,
                user,
                password: password.into(),
            })
        });
    let ack = (any::<u64>(), any_up(), any::<bool>()).prop_map(|(packets, up, end)| Order::Ack {
        packets,
        up,
        end,
    });
    prop_oneof![call, attach, ack, Just(Order::Cancel)]
}

fn any_message() -> impl Strategy<Value = Message> {
    let attached =
        (0..1u64 << 53, any::<bool>()).prop_map(|(since, ended)| Attached { since, ended });
    let acknowledged = (
        any::<bool>(),
        1..=MAX_KEEP,
        "[!-~]{1,64}",
        any_up(),
        proptest::option::of(attached),
    )
        .prop_map(|(stream_result, keep, boot, up, attached)| {
            Message::Acknowledged(Acknowledgement {
                stream_result,
                keep: Duration::from_secs(keep),
                boot,
                up,
                attached,
            })
        });
    let packet = any::<String>()
        .prop_map(|text| Message::Plain(host::Message::Stream(Json::encode(&text).unwrap())));
    let beat = (any_up(), any::<bool>()).prop_map(|(up, waits)| Message::Beat { up, waits });
    prop_oneof![acknowledged, beat, packet]
}

proptest! {
    #[test]
    fn orders_come_back_as_they_were(order in any_order()) {
        prop_assert_eq!(Order::decode(&line_of(|out| order.encode(out))).unwrap(), order);
    }

    #[test]
    fn messages_too(message in any_message()) {
        prop_assert_eq!(Message::decode(&line_of(|out| message.encode(out))).unwrap(), message);
    }

    #[test]
    fn an_up_comes_back_exactly(up in any_up()) {
        let beat = Message::Beat { up, waits: false };
        prop_assert_eq!(Message::decode(&line_of(|out| beat.encode(out))).unwrap(), beat);
    }

    #[test]
    fn no_input_makes_it_panic(
        key in "ack|up|end|cancel|attach|call|keep|epoch|boot|since|ended|stream_result|stream",
        other in "ack|up|end|cancel|attach|call|keep|epoch|boot|since|ended|harp",
        value in r#"null|1|-1|1e400|0.5|true|"x"|\[\]|\{\}"#,
    ) {
        let line = Bytes::from(format!(r#"{{"harp":1,"{key}":{value},"{other}":{value}}}"#));
        let _ = Order::decode(&line);
        let _ = Message::decode(&line);
    }
}
