//! A dispatcher that wants to know who calls, over TLS or a Unix socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use harp_tests::certificates::Authority;
use harp_tests::{Cluster, binary, until};

use crate::command::{Done, Harp};

/// A cluster with a TLS listener beside its plain one, and the listener's address. The
/// directory has a token and a client's certificate.
fn with_tls(directory: &Path) -> (Cluster, String) {
    let write = |name: &str, text: &str| {
        fs::write(directory.join(name), text).unwrap();
        fs::set_permissions(directory.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    let server = Authority::shared().issue(&["127.0.0.1"]);
    write("cert.pem", &server.pem);
    write("key.pem", &server.key_pem);
    let clients = Authority::new("clients");
    let client = clients.issue_to("operator");
    write("clients.pem", &clients.pem());
    write("client.pem", &client.pem);
    write("client.key", &client.key_pem);
    let made = Command::new(binary("harpcallerd"))
        .args(["new-token", "operator"])
        .output()
        .unwrap();
    let made = String::from_utf8(made.stdout).unwrap();
    let lines: Vec<&str> = made.lines().collect();
    write("token", lines[1]);
    write("tokens", lines[3]);
    let path = |name: &str| directory.join(name);
    let cluster = Cluster::builder()
        .set("tokens_file", &format!("{:?}", path("tokens")))
        .tables(&format!(
            "[[listener]]\naddress = '127.0.0.1:0'\ncertificate = {:?}\nprivate_key = {:?}\n\
             client_ca_file = {:?}\n",
            path("cert.pem"),
            path("key.pem"),
            path("clients.pem")
        ))
        .start();
    // The log is written a little behind.
    let listening = until("both listeners are in the log", || {
        cluster.log().all("listening").into_iter().nth(1)
    });
    let address = listening["address"].as_str().unwrap().to_owned();
    (cluster, address)
}

#[test]
fn a_token_or_a_certificate_says_who_calls() {
    let directory = tempfile::tempdir().unwrap();
    let (cluster, address) = with_tls(directory.path());
    let path = |name: &str| -> PathBuf { directory.path().join(name) };
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (ca, token) = (text(cluster.path("ca.pem")), text(path("token")));
    let (certificate, key) = (text(path("client.pem")), text(path("client.key")));
    let call = |options: &[&str]| -> Done {
        let line = [
            &["call", "--dispatcher", &address],
            options,
            &["web01", "echo", "7"],
        ];
        Harp::new(&line.concat()).run()
    };

    assert_eq!(
        call(&["--ca-file", &ca, "--token-file", &token])
            .expect(0)
            .out,
        "[7]\n"
    );
    let shown = ["--client-certificate", &certificate, "--client-key", &key];
    call(&[&["--ca-file", &ca], &shown[..]].concat()).expect(0);
    let fingerprint = ["--fingerprint", &"0".repeat(64)];
    call(&fingerprint).expect(6).says(&[&address, "phase tls"]);
    call(&["--ca-file", &ca])
        .expect(7)
        .says(&["unauthorized", "token"]);
    call(&["--insecure", "--tls-name", "x", "--token-file", &token]).expect(0);
    // Plain TCP to a port that speaks TLS.
    call(&[]).expect(6).says(&[&address]);
    // A dispatcher that has no tokens is not shown one.
    let plain = Cluster::builder().hosts(0).start();
    let line = ["call", "--token-file", &token, "web01", "p"];
    Harp::of(&plain, &line)
        .run()
        .expect(7)
        .says(&["does not know `token`"]);

    // Out of a configuration, with paths beside it, it works too; options go before.
    fs::copy(cluster.path("ca.pem"), path("ca.pem")).unwrap();
    let config = "ca_file = 'ca.pem'\ntoken_file = 'token'\n";
    fs::write(path("harp.toml"), config).unwrap();
    let config = text(path("harp.toml"));
    call(&["--config", &config]).expect(0);
    call(&["--config", &config, "--no-tls"]).expect(6);
    // A token is not sent to another machine without TLS.
    let line = [
        "call",
        "--config",
        &config,
        "--no-tls",
        "-d",
        "192.0.2.1",
        "web01",
        "p",
    ];
    Harp::new(&line)
        .run()
        .expect(2)
        .says(&["token", "TLS", "--ca-file"]);
}

#[test]
fn over_a_unix_socket_nothing_has_to_be_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clients");
    let cluster = Cluster::builder()
        .tables(&format!("[[listener]]\npath = {path:?}\n"))
        .start();
    let address = format!("unix:{}", path.display());
    let line = ["call", "-d", &address, "web01", "echo", "7"];
    assert_eq!(Harp::new(&line).run().expect(0).out, "[7]\n");
    let line = ["call", "web01", "echo", "8"];
    let harp = Harp::new(&line).env("HARPCALLER", &address);
    assert_eq!(harp.run().expect(0).out, "[8]\n");

    // Killed, it leaves the socket behind.
    drop(cluster);
    let failed = || Harp::new(&["call", "-d", &address, "web01", "echo"]).run();
    let told = [&*address, "phase connect", "came from --dispatcher"];
    failed()
        .expect(6)
        .says(&told)
        .says(&["Nobody listens on this socket"]);
    fs::remove_file(path).unwrap();
    failed()
        .expect(6)
        .says(&told)
        .says(&["`path` of a [[listener]]"]);
}
