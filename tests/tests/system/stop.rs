//! An orderly stop ends waiting, and nothing else: what can be told is told (section 7).

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use harp_tests::{Cluster, Page, RawClient, until};
use serde_json::{Value, json};

use crate::assertions::assert_ended;

#[test]
fn followers_that_are_far_behind_get_everything() {
    const PACKETS: u64 = 20_000;
    // More than the sockets between us can hold.
    let script = "seq -f '\"%0400.0f\"' 0 19999; exec sleep 600";
    let mut cluster = Cluster::builder()
        .unkept()
        .set("stop_grace", "1")
        .procedure("flood", "output = 'json-lines'", script)
        .start();
    let caller = cluster.caller();
    let job = caller.call("web01", "flood", "[]");
    until("all packets are there", || {
        let page = caller.read(&job, r#""recent": 1"#);
        (page.first == Some(PACKETS - 1)).then_some(())
    });
    let mut followers: Vec<RawClient> = (0..4)
        .map(|_| {
            let mut follower = caller.follow(&job, r#""since": 0"#);
            assert!(follower.raw_line().starts_with(r#"{"packet":0,"#));
            follower
        })
        .collect();
    cluster.ask_dispatcher_to_stop();
    // It is about to close whatever waits.
    let _ = cluster
        .log()
        .wait_for("calls still running after stop_grace are ended with missing_result");
    thread::scope(|scope| {
        for follower in &mut followers {
            scope.spawn(|| {
                let page = Page::read(follower);
                assert_eq!(page.first, Some(1));
                assert_eq!(page.packets.len() as u64, PACKETS - 1);
                for (number, packet) in (1..).zip(&page.packets) {
                    assert_eq!(*packet, format!("\"{number:0400}\""));
                }
                assert_ended(&page.last, "missing_result", &Value::Null);
                assert!(follower.at_end());
            });
        }
    });
    assert!(cluster.wait_dispatcher_ended().success());
}

#[test]
fn what_was_asked_before_is_answered_in_full() {
    let mut cluster = Cluster::builder().unkept().start();
    let caller = cluster.caller();
    let job = caller.call("web01", "big_result", &format!("[{}]", 1 << 20));
    let expected = caller.raw_result(&job);
    assert_eq!(expected.len(), (1 << 20) + r#"{"result":}"#.len());
    let requests = [
        json!({"harpcaller": 1, "get_result": job, "wait": true}),
        json!({"harpcaller": 1, "get_result": job, "wait": false}),
        json!({"harpcaller": 1, "read_stream": job}),
        json!({"harpcaller": 1, "follow_stream": job, "since": 0}),
    ];
    // Connections that have been served already, so that none of them is still in the
    // system's backlog when the dispatcher stops accepting.
    let mut clients: Vec<_> = requests
        .iter()
        .cycle()
        .take(3 * requests.len())
        .map(|request| {
            let mut client = caller.send(json!({"harpcaller": 1, "hello": {}}));
            assert!(client.line()["server"].is_string());
            (client, request)
        })
        .collect();
    for (client, request) in &mut clients {
        client.send(request);
    }
    cluster.ask_dispatcher_to_stop();
    for (client, request) in &mut clients {
        let lines = client.rest();
        assert!(
            lines == [expected.as_str()],
            "{request}: lines of these lengths: {:?}",
            lines.iter().map(String::len).collect::<Vec<_>>()
        );
    }
    assert!(cluster.wait_dispatcher_ended().success());
}

/// Submits until the dispatcher takes no more, and returns what it has accepted.
fn submit(address: SocketAddr, call: &str) -> Vec<String> {
    let mut accepted = Vec::new();
    loop {
        let Ok(mut socket) = TcpStream::connect(address) else {
            return accepted;
        };
        let mut answer = String::new();
        let sent = writeln!(socket, "{call}");
        if sent.is_err() || BufReader::new(socket).read_line(&mut answer).is_err() {
            return accepted;
        }
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        match answer["job_id"].as_str() {
            Some(job) => accepted.push(job.to_owned()),
            None => {
                let kind = &answer["error"]["type"];
                assert!(answer.is_null() || kind == "shutdown", "{answer}");
                return accepted;
            }
        }
    }
}

#[test]
fn a_stop_under_load_loses_nothing_that_was_accepted() {
    let mut cluster = Cluster::builder()
        .unkept()
        .set("stop_grace", "1")
        .set("slot_grace", "1")
        .start();
    let address = cluster.address();
    let call = |procedure: &str, queue: &str| {
        format!(
            r#"{{"harpcaller": 1, "host": "web01", "procedure": "{procedure}", "arguments": []{queue}}}"#
        )
    };
    let queue = r#", "queue": {"name": {"q": 1}, "concurrency": 2}"#;
    let calls = [
        call("echo", ""),
        call("echo", queue),
        call(
            "silent",
            r#", "queue": {"name": {"q": 2}, "concurrency": 5}"#,
        ),
    ];
    let silent = cluster.caller();
    let before = (0..50).map(|_| silent.call("web01", "silent", "[]"));
    let mut accepted: Vec<String> = before.collect();
    thread::scope(|scope| {
        let clients: Vec<_> = calls
            .iter()
            .cycle()
            .take(9)
            .map(|call| scope.spawn(move || submit(address, call)))
            .collect();
        until("there is a load", || {
            (cluster.log().count("job accepted") > 300).then_some(())
        });
        cluster.ask_dispatcher_to_stop();
        for client in clients {
            accepted.extend(client.join().unwrap());
        }
    });
    assert!(cluster.wait_dispatcher_ended().success());
    assert!(accepted.len() > 300, "{}", accepted.len());

    cluster.start_dispatcher();
    let caller = cluster.caller();
    // What waited behind `silent` jobs waits again, and need not be waited for.
    let _ = cluster.lines(&["queue-cancel", r#"{"q": 2}"#]);
    let mut ends = BTreeMap::new();
    for job in &accepted {
        let answer = caller.result(job);
        let end = match &answer {
            answer if answer.get("result").is_some() => "result",
            answer if answer["cancelled"] == true => "cancelled",
            answer => {
                assert_eq!(answer["error"]["type"], "missing_result", "{answer}");
                "missing_result"
            }
        };
        *ends.entry(end).or_insert(0) += 1;
    }
    println!("{ends:?}");
    assert!(
        ends["result"] > 0 && ends["missing_result"] >= 50,
        "{ends:?}"
    );
}
