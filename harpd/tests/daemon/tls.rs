//! TLS: certificates that change while harpd runs, callers' certificates, and sessions that
//! are resumed.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use rustls::{ClientConfig, HandshakeKind, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::host::{AnyCertificate, Caller, Harpd, Host, PATIENCE, client_config, connect, request};

const VERSIONS: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS12, &rustls::version::TLS13];

/// An authority for callers, and a caller's certificate of it.
pub(crate) struct Authority {
    pub(crate) pem: String,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    pub(crate) fn new() -> Authority {
        Authority::until(u64::from(u32::MAX))
    }

    /// Its caller's certificate is good until then, in seconds since the epoch.
    fn until(seconds: u64) -> Authority {
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "callers");
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, key);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new([]).unwrap();
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Authority {
            pem,
            certificate: certificate.der().clone(),
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }

    pub(crate) fn client(&self) -> Arc<ClientConfig> {
        self.client_of(rustls::DEFAULT_VERSIONS)
    }

    /// A client that keeps sessions, and speaks these versions.
    fn client_of(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_client_auth_cert(vec![self.certificate.clone()], self.key.clone_key())
            .unwrap();
        Arc::new(config)
    }
}

fn kind(caller: &Caller) -> HandshakeKind {
    let (_, connection) = caller.stream.get_ref().get_ref();
    connection.handshake_kind().unwrap()
}

fn certificate(caller: &Caller) -> Vec<u8> {
    let (_, connection) = caller.stream.get_ref().get_ref();
    connection.peer_certificates().unwrap()[0].to_vec()
}

/// Calls by this client, which is to succeed.
async fn call(harpd: &Harpd, client: &Arc<ClientConfig>) -> HandshakeKind {
    let mut caller = connect(harpd.address, Arc::clone(client)).await;
    caller.send_line(&request("one", &json!([]))).await;
    assert_eq!(caller.rest().await[1], json!({"result": 1}));
    kind(&caller)
}

#[tokio::test]
async fn files_that_change_are_read_again_without_a_signal() {
    let harpd = Host::new().script("one", "", "echo 1").start();
    let client = client_config();
    let before = certificate(&harpd.connect().await);
    assert_eq!(call(&harpd, &client).await, HandshakeKind::Full);
    // Files that are written anew but are the same end no session.
    for name in ["cert.pem", "key.pem"] {
        let content = std::fs::read_to_string(harpd.host.path(name)).unwrap();
        harpd.host.write(name, &content);
    }
    assert_eq!(call(&harpd, &client).await, HandshakeKind::Resumed);

    harpd.host.write_certificate();
    let renewed = certificate(&harpd.connect().await);
    assert_ne!(renewed, before);
    assert_eq!(call(&harpd, &client).await, HandshakeKind::Full);
    assert_eq!(call(&harpd, &client).await, HandshakeKind::Resumed);

    // Half of a change is told once and changes nothing.
    harpd.host.write("key.pem", "");
    for _ in 0..2 {
        assert_eq!(certificate(&harpd.connect().await), renewed);
    }
    harpd.logged("the last good one stays in force").await;
    let log = format!("{:?}", harpd.log());
    assert_eq!(log.matches("stays in force").count(), 1, "{log}");
    harpd.host.write_certificate();
    assert_ne!(certificate(&harpd.connect().await), renewed);
}

#[tokio::test]
async fn callers_with_certificates_resume_until_the_authorities_change() {
    let known = Authority::new();
    for version in VERSIONS {
        let host = Host::new().script("one", "", "echo 1");
        let file = host.write("callers.pem", &known.pem);
        let harpd = host.set(&format!("client_ca_file = {file:?}")).start();
        let client = known.client_of(&[version]);
        assert_eq!(call(&harpd, &client).await, HandshakeKind::Full);
        // The certificate counts although it is not shown again.
        assert_eq!(call(&harpd, &client).await, HandshakeKind::Resumed);

        harpd.host.write("callers.pem", &Authority::new().pem);
        let answer = match try_connect(&harpd, &client).await {
            Ok(mut caller) => refused(&mut caller).await,
            Err(error) => Err(error),
        };
        assert!(answer.is_err(), "{version:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_session_is_not_resumed_beyond_the_end_of_its_certificate() {
    let since_epoch = SystemTime::UNIX_EPOCH.elapsed().unwrap();
    let known = Authority::until(since_epoch.as_secs() + 3);
    let host = Host::new().script("one", "", "echo 1");
    let file = host.write("callers.pem", &known.pem);
    let harpd = host.set(&format!("client_ca_file = {file:?}")).start();
    let client = known.client();
    assert_eq!(call(&harpd, &client).await, HandshakeKind::Full);
    let until = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < until, "it is good for ever");
        let mut caller = connect(harpd.address, Arc::clone(&client)).await;
        assert_eq!(kind(&caller), HandshakeKind::Resumed);
        if refused(&mut caller).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(SystemTime::UNIX_EPOCH.elapsed().unwrap() >= since_epoch + Duration::from_secs(2));
}

/// Connects; the refusal may come within the handshake.
async fn try_connect(harpd: &Harpd, client: &Arc<ClientConfig>) -> std::io::Result<Caller> {
    let stream = tokio::net::TcpStream::connect(harpd.address).await?;
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let stream = tokio_rustls::TlsConnector::from(Arc::clone(client))
        .connect(name, stream)
        .await?;
    Ok(Caller {
        stream: tokio::io::BufReader::new(stream),
    })
}

/// Sends a good request and reads the answer, which is to fail.
pub(crate) async fn refused(caller: &mut crate::host::Caller) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let line = request("one", &json!([])) + "\n";
    caller.stream.write_all(line.as_bytes()).await?;
    caller.stream.flush().await?;
    let mut answer = String::new();
    caller.stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
