//! Keys, `start_by` and confirmed cancels: asked for where the dispatcher knows them, an
//! error where it does not.

use std::time::Duration;

use harp_client::{Cancellation, Error, ErrorKind, HarpCaller, JobState, OutcomeKind};
use serde_json::{Value, json};

use crate::scripted_dispatcher::{Act, JOB, MODERN, ScriptedDispatcher, reply, request, status};

const WITH_PROMISES: Act =
    Act::Hello(&["keep_alive", "key", "unless_since", "start_by", "confirm"]);

fn call_with(more: Value) -> Act {
    let mut call = json!({
        "harpcaller": 1, "host": "h", "procedure": "p", "arguments": [], "info": null,
    });
    let Value::Object(more) = more else {
        panic!("keys and values")
    };
    call.as_object_mut().unwrap().extend(more);
    request(call)
}

fn called(more: &str) -> Act {
    reply(format!(r#"{{"harpcaller":1,"job_id":"{JOB}"{more}}}"#))
}

fn cancel_confirmed() -> Act {
    request(json!({"harpcaller": 1, "cancel": JOB, "confirm": true}))
}

fn hello_unanswered() -> Vec<Act> {
    vec![request(
        json!({"harpcaller": 1, "hello": {"client": "test"}}),
    )]
}

#[tokio::test]
async fn keys_and_times_reach_the_dispatcher_and_its_answer_the_caller() {
    let dispatcher = ScriptedDispatcher::start([vec![
        WITH_PROMISES,
        call_with(json!({"key": "k"})),
        called(""),
        call_with(json!({"key": "k", "unless_since": 60, "start_by": 2})),
        called(r#","existing":true"#),
        call_with(json!({})),
        called(""),
    ]])
    .await;
    let host = dispatcher.client().host("h");
    let keyed = host.clone().key("k");
    assert!(!keyed.call("p", ()).await.unwrap().existing());
    let job = keyed
        .unless_since(Duration::from_secs(60))
        .start_by(Duration::from_millis(1500))
        .call("p", ())
        .await
        .unwrap();
    assert!(job.existing());
    assert!(!host.call("p", ()).await.unwrap().existing());
    dispatcher.finish().await;
}

#[tokio::test]
async fn the_limits_that_hold_are_told_where_the_dispatcher_knows_them() {
    let with_limits = Act::Hello(&["keep_alive", "limits"]);
    let asked = || call_with(json!({"timeout": 900, "limits": true}));
    let dispatcher = ScriptedDispatcher::start([vec![
        with_limits,
        asked(),
        called(r#","limits":{"timeout":900,"max_exec_time":600}"#),
        asked(),
        called(r#","existing":true"#),
        call_with(json!({"timeout": 900})),
        called(""),
    ]])
    .await;
    let host = dispatcher.client().host("h");
    let host = host.timeout(Duration::from_secs(900));
    let asking = host.clone().tell_limits();
    let limits = asking.call("p", ()).await.unwrap().limits().unwrap();
    assert_eq!(limits.timeout, Duration::from_secs(900));
    assert_eq!(limits.max_exec_time, Duration::from_secs(600));
    assert_eq!(asking.call("p", ()).await.unwrap().limits(), None);
    assert_eq!(host.call("p", ()).await.unwrap().limits(), None);
    dispatcher.finish().await;

    // One that does not know the question is not asked, and makes the call.
    let dispatcher =
        ScriptedDispatcher::start([vec![MODERN, call_with(json!({})), called("")]]).await;
    let host = dispatcher.client().host("h").tell_limits();
    assert_eq!(host.call("p", ()).await.unwrap().limits(), None);
    dispatcher.finish().await;
}

#[tokio::test]
async fn the_trace_of_a_call_is_the_programs_or_the_calls_own() {
    let trace = |digit: char| {
        let of = |times| digit.to_string().repeat(times);
        format!("00-{}-{}-01", of(32), of(16))
    };
    let knows = Act::Hello(&["keep_alive", "traceparent"]);
    let dispatcher = ScriptedDispatcher::start([vec![
        knows,
        call_with(json!({"traceparent": trace('a')})),
        called(""),
        call_with(json!({"traceparent": trace('b')})),
        called(""),
    ]])
    .await;
    let current = trace('a');
    let builder = dispatcher
        .builder()
        .traceparent(move || Some(current.clone()));
    let host = builder.build().unwrap().host("h");
    host.call("p", ()).await.unwrap();
    let own = host.clone().traceparent(trace('b'));
    own.call("p", ()).await.unwrap();
    let error = host.traceparent("x").call("p", ()).await.unwrap_err();
    assert!(error.to_string().starts_with("traceparent:"), "{error}");
    dispatcher.finish().await;

    // What is none is not sent, and none is to one that does not know it.
    for (features, current) in [(&["traceparent"][..], "x".to_owned()), (&[], trace('a'))] {
        let script = vec![Act::Hello(features), call_with(json!({})), called("")];
        let dispatcher = ScriptedDispatcher::start([script]).await;
        let builder = dispatcher
            .builder()
            .traceparent(move || Some(current.clone()));
        let host = builder.build().unwrap().host("h");
        host.call("p", ()).await.unwrap();
        dispatcher.finish().await;
    }
}

#[tokio::test]
async fn jobs_are_listed_page_by_page() {
    let knows = Act::Hello(&["keep_alive", "list"]);
    let asked = |more: Value| {
        let mut names = json!({"host": ["web*"], "state": ["running"], "order": ["newest"]});
        let Value::Object(more) = more else {
            panic!("keys and values")
        };
        names.as_object_mut().unwrap().extend(more);
        request(json!({"harpcaller": 1, "list_jobs": names}))
    };
    let job = |state: &str, outcome: Value| {
        json!({
            "id": JOB, "state": state, "outcome": outcome, "error_type": null, "host": "web01",
            "procedure": "p", "key": "k", "packets": 3, "submitted": 1001, "started": 1002,
            "ended": null, "arguments_head": "[]",
        })
    };
    let page = |jobs: Value, next: Value| reply(json!({"jobs": jobs, "next": next}).to_string());
    let dispatcher = ScriptedDispatcher::start([vec![
        knows,
        asked(json!({"limit": ["2"]})),
        page(json!([job("running", json!(null))]), json!("c1")),
        asked(json!({"limit": ["1"], "cursor": ["c1"]})),
        page(json!([]), json!("c2")),
        asked(json!({"limit": ["1"], "cursor": ["c2"]})),
        page(json!([job("ended", json!("returned"))]), json!(null)),
        request(json!({
            "harpcaller": 1,
            "list_jobs": {"key": ["k"], "order": ["newest"], "limit": ["1"]},
        })),
        page(json!([job("running", json!(null))]), json!(null)),
        request(json!({
            "harpcaller": 1,
            "list_jobs": {"key": ["none"], "order": ["newest"], "limit": ["1"]},
        })),
        page(json!([]), json!(null)),
    ]])
    .await;
    let rpc = dispatcher.client();
    let mut jobs = rpc.jobs().host("web*").state(JobState::Running).limit(2);
    let first = jobs.next().await.unwrap().unwrap();
    assert_eq!((first.state, first.packets), (JobState::Running, 3));
    let at = std::time::SystemTime::UNIX_EPOCH + Duration::from_millis(1001);
    assert_eq!((first.submit_time(), first.end_time()), (at, None));
    let second = jobs.next().await.unwrap().unwrap();
    assert_eq!(second.outcome, Some(OutcomeKind::Returned));
    assert_eq!(jobs.next().await.unwrap(), None);
    let found = rpc.job_of_key("k").await.unwrap().unwrap();
    assert_eq!(found.id().to_string(), JOB);
    assert!(rpc.job_of_key("none").await.unwrap().is_none());
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_key_that_says_nothing_is_refused_before_anything_is_sent() {
    let host = || HarpCaller::new("127.0.0.1:1").unwrap().host("h");
    for (host, names) in [
        (
            host().unless_since(Duration::from_secs(1)),
            "unless_since: means nothing without a key; add .key(",
        ),
        (host().key("k").unless_since(Duration::ZERO), "unless_since"),
        (host().start_by(Duration::ZERO), "start_by"),
        (host().key(""), "key: is empty"),
        (
            HarpCaller::new("127.0.0.1:1").unwrap().host(""),
            "host: has no name",
        ),
    ] {
        let error = host.call("p", ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().starts_with(names), "{error}");
    }
}

/// What each option comes to with this client.
async fn each_option(rpc: &HarpCaller) -> [(&'static str, Error); 3] {
    let host = || rpc.host("h");
    let second = Duration::from_secs(1);
    [
        ("key", host().key("k").call("p", ()).await.unwrap_err()),
        (
            "start_by",
            host().start_by(second).call("p", ()).await.unwrap_err(),
        ),
        (
            "confirm",
            rpc.job(JOB.parse().unwrap())
                .cancel_confirmed()
                .await
                .unwrap_err(),
        ),
    ]
}

#[tokio::test]
async fn what_the_dispatcher_does_not_know_is_an_error_and_not_left_out() {
    // One that is ours but older; its connection stays in use.
    let dispatcher = ScriptedDispatcher::start([[vec![MODERN], status().to_vec()].concat()]).await;
    let rpc = dispatcher.client();
    for (feature, error) in each_option(&rpc).await {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(feature), "{error}");
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
        assert!(!error.is_retryable());
    }
    rpc.job(JOB.parse().unwrap()).status().await.unwrap();
    dispatcher.finish().await;

    // The original one: two attempts to greet it, nothing else is said.
    let visit = || [hello_unanswered(), vec![Act::AwaitEnd], hello_unanswered()];
    let [a, b, c] = visit();
    let [d, e, f] = visit();
    let [g, h, i] = visit();
    let dispatcher = ScriptedDispatcher::start([a, b, c, d, e, f, g, h, i]).await;
    for (_, error) in each_option(&dispatcher.client()).await {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    }
    dispatcher.finish().await;
}

#[tokio::test]
async fn one_that_was_just_stopping_is_greeted_again() {
    let dispatcher = ScriptedDispatcher::start([
        hello_unanswered(),
        vec![Act::AwaitEnd],
        vec![WITH_PROMISES, call_with(json!({"key": "k"})), called("")],
    ])
    .await;
    let host = dispatcher.client().host("h").key("k");
    host.call("p", ()).await.unwrap();
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_call_with_a_key_survives_a_restart() {
    let keyed = || call_with(json!({"key": "k"}));
    let dispatcher = ScriptedDispatcher::start([vec![WITH_PROMISES, keyed()]]).await;
    let host = dispatcher.client().host("h").key("k");
    let calling = tokio::spawn(async move { host.call("p", ()).await });
    let port = dispatcher.port;
    dispatcher.finish().await;
    let answer = vec![WITH_PROMISES, keyed(), called(r#","existing":true"#)];
    let dispatcher = ScriptedDispatcher::start_at(port, [answer]).await;
    assert!(calling.await.unwrap().unwrap().existing());
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_call_with_unless_since_is_not_sent_again() {
    // A job that failed in between would not count, and there would be two.
    let call = call_with(json!({"key": "k", "unless_since": 60}));
    let dispatcher = ScriptedDispatcher::start([vec![WITH_PROMISES, call]]).await;
    let host = dispatcher.client().host("h").key("k");
    let host = host.unless_since(Duration::from_secs(60));
    let error = host.call("p", ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert!(!error.is_retryable());
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_call_with_a_key_is_given_up_after_the_request_time_out() {
    let call = call_with(json!({"key": "k"}));
    let dispatcher = ScriptedDispatcher::start([vec![WITH_PROMISES, call]]).await;
    let rpc = dispatcher
        .builder()
        .request_timeout(Duration::from_millis(500));
    let host = rpc.build().unwrap().host("h").key("k");
    let error = host.call("p", ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert!(error.is_retryable());
}

#[tokio::test]
async fn a_confirmed_cancel_says_what_became_of_the_host() {
    let script = [
        vec![WITH_PROMISES],
        vec![
            cancel_confirmed(),
            reply(r#"{"cancelled":true,"remote":"confirmed"}"#),
        ],
        vec![
            cancel_confirmed(),
            reply(r#"{"cancelled":true,"remote":"unconfirmed"}"#),
        ],
        vec![cancel_confirmed(), reply(r#"{"cancelled":false}"#)],
        // Lost in the middle: not asked again, whose answer would be false.
        vec![cancel_confirmed()],
    ];
    let dispatcher = ScriptedDispatcher::start([script.concat()]).await;
    let job = dispatcher.client().job(JOB.parse().unwrap());
    for expected in [
        Cancellation::Confirmed,
        Cancellation::Unconfirmed,
        Cancellation::NotRunning,
    ] {
        assert_eq!(job.cancel_confirmed().await.unwrap(), expected);
    }
    let error = job.cancel_confirmed().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert!(error.is_retryable());
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_confirmed_cancel_holds_up_nothing_else_and_has_its_time() {
    let silent = vec![WITH_PROMISES, cancel_confirmed(), Act::AwaitEnd];
    let asks = [vec![WITH_PROMISES], status().to_vec()].concat();
    let dispatcher = ScriptedDispatcher::start([silent, asks]).await;
    let rpc = dispatcher
        .builder()
        .pool_size(1)
        .request_timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let job = rpc.job(JOB.parse().unwrap());
    let cancelling = tokio::spawn({
        let job = job.clone();
        async move { job.cancel_confirmed().await }
    });
    dispatcher.connected(1).await;
    job.status().await.unwrap();
    let error = cancelling.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("no answer in time"), "{error}");
    dispatcher.finish().await;
}
