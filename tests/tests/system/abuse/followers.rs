//! Followers that read nothing, read slowly, or are gone without a word.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use harp_tests::{ACKNOWLEDGE_STREAM, Cluster, FakeHost, PATIENCE, Step, binary, until};
use serde_json::json;

use super::{assert_serves, can_run, descriptors};

/// A host that streams for as long as it is let.
fn endless() -> FakeHost {
    let packet = format!("{{\"stream\":\"{}\"}}\n", "x".repeat(4000));
    FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE_STREAM,
        Step::SendForever(packet.into()),
    ])
}

#[test]
fn a_follower_that_takes_nothing_is_given_up_and_a_slow_one_is_not() {
    // Far more than the sockets between us can hold.
    const PACKETS: usize = 30;
    let cluster = Cluster::builder().set("write_timeout", "2").start();
    let caller = cluster.caller();
    let sizes = vec![1_000_000; PACKETS];
    let job = caller.call("web01", "blob", &json!(sizes).to_string());
    assert_eq!(caller.result(&job), json!({"result": null}));

    let rest = descriptors(&cluster);
    let mut deaf = caller.follow(&job, r#""since": 0"#);
    let mut slow = caller.follow(&job, r#""since": 0"#);
    // The slow one takes longer in all than a deaf one is waited for.
    let begun = Instant::now();
    for _ in 0..PACKETS {
        assert!(slow.raw_line().len() > 1_000_000);
        sleep(Duration::from_millis(150));
    }
    assert_eq!(slow.line(), json!({"result": null}));
    assert!(begun.elapsed() > Duration::from_secs(4));

    until("the deaf one is given up", || {
        (descriptors(&cluster) <= rest).then_some(())
    });
    // What had fitted into the sockets can still be read, or is reset; it is not all.
    assert!(deaf.count_lines() < PACKETS);
    assert_serves(&cluster);
}

#[test]
fn a_follower_that_reads_nothing_holds_up_neither_the_job_nor_its_end() {
    let host = endless();
    let cluster = Cluster::around(&host).set("slot_grace", "1").start();
    let caller = cluster.caller();
    let job = caller.call_with("fake", "p", "[]", r#""max_exec_time": 2"#);
    let _deaf = caller.follow(&job, r#""since": 0"#);
    let answer = caller.result(&job);
    assert_eq!(answer["error"]["type"], "timeout", "{answer}");
}

/// Runs itself again in a network of its own, where a client can be cut off: no packet
/// reaches it any more, and no end of the connection is told.
#[test]
fn a_peer_that_is_gone_without_a_word_is_noticed() {
    const TEST: &str = "abuse::followers::a_peer_that_is_gone_without_a_word_is_noticed";
    const INSIDE: &str = "HARP_TESTS_IN_A_NETWORK_OF_THEIR_OWN";
    if std::env::var_os(INSIDE).is_some() {
        return cut_a_follower_off();
    }
    if !can_run(TEST, "unshare", &["--net", "ip", "link", "set", "lo", "up"]) {
        return;
    }
    let binaries = binary("harpcallerd");
    let output = Command::new("unshare")
        .args([
            "--net",
            "sh",
            "-c",
            "ip link set lo up && exec \"$0\" \"$@\"",
        ])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", TEST])
        .env(INSIDE, "1")
        .env("HARP_BIN_DIR", binaries.parent().unwrap())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}

fn cut_a_follower_off() {
    let cluster = Cluster::builder().set("write_timeout", "2").start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("feed");
    let job = caller.call("web01", "feed", &feed.arguments());
    feed.send("0");
    let rest = descriptors(&cluster);

    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let own: SocketAddr = "127.0.0.2:0".parse().unwrap();
    socket.bind(&own.into()).unwrap();
    socket.connect(&cluster.address().into()).unwrap();
    let mut follower = BufReader::new(TcpStream::from(socket));
    let request = json!({"harpcaller": 1, "follow_stream": job, "since": 0});
    writeln!(follower.get_mut(), "{request}").unwrap();
    let mut line = String::new();
    follower.read_line(&mut line).unwrap();
    assert_eq!(line, "{\"packet\":0,\"data\":0}\n");
    assert!(descriptors(&cluster) > rest);

    let cut = Command::new("ip")
        .args([
            "route",
            "add",
            "blackhole",
            "127.0.0.2/32",
            "table",
            "local",
        ])
        .status();
    assert!(cut.unwrap().success());
    let begun = Instant::now();
    // What is sent now is never acknowledged, and fits into the dispatcher's buffers.
    for number in 1.. {
        feed.send(&number.to_string());
        sleep(Duration::from_millis(100));
        if descriptors(&cluster) <= rest {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "it was not noticed");
    }
    assert!(
        begun.elapsed() > Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    // Nobody else noticed anything.
    feed.finish();
    assert_eq!(caller.result(&job), json!({"result": null}));
}
