//! Which connection a request takes, and what becomes of it when that breaks.

use std::time::Duration;

use harp_client::{ErrorKind, HarpCaller, JobId, Outcome};
use serde_json::json;

use crate::deadlines::nobody;
use crate::scripted_dispatcher::{Act, JOB, MODERN, ScriptedDispatcher, reply, request, status};

fn id() -> JobId {
    JOB.parse().unwrap()
}

fn call() -> Act {
    request(json!({
        "harpcaller": 1, "host": "h", "procedure": "p", "arguments": [], "info": null,
    }))
}

fn called() -> [Act; 2] {
    let answer = reply(format!(r#"{{"harpcaller":1,"job_id":"{JOB}"}}"#));
    [call(), answer]
}

fn script(parts: &[&[Act]]) -> Vec<Act> {
    parts.concat()
}

#[tokio::test]
async fn many_requests_share_the_connections_of_the_pool() {
    let once = script(&[
        &[MODERN],
        &called(),
        &called(),
        &called(),
        &called(),
        &called(),
    ]);
    let dispatcher = ScriptedDispatcher::start([once]).await;
    let rpc = dispatcher.builder().pool_size(1).build().unwrap();
    let host = rpc.host("h");
    let calls = (0..5).map(|_| host.call("p", ()));
    for job in futures_util::future::join_all(calls).await {
        assert_eq!(job.unwrap().id(), id());
    }
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_wait_does_not_hold_up_other_requests() {
    let get_result = request(json!({"harpcaller": 1, "get_result": JOB, "wait": true}));
    let waits = vec![MODERN, get_result, Act::AwaitEnd];
    let asks = script(&[&[MODERN], &status(), &status()]);
    let dispatcher = ScriptedDispatcher::start([waits, asks]).await;
    let rpc = dispatcher.builder().pool_size(1).build().unwrap();
    let job = rpc.job(id());
    let waiting = tokio::spawn({
        let job = job.clone();
        async move { job.wait().await }
    });
    // Once it waits, its connection is the first one.
    dispatcher.connected(1).await;
    job.status().await.unwrap();
    job.status().await.unwrap();
    waiting.abort();
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_dispatcher_that_knows_no_hello_gets_one_request_a_connection() {
    let hello = request(json!({"harpcaller": 1, "hello": {"client": "test"}}));
    let dispatcher = ScriptedDispatcher::start([
        vec![hello.clone()],
        script(&[&called(), &[Act::AwaitEnd]]),
        script(&[&status(), &[Act::AwaitEnd]]),
    ])
    .await;
    let rpc = dispatcher.client();
    let job = rpc.host("h").call("p", ()).await.unwrap();
    job.status().await.unwrap();
    dispatcher.finish().await;

    // So it is where it breaks the connection off.
    let dispatcher = ScriptedDispatcher::start([vec![hello, Act::Reset], status().to_vec()]).await;
    dispatcher.client().job(id()).status().await.unwrap();
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_dispatcher_that_stops_during_hello_is_greeted_again() {
    let hello = request(json!({"harpcaller": 1, "hello": {"client": "test"}}));
    let dispatcher = ScriptedDispatcher::start([vec![hello]]).await;
    let host = dispatcher.client().host("h");
    let error = host.call("p", ()).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    let port = dispatcher.port;
    dispatcher.finish().await;

    let after = script(&[&[MODERN], &called(), &called()]);
    let dispatcher = ScriptedDispatcher::start_at(port, [after]).await;
    host.call("p", ()).await.unwrap();
    host.call("p", ()).await.unwrap();
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_refusal_of_hello_is_an_error() {
    let hello = request(json!({"harpcaller": 1, "hello": {"client": "test"}}));
    let refusal = reply(r#"{"harpcaller":1,"error":{"type":"overloaded","message":"m"}}"#);
    let dispatcher = ScriptedDispatcher::start([vec![hello, refusal]]).await;
    let error = dispatcher.client().host("h").call("p", ()).await;
    let error = error.unwrap_err();
    assert_eq!(error.wire_type(), Some("overloaded"));
    assert!(error.is_retryable());
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_listener_that_speaks_tls_is_no_place_to_try_again() {
    let hello = request(json!({"harpcaller": 1, "hello": {"client": "test"}}));
    // The alert with which a TLS server answers what is none.
    let alert = Act::Bytes(vec![21, 3, 1, 0, 2, 2, 70]);
    for end in [vec![], vec![Act::Reset]] {
        let script = [vec![hello.clone(), alert.clone()], end].concat();
        let dispatcher = ScriptedDispatcher::start([script]).await;
        let host = dispatcher.client().host("h").key("k");
        let error = host.call("p", ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Communication);
        assert_eq!(error.phase(), Some("tls"), "{error}");
        assert!(!error.is_retryable());
        assert!(error.to_string().contains("harps://"), "{error}");
        dispatcher.finish().await;
    }
}

#[tokio::test]
async fn a_ping_says_who_is_there_and_keeps_the_connection() {
    let once = script(&[&[MODERN], &status()]);
    let dispatcher = ScriptedDispatcher::start([once]).await;
    let rpc = dispatcher.client();
    let info = rpc.ping().await.unwrap();
    assert_eq!(info.address, format!("127.0.0.1:{}", dispatcher.port));
    assert_eq!(info.server, "harpcallerd/0.1.0");
    assert_eq!(info.features, ["keep_alive", "timestamps", "limit"]);
    assert_eq!(rpc.stats().idle_connections, 1);
    rpc.job(id()).status().await.unwrap();
    let stats = rpc.stats();
    assert_eq!((stats.requests, stats.failed_requests), (1, 0));
    assert_eq!((stats.opened_connections, stats.failed_connections), (1, 0));
    dispatcher.finish().await;

    let (_socket, gone) = nobody();
    let rpc = HarpCaller::new(gone).unwrap();
    let error = rpc.ping().await.unwrap_err();
    assert_eq!(error.phase(), Some("connect"), "{error}");
    rpc.job(id()).status().await.unwrap_err();
    let stats = rpc.stats();
    assert_eq!((stats.requests, stats.failed_requests), (1, 1));
    assert_eq!((stats.opened_connections, stats.failed_connections), (0, 2));
}

#[tokio::test]
async fn the_next_of_several_addresses_is_tried_when_one_is_away() {
    let (_socket, gone) = nobody();
    let one_each = || script(&[&[Act::Hello(&[])], &status()]);
    let there = ScriptedDispatcher::start([one_each(), one_each()]).await;
    let address = format!("{gone},127.0.0.1:{}", there.port);
    let rpc = HarpCaller::builder(address).client_name("test");
    let job = rpc.build().unwrap().job(id());
    job.status().await.unwrap();
    job.status().await.unwrap();
    there.finish().await;
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_replaced() {
    for end in [vec![], vec![Act::Reset]] {
        let first = script(&[&[MODERN], &status(), &end]);
        let dispatcher = ScriptedDispatcher::start([first]).await;
        let rpc = dispatcher.client();
        rpc.job(id()).status().await.unwrap();
        let port = dispatcher.port;
        dispatcher.finish().await;

        let second = script(&[&[MODERN], &called()]);
        let dispatcher = ScriptedDispatcher::start_at(port, [second]).await;
        let job = rpc.host("h").call("p", ()).await.unwrap();
        assert_eq!(job.id(), id());
        dispatcher.finish().await;
    }
}

#[tokio::test]
async fn a_call_that_may_have_arrived_is_not_sent_again() {
    let first = script(&[&[MODERN], &status(), &[call()]]);
    let dispatcher = ScriptedDispatcher::start([first]).await;
    let rpc = dispatcher.client();
    rpc.job(id()).status().await.unwrap();
    let error = rpc.host("h").call("p", ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert!(error.to_string().contains("phase reply"), "{error}");
    assert_eq!(error.phase(), Some("reply"));
    assert!(!error.is_retryable());
    dispatcher.finish().await;

    // Nor a cancel, whose second answer would be false; but it does no harm.
    let cancel = request(json!({"harpcaller": 1, "cancel": JOB}));
    let first = script(&[&[MODERN], &status(), &[cancel]]);
    let dispatcher = ScriptedDispatcher::start([first]).await;
    let job = dispatcher.client().job(id());
    job.status().await.unwrap();
    let error = job.cancel().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert!(error.is_retryable());
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_question_is_asked_again() {
    let [ask, _] = status();
    let first = script(&[&[MODERN], &status(), &[ask]]);
    let second = script(&[&[MODERN], &status()]);
    let dispatcher = ScriptedDispatcher::start([first, second]).await;
    let job = dispatcher.client().job(id());
    job.status().await.unwrap();
    job.status().await.unwrap();
    dispatcher.finish().await;

    // On a connection that was new there is no reason to.
    let [ask, _] = status();
    let dispatcher = ScriptedDispatcher::start([vec![MODERN, ask]]).await;
    let error = dispatcher.client().job(id()).status().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert!(error.is_retryable());
    dispatcher.finish().await;
}

#[tokio::test]
async fn a_connection_with_a_reply_outstanding_is_not_used_again() {
    let [ask, _] = status();
    let silent = vec![MODERN, ask, Act::AwaitEnd];
    let second = script(&[&[MODERN], &status()]);
    let dispatcher = ScriptedDispatcher::start([silent, second]).await;
    let rpc = dispatcher
        .builder()
        .request_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let error = rpc.job(id()).status().await.unwrap_err();
    assert!(error.to_string().contains("no answer in time"), "{error}");
    assert!(error.is_retryable());
    rpc.job(id()).status().await.unwrap();
    dispatcher.finish().await;
}

#[tokio::test]
async fn waiting_goes_on_after_a_restart() {
    let get_result = || request(json!({"harpcaller": 1, "get_result": JOB, "wait": true}));
    // On a connection of its own, and on one that was used before.
    for before in [vec![], status().to_vec()] {
        let first = script(&[&[MODERN], &before, &[get_result()]]);
        let dispatcher = ScriptedDispatcher::start([first]).await;
        let job = dispatcher.client().job(id());
        if !before.is_empty() {
            job.status().await.unwrap();
        }
        let waiting = tokio::spawn(async move { job.wait().await });
        let port = dispatcher.port;
        dispatcher.finish().await;

        let returned = vec![MODERN, get_result(), reply(r#"{"result":1}"#)];
        let dispatcher = ScriptedDispatcher::start_at(port, [returned]).await;
        let outcome = waiting.await.unwrap().unwrap();
        assert_eq!(outcome, Outcome::Returned("1".parse().unwrap()));
        dispatcher.finish().await;
    }
}

#[tokio::test]
async fn waiting_is_given_up_when_the_dispatcher_stays_away() {
    let get_result = request(json!({"harpcaller": 1, "get_result": JOB, "wait": true}));
    let dispatcher = ScriptedDispatcher::start([vec![MODERN, get_result]]).await;
    let rpc = dispatcher
        .builder()
        .reconnect_for(Duration::from_millis(500));
    let error = rpc.build().unwrap().job(id()).wait().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert!(error.to_string().contains("phase connect"), "{error}");
}

#[tokio::test]
async fn idle_connections_are_closed_on_request() {
    let once = || script(&[&[MODERN], &status(), &[Act::AwaitEnd]]);
    let dispatcher = ScriptedDispatcher::start([once(), once()]).await;
    let rpc = dispatcher.client();
    for connections in 1..=2 {
        rpc.job(id()).status().await.unwrap();
        dispatcher.connected(connections).await;
        rpc.close_idle();
    }
    dispatcher.finish().await;
}
