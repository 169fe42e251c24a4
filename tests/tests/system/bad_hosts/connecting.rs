//! Hosts that fail before they have acknowledged the call.

use std::time::Duration;

use harp_tests::{ACKNOWLEDGE, Cluster, FakeHost, Step, refusing_address, unanswering_address};
use serde_json::json;

use super::{judge, network, text};
use crate::assertions::assert_ended;

use Step::{Handshake, Hang, Request, Reset};

#[test]
fn hanging_before_the_acknowledgement_runs_into_connect_timeout() {
    judge(vec![
        network("before TLS", vec![Hang], "tls", "etimedout"),
        network(
            "after TLS",
            vec![Handshake, Hang],
            "acknowledge",
            "etimedout",
        ),
        network(
            "after the request",
            vec![Handshake, Request, Hang],
            "acknowledge",
            "etimedout",
        ),
        network(
            "in the acknowledgement",
            vec![Handshake, Request, text(r#"{"harp":1,"#), Hang],
            "acknowledge",
            "etimedout",
        ),
    ]);
}

#[test]
fn a_host_that_does_not_speak_tls_is_found_out() {
    judge(vec![
        network(
            "plain harp",
            vec![ACKNOWLEDGE, Step::line(r#"{"result":1}"#), Hang],
            "tls",
            "tls",
        ),
        network(
            "plain text",
            vec![text("220 smtp.example ESMTP ready\r\n"), Hang],
            "tls",
            "tls",
        ),
        network(
            "plain noise",
            vec![Step::SendForever("nonsense ".into())],
            "tls",
            "tls",
        ),
    ]);
}

#[test]
fn a_host_that_does_not_read_the_request_runs_into_connect_timeout() {
    let big = format!("[\"{}\"]", "x".repeat(12 << 20));
    let hosts = [
        (FakeHost::start(&[Handshake, Step::Pause]), "etimedout"),
        (FakeHost::start(&[Handshake, Reset]), "econnreset"),
    ];
    for (host, code) in hosts {
        let cluster = Cluster::around(&host).set("connect_timeout", "1").start();
        let caller = cluster.caller();
        let answer = caller.result(&caller.call("fake", "p", &big));
        let data = json!({"code": code, "phase": "request", "address": host.address()});
        assert_ended(&answer, "network_error", &data);
        host.go_on();
    }
}

#[test]
fn all_steps_up_to_the_acknowledgement_share_one_connect_timeout() {
    let slow = Duration::from_millis(600);
    let script = [
        Step::Dawdle(slow),
        Handshake,
        Request,
        Step::Dawdle(slow),
        ACKNOWLEDGE,
        Step::Dawdle(slow),
        Step::line(r#"{"result":null}"#),
    ];
    for (limit, expected) in [("1", "etimedout"), ("3", "")] {
        let host = FakeHost::start(&script);
        let cluster = Cluster::around(&host).set("connect_timeout", limit).start();
        let caller = cluster.caller();
        let answer = caller.result(&caller.call("fake", "p", "[]"));
        if expected.is_empty() {
            assert_eq!(answer, json!({"result": null}));
        } else {
            let data = json!({"code": expected, "phase": "acknowledge", "address": host.address()});
            assert_ended(&answer, "network_error", &data);
        }
    }
}

#[test]
fn connections_that_do_not_come_about() {
    let refusing = refusing_address();
    let (unanswering, _filled) = unanswering_address();
    let cluster = Cluster::builder()
        .hosts(0)
        .set("connect_timeout", "1")
        .other_host("refusing", refusing)
        .other_host("unanswering", unanswering)
        .entry(json!({
            "hostname": "nameless", "address": "no such name", "port": 4306,
            "credentials": {"user": "u", "password": "p"},
        }))
        .start();
    let caller = cluster.caller();
    for (host, code, phase, address) in [
        ("refusing", "econnrefused", "connect", refusing.to_string()),
        (
            "unanswering",
            "etimedout",
            "connect",
            unanswering.to_string(),
        ),
        (
            "nameless",
            "nxdomain",
            "resolve",
            "no such name:4306".to_owned(),
        ),
    ] {
        let answer = caller.result(&caller.call(host, "p", "[]"));
        let data = json!({"code": code, "phase": phase, "address": address});
        assert_ended(&answer, "network_error", &data);
    }
}
