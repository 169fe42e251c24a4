//! TLS peers, clients and hosts, that stall in the handshake, renegotiate, or send a
//! certificate of a mebibyte.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use harp_tests::certificates::{Authority, HostCertificate};
use harp_tests::{ACKNOWLEDGE, Cluster, FakeHost, LineClient, Step, until};
use serde_json::json;
use tempfile::TempDir;

use super::{assert_serves, can_run, descriptors, memory};
use crate::assertions::NO_JOB;

const MIB: usize = 1024 * 1024;

/// A dispatcher with a TLS listener that asks for certificates of the tests' authority.
struct TlsCluster {
    cluster: Cluster,
    address: SocketAddr,
    files: TempDir,
}

impl TlsCluster {
    fn start(settings: &[(&str, &str)]) -> TlsCluster {
        let files = tempfile::tempdir().unwrap();
        let certificate = Authority::shared().issue(&["127.0.0.1"]);
        let write = |name: &str, text: &str| {
            let path = files.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let listener = format!(
            "[[listener]]\naddress = '127.0.0.1:0'\nrequire_authentication = false\n\
             certificate = {:?}\nprivate_key = {:?}\nclient_ca_file = {:?}\n",
            write("cert.pem", &certificate.pem),
            write("key.pem", &certificate.key_pem),
            write("ca.pem", &Authority::shared().pem()),
        );
        let mut builder = Cluster::builder().hosts(0).tables(&listener);
        for (key, value) in settings {
            builder = builder.set(key, value);
        }
        let cluster = builder.start();
        // The log is read beside the test.
        let address = until("the listener is in the log", || {
            let entry = cluster.log().all("listening").into_iter().nth(1)?;
            entry["address"].as_str()?.parse().ok()
        });
        TlsCluster {
            cluster,
            address,
            files,
        }
    }

    #[track_caller]
    fn assert_serves_tls(&self) {
        let mut client = LineClient::tls(self.address, Authority::shared(), None).unwrap();
        let answer = client.ask(json!({"harpcaller": 1, "cancel": NO_JOB}));
        assert_eq!(answer.unwrap(), json!({"cancelled": false}));
    }
}

#[test]
fn clients_that_stall_in_their_handshake_are_bounded_in_number_and_time() {
    let tls = TlsCluster::start(&[("max_handshakes", "3"), ("handshake_timeout", "2")]);
    let rest = descriptors(&tls.cluster);
    let begun = Instant::now();
    // The beginning of a handshake record that never comes.
    let mut stalled: Vec<TcpStream> = (0..3)
        .map(|_| {
            let mut socket = TcpStream::connect(tls.address).unwrap();
            socket.write_all(&[0x16, 3, 1, 2]).unwrap();
            socket
        })
        .collect();
    until("all of them are in", || {
        (descriptors(&tls.cluster) >= rest + 3).then_some(())
    });
    // One more is closed at once; whoever needs no handshake is served.
    let mut another = TcpStream::connect(tls.address).unwrap();
    another.write_all(&[0x16, 3, 1, 2]).unwrap();
    assert!(matches!(another.read(&mut [0; 1]), Ok(0) | Err(_)));
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert_serves(&tls.cluster);
    for socket in &mut stalled {
        assert!(matches!(socket.read(&mut [0; 1]), Ok(0) | Err(_)));
    }
    tls.assert_serves_tls();
}

#[test]
fn silent_handshakes_give_way_to_newer_ones() {
    let tls = TlsCluster::start(&[("max_handshakes", "8"), ("handshake_timeout", "60")]);
    let rest = descriptors(&tls.cluster);
    let silent: Vec<TcpStream> = (0..8)
        .map(|_| TcpStream::connect(tls.address).unwrap())
        .collect();
    until("all of them are in", || {
        (descriptors(&tls.cluster) >= rest + 8).then_some(())
    });
    let begun = Instant::now();
    until("a client comes in", || {
        let client = LineClient::tls(tls.address, Authority::shared(), None);
        let answer =
            client.and_then(|mut client| client.ask(json!({"harpcaller": 1, "cancel": NO_JOB})));
        answer
            .ok()
            .filter(|answer| *answer == json!({"cancelled": false}))
    });
    assert!(begun.elapsed() < Duration::from_secs(15));
    drop(silent);
}

/// What comes back for a request that is sent with this certificate.
fn ask_by_openssl(tls: &TlsCluster, certificate: &HostCertificate) -> String {
    let write = |name: &str, text: &str| std::fs::write(tls.files.path().join(name), text);
    write("client.pem", &certificate.pem).unwrap();
    write("client.key", &certificate.key_pem).unwrap();
    let mut client = Process(
        Command::new("openssl")
            .args(["s_client", "-quiet", "-connect", &tls.address.to_string()])
            .args([
                "-CAfile",
                "ca.pem",
                "-cert",
                "client.pem",
                "-key",
                "client.key",
            ])
            .current_dir(tls.files.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut stdin = client.0.stdin.take().unwrap();
    let request = json!({"harpcaller": 1, "cancel": NO_JOB});
    // A connection that is refused may be gone before.
    let _ = writeln!(stdin, "{request}");
    let mut answer = String::new();
    let mut stdout = client.0.stdout.take().unwrap();
    stdout.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_client_certificate_of_a_mebibyte_is_refused() {
    const TEST: &str = "a_client_certificate_of_a_mebibyte_is_refused";
    if !can_run(TEST, "openssl", &["version"]) {
        return;
    }
    let tls = TlsCluster::start(&[]);
    let good = Authority::shared().issue_to("shop");
    assert_eq!(ask_by_openssl(&tls, &good), "{\"cancelled\":false}\n");
    let before = memory(&tls.cluster);
    let huge = Authority::shared().issue_huge(MIB);
    assert_eq!(ask_by_openssl(&tls, &huge), "");
    let grown = memory(&tls.cluster).saturating_sub(before);
    assert!(grown < 16 * MIB as u64, "{grown} bytes more");
    tls.assert_serves_tls();
}

#[test]
fn a_host_certificate_of_a_mebibyte_is_a_network_error() {
    const TEST: &str = "a_host_certificate_of_a_mebibyte_is_a_network_error";
    if !can_run(TEST, "openssl", &["version"]) {
        return;
    }
    let host = OpensslHost::start(&Authority::shared().issue_huge(MIB));
    let cluster = Cluster::builder()
        .hosts(0)
        .other_host("fake", host.address)
        .start();
    let caller = cluster.caller();
    let answer = caller.result(&caller.call("fake", "p", "[]"));
    assert_eq!(answer["error"]["type"], "network_error", "{answer}");
    assert_eq!(answer["error"]["data"]["phase"], "tls", "{answer}");
    assert_eq!(answer["error"]["data"]["code"], "tls", "{answer}");
    assert_serves(&cluster);
}

/// `openssl s_server`, which sends what is written to it.
struct OpensslHost {
    address: SocketAddr,
    process: Process,
    stdout: BufReader<ChildStdout>,
    _files: TempDir,
}

impl OpensslHost {
    fn start(certificate: &HostCertificate) -> OpensslHost {
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("c"), &certificate.pem).unwrap();
        std::fs::write(files.path().join("k"), &certificate.key_pem).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut process = Process(
            Command::new("openssl")
                .args([
                    "s_server",
                    "-naccept",
                    "1",
                    "-tls1_2",
                    "-accept",
                    &address.to_string(),
                ])
                .args(["-cert", "c", "-key", "k"])
                .current_dir(files.path())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let stdout = process.0.stdout.take().unwrap();
        let mut host = OpensslHost {
            address,
            process,
            stdout: BufReader::new(stdout),
            _files: files,
        };
        host.wait_for("ACCEPT");
        host
    }

    fn wait_for(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.stdout.read_line(&mut line).unwrap(), 0, "no {text}");
        }
    }
}

/// Ends a process of a test with it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_client_that_renegotiates_is_not_heeded() {
    const TEST: &str = "a_client_that_renegotiates_is_not_heeded";
    if !can_run(TEST, "openssl", &["version"]) {
        return;
    }
    let tls = TlsCluster::start(&[("request_timeout", "2")]);
    let mut client = Process(
        Command::new("openssl")
            .args(["s_client", "-tls1_2", "-connect", &tls.address.to_string()])
            .arg("-CAfile")
            .arg(tls.files.path().join("ca.pem"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut stdin = client.0.stdin.take().unwrap();
    let mut stdout = BufReader::new(client.0.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("Verify return code") {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "no handshake");
    }
    // A line of just this letter begins a new handshake.
    writeln!(stdin, "R").unwrap();
    let mut told = String::new();
    let mut stderr = BufReader::new(client.0.stderr.take().unwrap());
    while !told.contains("no renegotiation") {
        assert_ne!(stderr.read_line(&mut told).unwrap(), 0, "{told}");
    }
    assert!(told.contains("RENEGOTIATING"), "{told}");
    tls.assert_serves_tls();
}

#[test]
fn a_host_that_renegotiates_is_refused_and_its_job_ends() {
    const TEST: &str = "a_host_that_renegotiates_is_refused_and_its_job_ends";
    if !can_run(TEST, "openssl", &["version"]) {
        return;
    }
    let mut host = OpensslHost::start(&Authority::shared().issue(&["127.0.0.1"]));
    let cluster = Cluster::builder()
        .hosts(0)
        .other_host("fake", host.address)
        .start();
    let caller = cluster.caller();
    let job = caller.call_with("fake", "p", "[]", r#""timeout": 600"#);
    host.wait_for("\"harp\":1");
    let mut stdin = host.process.0.stdin.take().unwrap();
    // A line of just this letter asks for a new handshake. That it is refused is told at
    // once, and openssl gives the connection up.
    let asked = Instant::now();
    writeln!(stdin, "r").unwrap();
    let answer = caller.result(&job);
    assert!(
        asked.elapsed() < Duration::from_secs(60),
        "well before the timeout"
    );
    assert_eq!(answer["error"]["type"], "network_error", "{answer}");
    assert_eq!(answer["error"]["data"]["code"], "tls", "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("it refused with the TLS alert"),
        "{message}"
    );
    let mut told = String::new();
    let mut stderr = host.process.0.stderr.take().unwrap();
    stderr.read_to_string(&mut told).unwrap();
    assert!(told.contains("no renegotiation"), "{told}");
    assert_serves(&cluster);
}

#[test]
fn a_host_that_stalls_after_its_handshake_shares_nothing_with_others() {
    let stalling = FakeHost::start(&[Step::AnyByte, Step::Hang]);
    let good = FakeHost::start(&[
        Step::Handshake,
        Step::Request,
        ACKNOWLEDGE,
        Step::line(r#"{"result":1}"#),
    ]);
    let cluster = Cluster::builder()
        .hosts(0)
        .fake_host("stalling", &stalling)
        .fake_host("good", &good)
        .set("connect_timeout", "2")
        .start();
    let caller = cluster.caller();
    let stalled: Vec<String> = (0..50)
        .map(|_| caller.call("stalling", "p", "[]"))
        .collect();
    let job = caller.call("good", "p", "[]");
    assert_eq!(caller.result(&job), json!({"result": 1}));
    for job in stalled {
        let answer = caller.result(&job);
        assert_eq!(answer["error"]["data"]["code"], "etimedout", "{answer}");
    }
}
