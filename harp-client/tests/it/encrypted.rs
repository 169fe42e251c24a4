//! TLS to the dispatcher, certificates of clients, and tokens.

use std::sync::Arc;
use std::time::Duration;

use harp_client::tls::Fingerprint;
use harp_client::{Error, ErrorKind, HarpCaller, Tls};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::json;
use tempfile::TempDir;

use crate::certificates::{Authority, Identity};
use crate::scripted_dispatcher::{Act, JOB, MODERN, ScriptedDispatcher, reply, request, status};

/// A dispatcher that shows this certificate, and asks clients for one of this CA.
fn server(identity: &Identity, clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(rustls::ALL_VERSIONS)
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            let ca = CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap();
            roots.add(ca).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    builder
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .unwrap()
}

fn asked_twice() -> Vec<Act> {
    [vec![MODERN], status().to_vec(), status().to_vec()].concat()
}

async fn ask_twice(rpc: &HarpCaller) -> Result<(), Error> {
    let job = rpc.job(JOB.parse().unwrap());
    job.status().await?;
    job.status().await?;
    Ok(())
}

/// Asks a dispatcher with this certificate twice, over one connection.
async fn accepted(identity: &Identity, tls: Tls) {
    let dispatcher = ScriptedDispatcher::start_tls(server(identity, None), [asked_twice()]).await;
    let rpc = dispatcher.builder().tls(tls).build().unwrap();
    ask_twice(&rpc).await.unwrap();
    dispatcher.finish().await;
}

async fn refused(config: ServerConfig, tls: Tls) -> String {
    let dispatcher = ScriptedDispatcher::start_tls(config, [asked_twice()]).await;
    let rpc = dispatcher.builder().tls(tls).build().unwrap();
    let error = ask_twice(&rpc).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Communication, "{error}");
    assert!(!error.is_retryable(), "{error}");
    assert!(std::error::Error::source(&error).is_some());
    let text = error.to_string();
    assert!(text.contains("dispatcher 127.0.0.1:"), "{text}");
    text
}

#[tokio::test]
async fn the_certificate_is_judged_as_the_program_says() {
    let authority = Authority::new("one");
    let signed = authority.sign();
    let own = Identity::self_signed();
    let elsewhere = authority.sign_for(&["dispatcher.example.net".to_owned()], |_| ());
    let directory = TempDir::new().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();

    accepted(&signed, Tls::ca_file(&ca)).await;
    accepted(&signed, Tls::ca_pem(&authority.pem)).await;
    let pinned = Tls::fingerprint(Fingerprint::of(&own.certificate));
    accepted(&own, pinned.clone()).await;
    accepted(&own, Tls::accept_any_certificate()).await;
    let named = Tls::ca_file(&ca).server_name("dispatcher.example.net");
    accepted(&elsewhere, named).await;

    let text = refused(server(&own, None), Tls::ca_file(&ca)).await;
    assert!(
        text.contains("phase tls") && text.contains("Tls::fingerprint"),
        "{text}"
    );
    let text = refused(server(&elsewhere, None), Tls::ca_file(&ca)).await;
    assert!(text.contains("set Tls::server_name"), "{text}");
    let text = refused(server(&signed, None), pinned).await;
    assert!(
        text.contains(&Fingerprint::of(&signed.certificate).to_string()),
        "{text}"
    );
}

#[tokio::test]
async fn a_client_shows_its_certificate_where_it_is_wanted() {
    let dispatchers = Authority::new("dispatchers");
    let clients = Authority::new("clients");
    let identity = dispatchers.sign();
    let client = clients.sign();
    let directory = TempDir::new().unwrap();
    let path = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let certificate = path("client.pem", &client.pem);
    let key = path("client.key", &client.key_pem);
    let tls = || Tls::ca_pem(&dispatchers.pem);

    for tls in [
        tls().client_certificate(&certificate, &key),
        tls().client_certificate_pem(&client.pem, &client.key_pem),
    ] {
        let config = server(&identity, Some(&clients));
        let dispatcher = ScriptedDispatcher::start_tls(config, [asked_twice()]).await;
        let rpc = dispatcher.builder().tls(tls).build().unwrap();
        ask_twice(&rpc).await.unwrap();
        dispatcher.finish().await;
    }

    let text = refused(server(&identity, Some(&clients)), tls()).await;
    assert!(text.contains("set Tls::client_certificate"), "{text}");
    let stranger = Authority::new("strangers").sign();
    let wrong = tls().client_certificate_pem(&stranger.pem, &stranger.key_pem);
    let text = refused(server(&identity, Some(&clients)), wrong).await;
    assert!(
        text.contains("does not accept the client's certificate"),
        "{text}"
    );

    // A renewed certificate is used without anybody being told.
    let rpc = {
        let config = server(&identity, Some(&clients));
        let scripts = [vec![], asked_twice()];
        let dispatcher = ScriptedDispatcher::start_tls(config, scripts).await;
        let tls = tls().client_certificate(&certificate, &key);
        path("client.pem", &stranger.pem);
        path("client.key", &stranger.key_pem);
        let rpc = dispatcher.builder().tls(tls).build().unwrap();
        assert!(ask_twice(&rpc).await.is_err());
        path("client.pem", &client.pem);
        path("client.key", &client.key_pem);
        ask_twice(&rpc).await.unwrap();
        dispatcher.finish().await;
        rpc
    };
    drop(rpc);
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named() {
    let client = Identity::self_signed();
    let other = Identity::self_signed();
    let secret = client.key_pem.lines().nth(1).unwrap();
    let builder = || HarpCaller::builder("dispatcher.example.net");
    let any = Tls::accept_any_certificate;
    for (tls, says) in [
        (
            Tls::ca_file("/nowhere/ca.pem"),
            "tls: cannot read /nowhere/ca.pem",
        ),
        (
            Tls::ca_pem("no certificate"),
            "tls: ca_pem: no PEM certificate",
        ),
        (
            any().client_certificate("/nowhere/c.pem", "/nowhere/c.key"),
            "/nowhere/c.pem",
        ),
        (
            any().client_certificate_pem(&client.pem, "nothing"),
            "no PEM private key",
        ),
        (
            any().client_certificate_pem(&client.pem, &other.key_pem),
            "cannot be used",
        ),
        (
            any().server_name("not a name"),
            "server_name \"not a name\"",
        ),
    ] {
        let error = builder().tls(tls).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains(says), "{error}");
        assert!(!format!("{error:?}").contains(secret), "{error:?}");
    }
    let local = HarpCaller::builder("unix:/run/clients").tls(any());
    let error = local.build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.to_string().contains("tls: unix:/run/clients"),
        "{error}"
    );
    let error = builder().token("secret").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().starts_with("token:"), "{error}");
    assert!(error.to_string().contains(".tls("), "{error}");
    builder()
        .token("secret")
        .token_without_tls()
        .build()
        .unwrap();
    builder().token("secret").tls(any()).build().unwrap();
    for near in ["localhost", "127.0.0.2:1", "[::1]:1", "unix:/run/clients"] {
        HarpCaller::builder(near).token("secret").build().unwrap();
    }
    let shown = format!("{:?}", builder().token("secret").token_without_tls());
    assert!(!shown.contains("secret"), "{shown}");
}

fn hello_with_token() -> Act {
    request(json!({"harpcaller": 1, "hello": {"client": "test", "token": "secret"}}))
}

fn greeting(features: &str) -> Act {
    reply(format!(
        r#"{{"harpcaller":1,"server":"harpcallerd/9","features":[{features}]}}"#
    ))
}

#[tokio::test]
async fn a_token_is_in_every_greeting() {
    let greeted = vec![hello_with_token(), greeting(r#""keep_alive","token""#)];
    let odd = [request(json!({"harpcaller": 1, "odd": 1})), reply("{}")];
    let dispatcher = ScriptedDispatcher::start([
        [greeted.clone(), status().to_vec()].concat(),
        [greeted, odd.to_vec()].concat(),
    ])
    .await;
    let rpc = dispatcher.builder().token("secret").build().unwrap();
    rpc.job(JOB.parse().unwrap()).status().await.unwrap();
    rpc.request(&json!({"harpcaller": 1, "odd": 1}))
        .await
        .unwrap();
    dispatcher.finish().await;
}

#[tokio::test]
async fn without_tokens_at_the_other_end_nothing_is_asked() {
    let older = vec![
        hello_with_token(),
        greeting(r#""keep_alive""#),
        Act::AwaitEnd,
    ];
    let original = || vec![hello_with_token()];
    let dispatcher = ScriptedDispatcher::start([older, original(), original()]).await;
    let rpc = dispatcher.builder().token("secret").build().unwrap();
    for _ in 0..2 {
        let error = rpc.host("h").call("p", ()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("`token`"), "{error}");
    }
    dispatcher.finish().await;

    let refusal = reply(r#"{"harpcaller":1,"error":{"type":"unauthorized","message":"m"}}"#);
    let dispatcher = ScriptedDispatcher::start([vec![hello_with_token(), refusal]]).await;
    let rpc = dispatcher.builder().token("secret").build().unwrap();
    let error = rpc.host("h").call("p", ()).await.unwrap_err();
    assert_eq!(error.wire_type(), Some("unauthorized"));
    assert!(!error.is_retryable());
    dispatcher.finish().await;
}

#[tokio::test]
async fn tls_on_one_side_alone_is_told() {
    // The client speaks TLS to a plain listener.
    let dispatcher =
        ScriptedDispatcher::start([vec![Act::Bytes(b"{\"error\":1}\n".to_vec())]]).await;
    let tls = Tls::accept_any_certificate();
    let rpc = dispatcher.builder().tls(tls.clone()).build().unwrap();
    let text = ask_twice(&rpc).await.unwrap_err().to_string();
    assert!(
        text.contains("phase tls") && text.contains("not its plain port"),
        "{text}"
    );

    // And the other way round.
    let config = server(&Identity::self_signed(), None);
    let dispatcher = ScriptedDispatcher::start_tls(config, [vec![]]).await;
    let text = ask_twice(&dispatcher.client())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("phase tls") && text.contains(".tls("),
        "{text}"
    );

    // Nobody says anything.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rpc = HarpCaller::builder(silent.local_addr().unwrap().to_string())
        .tls(tls)
        .connect_timeout(Duration::from_millis(300))
        .build()
        .unwrap();
    let text = ask_twice(&rpc).await.unwrap_err().to_string();
    assert!(
        text.contains("phase tls: no TLS handshake in time"),
        "{text}"
    );
}

#[tokio::test]
async fn an_encrypted_connection_that_died_while_idle_is_replaced() {
    let authority = Authority::new("one");
    let identity = authority.sign();
    let once = || [vec![MODERN], status().to_vec()].concat();
    let dispatcher = ScriptedDispatcher::start_tls(server(&identity, None), [once(), once()]).await;
    let tls = Tls::ca_pem(&authority.pem);
    let rpc = dispatcher.builder().tls(tls).build().unwrap();
    ask_twice(&rpc).await.unwrap();
    dispatcher.finish().await;
}
