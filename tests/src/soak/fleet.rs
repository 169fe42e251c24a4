//! The hosts that are called, most of them broken, and how a call of each may end.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::certificates::HostCertificate;
use crate::cluster::{PASSWORD, USER};
use crate::fake_host::{ACKNOWLEDGE, ACKNOWLEDGE_STREAM, FakeHost, Step};
use crate::loopback::refusing_address;
use crate::proxy::{Proxy, Way};

/// A kind of call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// What the report calls it.
    pub(super) name: &'static str,
    pub(super) host: &'static str,
    pub(super) procedure: &'static str,
    /// Its arguments, JSON text.
    pub(super) arguments: &'static str,
    /// Further members of the request, JSON text.
    pub(super) more: &'static str,
    /// Whether it ends soon by itself, so that others may wait for it in a queue.
    pub(super) is_short: bool,
    /// The names of the outcomes that it may have, beside that of a cancel.
    pub(super) ends: &'static [&'static str],
}

const fn kind(host: &'static str, ends: &'static [&'static str]) -> Kind {
    Kind {
        name: host,
        host,
        procedure: "p",
        arguments: "[]",
        more: "",
        is_short: true,
        ends,
    }
}

const fn of_harpd(
    procedure: &'static str,
    arguments: &'static str,
    ends: &'static [&'static str],
) -> Kind {
    Kind {
        name: procedure,
        procedure,
        arguments,
        ..kind("web01", ends)
    }
}

/// All kinds. How often one comes is how often it stands here.
pub(super) const KINDS: &[Kind] = &[
    kind("good", &["result"]),
    kind("good", &["result"]),
    kind("good", &["result"]),
    kind("streaming", &["result"]),
    kind("streaming", &["result"]),
    kind("refusing", &["network_error"]),
    kind("resetting", &["network_error"]),
    kind("breaking-off", &["network_error"]),
    kind("gibberish", &["protocol_error"]),
    kind("unsigned", &["network_error"]),
    kind("moving", &["result", "unknown_host"]),
    Kind {
        more: r#","timeout":1"#,
        is_short: false,
        ..kind("silent", &["timeout"])
    },
    Kind {
        // Each byte is a sign of life, so the limit of the whole ends it; or the host, which
        // closes after 4 s, where the dispatcher stood still meanwhile and puts limits off.
        more: r#","timeout":1,"max_exec_time":2"#,
        is_short: false,
        ..kind("dripping", &["timeout", "network_error"])
    },
    Kind {
        is_short: false,
        ..kind("stalling", &["network_error"])
    },
    Kind {
        is_short: false,
        ..kind("endless", &["overloaded"])
    },
    Kind {
        // The way there is cut now and then, and its calls go on.
        name: "cut off",
        procedure: STEADY.0,
        is_short: false,
        ..kind("cut", &["result"])
    },
    of_harpd("echo", r#"{"a":[1,2,3]}"#, &["result"]),
    of_harpd("count", r#"["50"]"#, &["result"]),
    of_harpd("fail", r#"["3","no"]"#, &["exception"]),
    Kind {
        more: r#","max_exec_time":1"#,
        is_short: false,
        ..of_harpd("busy", "[]", &["timeout"])
    },
    Kind {
        more: r#","timeout":1"#,
        is_short: false,
        ..of_harpd("silent", "[]", &["timeout"])
    },
    Kind {
        name: "no such procedure",
        ..of_harpd("nothing", "[]", &["no_such_procedure"])
    },
];

/// The hosts that are no daemons. They serve until they are dropped.
#[derive(Debug)]
pub(super) struct Fleet {
    hosts: Vec<(&'static str, FakeHost)>,
    refusing: SocketAddr,
    /// The way to a harpd.
    way: Proxy,
}

impl Fleet {
    pub(super) fn start(harpd: &Value) -> Fleet {
        let stream = || Step::line(r#"{"stream":{"n":1234567890}}"#);
        let result = || Step::line(r#"{"result":7}"#);
        let begin = [Step::Handshake, Step::Request];
        let host = |steps: Vec<Step>| FakeHost::start(&[&begin[..], &steps].concat());
        let mut streaming = vec![ACKNOWLEDGE_STREAM];
        for _ in 0..20 {
            streaming.extend([stream(), Step::Dawdle(Duration::from_millis(2))]);
        }
        streaming.push(result());
        let mut dripping = vec![ACKNOWLEDGE_STREAM];
        for byte in ["{", "\"", "s", "t", "r", "e", "a", "m"] {
            dripping.push(Step::Send(byte.into()));
            dripping.push(Step::Dawdle(Duration::from_millis(500)));
        }
        let stranger = HostCertificate::self_signed(&["127.0.0.1"]);
        let unsigned = FakeHost::start_with(&stranger, rustls::ALL_VERSIONS, &[&begin]);
        let hosts = vec![
            ("good", host(vec![ACKNOWLEDGE, result()])),
            ("streaming", host(streaming)),
            (
                "resetting",
                host(vec![ACKNOWLEDGE_STREAM, stream(), Step::Reset]),
            ),
            (
                "breaking-off",
                host(vec![ACKNOWLEDGE_STREAM, stream(), Step::CloseSilently]),
            ),
            ("gibberish", host(vec![Step::line("what?")])),
            ("unsigned", unsigned),
            ("moving", host(vec![ACKNOWLEDGE, result()])),
            ("silent", host(vec![ACKNOWLEDGE, Step::Hang])),
            ("dripping", host(dripping)),
            ("stalling", FakeHost::start(&[Step::Hang])),
            (
                "endless",
                host(vec![
                    ACKNOWLEDGE_STREAM,
                    Step::SendForever("{\"stream\":{\"n\":1234567890}}\n".into()),
                ]),
            ),
        ];
        Fleet {
            hosts,
            refusing: refusing_address(),
            way: Proxy::to(address_of(harpd)),
        }
    }

    /// Cuts the way to the harpd once somebody has come over it, and lets nobody come for a
    /// while.
    pub(super) fn cut(&self, time: Duration) {
        // One that was never heard of would not be tried again.
        if self.way.taken() > 1 {
            self.way.set(Way::Closed);
            thread::sleep(time);
            self.way.set(Way::Open);
        }
    }

    /// The lines of the registry that are always there.
    pub(super) fn entries(&self) -> Vec<Value> {
        let hosts = self
            .hosts
            .iter()
            .map(|(name, host)| (*name, host.address()));
        let hosts = hosts.filter(|(name, _)| *name != "moving");
        let all = hosts.chain([("refusing", self.refusing), ("cut", self.way.address())]);
        all.map(|(name, address)| entry(name, address)).collect()
    }

    /// The line of the host that comes and goes.
    pub(super) fn moving(&self) -> Value {
        let moving = self.hosts.iter().find(|(name, _)| *name == "moving");
        let (name, host) = moving.expect("one of the hosts");
        entry(name, host.address())
    }
}

/// A procedure that takes a second for its packets.
pub(super) const STEADY: (&str, &str, &str) = (
    "steady",
    "output = 'json-lines'",
    "for number in 0 1 2 3 4 5 6 7 8 9; do sleep 0.1; echo $number; done",
);

fn address_of(entry: &Value) -> SocketAddr {
    let address = entry["address"].as_str().unwrap_or_default();
    let address = format!("{address}:{}", entry["port"]);
    address.parse().expect("an address of the registry")
}

/// A line of the registry.
pub(super) fn entry(name: &str, address: SocketAddr) -> Value {
    json!({
        "hostname": name,
        "address": address.ip(),
        "port": address.port(),
        "credentials": {"user": USER, "password": PASSWORD},
    })
}
