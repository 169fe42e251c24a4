//! Which hosts are trusted (daemon specification, "How a host's certificate is judged").

use std::net::ToSocketAddrs;

use harp_tests::certificates::{Authority, HostCertificate};
use harp_tests::{ACKNOWLEDGE, Caller, Cluster, ClusterBuilder, FakeHost, Step};
use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};

use crate::assertions::{assert_ended, keys};

const ALL: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A host that returns null to everybody who accepts its certificate.
fn host(certificate: &HostCertificate) -> FakeHost {
    host_of(certificate, &ALL)
}

fn host_of(
    certificate: &HostCertificate,
    versions: &[&'static SupportedProtocolVersion],
) -> FakeHost {
    let script = [
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE,
        Step::line(r#"{"result":null}"#),
    ];
    FakeHost::start_with(certificate, versions, &[&script])
}

#[track_caller]
fn assert_accepted(caller: Caller, host: &str) {
    assert_eq!(
        caller.result(&caller.call(host, "p", "[]")),
        json!({"result": null}),
        "{host}"
    );
}

/// The call fails in the handshake, before the host has got the password.
#[track_caller]
fn assert_not_trusted(caller: Caller, name: &str, host: &FakeHost) {
    let before: usize = host.visits().iter().map(|visit| visit.lines.len()).sum();
    let answer = caller.result(&caller.call(name, "p", "[]"));
    let data = json!({"code": "tls", "phase": "tls", "address": host.address()});
    assert_ended(&answer, "network_error", &data);
    println!("{name}: {}", answer["error"]["message"]);
    let after: usize = host.visits().iter().map(|visit| visit.lines.len()).sum();
    assert_eq!(before, after, "{name}: no request was sent");
}

/// A registry line with further keys.
fn entry(name: &str, host: &FakeHost, more: &Value) -> Value {
    let mut entry = json!({
        "hostname": name, "address": "127.0.0.1", "port": host.address().port(),
        "credentials": {"user": "u", "password": "p"},
    });
    for key in keys(more) {
        entry[key] = more[key].clone();
    }
    entry
}

fn without_hosts() -> ClusterBuilder {
    Cluster::builder().hosts(0)
}

#[test]
fn under_a_ca_file_the_signature_the_dates_and_the_name_count() {
    let authority = Authority::shared();
    let good = host(&authority.issue(&["127.0.0.1"]));
    let other_ca = host(&Authority::new("another").issue(&["127.0.0.1"]));
    let self_signed = host(&HostCertificate::self_signed(&["127.0.0.1"]));
    let expired = host(&authority.issue_expired(&["127.0.0.1"]));
    let other_address = host(&authority.issue(&["127.0.0.2"]));
    let named = host(&authority.issue(&["web01.example.net"]));
    // An address is an iPAddress, not a dNSName; a name is a dNSName.
    let both = host(&authority.issue(&["127.0.0.1", "*.example.net"]));
    let tls_name = json!({"tls_name": "web01.example.net"});
    let cluster = without_hosts()
        .fake_host("good", &good)
        .fake_host("other CA", &other_ca)
        .fake_host("self-signed", &self_signed)
        .fake_host("expired", &expired)
        .fake_host("other address", &other_address)
        .fake_host("named", &named)
        .entry(entry("named as expected", &named, &tls_name))
        .entry(entry("named otherwise", &good, &tls_name))
        .fake_host("both", &both)
        .entry(entry("both as expected", &both, &tls_name))
        .start();
    let caller = cluster.caller();
    for name in ["good", "named as expected", "both", "both as expected"] {
        assert_accepted(caller, name);
    }
    for (name, host) in [
        ("other CA", &other_ca),
        ("self-signed", &self_signed),
        ("expired", &expired),
        ("other address", &other_address),
        ("named", &named),
        ("named otherwise", &good),
    ] {
        assert_not_trusted(caller, name, host);
    }
}

#[test]
fn a_host_may_be_addressed_by_name() {
    if ("localhost", 0).to_socket_addrs().is_err() {
        println!("skipped: this machine has no localhost");
        return;
    }
    let named = host(&Authority::shared().issue(&["localhost"]));
    let numbered = host(&Authority::shared().issue(&["127.0.0.1"]));
    let address = json!({"address": "localhost"});
    let cluster = without_hosts()
        .entry(entry("named", &named, &address))
        .entry(entry("numbered", &numbered, &address))
        .start();
    let caller = cluster.caller();
    // Also where the name has an IPv6 address, at which nobody listens.
    assert_accepted(caller, "named");
    let answer = caller.result(&caller.call("numbered", "p", "[]"));
    assert_eq!(answer["error"]["data"]["code"], "tls", "{answer}");
    let port = numbered.address().port();
    assert_eq!(
        answer["error"]["data"]["address"],
        format!("localhost:{port}")
    );
}

#[test]
fn verify_hostname_turns_off_the_name_and_nothing_else() {
    let authority = Authority::shared();
    let other_address = host(&authority.issue(&["127.0.0.2"]));
    let other_ca = host(&Authority::new("another").issue(&["127.0.0.1"]));
    let expired = host(&authority.issue_expired(&["127.0.0.1"]));
    let cluster = without_hosts()
        .set("verify_hostname", "false")
        .fake_host("other address", &other_address)
        .fake_host("other CA", &other_ca)
        .fake_host("expired", &expired)
        .start();
    let caller = cluster.caller();
    assert_accepted(caller, "other address");
    assert_not_trusted(caller, "other CA", &other_ca);
    assert_not_trusted(caller, "expired", &expired);
}

#[test]
fn without_trust_files_any_certificate_is_accepted_with_a_warning() {
    let self_signed = host(&HostCertificate::self_signed(&["wherever"]));
    let cluster = without_hosts()
        .set("ca_file", "")
        .fake_host("any", &self_signed)
        .start();
    assert_accepted(cluster.caller(), "any");
    let warned = cluster.log().text();
    assert!(
        warned.contains("WARN") && warned.contains("ca_file"),
        "{warned}"
    );
}

#[test]
fn a_known_certificate_is_good_as_it_is() {
    let self_signed = HostCertificate::self_signed(&["nothing in particular"]);
    let expired = Authority::new("forgotten").issue_expired(&["127.0.0.9"]);
    let known = [host(&self_signed), host(&expired)];
    let unknown = host(&HostCertificate::self_signed(&["127.0.0.1"]));
    let signed = host(&Authority::shared().issue(&["127.0.0.1"]));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known.pem");
    std::fs::write(&file, format!("{}{}", self_signed.pem, expired.pem)).unwrap();
    for with_ca in [false, true] {
        let mut cluster = without_hosts()
            .set("known_certs_file", &json!(file).to_string())
            .fake_host("self-signed", &known[0])
            .fake_host("expired", &known[1])
            .fake_host("unknown", &unknown)
            .fake_host("signed", &signed);
        if !with_ca {
            cluster = cluster.set("ca_file", "");
        }
        let cluster = cluster.start();
        let caller = cluster.caller();
        assert_accepted(caller, "self-signed");
        assert_accepted(caller, "expired");
        assert_not_trusted(caller, "unknown", &unknown);
        if with_ca {
            assert_accepted(caller, "signed");
        } else {
            assert_not_trusted(caller, "signed", &signed);
        }
    }
}

#[test]
fn a_change_of_the_trust_files_holds_for_the_next_call() {
    let certificate = HostCertificate::self_signed(&["127.0.0.1"]);
    for versions in [&[&TLS12][..], &[&TLS13]] {
        let host = host_of(&certificate, versions);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("known.pem");
        let cluster = without_hosts()
            .set("ca_file", "")
            .set("known_certs_file", &json!(file).to_string())
            .fake_host("fake", &host)
            .start();
        let caller = cluster.caller();
        // The file may be missing.
        assert_not_trusted(caller, "fake", &host);
        std::fs::write(&file, &certificate.pem).unwrap();
        // Often enough for a resumed session.
        for _ in 0..3 {
            assert_accepted(caller, "fake");
        }
        std::fs::write(&file, "").unwrap();
        assert_not_trusted(caller, "fake", &host);
        std::fs::write(&file, &certificate.pem).unwrap();
        assert_accepted(caller, "fake");
        std::fs::remove_file(&file).unwrap();
        assert_not_trusted(caller, "fake", &host);
    }
}

#[test]
fn a_fingerprint_decides_alone() {
    let pinned = HostCertificate::self_signed(&["whatever"]);
    let fingerprint = pinned.fingerprint();
    let colons: Vec<&str> = fingerprint
        .as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).unwrap())
        .collect();
    let colons = colons.join(":").to_uppercase();
    let right = host(&pinned);
    // Good under the CA, but not the one that was pinned.
    let wrong = host(&Authority::shared().issue(&["127.0.0.1"]));
    let cluster = without_hosts()
        .entry(entry("right", &right, &json!({"fingerprint": fingerprint})))
        .entry(entry(
            "with colons",
            &right,
            &json!({"fingerprint": colons}),
        ))
        .entry(entry("wrong", &wrong, &json!({"fingerprint": fingerprint})))
        .entry(entry("not pinned", &wrong, &json!({})))
        .start();
    let caller = cluster.caller();
    for name in ["right", "with colons", "not pinned"] {
        for _ in 0..2 {
            assert_accepted(caller, name);
        }
    }
    assert_not_trusted(caller, "wrong", &wrong);
}

#[test]
fn both_versions_of_tls_are_spoken_and_sessions_resumed() {
    for (version, name) in [(&TLS12, "TLSv1_2"), (&TLS13, "TLSv1_3")] {
        let host = host_of(&Authority::shared().issue(&["127.0.0.1"]), &[version]);
        let cluster = without_hosts().fake_host("fake", &host).start();
        let caller = cluster.caller();
        for _ in 0..3 {
            assert_accepted(caller, "fake");
        }
        let visits = host.visits();
        for visit in &visits {
            assert_eq!(visit.tls_version.as_deref(), Some(name));
        }
        // Later calls are spared the costly part of the handshake.
        let resumed: Vec<bool> = visits.iter().map(|visit| visit.resumed).collect();
        assert_eq!(resumed, [false, true, true], "{name}");
    }
}

#[test]
fn the_real_host_daemon_is_judged_alike() {
    let certificate = HostCertificate::self_signed(&["127.0.0.1"]);
    let cluster = Cluster::builder()
        .host_certificate(certificate.clone())
        .start();
    let caller = cluster.caller();
    let answer = caller.result(&caller.call("web01", "echo", "[]"));
    assert_eq!(answer["error"]["data"]["code"], "tls", "{answer}");

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("known.pem");
    std::fs::write(&file, &certificate.pem).unwrap();
    let cluster = Cluster::builder()
        .host_certificate(certificate)
        .set("known_certs_file", &json!(file).to_string())
        .start();
    let caller = cluster.caller();
    assert_eq!(
        caller.result(&caller.call("web01", "echo", "[]")),
        json!({"result": []})
    );
}
