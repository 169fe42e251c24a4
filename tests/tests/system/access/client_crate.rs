//! The client crate where the dispatcher knows who calls: with a certificate over TLS, with
//! a token, over a Unix socket.

use std::fs;
use std::process::Command;

use harp_client::blocking::HarpCaller;
use harp_client::{ErrorKind, Outcome, Tls};
use harp_tests::certificates::Authority;
use harp_tests::{Cluster, until};
use serde_json::{Value, json};

use super::identity::{Files, listeners, with_tokens};
use crate::assertions::NO_JOB;

/// A TLS listener that asks for certificates of an authority.
fn tls_listener(files: &Files, clients: &Authority) -> String {
    let own = Authority::shared().issue(&["127.0.0.1"]);
    let certificate = files.write("cert.pem", &own.pem);
    let key = files.write("key.pem", &own.key_pem);
    let authority = files.write("clients.pem", &clients.pem());
    format!(
        "[[listener]]\naddress = '127.0.0.1:0'\ncertificate = {certificate:?}\n\
         private_key = {key:?}\nclient_ca_file = {authority:?}\n"
    )
}

#[test]
fn over_tls_with_a_certificate_of_ones_own() {
    let files = Files::new();
    let clients = Authority::new("clients");
    let shop = clients.issue_to("shop");
    let cluster = Cluster::builder()
        .hosts(0)
        .tables(&tls_listener(&files, &clients))
        .start();
    let address = listeners(&cluster)[0].to_string();
    let job = NO_JOB.parse().unwrap();
    let ask = |tls: Tls| {
        let rpc = harp_client::HarpCaller::builder(&address).tls(tls);
        let job = rpc.build_blocking().unwrap().job(job);
        // Twice: the second time over the same connection.
        job.cancel().and_then(|_| job.cancel())
    };
    let trusted = || Tls::ca_pem(Authority::shared().pem());
    let shown = trusted().client_certificate_pem(&shop.pem, &shop.key_pem);
    assert!(!ask(shown).unwrap());
    let error = ask(trusted()).unwrap_err();
    assert_eq!(error.wire_type(), Some("unauthorized"), "{error}");
    let strangers = Tls::ca_pem(Authority::new("other").pem());
    let error = ask(strangers).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Communication);
    assert!(error.to_string().contains("phase tls"), "{error}");

    // One that does not speak TLS is told so, and need not try again.
    let plain = HarpCaller::new(&address).unwrap();
    for error in [
        plain.host("web01").key("k").call("echo", ()).unwrap_err(),
        plain.job(job).result().unwrap_err(),
        plain.ping().unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Communication);
        assert!(!error.is_retryable(), "{error}");
        assert!(error.to_string().contains("harps://"), "{error}");
    }
}

#[test]
fn a_token_is_who_one_is() {
    let files = Files::new();
    let token = files.new_token("shop");
    let cluster = with_tokens(&files)
        .tables("[[listener]]\naddress = '127.0.0.1:0'")
        .start();
    let address = listeners(&cluster)[0].to_string();
    let with = |token: &str| {
        let builder = harp_client::HarpCaller::builder(&address);
        builder.token(token).build_blocking().unwrap()
    };
    let job = NO_JOB.parse().unwrap();
    assert!(!with(&token).job(job).cancel().unwrap());
    for stranger in [with("wrong"), HarpCaller::new(&address).unwrap()] {
        let error = stranger.job(job).cancel().unwrap_err();
        assert_eq!(
            (error.kind(), error.wire_type()),
            (ErrorKind::Unauthorized, Some("unauthorized"))
        );
    }
    // Where tokens are not looked at, one that has a token is told so.
    let plain = Cluster::builder().hosts(0).start();
    let builder = harp_client::HarpCaller::builder(plain.address().to_string());
    let rpc = builder.token(token.as_str()).token_without_tls();
    let error = rpc.build_blocking().unwrap().job(job).cancel().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[test]
fn over_a_unix_socket_the_user_is_who_one_is() {
    let files = Files::new();
    let (path, audit) = (files.path("clients"), files.path("audit"));
    let mut cluster = Cluster::builder()
        .set("audit_file", &json!(audit).to_string())
        .tables(&format!(
            "[[listener]]\npath = {path:?}\nmode = '0600'\n[[allow]]\nclient = 'uid:*'\n"
        ))
        .start();
    let address = format!("unix:{}", path.display());
    let rpc = HarpCaller::new(&address).unwrap();
    let job = rpc.host("web01").call("count", [3]).unwrap();
    let packets: Result<Vec<_>, _> = job.follow().since(0).collect();
    assert_eq!(packets.unwrap().len(), 3);
    assert!(matches!(job.wait().unwrap(), Outcome::Returned(_)));

    let accepted: Value = until("the call is in the audit log", || {
        let text = fs::read_to_string(&audit).ok()?;
        let mut lines = text
            .lines()
            .map_while(|line| serde_json::from_str(line).ok());
        lines.find(|line: &Value| line["event"] == "accepted")
    });
    let user = own_name();
    assert_eq!(accepted["client"], format!("uid:{user}"));

    // The rules let nobody else in.
    let anybody = HarpCaller::new(cluster.address().to_string()).unwrap();
    let error = anybody.job(job.id()).result().unwrap_err();
    assert_eq!(error.wire_type(), Some("forbidden"), "{error}");

    // A connection that died while idle is replaced, and a socket that nobody serves told.
    cluster.restart_dispatcher();
    assert!(matches!(job.wait().unwrap(), Outcome::Returned(_)));
    cluster.stop_dispatcher();
    let error = HarpCaller::new(&address).unwrap().job(job.id()).result();
    let error = error.unwrap_err();
    assert_eq!(
        (error.kind(), error.phase()),
        (ErrorKind::Communication, Some("connect"))
    );
    assert!(error.is_retryable());
    for told in [&*address, "phase connect", "[[listener]]"] {
        assert!(error.to_string().contains(told), "{error}");
    }
}

/// The name of the user that this test runs as.
fn own_name() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
