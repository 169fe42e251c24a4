//! Direct calls.

use futures_util::TryStreamExt;
use harp_client::tls::Fingerprint;
use harp_client::{DirectCall, Error, ErrorKind, HarpServer, HarpServerBuilder, Outcome};

use crate::certificates::{Authority, Identity};
use crate::scripted_host::{ScriptedHost, Seen, Step};

fn line(text: &str) -> Step {
    Step::Line(text.to_owned())
}

async fn host(identity: &Identity, lines: &[&str]) -> ScriptedHost {
    let mut script = vec![Step::Request];
    script.extend(lines.iter().map(|text| line(text)));
    script.push(Step::AwaitEnd);
    ScriptedHost::start(identity, script).await
}

fn builder(host: &ScriptedHost) -> HarpServerBuilder {
    HarpServer::builder("127.0.0.1", "u", "secret").port(host.endpoint().port)
}

async fn call(host: &ScriptedHost) -> Result<DirectCall, Error> {
    let server = builder(host).accept_any_certificate().build().unwrap();
    server.call("p", ("a",)).await
}

const ACKNOWLEDGED: &str = r#"{"harp":1,"stream_result":true}"#;

#[tokio::test]
async fn packets_and_the_end() {
    let lines = [
        ACKNOWLEDGED,
        r#"{"stream":1}"#,
        r#"{"stream":2}"#,
        r#"{"result":3}"#,
    ];
    let mut host = host(&Identity::self_signed(), &lines).await;
    let mut call = call(&host).await.unwrap();
    assert!(call.streams());
    let packets: Vec<_> = (&mut call).try_collect().await.unwrap();
    assert_eq!(packets, ["1".parse().unwrap(), "2".parse().unwrap()]);
    assert_eq!(
        call.outcome(),
        Some(&Outcome::Returned("3".parse().unwrap()))
    );
    assert!(call.next().await.is_none());
    assert_eq!(call.get::<u8>().await.unwrap(), 3);

    assert!(matches!(host.seen().await, Seen::Handshake(_)));
    let Seen::Request(request) = host.seen().await else {
        panic!("no request");
    };
    assert!(request.contains(r#""arguments":["a"]"#), "{request}");
}

#[tokio::test]
async fn dropping_cancels() {
    let mut host = host(&Identity::self_signed(), &[ACKNOWLEDGED]).await;
    let call = call(&host).await.unwrap();
    drop(call);
    host.seen().await;
    host.seen().await;
    assert!(matches!(host.seen().await, Seen::Gone | Seen::CloseNotify));
}

#[tokio::test]
async fn errors_of_every_kind() {
    let exception = r#"{"exception":{"type":"E","message":"m"}}"#;
    let lines = [ACKNOWLEDGED, r#"{"stream":1}"#, exception];
    let ended = host(&Identity::self_signed(), &lines).await;
    let error = call(&ended).await.unwrap().get::<u8>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Exception);

    let refusal = r#"{"harp":1,"error":{"type":"auth_error","message":"no"}}"#;
    let refusing = host(&Identity::self_signed(), &[refusal]).await;
    let error = call(&refusing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Remote);
    assert_eq!(error.wire_type(), Some("auth_error"));
    assert!(!error.is_retryable());

    let odd = host(&Identity::self_signed(), &["what"]).await;
    let error = call(&odd).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);

    let server = HarpServer::builder("127.0.0.1", "u", "p")
        .port(1)
        .accept_any_certificate()
        .build()
        .unwrap();
    let error = server.call("p", ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert_eq!(error.wire_type(), Some("network_error"));
    assert!(error.is_retryable());
    let error = server.call("p", 7).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn which_certificate_is_accepted_has_to_be_said() {
    let identity = Identity::self_signed();
    let host = host(&identity, &[ACKNOWLEDGED, r#"{"result":1}"#]).await;
    let fingerprint = Fingerprint::of(&identity.certificate);

    let error = builder(&host).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let both = builder(&host)
        .fingerprint(fingerprint)
        .accept_any_certificate();
    assert!(both.build().is_err());
    let missing = builder(&host).ca_file("/nonexistent/ca.pem").build();
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .contains("/nonexistent/ca.pem")
    );

    let server = builder(&host).fingerprint(fingerprint).build().unwrap();
    let call = server.call("p", ()).await.unwrap();
    assert_eq!(call.get::<u8>().await.unwrap(), 1);

    let other = builder(&host)
        .fingerprint(Fingerprint::of(b""))
        .build()
        .unwrap();
    let error = other.call("p", ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert!(error.to_string().contains("phase tls"), "{error}");
}

#[tokio::test]
async fn each_way_to_choose_a_certificate() {
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(files.path().join(name), text).unwrap();
        files.path().join(name)
    };
    let authority = Authority::new("one");
    let ca = write("ca.pem", &authority.pem);
    let named = authority.sign_for(&["web01.example.net".to_owned()], |_| ());
    let known = write("known.pem", &Identity::self_signed().pem);
    let both = format!("{}{}", Identity::self_signed().pem, named.pem);
    let knows_it = write("both.pem", &both);

    type Choice<'a> = &'a dyn Fn(HarpServerBuilder) -> HarpServerBuilder;
    let choices: [(Choice<'_>, bool); 6] = [
        (&|builder| builder.ca_file(&ca), false),
        (
            &|builder| builder.ca_file(&ca).tls_name("web01.example.net"),
            true,
        ),
        (
            &|builder| builder.ca_file(&ca).tls_name("web02.example.net"),
            false,
        ),
        (&|builder| builder.ca_file(&ca).ignore_name(), true),
        (&|builder| builder.known_certs_file(&known), false),
        (&|builder| builder.known_certs_file(&knows_it), true),
    ];
    for (number, (choose, accepted)) in choices.into_iter().enumerate() {
        let host = host(&named, &[ACKNOWLEDGED, r#"{"result":1}"#]).await;
        let server = choose(builder(&host)).build().unwrap();
        match (server.call("p", ()).await, accepted) {
            (Ok(call), true) => assert_eq!(call.get::<u8>().await.unwrap(), 1),
            (Err(error), false) => assert_eq!(error.phase(), Some("tls"), "{number}: {error}"),
            (Ok(_), false) => panic!("choice {number} accepts it"),
            (Err(error), true) => panic!("choice {number}: {error}"),
        }
    }
}
