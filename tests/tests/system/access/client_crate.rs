//! The client crate over TLS with a certificate.

use harp_client::{ErrorKind, Tls};
use harp_tests::Cluster;
use harp_tests::certificates::Authority;

use super::identity::{Files, listeners};
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
}
