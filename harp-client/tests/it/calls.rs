//! Calls, results, status, and every sort of error.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use harp_client::{
    Error, ErrorKind, Failure, HarpCaller, JobId, JobState, Json, Outcome, error_type,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::scripted_dispatcher::{Act, JOB, MODERN, ScriptedDispatcher, reply, request, status};

fn id() -> JobId {
    JOB.parse().unwrap()
}

fn job_reply() -> Act {
    reply(format!(r#"{{"harpcaller":1,"job_id":"{JOB}"}}"#))
}

#[tokio::test]
async fn calls_with_everything_and_with_nothing() {
    #[derive(Serialize)]
    struct Named {
        path: &'static str,
    }

    let dispatcher = ScriptedDispatcher::start([vec![
        MODERN,
        request(json!({
            "harpcaller": 1, "host": "web01", "procedure": "p", "arguments": [1, "a"],
            "queue": {"name": {"q": 1}, "concurrency": 2}, "timeout": 2, "max_exec_time": 60,
            "info": {"x": null},
        })),
        job_reply(),
        request(json!({
            "harpcaller": 1, "host": "web01", "procedure": "q", "arguments": {"path": "/"},
            "info": null,
        })),
        job_reply(),
        request(json!({
            "harpcaller": 1, "host": "db", "procedure": "q", "arguments": [], "info": null,
        })),
        job_reply(),
    ]])
    .await;
    let rpc = dispatcher.client();
    let plain = rpc.host("web01");
    let host = plain
        .clone()
        .queue(json!({"q": 1}))
        .concurrency(2)
        .timeout(Duration::from_millis(1500))
        .max_exec_time(Duration::from_secs(60))
        .info(HashMap::from([("x", ())]));
    let job = host.call("p", (1, "a")).await.unwrap();
    assert_eq!(job.id(), id());

    let procedure = plain.procedure("q");
    assert_eq!((procedure.host(), procedure.procedure()), ("web01", "q"));
    procedure.call(Named { path: "/" }).await.unwrap();

    rpc.host("db").call("q", ()).await.unwrap();
    dispatcher.finish().await;
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_anything_is_sent() {
    let rpc = HarpCaller::new("127.0.0.1:1").unwrap();
    let host = || rpc.host("h");
    for (host, arguments, names) in [
        (host(), json!("single"), "arguments"),
        (host().queue("name"), json!([]), "queue"),
        (host().queue([1]), json!([]), "queue"),
        (host().concurrency(1), json!([]), "concurrency"),
        (
            host().queue(json!({})).concurrency(0),
            json!([]),
            "concurrency",
        ),
        (host().timeout(Duration::ZERO), json!([]), "timeout"),
        (
            host().max_exec_time(Duration::ZERO),
            json!([]),
            "max_exec_time",
        ),
        (host().info(HashMap::from([((), 1)])), json!([]), "info"),
    ] {
        let error = host.call("p", arguments).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(names), "{error}");
        assert!(!error.is_retryable());
    }
    let error = HarpCaller::new("host:port").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

fn get_result(wait: bool) -> Act {
    request(json!({"harpcaller": 1, "get_result": JOB, "wait": wait}))
}

/// A dispatcher that answers one `get_result`.
async fn answering(wait: bool, line: &str) -> ScriptedDispatcher {
    ScriptedDispatcher::start([vec![MODERN, get_result(wait), reply(line)]]).await
}

#[tokio::test]
async fn results_of_every_kind() {
    let failure = || Failure::new("t", "m");
    for (line, expected) in [
        (r#"{"no_result":true}"#, None),
        (
            r#"{"result":[1e5]}"#,
            Some(Outcome::Returned("[1e5]".parse().unwrap())),
        ),
        (
            r#"{"exception":{"type":"t","message":"m"}}"#,
            Some(Outcome::Exception(failure())),
        ),
        (
            r#"{"error":{"type":"t","message":"m"}}"#,
            Some(Outcome::Error(failure())),
        ),
        (r#"{"cancelled":true}"#, Some(Outcome::Cancelled)),
    ] {
        let dispatcher = answering(false, line).await;
        let result = dispatcher.client().job(id()).result().await.unwrap();
        assert_eq!(result, expected);
        dispatcher.finish().await;
    }
}

async fn get<T: serde::de::DeserializeOwned + 'static>(line: &str) -> Result<T, Error> {
    let dispatcher = answering(true, line).await;
    dispatcher.client().job(id()).get().await
}

#[tokio::test]
async fn get_gives_the_value_or_the_error_that_the_end_is() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Load {
        one: f64,
    }

    let load: Load = get(r#"{"result":{"one":0.5}}"#).await.unwrap();
    assert_eq!(load, Load { one: 0.5 });
    let raw: Json = get(r#"{"result":{"a":1,"a":1e400}}"#).await.unwrap();
    assert_eq!(raw.as_str(), r#"{"a":1,"a":1e400}"#);

    let error = get::<Load>(r#"{"exception":{"type":"E","message":"m","data":[7]}}"#)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exception);
    assert_eq!(error.wire_type(), Some("E"));
    assert_eq!(error.wire_message(), Some("m"));
    assert_eq!(error.data().unwrap().as_str(), "[7]");
    assert!(!error.is_retryable());

    let error = get::<Load>(r#"{"error":{"type":"timeout","message":"m"}}"#)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Remote);
    assert_eq!(error.wire_type(), Some("timeout"));

    let error = get::<Load>(r#"{"cancelled":true}"#).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);

    let error = get::<Load>(r#"{"result":7}"#).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedResult);
    assert!(std::error::Error::source(&error).is_some());

    let error = get::<Load>(r#"{"no_result":true}"#).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn status_and_cancel() {
    let cancel = request(json!({"harpcaller": 1, "cancel": JOB}));
    let [ask, answer] = status();
    let dispatcher = ScriptedDispatcher::start([vec![
        MODERN,
        ask,
        answer,
        cancel.clone(),
        reply(r#"{"cancelled":true}"#),
        cancel,
        reply(r#"{"cancelled":false}"#),
    ]])
    .await;
    let job = dispatcher.client().job(id());
    let status = job.status().await.unwrap();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(
        (status.host.as_str(), status.procedure.as_str()),
        ("h", "p")
    );
    assert_eq!(status.arguments.as_str(), "[1]");
    assert_eq!(status.info.as_str(), r#"{"a":1e5}"#);
    assert_eq!(status.submit_time, at(10));
    assert_eq!(status.start_time, Some(at(11)));
    assert_eq!(status.end_time, None);
    assert!(job.cancel().await.unwrap());
    assert!(!job.cancel().await.unwrap());
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_snapshot_is_one_request_and_has_everything() {
    let asked = || {
        request(json!({
            "harpcaller": 1, "get_status": JOB, "evidence": true, "snapshot": true,
        }))
    };
    let knows = Act::Hello(&["keep_alive", "evidence", "snapshot"]);
    let answer = |more: &str| {
        reply(format!(
            r#"{{"call":{{"host":"h","procedure":"p","arguments":[1.0]}},"time":{{"submit":1,"start":null,"end":null}},"info":null,"snapshot":{{"submitted":1001,{more}}}}}"#
        ))
    };
    let dispatcher = ScriptedDispatcher::start([vec![
        knows,
        asked(),
        answer(r#""started":null,"ended":null,"packets":0,"end":null"#),
        asked(),
        answer(r#""started":2002,"ended":3003,"packets":7,"end":{"result":[2.50]}"#),
    ]])
    .await;
    let job = dispatcher.client().job(id());
    let now = job.snapshot().await.unwrap();
    assert_eq!((now.state(), now.packets), (JobState::Queued, 0));
    assert_eq!(now.outcome, None);
    let now = job.snapshot().await.unwrap();
    assert_eq!((now.state(), now.packets), (JobState::Ended, 7));
    let at = |milliseconds| SystemTime::UNIX_EPOCH + Duration::from_millis(milliseconds);
    assert_eq!(now.status.submit_time, at(1001));
    assert_eq!(now.status.end_time, Some(at(3003)));
    assert_eq!(
        serde_json::to_string(&now).unwrap(),
        concat!(
            r#"{"state":"ended","host":"h","procedure":"p","arguments":[1.0],"info":null,"#,
            r#""submitted":1001,"started":2002,"ended":3003,"packets":7,"#,
            r#""outcome":"returned","result":[2.50]}"#
        )
    );
    dispatcher.finish().await;

    let dispatcher = ScriptedDispatcher::start([vec![MODERN]]).await;
    let error = dispatcher.client().job(id()).snapshot().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    dispatcher.finish().await;
}

#[tokio::test]
async fn refusals_carry_what_the_dispatcher_said() {
    for (fault, kind, status, retryable) in [
        (
            r#"{"type":"overloaded","message":"m"}"#,
            ErrorKind::Busy,
            503,
            true,
        ),
        (
            r#"{"type":"shutdown","message":"m"}"#,
            ErrorKind::ShuttingDown,
            503,
            true,
        ),
        (
            r#"{"type":"storage_error","message":"m","data":{"outcome":"none"}}"#,
            ErrorKind::Storage,
            503,
            true,
        ),
        (
            r#"{"type":"storage_error","message":"m","data":{"outcome":"unknown"}}"#,
            ErrorKind::Storage,
            503,
            false,
        ),
        (
            r#"{"type":"invalid_request","message":"m","data":{"field":"host"}}"#,
            ErrorKind::Refused,
            500,
            false,
        ),
        (
            r#"{"type":"invalid_request","message":"m","data":{"field":"key","key_taken":true}}"#,
            ErrorKind::KeyTaken,
            422,
            false,
        ),
        (
            r#"{"type":"invalid_arguments","message":"m","data":{"errors":[]}}"#,
            ErrorKind::InvalidArguments,
            422,
            false,
        ),
        (
            r#"{"type":"request_too_large","message":"m","data":{"limit":1}}"#,
            ErrorKind::TooLarge,
            413,
            false,
        ),
        (
            r#"{"type":"forbidden","message":"m"}"#,
            ErrorKind::Forbidden,
            403,
            false,
        ),
        (
            r#"{"type":"unauthorized","message":"m"}"#,
            ErrorKind::Unauthorized,
            502,
            false,
        ),
    ] {
        let line = format!(r#"{{"harpcaller":1,"error":{fault}}}"#);
        let call = request(json!({
            "harpcaller": 1, "host": "h", "procedure": "p", "arguments": [], "info": null,
        }));
        let dispatcher = ScriptedDispatcher::start([vec![MODERN, call, reply(line)]]).await;
        let error = dispatcher.client().host("h").call("p", ()).await;
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.kind().http_status()), (kind, status));
        assert!(error.is_refusal());
        assert_eq!(error.wire_message(), Some("m"));
        let shown = serde_json::to_value(&error).unwrap();
        assert_eq!(shown["kind"], kind.as_str());
        assert_eq!(shown["error"]["message"], "m");
        assert_eq!(shown["retryable"], retryable);
        assert_eq!(error.is_retryable(), retryable, "{error}");
        dispatcher.finish().await;
    }
    // The original dispatcher's way: no key of the protocol beside the error.
    let [ask, _] = status();
    let unknown = reply(r#"{"error":{"type":"invalid_jobid","message":"no job"}}"#);
    let dispatcher = ScriptedDispatcher::start([vec![MODERN, ask, unknown]]).await;
    let error = dispatcher.client().job(id()).status().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.kind().http_status(), 404);
    assert_eq!(error.wire_type(), Some(error_type::INVALID_JOB_ID));
}

#[tokio::test]
async fn a_broken_dispatcher_is_named_with_its_phase() {
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = unused.local_addr().unwrap().port();
    drop(unused);
    let rpc = HarpCaller::new(format!("127.0.0.1:{port}")).unwrap();
    let error = rpc.host("h").call("p", ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert!(error.is_retryable());
    let text = error.to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    assert!(text.contains("phase connect"), "{text}");
    assert!(text.contains("does harpcallerd run there"), "{text}");
    assert!(std::error::Error::source(&error).is_some());

    let rpc = HarpCaller::new("x".repeat(70)).unwrap();
    let error = rpc.job(id()).wait().await.unwrap_err();
    assert!(error.to_string().contains("phase resolve"), "{error}");

    for line in ["220 mail ESMTP", r#"{"packet":1}"#, r#"{"job_id":"x"}"#] {
        let [ask, _] = status();
        let dispatcher = ScriptedDispatcher::start([vec![MODERN, ask, reply(line)]]).await;
        let error = dispatcher.client().job(id()).status().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error}");
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }

    let [ask, _] = status();
    let long = vec![MODERN, ask, Act::Bytes(vec![b'x'; 200_000])];
    let dispatcher = ScriptedDispatcher::start([long]).await;
    let rpc = dispatcher.builder().max_reply_size(1000).build().unwrap();
    let error = rpc.job(id()).status().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.to_string().contains("max_reply_size"), "{error}");
}

#[tokio::test]
async fn a_request_of_ones_own() {
    let line = r#"{"error":{"type":"t","message":"m"},"harpcaller":1}"#;
    let dispatcher = ScriptedDispatcher::start([vec![
        request(json!({"harpcaller": 1, "odd": [1]})),
        reply(line),
    ]])
    .await;
    let rpc = dispatcher.client();
    let answer = rpc.request(&json!({"harpcaller": 1, "odd": [1]})).await;
    assert_eq!(answer.unwrap().as_str(), line);
    dispatcher.finish().await;
}
