//! What harpd says to requests that it does not like.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::host::Host;

fn host() -> Host {
    Host::new().script("one", "", "echo 1")
}

#[tokio::test]
async fn a_wrong_user_or_password_is_refused_late_and_logged() {
    let harpd = host().start();
    for (user, password) in [
        ("rpc", "wrong"),
        ("nobody", "secret"),
        ("rpc", ""),
        ("", ""),
    ] {
        let began = Instant::now();
        let auth = json!({"user": user, "password": password});
        let line = json!({"harp": 1, "procedure": "none", "arguments": [], "auth": auth});
        let mut caller = harpd.connect().await;
        caller.send_line(&line.to_string()).await;
        let answers = caller.rest().await;
        assert_eq!(answers[0]["error"]["type"], "auth_error");
        assert!(began.elapsed() >= Duration::from_secs(1));
    }
    let line = harpd.logged("authentication failed").await;
    assert_eq!(line["user"], "\"rpc\"");
    assert_eq!(line["level"], "WARN");
}

#[tokio::test]
async fn a_second_line_ends_a_running_call() {
    let harpd = Host::new()
        .script("wait", "output = 'lines'", "echo $$; exec sleep 1000")
        .start();
    let mut caller = harpd.call("wait", json!([])).await;
    caller.acknowledged(true).await;
    let pid = caller.pid().await;
    caller.send_line("{}").await;
    let rest = caller.rest().await;
    assert_eq!(rest[0]["error"]["type"], "invalid_request");
    assert!(crate::host::is_gone(pid));
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused() {
    let harpd = host().start();
    let mut caller = harpd.connect().await;
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..17 {
        caller.send(&chunk).await;
    }
    let answers = caller.rest().await;
    assert_eq!(answers[0]["error"]["type"], "invalid_request");
}

#[tokio::test]
async fn large_requests_that_stall_keep_no_other_waiting_for_long() {
    let harpd = Host::new().script("count", "", "wc -c").start();
    let mut stalled = Vec::new();
    for _ in 0..16 {
        let mut caller = harpd.connect().await;
        caller.send(&vec![b'x'; 1 << 20]).await;
        stalled.push(caller);
    }
    let began = Instant::now();
    let large = json!(["x".repeat(4 << 20)]);
    let expected = large.to_string().len() + 1;
    assert_eq!(harpd.end("count", large).await, json!({"result": expected}));
    // The sixteen are of one peer and hold the memory five at a time, each undisturbed for a
    // second: four seconds by the rules, and the rest is the machine's.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    // One of those that stalled had to go for it, long before its own time was up.
    let answer = stalled[0].rest().await;
    let error = &answer[0]["error"];
    assert_eq!(error["type"], "overloaded", "{answer:?}");
    let told = error["message"].as_str().unwrap();
    assert!(told.contains("too slowly while others waited"), "{told}");
}

#[tokio::test]
async fn who_says_nothing_is_told_the_time_is_up() {
    let harpd = host().start();
    let mut mute = TcpStream::connect(harpd.address).await.unwrap();
    let mut shy = harpd.connect().await;
    shy.send(b"{\"harp\":1").await;
    let answers = shy.rest().await;
    assert_eq!(answers[0]["error"]["type"], "invalid_request");
    // No handshake, no words for it.
    let mut byte = [0];
    let closed = tokio::time::timeout(crate::host::PATIENCE, mute.read(&mut byte)).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))));
}

#[tokio::test]
async fn garbage_instead_of_tls_ends_the_connection_alone() {
    let harpd = host().start();
    let mut plain = TcpStream::connect(harpd.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let _ = plain.read_to_end(&mut rest).await;
    assert_eq!(harpd.end("one", json!([])).await, json!({"result": 1}));
}

#[tokio::test]
async fn connections_that_send_nothing_keep_no_call_out() {
    let harpd = host().limit_files(700).start();
    harpd.logged("allows fewer connections").await;
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(TcpStream::connect(harpd.address).await.unwrap());
    }
    assert_eq!(harpd.end("one", json!([])).await, json!({"result": 1}));
    // The oldest had to go, the newest may still speak.
    let mut byte = [0];
    let closed = tokio::time::timeout(Duration::from_secs(5), idle[0].read(&mut byte)).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))));
    assert!(idle[299].try_read(&mut byte).is_err());
}
