//! `harp direct`: a harpd, and no dispatcher.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use harp_tests::certificates::{Authority, HostCertificate};
use harp_tests::{Cluster, PASSWORD, USER, refusing_address};
use rustix::process::Signal;

use crate::command::{Harp, path};
use crate::terminal::Terminal;

/// Where the host listens.
pub(crate) fn address(cluster: &Cluster) -> String {
    format!("127.0.0.1:{}", cluster.entry("web01")["port"])
}

/// A call of this host by its user, whose password is in the environment.
pub(crate) fn direct(cluster: &Cluster, line: &[&str]) -> Harp {
    let ca = cluster.path("ca.pem");
    let mut harp = Harp::new(&["direct", "--ca-file"]).env("HARP_PASSWORD", PASSWORD);
    harp.command.arg(ca).args(["--user", USER]).args(line);
    harp
}

#[test]
fn a_host_is_called_and_its_packets_and_result_are_printed() {
    let cluster = Cluster::start();
    let host = address(&cluster);
    let done = direct(&cluster, &[&host, "echo", "nginx", "7"]).run();
    assert_eq!(done.expect(0).out, "[\"nginx\",7]\n");

    let done = direct(&cluster, &[&host, "say", "one", "two"])
        .run()
        .expect(0);
    assert_eq!(done.out, "one\ntwo\n");

    let done = direct(&cluster, &["--json", &host, "count", "1"]).run();
    assert_eq!(
        done.expect(0).out,
        format!(
            "{{\"event\":\"packet\",\"host\":\"{host}\",\"number\":0,\"data\":0}}\n\
             {{\"event\":\"ended\",\"host\":\"{host}\",\"outcome\":\"returned\",\"result\":null}}\n"
        )
    );
    direct(&cluster, &[&host, "fail", "3", "oh"])
        .run()
        .expect(1)
        .says(&["exit_status: oh"]);
    direct(&cluster, &[&host, "nothing"])
        .run()
        .expect(3)
        .says(&["no_such_procedure", "harpd list"]);

    let refusing = refusing_address().to_string();
    let list = format!("{host},{refusing}");
    let done = direct(&cluster, &["--hosts", &list, "echo", "1"]).run();
    let done = done
        .expect(6)
        .says(&["unreachable", "phase connect", &refusing]);
    assert_eq!(done.out, format!("{host}: [1]\n"));
}

#[test]
fn the_password_comes_from_a_file_the_environment_or_a_terminal() {
    let cluster = Cluster::start();
    let host = address(&cluster);
    let file = cluster.path("password");
    fs::write(&file, format!("{PASSWORD}\nnot this\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();

    // The file was named, so it goes before the environment.
    let mut harp = direct(&cluster, &[&host, "echo", "--password-file"]);
    harp.command.arg(&file).env("HARP_PASSWORD", "wrong");
    let done = harp.run().expect(0);
    assert!(!done.err.contains("read by others"), "{done:#?}");

    direct(&cluster, &[&host, "echo"])
        .env("HARP_PASSWORD", "wrong")
        .run()
        .expect(3)
        .says(&["auth_error", "users file"]);

    let asked = direct(&cluster, &[&host, "echo", "7"]).env("HARP_PASSWORD", "");
    if let Some(mut terminal) = Terminal::start(asked) {
        terminal.wait_for(&format!("Password of {USER}:"));
        terminal.press(&format!("{PASSWORD}\n"));
        let (code, shown) = terminal.finish();
        assert_eq!(code, 0, "{shown}");
        assert!(shown.contains("[7]"), "{shown}");
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
}

#[test]
fn the_certificate_is_judged_as_it_was_chosen() {
    let certificate = HostCertificate::self_signed(&["127.0.0.1"]);
    let cluster = Cluster::builder()
        .host_certificate(certificate.clone())
        .start();
    let host = address(&cluster);
    let call = |options: &[&str]| {
        let line = [&["direct", "--user", USER], options, &[&host, "echo"]].concat();
        Harp::new(&line).env("HARP_PASSWORD", PASSWORD).run()
    };
    let own = cluster.path("harpd.cert.pem");
    let other = Authority::new("another")
        .issue(&["127.0.0.1"])
        .fingerprint();
    call(&["--fingerprint", &certificate.fingerprint()]).expect(0);
    call(&["--known-certs", own.to_str().unwrap()]).expect(0);
    call(&["--insecure"]).expect(0);
    let ca = cluster.path("ca.pem");
    for wrong in [
        ["--fingerprint", &other],
        ["--ca-file", ca.to_str().unwrap()],
    ] {
        call(&wrong)
            .expect(6)
            .says(&[&host, "phase tls", "--known-certs"]);
    }
}

#[test]
fn an_interrupt_cancels_the_call() {
    let cluster = Cluster::start();
    let mut feed = cluster.feed("feed");
    let host = address(&cluster);
    let mut running = direct(&cluster, &[&host, "feed", &path(&feed)]).start();
    feed.send("1");
    assert_eq!(running.line(), "1");
    running.signal(Signal::INT);
    running.finish().expect(4).says(&["cancelled"]);
    feed.wait_abandoned();
}
