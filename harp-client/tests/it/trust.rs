//! Which certificates a host is trusted with, and for how long.

use std::net::ToSocketAddrs;
use std::path::PathBuf;
use std::time::Duration;

use harp_client::direct::{Connection, Endpoint, Event, HostError, Limits};
use harp_client::tls::{Fingerprint, Trust, TrustError, TrustFiles};
use harp_proto::host::Request;
use rustls::HandshakeKind;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::certificates::{Authority, Identity};
use crate::scripted_host::{ScriptedHost, Seen, Step};

const RSA_1024: &str = include_str!("fixtures/rsa1024.pem");
const VERSION_1: &str = include_str!("fixtures/v1.pem");

/// A directory with a CA file and a file of known certificates.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> Files {
        Files {
            directory: TempDir::new().unwrap(),
        }
    }

    fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    fn known(&self) -> PathBuf {
        self.directory.path().join("known.pem")
    }

    fn write_ca(&self, pem: &str) -> &Files {
        std::fs::write(self.ca(), pem).unwrap();
        self
    }

    fn write_known(&self, pem: &str) -> &Files {
        std::fs::write(self.known(), pem).unwrap();
        self
    }

    fn trust_ca(&self, verify_hostname: bool) -> Trust {
        Trust::new(TrustFiles {
            ca_file: Some(self.ca()),
            known_certs_file: None,
            verify_hostname,
        })
        .unwrap()
    }

    fn trust_known(&self) -> Trust {
        Trust::new(TrustFiles {
            ca_file: None,
            known_certs_file: Some(self.known()),
            verify_hostname: true,
        })
        .unwrap()
    }

    fn trust_both(&self) -> Trust {
        Trust::new(TrustFiles {
            ca_file: Some(self.ca()),
            known_certs_file: Some(self.known()),
            verify_hostname: true,
        })
        .unwrap()
    }
}

fn anything() -> Trust {
    Trust::new(TrustFiles::default()).unwrap()
}

/// A host that answers every call.
async fn host(identity: &Identity) -> ScriptedHost {
    ScriptedHost::start(identity, answer()).await
}

fn answer() -> Vec<Step> {
    vec![
        Step::Request,
        Step::Line(r#"{"harp":1,"stream_result":false}"#.to_owned()),
        Step::Line(r#"{"result":1}"#.to_owned()),
        Step::Close,
    ]
}

async fn call(endpoint: &Endpoint, trust: &Trust) -> Result<(), HostError> {
    let deadline = Instant::now() + Duration::from_secs(20);
    let connection = Connection::open(endpoint, trust, Limits::default(), deadline).await?;
    let request = Request {
        procedure: "p".to_owned(),
        arguments: "[]".parse().unwrap(),
        user: "u".to_owned(),
        password: "".into(),
    };
    let mut call = connection.request(&request, deadline).await?;
    assert!(matches!(call.next().await, Ok(Event::End(_))));
    Ok(())
}

/// Calls a host and expects it to be refused for its certificate.
async fn refused(endpoint: &Endpoint, trust: &Trust) -> String {
    let failure = call(endpoint, trust).await.unwrap_err().to_failure();
    assert_eq!(failure.error_type, "network_error");
    let data: serde_json::Value = failure.data.unwrap().decode().unwrap();
    assert_eq!(data["code"], "tls", "{}", failure.message);
    assert_eq!(data["phase"], "tls", "{}", failure.message);
    failure.message
}

#[tokio::test]
async fn with_neither_file_any_certificate_will_do() {
    let trust = anything();
    assert!(trust.accepts_anything());
    let host = host(&Identity::self_signed()).await;
    call(&host.endpoint(), &trust).await.unwrap();
}

#[tokio::test]
async fn the_handshake_signature_is_checked_under_every_rule() {
    let own = Identity::self_signed();
    let stolen = Identity::stolen(&own.pem);
    let files = Files::new();
    files.write_known(&own.pem);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let host = ScriptedHost::speaking(&[version], &stolen, answer()).await;
        let mut pinned = host.endpoint();
        pinned.fingerprint = Some(Fingerprint::of(&own.certificate));
        for (endpoint, trust) in [
            (host.endpoint(), anything()),
            (host.endpoint(), files.trust_known()),
            (pinned, anything()),
        ] {
            let message = refused(&endpoint, &trust).await;
            assert!(message.contains("does not belong"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_ca_vouches_for_its_hosts() {
    let authority = Authority::new("one");
    let files = Files::new();
    files.write_ca(&authority.pem);
    let trust = files.trust_ca(true);
    assert!(!trust.accepts_anything());
    let signed = host(&authority.sign()).await;
    call(&signed.endpoint(), &trust).await.unwrap();

    let other = host(&Authority::new("other").sign()).await;
    let message = refused(&other.endpoint(), &trust).await;
    assert!(message.contains("no CA of ca_file has signed"), "{message}");

    let namesake = host(&Authority::new("one").sign()).await;
    refused(&namesake.endpoint(), &trust).await;

    let expired = authority.sign_for(&["127.0.0.1".to_owned()], |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let message = refused(&host(&expired).await.endpoint(), &trust).await;
    assert!(message.contains("out of date"), "{message}");
}

#[tokio::test]
async fn a_ca_file_with_a_self_signed_certificate_says_what_to_do() {
    let identity = Identity::self_signed_authority();
    let files = Files::new();
    files.write_ca(&identity.pem);
    let host = host(&identity).await;
    let message = refused(&host.endpoint(), &files.trust_ca(true)).await;
    assert!(message.contains("add it to known_certs_file"), "{message}");

    files.write_known(&identity.pem);
    call(&host.endpoint(), &files.trust_both()).await.unwrap();
}

#[tokio::test]
async fn the_name_is_that_of_subject_alt_name() {
    let authority = Authority::new("one");
    let files = Files::new();
    files.write_ca(&authority.pem);
    let strict = files.trust_ca(true);
    let lenient = files.trust_ca(false);

    let other_name = authority.sign_for(&["web01.example.net".to_owned()], |params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "127.0.0.1");
    });
    let other = host(&other_name).await;
    let message = refused(&other.endpoint(), &strict).await;
    assert!(message.contains("web01.example.net"), "{message}");
    assert!(message.contains("tls_name"), "{message}");
    call(&other.endpoint(), &lenient).await.unwrap();

    let mut named = other.endpoint();
    named.tls_name = Some("web01.example.net".to_owned());
    call(&named, &strict).await.unwrap();
    named.tls_name = Some("web02.example.net".to_owned());
    refused(&named, &strict).await;
    named.tls_name = Some("not a name".to_owned());
    let message = refused(&named, &lenient).await;
    assert!(message.contains("neither a DNS name"), "{message}");

    if ("localhost", 0).to_socket_addrs().is_ok() {
        let mut by_name = host(&authority.sign()).await.endpoint();
        by_name.address = "localhost".to_owned();
        call(&by_name, &strict).await.unwrap();
    } else {
        println!("skipped, a certificate for a name: this machine has no localhost");
    }

    // verify_hostname = false ignores the name and nothing else.
    let unsigned = host(&Authority::new("other").sign()).await;
    refused(&unsigned.endpoint(), &lenient).await;
}

#[tokio::test]
async fn a_known_certificate_is_good_as_it_is() {
    let authority = Authority::new("gone");
    let odd = authority.sign_for(&["elsewhere".to_owned()], |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let own = Identity::self_signed_authority();
    let files = Files::new();
    files.write_known(&format!("# the hosts\n{}\n{}", odd.pem, own.pem));
    let trust = files.trust_known();
    for identity in [&odd, &own] {
        call(&host(identity).await.endpoint(), &trust)
            .await
            .unwrap();
    }
    let stranger = Identity::self_signed();
    let message = refused(&host(&stranger).await.endpoint(), &trust).await;
    let fingerprint = Fingerprint::of(&stranger.certificate).to_string();
    assert!(message.contains("known_certs_file"), "{message}");
    assert!(message.contains(&fingerprint), "{message}");
}

#[tokio::test]
async fn a_fingerprint_decides_alone() {
    let identity = Identity::self_signed();
    let other = Identity::self_signed();
    let files = Files::new();
    files
        .write_ca(&Authority::new("one").pem)
        .write_known(&other.pem);
    let trust = files.trust_both();

    let mut endpoint = host(&identity).await.endpoint();
    refused(&endpoint, &trust).await;
    endpoint.fingerprint = Some(Fingerprint::of(&identity.certificate));
    call(&endpoint, &trust).await.unwrap();

    let mut endpoint = host(&other).await.endpoint();
    call(&endpoint, &trust).await.unwrap();
    endpoint.fingerprint = Some(Fingerprint::of(&identity.certificate));
    let message = refused(&endpoint, &trust).await;
    assert!(message.contains("fingerprint"), "{message}");
    refused(&endpoint, &anything()).await;
}

#[tokio::test]
async fn weak_certificates_are_refused_under_every_rule() {
    for (pem, says) in [(RSA_1024, "1024 bits"), (VERSION_1, "version 1")] {
        let identity = Identity::stolen(pem);
        let files = Files::new();
        files.write_ca(&Authority::new("one").pem).write_known(pem);
        let host = host(&identity).await;
        let mut pinned = host.endpoint();
        pinned.fingerprint = Some(Fingerprint::of(&identity.certificate));
        for (endpoint, trust) in [
            (host.endpoint(), anything()),
            (host.endpoint(), files.trust_ca(false)),
            (host.endpoint(), files.trust_known()),
            (pinned, anything()),
        ] {
            let message = refused(&endpoint, &trust).await;
            assert!(message.contains(says), "{message}");
            assert!(message.contains("openssl req -x509"), "{message}");
        }
    }
}

#[tokio::test]
async fn a_pinned_certificate_need_not_be_readable() {
    // Dates that are none: a comparison byte for byte has no use for them, and the
    // handshake's signature is checked without.
    let identity = Identity::with_dates_that_are_none();
    let authority = Authority::new("one");
    let files = Files::new();
    files.write_ca(&authority.pem).write_known(&identity.pem);
    let host = host(&identity).await;
    let mut pinned = host.endpoint();
    pinned.fingerprint = Some(Fingerprint::of(&identity.certificate));
    for (endpoint, trust) in [
        (pinned, files.trust_ca(true)),
        (host.endpoint(), files.trust_known()),
        (host.endpoint(), files.trust_both()),
        (host.endpoint(), anything()),
    ] {
        call(&endpoint, &trust).await.unwrap();
    }
    let message = refused(&host.endpoint(), &files.trust_ca(true)).await;
    assert!(message.contains("cannot be read"), "{message}");
}

#[tokio::test]
async fn broken_files_are_named() {
    let files = Files::new();
    let with = |ca: bool, known: bool| {
        Trust::new(TrustFiles {
            ca_file: ca.then(|| files.ca()),
            known_certs_file: known.then(|| files.known()),
            verify_hostname: true,
        })
    };
    assert!(matches!(with(true, false), Err(TrustError::Read { .. })));
    files.write_ca("no certificate here\n");
    assert!(matches!(with(true, false), Err(TrustError::Empty { .. })));
    files.write_ca("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n");
    assert!(matches!(with(true, false), Err(TrustError::Pem { .. })));
    let told = with(true, false).unwrap_err().to_string();
    assert!(
        told.contains("line 2: something that is no base64"),
        "{told}"
    );
    files.write_ca("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let error = with(true, false).unwrap_err();
    assert!(matches!(error, TrustError::NotACa { number: 1, .. }));
    assert!(error.to_string().contains("ca.pem"), "{error}");

    assert!(with(false, true).is_ok(), "known_certs_file may be missing");
    std::fs::create_dir(files.known()).unwrap();
    assert!(matches!(with(false, true), Err(TrustError::Read { .. })));
}

/// Calls until the session is resumed, which shows that one is there to be misused.
async fn until_resumed(host: &mut ScriptedHost, endpoint: &Endpoint, trust: &Trust) {
    for expected in [HandshakeKind::Full, HandshakeKind::Resumed] {
        call(endpoint, trust).await.unwrap();
        assert_eq!(host.seen().await, Seen::Handshake(expected));
        assert!(matches!(host.seen().await, Seen::Request(_)));
    }
}

#[tokio::test]
async fn no_session_outlives_the_decision_that_it_was_opened_under() {
    let authority = Authority::new("one");
    let identity = authority.sign();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        // Taken off the list of known certificates, with a file of the same length.
        let files = Files::new();
        files.write_known(&format!(
            "{}\n{}",
            Identity::self_signed().pem,
            identity.pem
        ));
        let trust = files.trust_known();
        let mut host = ScriptedHost::speaking(&[version], &identity, answer()).await;
        let endpoint = host.endpoint();
        until_resumed(&mut host, &endpoint, &trust).await;
        let without = std::fs::read_to_string(files.known()).unwrap();
        let mut without = without.replace(&identity.pem, "");
        without.push_str(&"#".repeat(identity.pem.len()));
        files.write_known(&without);
        refused(&endpoint, &trust).await;
        // Back again: a new session.
        files.write_known(&identity.pem);
        until_resumed(&mut host, &endpoint, &trust).await;
        std::fs::remove_file(files.known()).unwrap();
        refused(&endpoint, &trust).await;

        // Another CA, put in place by a rename.
        let files = Files::new();
        files.write_ca(&authority.pem);
        let trust = files.trust_ca(true);
        let mut host = ScriptedHost::speaking(&[version], &identity, answer()).await;
        let endpoint = host.endpoint();
        until_resumed(&mut host, &endpoint, &trust).await;
        let new = files.directory.path().join("new.pem");
        std::fs::write(&new, Authority::new("other").pem).unwrap();
        std::fs::rename(&new, files.ca()).unwrap();
        refused(&endpoint, &trust).await;

        // A file that cannot be read any more refuses everybody, until it can be.
        files.write_ca(&authority.pem);
        until_resumed(&mut host, &endpoint, &trust).await;
        std::fs::remove_file(files.ca()).unwrap();
        for _ in 0..2 {
            let message = refused(&endpoint, &trust).await;
            assert!(message.contains("ca.pem"), "{message}");
        }
        files.write_ca(&authority.pem);
        until_resumed(&mut host, &endpoint, &trust).await;

        // Another pin, or another name.
        let trust = anything();
        until_resumed(&mut host, &endpoint, &trust).await;
        let mut pinned = endpoint.clone();
        pinned.fingerprint = Some(Fingerprint::of(b"another"));
        refused(&pinned, &trust).await;
    }
}

#[tokio::test]
async fn files_that_do_not_change_keep_their_sessions() {
    let identity = Identity::self_signed();
    let files = Files::new();
    files.write_known(&identity.pem);
    // Old enough not to be looked at twice.
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    let file = std::fs::File::options()
        .write(true)
        .open(files.known())
        .unwrap();
    file.set_modified(old).unwrap();
    let trust = files.trust_known();
    let mut host = host(&identity).await;
    let endpoint = host.endpoint();
    until_resumed(&mut host, &endpoint, &trust).await;

    // A touched file is a change, too, though its text has not changed.
    file.set_modified(old + Duration::from_secs(1)).unwrap();
    until_resumed(&mut host, &endpoint, &trust).await;
}
