//! Calls to hosts that behave, and to hosts that do not.

use std::time::Duration;

use harp_client::direct::{
    Cancel, Connection, Endpoint, Event, HostCall, HostError, HostErrorKind, Limits, Phase,
};
use harp_client::tls::{Trust, TrustFiles};
use harp_proto::host::Request;
use harp_proto::{Failure, Outcome};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::certificates::Identity;
use crate::scripted_host::{ScriptedHost, Seen, Step, full_listener, plain_listener};

const LIMITS: Limits = Limits {
    max_packet_size: 1000,
};

/// Longer than anything that should happen takes.
const LONG: Duration = Duration::from_secs(20);

/// Short, for hosts that never answer.
const SHORT: Duration = Duration::from_millis(300);

fn any_certificate() -> Trust {
    Trust::new(TrustFiles::default()).unwrap()
}

fn request(arguments: &str) -> Request {
    Request {
        procedure: "p".to_owned(),
        arguments: arguments.parse().unwrap(),
        user: "u".to_owned(),
        password: "secret".into(),
    }
}

fn line(text: &str) -> Step {
    Step::Line(text.to_owned())
}

fn acknowledged(streams: bool) -> Vec<Step> {
    vec![
        Step::Request,
        line(&format!(r#"{{"harp":1,"stream_result":{streams}}}"#)),
    ]
}

async fn call(endpoint: &Endpoint, within: Duration) -> Result<HostCall, HostError> {
    let deadline = Instant::now() + within;
    let connection = Connection::open(endpoint, &any_certificate(), LIMITS, deadline).await?;
    connection.request(&request("[1]"), deadline).await
}

/// Calls a host that acknowledges and then does this.
async fn running(streams: bool, then: Vec<Step>) -> (ScriptedHost, HostCall) {
    let script = [acknowledged(streams), then].concat();
    let mut host = ScriptedHost::start(&Identity::self_signed(), script).await;
    let call = call(&host.endpoint(), LONG).await.unwrap();
    assert!(matches!(host.seen().await, Seen::Handshake(_)));
    assert_eq!(
        host.seen().await,
        Seen::Request(
            "{\"harp\":1,\"procedure\":\"p\",\"arguments\":[1],\
             \"auth\":{\"user\":\"u\",\"password\":\"secret\"}}\n"
                .to_owned()
        )
    );
    (host, call)
}

/// The error's type, code and phase on the client's wire.
fn on_the_wire(error: &HostError) -> (String, String, String) {
    let failure = error.to_failure();
    let data: serde_json::Value = failure.data.unwrap().decode().unwrap();
    assert_eq!(data["address"], error.address());
    assert!(
        failure.message.contains(error.address()),
        "{}",
        failure.message
    );
    assert!(failure.message.contains(error.phase().as_str()));
    let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
    (failure.error_type, text("code"), text("phase"))
}

#[track_caller]
fn assert_network(error: &HostError, codes: &[&str], phase: &str) {
    let (error_type, code, found_phase) = on_the_wire(error);
    assert_eq!(error_type, "network_error", "{error}");
    assert!(codes.contains(&code.as_str()), "{code}: {error}");
    assert_eq!(found_phase, phase, "{error}");
}

#[track_caller]
fn assert_protocol(error: &HostError, phase: &str) {
    let (error_type, _, found_phase) = on_the_wire(error);
    assert_eq!(error_type, "protocol_error", "{error}");
    assert_eq!(found_phase, phase, "{error}");
}

#[tokio::test]
async fn a_call_that_returns() {
    let (_host, mut call) = running(false, vec![line(r#"{"result":1e5}"#), Step::Close]).await;
    assert!(!call.streams());
    let end = call.next().await.unwrap();
    assert_eq!(end, Event::End(Outcome::Returned("1e5".parse().unwrap())));
}

#[tokio::test]
async fn packets_come_in_order_and_those_that_have_arrived_without_waiting() {
    let mut bytes = Vec::new();
    for number in 0..5000 {
        bytes.extend_from_slice(format!("{{\"stream\":{number}}}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"{\"exception\":{\"type\":\"E\",\"message\":\"m\"}}\n");
    let (_host, mut call) = running(true, vec![Step::Bytes(bytes), Step::Drop]).await;
    assert!(call.streams());
    let mut without_waiting = 0;
    for number in 0..5000 {
        let event = match call.next_buffered() {
            Some(event) => {
                without_waiting += 1;
                event
            }
            None => call.next().await,
        };
        assert_eq!(
            event.unwrap(),
            Event::Packet(number.to_string().parse().unwrap())
        );
    }
    assert!(without_waiting > 2500, "{without_waiting}");
    assert_eq!(
        call.next().await.unwrap(),
        Event::End(Outcome::Exception(Failure::new("E", "m")))
    );
}

#[tokio::test]
async fn waiting_can_be_given_up_and_taken_up_again() {
    let then = vec![
        Step::Bytes(b"{\"stream\":".to_vec()),
        Step::Wait,
        Step::Bytes(b"7}\n".to_vec()),
    ];
    let (host, mut call) = running(true, then).await;
    for _ in 0..3 {
        let wait = tokio::time::timeout(Duration::from_millis(20), call.next());
        assert!(wait.await.is_err());
        assert!(call.next_buffered().is_none());
    }
    host.go_on();
    let packet = call.next().await.unwrap();
    assert_eq!(packet, Event::Packet("7".parse().unwrap()));
}

#[tokio::test]
async fn an_unknown_name() {
    // A label may have 63 characters, so that no name service has to be asked.
    let endpoint = Endpoint::new("x".repeat(70), 1);
    let error = call(&endpoint, LONG).await.unwrap_err();
    assert_network(&error, &["nxdomain"], "resolve");
}

#[tokio::test]
async fn nobody_listens() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = unused.local_addr().unwrap().port();
    drop(unused);
    let error = call(&Endpoint::new("127.0.0.1", port), LONG)
        .await
        .unwrap_err();
    assert_network(&error, &["econnrefused"], "connect");
    assert!(
        error.to_string().contains("does harpd run there"),
        "{error}"
    );
}

#[tokio::test]
async fn the_deadline_names_the_phase_that_it_ended() {
    let (full, _filling) = full_listener().await;
    let error = call(&full, SHORT).await.unwrap_err();
    assert_network(&error, &["etimedout"], "connect");

    let silent = plain_listener(b"", true).await;
    let error = call(&silent, SHORT).await.unwrap_err();
    assert_network(&error, &["etimedout"], "tls");

    let host = ScriptedHost::start(&Identity::self_signed(), vec![Step::Request]).await;
    let error = call(&host.endpoint(), SHORT).await.unwrap_err();
    assert_network(&error, &["etimedout"], "acknowledge");

    // A host that never reads: the request does not fit into the buffers on the way.
    let host = ScriptedHost::start(&Identity::self_signed(), Vec::new()).await;
    let deadline = Instant::now() + SHORT;
    let connection = Connection::open(&host.endpoint(), &any_certificate(), LIMITS, deadline)
        .await
        .unwrap();
    let large = format!("[\"{}\"]", "x".repeat(64 * 1024 * 1024));
    let error = connection
        .request(&request(&large), deadline)
        .await
        .unwrap_err();
    assert_network(&error, &["etimedout"], "request");
}

#[tokio::test]
async fn what_listens_does_not_speak_tls() {
    let endpoint = plain_listener(b"SSH-2.0-OpenSSH_9.9\r\n", true).await;
    let error = call(&endpoint, LONG).await.unwrap_err();
    assert_network(&error, &["tls"], "tls");
    assert!(error.to_string().contains("is it harpd"), "{error}");

    let endpoint = plain_listener(b"", false).await;
    let error = call(&endpoint, LONG).await.unwrap_err();
    assert_network(&error, &["closed", "econnreset"], "tls");
}

#[tokio::test]
async fn refused_by_the_host() {
    let refusal = r#"{"harp":1,"error":{"type":"auth_error","message":"no","data":[1]}}"#;
    let script = vec![Step::Request, line(refusal), Step::Close];
    let host = ScriptedHost::start(&Identity::self_signed(), script).await;
    let error = call(&host.endpoint(), LONG).await.unwrap_err();
    let expected = Failure::new("auth_error", "no").with_data(&[1]);
    assert_eq!(*error.kind(), HostErrorKind::Remote(expected.clone()));
    assert_eq!(error.to_failure(), expected);
    assert_eq!(error.phase(), Phase::Acknowledge);
}

#[tokio::test]
async fn refused_before_the_request_was_read() {
    let refusal = r#"{"harp":1,"error":{"type":"invalid_request","message":"too large"}}"#;
    let script = vec![line(refusal), Step::Close, Step::AwaitEnd];
    let host = ScriptedHost::start(&Identity::self_signed(), script).await;
    let error = call(&host.endpoint(), LONG).await.unwrap_err();
    assert_eq!(
        error.to_failure(),
        Failure::new("invalid_request", "too large")
    );
}

#[tokio::test]
async fn no_acknowledgement() {
    for (then, codes) in [
        (vec![Step::Close], &["closed"][..]),
        (vec![Step::Drop], &["closed"]),
        (vec![Step::Reset], &["econnreset"]),
        (
            vec![Step::Bytes(b"{\"harp\":1,".to_vec()), Step::Close],
            &["closed"],
        ),
    ] {
        let script = [vec![Step::Request], then].concat();
        let host = ScriptedHost::start(&Identity::self_signed(), script).await;
        let error = call(&host.endpoint(), LONG).await.unwrap_err();
        assert_network(&error, codes, "acknowledge");
    }
    for answer in [
        "",
        "220 mail.example.net ESMTP",
        r#"{"result":1}"#,
        r#"{"stream":1}"#,
        r#"{"stream_result":true}"#,
        r#"{"harp":2,"stream_result":true}"#,
        &format!("{}{}", "é".repeat(300), "x".repeat(100)),
    ] {
        let script = vec![Step::Request, line(answer)];
        let host = ScriptedHost::start(&Identity::self_signed(), script).await;
        let error = call(&host.endpoint(), LONG).await.unwrap_err();
        assert_protocol(&error, "acknowledge");
        let excerpt: String = answer.chars().take(200).collect();
        let line = Some(excerpt);
        assert_eq!(*error.kind(), HostErrorKind::Protocol { line });
    }
    let script = vec![Step::Request, Step::Flood(b'x')];
    let host = ScriptedHost::start(&Identity::self_signed(), script).await;
    let error = call(&host.endpoint(), LONG).await.unwrap_err();
    assert_protocol(&error, "acknowledge");
}

#[tokio::test]
async fn the_connection_ends_before_the_call() {
    for (end, codes) in [
        (Step::Close, &["closed"][..]),
        (Step::Drop, &["closed"]),
        (Step::Reset, &["econnreset"]),
    ] {
        for beginning in ["", "{\"resul", "{\"result\":1}"] {
            let then = vec![
                line(r#"{"stream":0}"#),
                Step::Wait,
                Step::Bytes(beginning.as_bytes().to_vec()),
                end.clone(),
            ];
            let (host, mut call) = running(true, then).await;
            let packet = call.next().await.unwrap();
            assert_eq!(packet, Event::Packet("0".parse().unwrap()));
            // The packet is here: a reset cannot overtake it.
            host.go_on();
            let error = call.next().await.unwrap_err();
            assert_network(&error, codes, "stream");
        }
    }
}

#[tokio::test]
async fn lines_that_may_not_come_during_a_call() {
    for (streams, bad) in [
        (true, r#"{"harp":1,"stream_result":true}"#.to_owned()),
        (true, "{}".to_owned()),
        (true, "not JSON".to_owned()),
        (true, r#"{"stream":"#.to_owned()),
        (true, String::new()),
        (false, r#"{"stream":1}"#.to_owned()),
        (true, format!("{{\"stream\":\"{}\"}}", "x".repeat(999))),
        (false, format!("{{\"result\":\"{}\"}}", "x".repeat(999))),
    ] {
        let (_host, mut call) = running(streams, vec![line(&bad)]).await;
        let error = call.next().await.unwrap_err();
        assert_protocol(&error, "stream");
    }
    // Exactly as large as allowed.
    let largest = format!("{{\"result\":\"{}\"}}", "x".repeat(998));
    let (_host, mut call) = running(false, vec![line(&largest)]).await;
    assert!(matches!(call.next().await, Ok(Event::End(_))));

    let (_host, mut call) = running(true, vec![Step::Flood(b' ')]).await;
    let error = call.next().await.unwrap_err();
    assert_protocol(&error, "stream");
    assert!(error.to_string().contains("max_packet_size"), "{error}");
}

#[tokio::test]
async fn a_cancel_is_confirmed_by_the_host_alone() {
    let proof = r#"{"harp":1,"error":{"type":"cancelled","message":"m","data":{"processes":0}}}"#;
    let packets = || line(r#"{"stream":1}"#);
    for (then, expected) in [
        (vec![line(proof)], Cancel::Confirmed),
        (vec![packets(), packets(), line(proof)], Cancel::Confirmed),
        (
            vec![packets(), Step::Close, Step::Drop],
            Cancel::Unconfirmed,
        ),
        (vec![Step::Drop], Cancel::Unconfirmed),
        (
            vec![line(r#"{"result":1}"#), Step::Drop],
            Cancel::Unconfirmed,
        ),
        (
            vec![
                Step::Bytes(vec![b'x'; 300_000]),
                line(""),
                line(proof),
                Step::Drop,
            ],
            Cancel::Unconfirmed,
        ),
    ] {
        let then = [vec![packets(), Step::AwaitEnd], then].concat();
        let (mut host, call) = running(true, then).await;
        let cancel = tokio::time::timeout(LONG, call.cancel());
        assert_eq!(cancel.await.unwrap(), expected);
        assert_eq!(host.seen().await, Seen::CloseNotify);
    }
}

#[tokio::test]
async fn a_call_can_be_cancelled_before_it_is_acknowledged() {
    let acknowledgement = line(r#"{"harp":1,"stream_result":true}"#);
    let proof =
        line(r#"{"harp":1,"error":{"type":"cancelled","message":"m","data":{"processes":0}}}"#);
    let script = vec![Step::Request, Step::AwaitEnd, acknowledgement, proof];
    let mut host = ScriptedHost::start(&Identity::self_signed(), script).await;
    let deadline = Instant::now() + LONG;
    let connection = Connection::open(&host.endpoint(), &any_certificate(), LIMITS, deadline)
        .await
        .unwrap();
    let mut call = connection.send(&request("[]"), deadline).await.unwrap();
    let soon = Instant::now() + SHORT;
    let error = call.acknowledged(soon).await.unwrap_err();
    assert_network(&error, &["etimedout"], "acknowledge");
    let cancel = tokio::time::timeout(LONG, call.cancel());
    assert_eq!(cancel.await.unwrap(), Cancel::Confirmed);
    assert!(matches!(host.seen().await, Seen::Handshake(_)));
    assert!(matches!(host.seen().await, Seen::Request(_)));
    assert_eq!(host.seen().await, Seen::CloseNotify);
}

#[tokio::test]
async fn dropping_a_call_ends_its_connection() {
    let (mut host, call) = running(true, vec![Step::AwaitEnd]).await;
    drop(call);
    assert!(matches!(host.seen().await, Seen::Gone | Seen::CloseNotify));
}

#[tokio::test]
async fn both_versions_of_tls() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let script = [acknowledged(false), vec![line(r#"{"result":null}"#)]].concat();
        let host = ScriptedHost::speaking(&[version], &Identity::self_signed(), script).await;
        let mut call = call(&host.endpoint(), LONG).await.unwrap();
        assert!(matches!(call.next().await, Ok(Event::End(_))));
    }
}
