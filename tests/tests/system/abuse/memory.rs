//! Large lines, each within its limit: what all of them take together is bounded, and nobody
//! else is kept from being served.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use harp_tests::{ACKNOWLEDGE_STREAM, Cluster, FakeHost, Step, until};
use serde_json::{Value, json};

use super::{assert_serves, memory_of};

const MIB: usize = 1024 * 1024;

/// What the dispatcher may take in all: a quarter of what the lines of a crowd are together.
const MOST: u64 = 256 << 20;

/// A little less than the longest line there may be.
const LARGE: usize = 15 * MIB;

/// How many do it at once.
const CROWD: usize = 60;

fn most_of(cluster: &Cluster) -> u64 {
    memory_of(cluster.dispatcher_id(), "VmHWM:")
}

/// A connection from another address than all others of these tests: another peer.
fn from_elsewhere(address: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let elsewhere: SocketAddr = "127.8.8.8:0".parse().unwrap();
    socket.bind(&elsewhere.into()).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    let patience = Some(harp_tests::PATIENCE);
    stream.set_read_timeout(patience).unwrap();
    stream.set_write_timeout(patience).unwrap();
    stream
}

/// A call whose request is so long, and its answer.
fn large_call(mut stream: TcpStream, host: &str, length: usize) -> Value {
    let arguments = "x".repeat(length);
    let call =
        json!({"harpcaller": 1, "host": host, "procedure": "echo", "arguments": [arguments]});
    stream.write_all(format!("{call}\n").as_bytes()).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

#[test]
fn unfinished_lines_of_a_crowd_are_bounded_together() {
    let cluster = Cluster::builder().set("cache_size", "\"1M\"").start();
    assert_serves(&cluster);
    let beginning = br#"{"harpcaller":1,"procedure":"p","host":"h","arguments":[""#;
    let streams: Vec<TcpStream> = (0..CROWD)
        .map(|_| {
            let mut stream = TcpStream::connect(cluster.address()).unwrap();
            stream.write_all(beginning).unwrap();
            stream
        })
        .collect();
    thread::scope(|scope| {
        for mut stream in &streams {
            scope.spawn(move || {
                let piece = [b'x'; 64 * 1024];
                // Until it is done, or given up.
                for _ in 0..LARGE / piece.len() {
                    if stream.write_all(&piece).is_err() {
                        break;
                    }
                }
            });
        }
        sleep(Duration::from_secs(1));
        assert_serves(&cluster);
        let began = Instant::now();
        let answer = large_call(from_elsewhere(cluster.address()), "web01", 4 * MIB);
        let job = answer["job_id"]
            .as_str()
            .unwrap_or_else(|| panic!("{answer}"));
        assert!(began.elapsed() < Duration::from_secs(10));
        assert!(cluster.caller().result(job)["result"].is_array());
        let same = TcpStream::connect(cluster.address()).unwrap();
        let answer = large_call(same, "web01", MIB / 4);
        assert!(answer["job_id"].is_string(), "{answer}");
        for stream in &streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
    });
    drop(streams);
    let most = most_of(&cluster);
    assert!(most < MOST, "{most} bytes");
}

#[test]
fn unfinished_messages_of_hosts_are_bounded_together() {
    let text = format!("{{\"stream\":\"{}", "x".repeat(LARGE));
    let text: &'static str = Box::leak(text.into_boxed_str());
    let host = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE_STREAM,
        Step::Send(Cow::Borrowed(text)),
        Step::Hang,
    ]);
    let cluster = Cluster::builder()
        .fake_host("fake", &host)
        .set("cache_size", "\"1M\"")
        .set("slot_grace", "0")
        .start();
    assert_serves(&cluster);
    let caller = cluster.caller();
    let jobs: Vec<String> = (0..CROWD).map(|_| caller.call("fake", "p", "[]")).collect();
    sleep(Duration::from_secs(1));
    let job = caller.call("web01", "blob", &json!([4_000_000]).to_string());
    assert_eq!(caller.result(&job), json!({"result": null}));
    for job in &jobs {
        let _ = caller.ask(json!({"harpcaller": 1, "cancel": job}));
    }
    until("the jobs have ended", || {
        let mut ended = jobs.iter().map(|job| caller.result_now(job));
        ended
            .all(|end| end.get("no_result").is_none())
            .then_some(())
    });
    let most = most_of(&cluster);
    assert!(most < MOST, "{most} bytes");
}
