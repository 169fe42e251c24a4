//! Hosts that are away for a moment: `connect_patience` (section 7, harpcaller.toml(5)).

use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harp_tests::certificates::Authority;
use harp_tests::{
    ACKNOWLEDGE, Caller, Cluster, ClusterBuilder, FakeHost, OwnNames, Step, unanswering_address,
    unique_address, until, unused_address, with_own_names,
};
use serde_json::{Value, json};

use crate::assertions::{assert_ended, keys};

use Step::{AnyByte, Close, Handshake, Hang, Request, Reset};

/// What the dispatcher logs when a host has gone.
const AWAY: &str = "the host cannot be reached; its calls wait";

/// What it logs when a call's start is taken back.
const UNRUN: &str = "it is on record that nobody has run the call, whose host is waited for";

const QUEUE: &str = r#""queue": {"name": {}}"#;

/// A call that returns at once.
fn answers() -> Vec<Step> {
    let end = Step::line(r#"{"result":1}"#);
    vec![Handshake, Request, ACKNOWLEDGE, end]
}

/// A host that listens there from now on, until it is dropped.
fn appear(address: SocketAddr, scripts: &[&[Step]]) -> FakeHost {
    let certificate = Authority::shared().issue(&[&address.ip().to_string()]);
    FakeHost::start_at(address, &certificate, rustls::ALL_VERSIONS, scripts)
}

/// A dispatcher that has heard of a host at this address, which has gone since.
fn heard_of(address: SocketAddr, builder: ClusterBuilder) -> Cluster {
    let cluster = builder.hosts(0).other_host("fake", address).start();
    let host = appear(address, &[&answers()]);
    returns(&cluster.caller());
    drop(host);
    cluster
}

fn returns(caller: &Caller) {
    let job = caller.call("fake", "p", "[]");
    assert_eq!(caller.result(&job), json!({"result": 1}));
}

#[test]
fn a_host_that_is_away_for_a_second_fails_no_job() {
    let address = unused_address();
    let cluster = heard_of(address, Cluster::builder());
    let caller = cluster.caller();
    let jobs: Vec<String> = (0..60)
        .map(|number| {
            let queue = if number < 40 { QUEUE } else { "" };
            caller.call_with("fake", &format!("p{number}"), "[]", queue)
        })
        .collect();
    let _ = cluster.log().wait_for(AWAY);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(caller.result_now(&jobs[0]), json!({"no_result": true}));
    assert!(!caller.has_started(&jobs[1]), "the first keeps its place");
    let host = appear(address, &[&answers()]);
    for job in &jobs {
        assert_eq!(caller.result(job), json!({"result": 1}));
    }
    let called: Vec<u32> = host
        .visits()
        .iter()
        .filter_map(|visit| {
            let request: Value = serde_json::from_str(visit.lines.first()?).unwrap();
            request["procedure"].as_str()?[1..].parse().ok()
        })
        .collect();
    let queued: Vec<u32> = called
        .iter()
        .copied()
        .filter(|number| *number < 40)
        .collect();
    assert_eq!(queued, (0..40).collect::<Vec<u32>>(), "in their order");
    assert_eq!(called.len(), 60, "each once");
    let _ = cluster.log().wait_for("the host can be reached again");
}

#[test]
fn a_dispatcher_that_dies_while_a_host_is_away_goes_on_waiting_for_it() {
    let address = unused_address();
    let builder = Cluster::builder()
        .set("connect_patience", "60")
        .set("log_level", "\"debug\"")
        .set("slot_grace", "1");
    let mut cluster = heard_of(address, builder);
    let caller = cluster.caller();
    let call = |queue: &str| caller.call_with("fake", "p", "[]", queue);
    // One has its turn in the queue, and those without a queue have theirs.
    let jobs: Vec<String> = [QUEUE; 6].into_iter().chain([""; 6]).map(call).collect();
    let away = || cluster.log().count(AWAY);
    until("the host is waited for", || (away() > 0).then_some(()));
    let before = away();
    // All that have their turn.
    until("it is on record that they were not run", || {
        (cluster.log().count(UNRUN) == 7).then_some(())
    });
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    let away = || cluster.log().count(AWAY);
    until("it is waited for again", || (away() > before).then_some(()));
    let host = appear(address, &[&answers()]);
    for job in &jobs {
        assert_eq!(caller.result(job), json!({"result": 1}));
    }
    let visits = host.visits();
    let requests = visits.iter().filter(|visit| !visit.lines.is_empty());
    assert_eq!(requests.count(), jobs.len(), "each once");
}

#[test]
fn a_dispatcher_that_stops_while_a_host_is_away_leaves_what_waits_to_its_next_start() {
    // A host that refuses, and one of which nothing comes back.
    let (silent, _filled) = unanswering_address();
    for (address, stop, grace) in [
        (unused_address(), "stop", "60"),
        (silent, "stop", "60"),
        (unused_address(), "stop --end-calls", "1"),
    ] {
        let builder = Cluster::builder()
            .set("connect_patience", "60")
            .set("stop_grace", grace);
        let entry = |address: SocketAddr| {
            json!({
                "hostname": "fake", "address": address.ip().to_string(), "port": address.port(),
                "credentials": {"user": "u", "password": "p"},
            })
        };
        let there = unused_address();
        let mut cluster = heard_of(there, builder);
        let caller = cluster.caller();
        cluster.set_registry(&[entry(address)]);
        assert!(cluster.run(&["hosts-refresh"]).status.success());
        let call = |queue: &str| caller.call_with("fake", "p", "[]", queue);
        let jobs: Vec<String> = [QUEUE; 3].into_iter().chain([""; 3]).map(call).collect();
        until("they have their turns", || {
            let started = jobs.iter().filter(|job| caller.has_started(job));
            (started.count() == 4).then_some(())
        });
        let begun = Instant::now();
        let words: Vec<&str> = stop.split(' ').collect();
        assert!(cluster.run(&words).status.success(), "{stop}");
        assert!(cluster.wait_dispatcher_ended().success(), "{stop}");
        assert!(
            begun.elapsed() < Duration::from_secs(50),
            "{stop}: it has waited for the host"
        );
        cluster.set_registry(&[entry(there)]);
        let host = appear(there, &[&answers()]);
        cluster.start_dispatcher();
        assert!(cluster.run(&["hosts-refresh"]).status.success());
        for job in &jobs {
            assert_eq!(caller.result(job), json!({"result": 1}), "{stop}");
        }
        let visits = host.visits();
        let requests = visits.iter().filter(|visit| !visit.lines.is_empty());
        assert_eq!(requests.count(), jobs.len(), "{stop}: each once");
    }
}

#[test]
fn whatever_leaves_no_doubt_that_it_was_not_run_is_tried_again() {
    let big = format!("[\"{}\"]", "x".repeat(12 << 20));
    let text = |text: &'static str| Step::Send(text.into());
    let shutdown = r#"{"harp":1,"error":{"type":"shutdown","message":"stopping"}}"#;
    let crowded = Step::line(r#"{"harp":1,"error":{"type":"overloaded","message":"no room"}}"#);
    for (name, fault, arguments) in [
        ("cut before TLS", vec![Close], "[]"),
        ("reset in TLS", vec![AnyByte, Reset], "[]"),
        ("cut in TLS", vec![AnyByte, Close], "[]"),
        ("silent in TLS", vec![Hang], "[]"),
        ("no TLS", vec![text("HTTP/1.1 503 Try later\r\n\r\n")], "[]"),
        ("reset in the request", vec![Handshake, Reset], &*big),
        (
            "not reading the request",
            vec![Handshake, Step::Pause],
            &*big,
        ),
        (
            "stopping",
            vec![Handshake, Request, Step::line(shutdown), Close],
            "[]",
        ),
        (
            "without room",
            vec![Handshake, Request, crowded.clone(), Close],
            "[]",
        ),
        (
            "without room for all of the request",
            vec![Handshake, AnyByte, crowded, Hang],
            &*big,
        ),
    ] {
        let host = FakeHost::start_each(&[&answers(), &fault, &fault, &answers()]);
        let cluster = Cluster::around(&host).set("connect_timeout", "1").start();
        let caller = cluster.caller();
        returns(&caller);
        let job = caller.call("fake", "p", arguments);
        assert_eq!(caller.result(&job), json!({"result": 1}), "{name}");
        assert_eq!(host.visits().len(), 4, "{name}");
        host.go_on();
        host.go_on();
    }
}

#[test]
fn each_attempt_asks_the_registry_anew() {
    let address = unused_address();
    let (unanswering, _filled) = unanswering_address();
    // No connection goes there, and the system says so at once.
    let unreachable = SocketAddr::from(([255, 255, 255, 255], 4306));
    let cluster = heard_of(address, Cluster::builder().set("connect_timeout", "1"));
    let caller = cluster.caller();
    let _host = appear(address, &[&answers()]);
    let entry = |address: String, port: u16| {
        json!({
            "hostname": "fake", "address": address, "port": port,
            "credentials": {"user": "u", "password": "p"},
        })
    };
    let right = entry(address.ip().to_string(), address.port());
    for (name, wrong) in [
        (
            "unanswering",
            entry(unanswering.ip().to_string(), unanswering.port()),
        ),
        (
            "unreachable",
            entry(unreachable.ip().to_string(), unreachable.port()),
        ),
        ("no such name", entry("no such name".to_owned(), 4306)),
    ] {
        let away = || cluster.log().count(AWAY);
        let before = away();
        cluster.set_registry(&[wrong]);
        assert!(cluster.run(&["hosts-refresh"]).status.success());
        until("the entry is wrong", || {
            let hosts = cluster.lines(&["hosts-list"]).concat();
            (!hosts.contains(&address.ip().to_string())).then_some(())
        });
        let job = caller.call("fake", "p", "[]");
        until(name, || (away() > before).then_some(()));
        cluster.set_registry(std::slice::from_ref(&right));
        assert!(cluster.run(&["hosts-refresh"]).status.success());
        assert_eq!(caller.result(&job), json!({"result": 1}), "{name}");
    }
}

#[test]
fn a_name_that_is_not_known_for_a_while_fails_no_job() {
    with_own_names(
        "host_away::a_name_that_is_not_known_for_a_while_fails_no_job",
        call_by_name,
    );
}

fn call_by_name(own: &OwnNames) {
    const NAME: &str = "away.test";
    let certificate = Authority::shared().issue(&[NAME]);
    let address = SocketAddr::new(unique_address(), 0);
    let script: &[&[Step]] = &[&answers()];
    let host = FakeHost::start_at(address, &certificate, rustls::ALL_VERSIONS, script);
    let known = format!("{} {NAME}\n", address.ip());
    own.set(&known);
    let entry = |hostname: &str, address: &str| {
        json!({
            "hostname": hostname, "address": address, "port": host.address().port(),
            "credentials": {"user": "u", "password": "p"},
        })
    };
    let cluster = Cluster::builder()
        .hosts(0)
        .set("connect_patience", "60")
        .entry(entry("fake", NAME))
        .start();
    let caller = cluster.caller();
    returns(&caller);
    own.set("");
    let jobs: Vec<String> = (0..20)
        .map(|number| {
            let queue = if number < 10 { QUEUE } else { "" };
            caller.call_with("fake", "p", "[]", queue)
        })
        .collect();
    let away = cluster.log().wait_for(AWAY);
    assert!(away["error"].as_str().unwrap().contains(NAME), "{away}");
    own.set(&known);
    for job in &jobs {
        assert_eq!(caller.result(job), json!({"result": 1}));
    }
    // One that was never heard of fails at once.
    cluster.set_registry(&[entry("other", "other.test")]);
    assert!(cluster.run(&["hosts-refresh"]).status.success());
    let job = caller.call("other", "p", "[]");
    let failure = caller.result(&job);
    assert_eq!(failure["error"]["data"]["code"], "nxdomain", "{failure}");
    assert_eq!(
        failure["error"]["data"]["attempts"],
        Value::Null,
        "{failure}"
    );
}

#[test]
fn what_may_have_run_and_what_somebody_has_to_mend_fails_at_once() {
    let wrong = Authority::new("a stranger").issue(&["127.0.0.1"]);
    let cut = [Handshake, Request, Close];
    let refused = [
        Handshake,
        Request,
        Step::line(r#"{"harp":1,"error":{"type":"auth_error","message":"no"}}"#),
    ];
    for (script, error_type, phase) in [
        (&cut[..], "network_error", json!("acknowledge")),
        (&refused[..], "auth_error", json!(null)),
    ] {
        let host = FakeHost::start_each(&[&answers(), script]);
        let cluster = Cluster::around(&host).start();
        let caller = cluster.caller();
        returns(&caller);
        let answer = caller.result(&caller.call("fake", "p", "[]"));
        assert_eq!(answer["error"]["type"], error_type, "{answer}");
        assert_eq!(answer["error"]["data"]["phase"], phase, "{answer}");
        assert_eq!(host.visits().len(), 2, "{answer}");
    }

    let address = unused_address();
    let cluster = heard_of(address, Cluster::builder());
    let host = FakeHost::start_at(address, &wrong, rustls::ALL_VERSIONS, &[&answers()]);
    let caller = cluster.caller();
    let answer = caller.result(&caller.call("fake", "p", "[]"));
    assert_eq!(answer["error"]["data"]["code"], "tls", "{answer}");
    assert_eq!(host.visits().len(), 1);
}

#[test]
fn a_host_that_is_not_waited_for_fails_at_once_and_plainly() {
    let address = unused_address();
    let data = json!({"code": "econnrefused", "phase": "connect", "address": address});
    let unheard = Cluster::builder()
        .hosts(0)
        .other_host("fake", address)
        .start();
    let impatient = heard_of(address, Cluster::builder().set("connect_patience", "0"));
    for cluster in [unheard, impatient] {
        let caller = cluster.caller();
        let begun = Instant::now();
        for _ in 0..3 {
            assert_ended(
                &caller.result(&caller.call("fake", "p", "[]")),
                "network_error",
                &data,
            );
        }
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn a_dispatcher_that_stood_still_has_waited_for_no_host() {
    let address = unused_address();
    let cluster = heard_of(address, Cluster::builder().set("connect_patience", "4"));
    let caller = cluster.caller();
    let jobs: Vec<_> = (0..20).map(|_| caller.call("fake", "p", "[]")).collect();
    let _ = cluster.log().wait_for(AWAY);
    cluster.freeze_dispatcher();
    thread::sleep(Duration::from_secs(6));
    // It is back before the dispatcher is.
    let _host = appear(address, &[&answers()]);
    cluster.thaw_dispatcher();
    for job in &jobs {
        assert_eq!(caller.result(job), json!({"result": 1}));
    }
}

/// Cuts each connection off after a while; counts them, and how many there were at once.
fn counting(address: SocketAddr) -> Arc<[AtomicUsize; 3]> {
    let listener = TcpListener::bind(address).unwrap();
    let counts: Arc<[AtomicUsize; 3]> = Arc::default();
    let for_thread = Arc::clone(&counts);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let counts = Arc::clone(&for_thread);
            let mut socket = socket.unwrap();
            thread::spawn(move || {
                let [all, now, most] = &*counts;
                all.fetch_add(1, Ordering::SeqCst);
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let _ = socket.read(&mut [0; 1]);
                thread::sleep(Duration::from_millis(50));
                now.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    counts
}

#[test]
fn one_call_at_a_time_tries_and_the_error_says_how_often_and_how_long() {
    let address = unused_address();
    let cluster = heard_of(address, Cluster::builder().set("connect_patience", "3"));
    let caller = cluster.caller();
    let first = caller.call("fake", "p", "[]");
    let _ = cluster.log().wait_for(AWAY);
    let counts = counting(address);
    let begun = Instant::now();
    let more: Vec<String> = (0..20).map(|_| caller.call("fake", "p", "[]")).collect();
    for job in more.iter().chain([&first]) {
        let answer = caller.result(job);
        let error = &answer["error"];
        assert_eq!(error["type"], "network_error", "{answer}");
        let data = &error["data"];
        assert_eq!(
            keys(data),
            ["address", "attempts", "code", "phase", "seconds"],
            "{answer}"
        );
        assert_eq!(data["seconds"], 3, "{answer}");
        let attempts = data["attempts"].as_u64().unwrap();
        assert!((2..15).contains(&attempts), "{answer}");
        let told = format!("tried {attempts} times in 3 s");
        assert!(
            error["message"].as_str().unwrap().contains(&told),
            "{answer}"
        );
    }
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(3), "{took:?}");
    let [all, _, most] = counts.each_ref().map(|count| count.load(Ordering::SeqCst));
    assert_eq!(most, 1, "{all} attempts");
    assert!(all < 15, "{all} attempts");
}

#[test]
fn cancels_and_limits_hold_while_a_host_is_waited_for() {
    let address = unused_address();
    let mut cluster = heard_of(address, Cluster::builder().set("stop_grace", "0"));
    let caller = cluster.caller();
    let holds = caller.call_with("fake", "p", "[]", QUEUE);
    let behind = caller.call_with("fake", "p", "[]", QUEUE);
    let _ = cluster.log().wait_for(AWAY);
    let begun = Instant::now();
    let silent = caller.call_with("fake", "p", "[]", r#""timeout": 1"#);
    let long = caller.call_with("fake", "p", "[]", r#""max_exec_time": 1"#);
    assert!(caller.cancel(&holds));
    assert_eq!(caller.result(&holds), json!({"cancelled": true}));
    assert!(begun.elapsed() < Duration::from_secs(1), "at once");
    until("the next has its place", || {
        caller.has_started(&behind).then_some(())
    });
    for (job, limit) in [(silent, "timeout"), (long, "max_exec_time")] {
        let data = json!({"limit": limit, "seconds": 1});
        assert_ended(&caller.result(&job), "timeout", &data);
    }
    let confirmed = caller.ask(json!({"harpcaller": 1, "cancel": behind, "confirm": true}));
    assert_eq!(
        confirmed,
        json!({"cancelled": true, "remote": "confirmed"}),
        "the host was never asked"
    );
    let last = caller.call("fake", "p", "[]");
    assert!(caller.has_started(&last));
    cluster.stop_dispatcher();
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "a stop waits for no host"
    );
    cluster.start_dispatcher();
    let _host = appear(address, &[&answers()]);
    assert_eq!(caller.result(&last), json!({"result": 1}));
}
