use std::fmt::Debug;

use proptest::prelude::*;

use super::*;
use crate::Fault;

fn line_of<R: Reply>(reply: &R) -> Bytes {
    let mut wire = BytesMut::new();
    reply.encode(&mut wire);
    assert_eq!(
        wire.iter().position(|byte| *byte == b'\n'),
        Some(wire.len() - 1)
    );
    wire.truncate(wire.len() - 1);
    wire.freeze()
}

fn comes_back<R: Reply + PartialEq + Debug>(reply: R) {
    assert_eq!(decode::<R>(&line_of(&reply)), Ok(reply));
}

#[test]
fn lines_have_the_form_of_the_protocol() {
    let id = "8ec71d6b-28d1-4ce2-aa23-f3ea7887beda";
    let job_id = id.parse().unwrap();
    assert_eq!(
        line_of(&CallReply {
            job_id,
            existing: false,
            limits: None,
        }),
        format!(r#"{{"harpcaller":1,"job_id":"{id}"}}"#)
    );
    let limits = TimeLimits {
        timeout: 60,
        max_exec_time: 3600,
    };
    assert_eq!(
        line_of(&CallReply {
            job_id,
            existing: false,
            limits: Some(limits),
        }),
        format!(
            r#"{{"harpcaller":1,"job_id":"{id}","limits":{{"timeout":60,"max_exec_time":3600}}}}"#
        )
    );
    assert_eq!(
        line_of(&CancelReply {
            cancelled: false,
            remote_confirmed: None
        }),
        r#"{"cancelled":false}"#
    );
    assert_eq!(line_of(&ResultReply::NoResult), r#"{"no_result":true}"#);
    let status = StatusReply {
        host: "h".into(),
        procedure: "p".into(),
        arguments: "[1.0]".parse().unwrap(),
        time: JobTimes {
            submit: 1,
            start: None,
            end: Some(3),
        },
        info: Json::NULL,
        evidence: None,
        snapshot: None,
    };
    let line = r#"{"call":{"host":"h","procedure":"p","arguments":[1.0]},"time":{"submit":1,"start":null,"end":3},"info":null}"#;
    assert_eq!(line_of(&status), line);
    let evidence = Some(Evidence {
        stdout: "a\n".into(),
        stderr: String::new(),
    });
    let with_evidence = line.replace(
        r#":null}"#,
        r#":null,"evidence":{"stdout":"a\n","stderr":""}}"#,
    );
    let with = StatusReply {
        evidence,
        ..status.clone()
    };
    assert_eq!(line_of(&with), with_evidence);
    for (ended, outcome, told) in [
        (None, None, r#""ended":null,"packets":7,"end":null"#),
        (
            Some(30),
            Some(Outcome::Cancelled),
            r#""ended":30,"packets":7,"end":{"cancelled":true}"#,
        ),
    ] {
        let snapshot = Some(Snapshot {
            submitted: 10,
            started: None,
            ended,
            packets: 7,
            outcome,
        });
        let told = format!(r#":null,"snapshot":{{"submitted":10,"started":null,{told}}}}}"#);
        let with = StatusReply {
            snapshot,
            ..status.clone()
        };
        assert_eq!(line_of(&with), line.replace(r#":null}"#, &told));
    }
    let packet = Packet {
        number: 7,
        data: "\"x\"".parse().unwrap(),
        time: Some(5),
    };
    assert_eq!(
        line_of(&StreamReply::Packet(packet)),
        r#"{"packet":7,"data":"x","time":5}"#
    );
    assert_eq!(line_of(&StreamReply::Continue), r#"{"continue":true}"#);
}

#[test]
fn a_fault_is_told_from_an_outcome_by_the_protocols_key_alone() {
    let mut wire = BytesMut::new();
    Fault::invalid_job_id().encode(&mut wire);
    assert_eq!(
        wire,
        "{\"harpcaller\":1,\"error\":{\"type\":\"invalid_jobid\",\"message\":\"no job with this ID\"}}\n"
    );
    let failure = Failure::new("invalid_jobid", "no job with this ID");
    assert_eq!(
        decode::<ResultReply>(&wire.freeze()),
        Err(ReplyError::Fault(failure.clone()))
    );
    let outcome = ResultReply::Ended(Outcome::Error(failure));
    assert_eq!(decode::<ResultReply>(&line_of(&outcome)), Ok(outcome));
}

#[test]
fn what_is_no_reply_is_refused() {
    for line in [
        "",
        "[]",
        "{}",
        "nonsense",
        r#"{"job_id":1}"#,
        r#"{"job_id":"x"}"#,
    ] {
        let reply = decode::<CallReply>(&Bytes::from(line));
        assert!(matches!(reply, Err(ReplyError::Malformed(_))), "{line}");
    }
}

fn any_json() -> impl Strategy<Value = Json> {
    any::<(String, f64, Option<i64>)>().prop_map(|value| Json::encode(&value).unwrap())
}

fn any_failure() -> impl Strategy<Value = Failure> {
    let parts = any::<(String, String)>();
    (parts, proptest::option::of(any_json())).prop_map(|((error_type, message), data)| Failure {
        error_type,
        message,
        data,
    })
}

fn any_outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        any_json().prop_map(Outcome::Returned),
        any_failure().prop_map(Outcome::Exception),
        Just(Outcome::Cancelled),
        any_failure().prop_map(Outcome::Error),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(
        outcome in any_outcome(),
        (host, procedure, server) in any::<(String, String, String)>(),
        printed in any::<Option<(String, String)>>(),
        features: Vec<String>,
        (submit, start, end) in any::<(u64, Option<u64>, Option<u64>)>(),
        (number, time) in any::<(u64, Option<u64>)>(),
        (cancelled, remote_confirmed, existing) in any::<(bool, Option<bool>, bool)>(),
        id: [u8; 16],
        json in any_json(),
    ) {
        comes_back(CallReply { job_id: JobId::from_bytes(id), existing, limits: None });
        let limits = TimeLimits { timeout: submit, max_exec_time: number };
        let (job_id, limits) = (JobId::from_bytes(id), Some(limits));
        comes_back(CallReply { job_id, existing, limits });
        comes_back(CancelReply { cancelled, remote_confirmed });
        comes_back(ResultReply::Ended(outcome.clone()));
        comes_back(StreamReply::Ended(outcome.clone()));
        let snapshot = Some(Snapshot {
            submitted: submit,
            started: start,
            ended: end,
            packets: number,
            outcome: end.map(|_| outcome),
        });
        comes_back(StreamReply::Packet(Packet { number, data: json.clone(), time }));
        comes_back(JobsReply { jobs: json.clone(), next: printed.clone().map(|(next, _)| next) });
        comes_back(HelloReply { server, features });
        comes_back(StatusReply {
            host,
            procedure,
            arguments: json.clone(),
            time: JobTimes { submit, start, end },
            info: json,
            evidence: printed.map(|(stdout, stderr)| Evidence { stdout, stderr }),
            snapshot,
        });
    }

    #[test]
    fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let line = Bytes::from(bytes);
        let _ = decode::<CallReply>(&line);
        let _ = decode::<CancelReply>(&line);
        let _ = decode::<ResultReply>(&line);
        let _ = decode::<StatusReply>(&line);
        let _ = decode::<StreamReply>(&line);
        let _ = decode::<JobsReply>(&line);
        let _ = decode::<HelloReply>(&line);
    }
}
