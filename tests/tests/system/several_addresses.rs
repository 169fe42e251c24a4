//! Names that stand for several addresses, of which the first is of no use (RFC 8305).
//!
//! Each test runs itself again where other names are in `/etc/hosts`, which takes root.

use std::net::{IpAddr, SocketAddr, TcpListener, ToSocketAddrs};
use std::time::Duration;

use harp_client::HarpCaller;
use harp_tests::certificates::Authority;
use harp_tests::{
    ACKNOWLEDGE, Cluster, FakeHost, OwnNames, PATIENCE, Step, unique_address, until, with_own_names,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use Step::{AnyByte, Close, Handshake, Hang, Request, Reset};

/// More than tests wait for anything: an address that is given up after it only does not count.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3600);

/// A name with two addresses, in the order in which the system gives them.
struct Name {
    text: String,
    first: IpAddr,
    second: IpAddr,
}

#[test]
fn the_next_address_of_a_host_is_tried() {
    with_own_names(
        "several_addresses::the_next_address_of_a_host_is_tried",
        call_hosts,
    );
}

#[test]
fn the_next_address_of_a_dispatcher_is_tried() {
    with_own_names(
        "several_addresses::the_next_address_of_a_dispatcher_is_tried",
        ask_dispatcher,
    );
}

fn call_hosts(own: &OwnNames) {
    let firsts: [(&str, Option<&[Step]>); 6] = [
        ("refuses", None),
        ("silent", Some(&[Hang])),
        ("silent-in-tls", Some(&[AnyByte, Hang])),
        ("closes", Some(&[Close])),
        ("closes-in-tls", Some(&[AnyByte, Close])),
        ("resets-in-tls", Some(&[AnyByte, Reset])),
    ];
    let good = [
        Handshake,
        Request,
        ACKNOWLEDGE,
        Step::line(r#"{"result":1}"#),
    ];
    let mut hosts = Vec::new();
    let timeout = CONNECT_TIMEOUT.as_secs().to_string();
    let builder = Cluster::builder().set("connect_timeout", &timeout);
    let mut cluster = builder.hosts(0);
    for (name, (what, first)) in names(own, firsts.map(|(what, _)| what))
        .into_iter()
        .zip(firsts)
    {
        let second = host(&name, SocketAddr::new(name.second, 0), &good);
        let port = second.address().port();
        let first = first.map(|steps| host(&name, SocketAddr::new(name.first, port), steps));
        cluster = cluster.entry(entry(what, &name.text, port));
        hosts.push((what, first, second));
    }
    let cluster = cluster.start();
    let caller = cluster.caller();
    for (what, first, second) in &hosts {
        let visits = || first.as_ref().map_or(0, |host| host.visits().len());
        let job = caller.call(what, "p", "[]");
        assert_eq!(caller.result(&job), json!({"result": 1}), "{what}");
        let visited = visits();
        assert!(visited <= 1, "{what}: {visited}");
        // The one that answered is remembered. On a machine that is too busy for it to answer
        // in time, the other is tried beside it.
        let mut calls = 1;
        until("a call goes to the one that has answered alone", || {
            let before = visits();
            let again = caller.call(what, "p", "[]");
            assert_eq!(caller.result(&again), json!({"result": 1}), "{what}");
            calls += 1;
            (visits() == before).then_some(())
        });
        let requests: usize = second.visits().iter().map(|visit| visit.lines.len()).sum();
        assert_eq!(requests, calls, "{what}: each goes to one address");
    }
}

fn ask_dispatcher(own: &OwnNames) {
    let [name] = names(own, ["dispatcher"]).try_into().ok().unwrap();
    let cluster = Cluster::builder()
        .tables(&format!(
            "[[listener]]\naddress = '{}:0'\nrequire_authentication = false\n",
            name.second
        ))
        .start();
    // The log is read beside the test.
    let port = until("the listener is in the log", || {
        let listening = cluster.log().all("listening");
        listening.iter().find_map(|line| {
            let address: SocketAddr = line["address"].as_str()?.parse().ok()?;
            (address.ip() == name.second).then_some(address.port())
        })
    });
    // The system accepts, and nobody says anything.
    let silent = TcpListener::bind((name.first, port)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let ask = async || {
            let client = HarpCaller::builder(format!("{}:{port}", name.text))
                .connect_timeout(CONNECT_TIMEOUT)
                .build()
                .unwrap();
            let call = client.host("web01").call("echo", (1,)).await.unwrap();
            let echoed: [u32; 1] = call.get().await.unwrap();
            assert_eq!(echoed, [1]);
        };
        let what = "the next address is tried";
        timeout(PATIENCE, ask()).await.expect(what);
        drop(silent);
        // Refused now.
        timeout(PATIENCE, ask()).await.expect(what);
    });
}

fn host(name: &Name, address: SocketAddr, steps: &[Step]) -> FakeHost {
    let certificate = Authority::shared().issue(&[&name.text]);
    FakeHost::start_at(address, &certificate, rustls::ALL_VERSIONS, &[steps])
}

fn entry(hostname: &str, address: &str, port: u16) -> Value {
    json!({
        "hostname": hostname, "address": address, "port": port,
        "credentials": {"user": "u", "password": "p"},
    })
}

/// Gives each name two addresses of loopback.
fn names<const N: usize>(own: &OwnNames, names: [&str; N]) -> Vec<Name> {
    let names = names.map(|name| format!("{name}.two.test"));
    let mut text = String::new();
    for name in names.iter().chain(&names) {
        text += &format!("{} {name}\n", unique_address());
    }
    own.set(&text);
    let resolved = names.into_iter().map(|text| {
        let addresses: Vec<_> = (text.as_str(), 0).to_socket_addrs().unwrap().collect();
        let [first, second] = addresses[..] else {
            panic!("{text}: {addresses:?}");
        };
        Name {
            text,
            first: first.ip(),
            second: second.ip(),
        }
    });
    resolved.collect()
}
