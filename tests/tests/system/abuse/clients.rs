//! Clients that send slowly, nothing, far too much, or break off.

use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use harp_tests::{Cluster, RawClient, until};
use serde_json::{Value, json};
use socket2::SockRef;

use super::{assert_serves, descriptors, memory};
use crate::assertions::{NO_JOB, assert_refused};

const MIB: u64 = 1024 * 1024;

#[test]
fn a_client_that_sends_a_byte_now_and_then_is_given_up() {
    let cluster = Cluster::builder()
        .hosts(0)
        .set("request_timeout", "1")
        .start();
    let mut client = cluster.caller().connect();
    let begun = Instant::now();
    let request = format!(r#"{{"harpcaller":1,"cancel":"{NO_JOB}"}}"#);
    // All of it would take six seconds.
    for byte in request.bytes() {
        if client.has_answer() || !client.try_send_bytes(&[byte]) {
            break;
        }
        sleep(Duration::from_millis(100));
    }
    assert_refused(&client.line(), "parse_error", &Value::Null);
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "it was not waited for"
    );
    assert_serves(&cluster);

    // One that sends nothing at all is closed without a word.
    let mut silent = cluster.caller().connect();
    assert!(silent.at_end());
}

#[test]
fn a_connection_that_is_idle_for_too_long_is_closed() {
    let cluster = Cluster::builder().hosts(0).set("idle_timeout", "1").start();
    let mut client = cluster.caller().send(json!({"harpcaller": 1, "hello": {}}));
    assert!(client.line()["server"].is_string());
    client.send(json!({"harpcaller": 1, "cancel": NO_JOB}));
    assert_eq!(client.line(), json!({"cancelled": false}));
    assert!(client.at_end());
}

#[test]
fn thousands_of_idle_connections_hold_nobody_up() {
    const CONNECTIONS: usize = 3000;
    let cluster = Cluster::start();
    let before = memory(&cluster);
    let idle: Vec<RawClient> = (0..CONNECTIONS)
        .map(|_| {
            let mut client = cluster.caller().connect();
            client.send_bytes(b"{\"harpcaller\"");
            client
        })
        .collect();
    until("all of them are accepted", || {
        (descriptors(&cluster) > CONNECTIONS).then_some(())
    });
    let caller = cluster.caller();
    let begun = Instant::now();
    let job = caller.call("web01", "echo", "[]");
    assert_eq!(caller.result(&job), json!({"result": []}));
    assert!(begun.elapsed() < Duration::from_secs(10));
    let each = memory(&cluster).saturating_sub(before) / CONNECTIONS as u64;
    assert!(each < 32 * 1024, "{each} bytes for each connection");
    drop(idle);
    until("they are gone", || {
        (descriptors(&cluster) < CONNECTIONS / 10).then_some(())
    });
}

#[test]
fn one_peer_has_no_more_connections_than_it_may() {
    let cluster = Cluster::builder()
        .hosts(0)
        .set("max_connections_per_peer", "2")
        .start();
    let greet = || {
        let mut client = cluster.caller().send(json!({"harpcaller": 1, "hello": {}}));
        (client.line(), client)
    };
    let clients = [greet(), greet()];
    assert!(clients.iter().all(|(line, _)| line["server"].is_string()));
    let (refusal, _) = greet();
    assert_refused(&refusal, "overloaded", &Value::Null);
    let message = refusal["error"]["message"].as_str().unwrap();
    assert!(message.contains("max_connections_per_peer"), "{message}");
    // Another address of this machine is another peer.
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let other: std::net::SocketAddr = "127.9.9.9:0".parse().unwrap();
    socket.bind(&other.into()).unwrap();
    socket.connect(&cluster.address().into()).unwrap();
    let mut stream = TcpStream::from(socket);
    use std::io::{Read, Write};
    writeln!(stream, "{}", json!({"harpcaller": 1, "cancel": NO_JOB})).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "{\"cancelled\":false}\n");
}

#[test]
fn a_request_of_a_gibibyte_is_refused_early_and_costs_no_memory() {
    const CHUNK: usize = 1024 * 1024;
    let cluster = Cluster::builder()
        .hosts(0)
        .set("max_request_size", "\"1M\"")
        .start();
    let before = memory(&cluster);
    let mut client = cluster.caller().connect();
    client.send_bytes(br#"{"harpcaller":1,"procedure":"p","host":"h","arguments":[""#);
    let chunk = vec![b'x'; CHUNK];
    let mut sent = 0;
    while sent < 1024 && !client.has_answer() && client.try_send_bytes(&chunk) {
        sent += 1;
    }
    assert!(sent < 512, "it was refused after {sent} MiB only");
    assert_refused(&client.line(), "request_too_large", &json!({"limit": MIB}));
    let grown = memory(&cluster).saturating_sub(before);
    assert!(grown < 32 * MIB, "{grown} bytes more");
    assert_serves(&cluster);
}

#[test]
fn a_client_that_resets_in_the_middle_of_a_line_leaves_nothing_behind() {
    let cluster = Cluster::builder().hosts(0).start();
    assert_serves(&cluster);
    let before = descriptors(&cluster);
    for _ in 0..50 {
        let stream = TcpStream::connect(cluster.address()).unwrap();
        std::io::Write::write_all(&mut &stream, b"{\"harpcaller\":1,\"canc").unwrap();
        // Closing is a reset then.
        SockRef::from(&stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(stream);
    }
    until("their connections are gone", || {
        (descriptors(&cluster) <= before).then_some(())
    });
    assert_serves(&cluster);
}
