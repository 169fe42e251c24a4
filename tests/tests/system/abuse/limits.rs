//! What one job and one queue may take: packets, bytes, places in the line; and very many
//! queues.

use std::thread;

use harp_tests::{ACKNOWLEDGE_STREAM, Closing, Cluster, ClusterBuilder, FakeHost, Page, Step};
use serde_json::{Value, json};

use super::{assert_serves, memory};
use crate::assertions::{assert_ended, assert_refused};

/// A host that streams for as long as it is let.
fn endless() -> FakeHost {
    FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE_STREAM,
        Step::SendForever("{\"stream\":1234567890}\n".into()),
    ])
}

fn with(host: &FakeHost) -> ClusterBuilder {
    Cluster::builder()
        .hosts(0)
        .fake_host("fake", host)
        .set("slot_grace", "1")
}

#[test]
fn a_job_with_too_many_packets_is_ended_and_its_host_told() {
    let host = endless();
    let cluster = with(&host).set("max_job_packets", "1000").start();
    let caller = cluster.caller();
    let job = caller.call("fake", "p", "[]");
    let page = Page::read(&mut caller.follow(&job, r#""since": 0"#));
    assert_eq!(page.packets.len(), 1000);
    let data = json!({"limit": "max_job_packets", "packets": 1000});
    assert_ended(&page.last, "overloaded", &data);
    assert_eq!(caller.result(&job), page.last);
    assert_ne!(host.wait_closed(0), Closing::EndOfFile);
}

#[test]
fn a_job_with_too_many_bytes_is_ended() {
    let host = endless();
    let cluster = with(&host).set("max_job_size", "\"1K\"").start();
    let caller = cluster.caller();
    let job = caller.call("fake", "p", "[]");
    let data = json!({"limit": "max_job_size", "bytes": 1024});
    assert_ended(&caller.result(&job), "overloaded", &data);
    assert_eq!(caller.read(&job, "").packets.len(), 102);
}

#[test]
fn a_truncated_job_says_where_packets_are_missing_and_keeps_its_result() {
    let cluster = Cluster::builder()
        .set("max_job_packets", "5")
        .set("job_limit_policy", "\"truncate\"")
        .start();
    let caller = cluster.caller();
    let job = caller.call("web01", "count", "[2000]");
    let followed = Page::read(&mut caller.follow(&job, r#""since": 0"#));
    assert_eq!(followed.last, json!({"result": null}));
    let [.., last_kept, marker] = &followed.packets[..] else {
        panic!("{followed:?}");
    };
    assert_eq!(followed.packets.len(), 6);
    assert_eq!(last_kept, "4");
    assert_eq!(
        marker,
        r#"{"truncated":{"limit":"max_job_packets","packets":5}}"#
    );
    assert_eq!(caller.read(&job, "").packets, followed.packets);
}

#[test]
fn a_queue_that_is_full_refuses_and_others_do_not() {
    let cluster = Cluster::builder().set("max_queue_length", "2").start();
    let caller = cluster.caller();
    let feed = cluster.feed("feed");
    let queue = |name: &str| format!(r#""queue": {{"name": {{"q": "{name}"}}}}"#);
    let running = caller.call_with("web01", "gate", &feed.arguments(), &queue("a"));
    let waiting = [(); 2].map(|()| caller.call_with("web01", "echo", "[]", &queue("a")));
    let refused = caller.ask(
        json!({"harpcaller": 1, "host": "web01", "procedure": "echo",
        "arguments": [], "queue": {"name": {"q": "a"}}}),
    );
    assert_refused(&refused, "overloaded", &Value::Null);
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("max_queue_length"), "{message}");
    for other in [
        caller.call_with("web01", "echo", "[]", &queue("b")),
        caller.call("web01", "echo", "[]"),
    ] {
        assert_eq!(caller.result(&other), json!({"result": []}));
    }
    assert!(caller.cancel(&waiting[0]));
    let next = caller.call_with("web01", "echo", "[]", &queue("a"));
    assert!(caller.cancel(&running));
    assert_eq!(caller.result(&next), json!({"result": []}));
}

/// A million of them, without I/O, are in the tests of `queue.rs`.
#[test]
fn very_many_distinct_queues_leave_nothing_in_memory() {
    const CLIENTS: u32 = 32;
    const EACH: u32 = 200;
    let cluster = Cluster::builder()
        .hosts(0)
        .set("max_jobs", "1000")
        .set("cache_size", "\"1M\"")
        .start();
    let submit = |first: u32| {
        let caller = cluster.caller();
        thread::spawn(move || {
            let mut client = caller.send(json!({"harpcaller": 1, "hello": {}}));
            assert!(client.line()["server"].is_string());
            let filling = "x".repeat(4000);
            for number in first..first + EACH {
                let name = json!({"number": number, "filling": filling});
                client.send(json!({"harpcaller": 1, "host": "nowhere", "procedure": "p",
                    "arguments": [], "queue": {"name": name}}));
                let job = client.line()["job_id"].clone();
                client.send(json!({"harpcaller": 1, "get_result": job}));
                assert_eq!(client.line()["error"]["type"], "unknown_host");
            }
        })
    };
    let submit_all = |first: u32| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| submit(first + client * EACH))
            .collect();
        for client in clients {
            client.join().unwrap();
        }
    };
    // The first of them fill the store's own cache, and what the allocator keeps for as many
    // clients at a time.
    submit_all(0);
    let before = memory(&cluster);
    submit_all(CLIENTS * EACH);
    let grown = memory(&cluster).saturating_sub(before);
    assert!(cluster.lines(&["queue-list"]).is_empty());
    eprintln!("{before} bytes, then {grown} more");
    // Their names alone are more than 25 MB.
    assert!(grown < 16 * 1024 * 1024, "{grown} bytes more");
    assert_serves(&cluster);
}
