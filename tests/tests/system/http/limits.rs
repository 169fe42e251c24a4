//! Limits (section 1; acceptance 13).

use std::io::Read;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use harp_tests::{HttpClient, HttpRequest, PATIENCE};
use serde_json::json;

use super::{address, api, assert_problem, call, get, open, post, submit};

#[test]
fn a_head_and_a_body_have_their_lengths() {
    let cluster = open().hosts(0).set("max_request_size", "\"64K\"").start();
    let long = HttpRequest::get(&api("")).header("X-Long", &"x".repeat(40_000));
    assert_eq!(long.ask(address(&cluster)).status(), 431);

    let info = "x".repeat(200_000);
    let body = json!({"host": "h", "procedure": "p", "info": info});
    let answer = post(&cluster, "/jobs", &body);
    assert_problem(&answer, 413, "request_too_large");
    assert_eq!(answer.json()["limit"], 64 * 1024);
    // In chunks, without a length that is known before.
    let mut client = HttpClient::connect(address(&cluster));
    client.send_bytes(
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
          Transfer-Encoding: chunked\r\n\r\n",
    );
    for _ in 0..40 {
        if !client.try_send_bytes(format!("1000\r\n{}\r\n", "x".repeat(0x1000)).as_bytes()) {
            break;
        }
    }
    assert_problem(&client.answer("POST"), 413, "request_too_large");
    assert!(client.at_end());
    // The user's part has the limit, as on the wire.
    let body = json!({"host": "h", "procedure": "p", "info": "x".repeat(70_000)});
    assert_problem(&post(&cluster, "/jobs", &body), 413, "request_too_large");
}

#[test]
fn what_comes_too_slowly_is_closed() {
    let cluster = open().hosts(0).set("request_timeout", "1").start();
    let mut slow = HttpClient::connect(address(&cluster));
    slow.send_bytes(b"GET /api/v1 HTTP/1.1\r\nHost: local");
    let begun = Instant::now();
    assert!(slow.at_end());
    assert!(
        begun.elapsed() >= Duration::from_millis(900),
        "{:?}",
        begun.elapsed()
    );

    let mut slow = HttpClient::connect(address(&cluster));
    slow.send_bytes(
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
          Content-Length: 100\r\n\r\n{",
    );
    let answer = slow.answer("POST");
    assert_problem(&answer, 408, "parse_error");
    assert!(slow.at_end());
}

#[test]
fn requests_that_wait_are_counted() {
    let cluster = open().set("max_streams_per_peer", "2").start();
    let id = submit(&cluster, call("silent", json!([])));
    let wait = HttpRequest::get(&api(&format!("/jobs/{id}/result?wait=30")));
    let (answers, answered) = mpsc::channel();
    for _ in 0..3 {
        let (wait, address, answers) = (wait.clone(), address(&cluster), answers.clone());
        thread::spawn(move || {
            // The test may be over.
            let _ = answers.send(wait.ask(address));
        });
    }
    // Two of them wait, and one is answered.
    let answer = answered.recv_timeout(PATIENCE).unwrap();
    assert_problem(&answer, 429, "too_many_streams");
    assert!(!answer.header("retry-after").is_empty());
    // What does not wait needs no place.
    assert_eq!(get(&cluster, &format!("/jobs/{id}/result")).status(), 202);
    let cancelled = post(&cluster, &format!("/jobs/{id}/cancel"), "{}");
    assert_eq!(cancelled.status(), 200, "{}", cancelled.text());
    for _ in 0..2 {
        assert_eq!(answered.recv_timeout(PATIENCE).unwrap().status(), 200);
    }
    // Their places are free again.
    let next = submit(&cluster, call("echo", json!([])));
    assert_eq!(super::result(&cluster, &next)["result"], json!([]));
}

#[test]
fn connections_are_counted_with_those_of_the_line_protocol() {
    let cluster = open().hosts(0).set("max_connections", "3").start();
    let mut held: Vec<HttpClient> = (0..3)
        .map(|_| HttpClient::connect(address(&cluster)))
        .collect();
    for client in &mut held {
        assert_eq!(client.ask(&HttpRequest::get("/healthz")).status(), 200);
    }
    let mut one_too_many = HttpClient::connect(address(&cluster));
    let answer = one_too_many.answer("GET");
    assert_eq!(answer.status(), 503, "{}", answer.text());
    assert!(!answer.header("retry-after").is_empty());
}

#[test]
fn a_large_body_comes_through() {
    let cluster = open().hosts(0).start();
    let info = "x".repeat(3_000_000);
    let id = submit(
        &cluster,
        json!({"host": "h", "procedure": "p", "info": info}),
    );
    let mut stream = HttpRequest::get(&api(&format!("/jobs/{id}"))).stream(address(&cluster));
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains(&info));
}
