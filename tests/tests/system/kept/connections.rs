//! One connection carries many calls, as long as nothing changes that it goes by.

use std::net::TcpListener;

use harp_tests::{Cluster, until};
use serde_json::json;

use super::behind_a_proxy;

#[test]
fn a_connection_carries_one_call_after_the_other() {
    let (cluster, proxy) = behind_a_proxy(Cluster::builder());
    let caller = cluster.caller();
    for number in 0..20 {
        let job = caller.call("far", "echo", &json!([number]).to_string());
        assert_eq!(caller.result(&job), json!({"result": [number]}));
    }
    assert_eq!(proxy.taken(), 1);
    // One that the host has closed meanwhile is replaced.
    proxy.cut();
    let job = caller.call("far", "echo", "[1]");
    assert_eq!(caller.result(&job), json!({"result": [1]}));
    assert!((2..=3).contains(&proxy.taken()), "{}", proxy.taken());
}

#[test]
fn a_change_of_what_trust_goes_by_closes_connections() {
    let (cluster, proxy) = behind_a_proxy(Cluster::builder());
    let caller = cluster.caller();
    let call = || {
        let job = caller.call("far", "echo", "[1]");
        assert_eq!(caller.result(&job), json!({"result": [1]}));
    };
    call();
    call();
    assert_eq!(proxy.taken(), 1);
    // The trust file is another one, and says the same.
    let file = cluster.path("ca.pem");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "\n").unwrap();
    call();
    assert_eq!(proxy.taken(), 2);
    call();
    assert_eq!(proxy.taken(), 2);
    let mut entry = cluster.entry("web01");
    entry["hostname"] = json!("far");
    cluster.set_registry(&[entry]);
    let _ = cluster.lines(&["hosts-refresh"]);
    call();
    assert_eq!(proxy.taken(), 2, "it is somewhere else");
}

#[test]
fn calls_end_with_their_connections_where_they_are_not_to_be_kept() {
    let (mut cluster, proxy) = behind_a_proxy(Cluster::builder().set("slot_grace", "0"));
    let caller = cluster.caller();
    let mut entry = cluster.entry("web01");
    entry["hostname"] = json!("far");
    entry["port"] = json!(proxy.address().port());
    entry["keep"] = json!(false);
    cluster.set_registry(&[entry]);
    let _ = cluster.lines(&["hosts-refresh"]);
    for number in 1..=3 {
        let job = caller.call("far", "echo", "[1]");
        assert_eq!(caller.result(&job), json!({"result": [1]}));
        assert_eq!(proxy.taken(), number, "one each");
    }
    let mut feed = cluster.feed("feed");
    let job = caller.call("far", "feed", &feed.arguments());
    feed.send("1");
    until("it runs", || caller.has_started(&job).then_some(()));
    cluster.kill_dispatcher();
    feed.wait_abandoned();
    cluster.start_dispatcher();
    let answer = caller.result_now(&job);
    assert_eq!(answer["error"]["type"], "missing_result", "{answer}");
    assert!(answer["error"]["data"].is_null(), "as ever: {answer}");
}

#[test]
fn what_keeps_calls_is_offered_first() {
    let host = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let cluster = Cluster::builder()
        .other_host("listens", host.local_addr().unwrap())
        .start();
    let _job = cluster.caller().call("listens", "p", "[]");
    let (mut connection, _) = host.accept().unwrap();
    let mut acceptor = rustls::server::Acceptor::default();
    let accepted = loop {
        acceptor.read_tls(&mut connection).unwrap();
        if let Some(accepted) = acceptor.accept().expect("a greeting of TLS") {
            break accepted;
        }
    };
    let greeting = accepted.client_hello();
    let offered: Vec<&[u8]> = greeting.alpn().into_iter().flatten().collect();
    assert_eq!(offered, [&b"harp/2"[..], b"harp/1"]);
}
