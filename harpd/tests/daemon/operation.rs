//! What the operator does: check, list, reload, stop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustls::client::Resumption;
use rustls::{ClientConfig, HandshakeKind};
use serde_json::json;
use tokio::net::UnixDatagram;

use crate::host::{Host, connect, is_gone, request, wait_for};

#[tokio::test]
async fn running_calls_are_told_of_a_stop() {
    let mut harpd = Host::new()
        .script("wait", "output = 'lines'", "echo $$; exec sleep 1000")
        .script("queued", "max_calls = 1", "sleep 1000")
        .start();
    let mut running = harpd.call("wait", json!([])).await;
    running.acknowledged(true).await;
    let pid = running.pid().await;
    let mut one = harpd.call("queued", json!([])).await;
    let mut other = harpd.call("queued", json!([])).await;
    one.acknowledged(false).await;
    other.acknowledged(false).await;
    let idle = harpd.connect().await;

    harpd.signal(Signal::TERM);
    for caller in [&mut running, &mut one, &mut other] {
        let rest = caller.rest().await;
        assert_eq!(rest[0]["error"]["type"], "shutdown", "{rest:?}");
    }
    assert!(is_gone(pid));
    drop((running, one, other, idle));
    assert_eq!(harpd.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_caller_that_reads_nothing_does_not_hold_up_a_stop() {
    let mut harpd = Host::new()
        .script(
            "large",
            "output = 'text'",
            "head -c 14M /dev/zero | tr '\\0' x",
        )
        .start();
    let mut caller = harpd.call("large", json!([])).await;
    caller.acknowledged(false).await;
    harpd.logged("call ended").await;
    let began = Instant::now();
    harpd.signal(Signal::TERM);
    assert_eq!(harpd.exit_code().await, Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );
    let log = format!("{:?}", harpd.log());
    assert!(!log.contains("did not end in time"), "{log}");
    drop(caller);
}

#[tokio::test]
async fn a_reload_takes_everything_over() {
    let mut harpd = Host::new()
        .script("old", "", "echo 1")
        .script(
            "wait",
            "output = 'lines'\nmax_calls = 1",
            "echo $$; exec sleep 1000",
        )
        .start();
    let before = certificate(&harpd.connect().await);
    let mut running = harpd.call("wait", json!([])).await;
    running.acknowledged(true).await;
    let pid = running.pid().await;

    harpd.host.write_certificate();
    let host = std::mem::replace(&mut harpd.host, Host::new());
    let host = host.script("new", "", "echo 2");
    host.write_config();
    harpd.signal(Signal::HUP);
    harpd.logged("\"reloaded\"").await;
    assert_eq!(harpd.end("new", json!([])).await, json!({"result": 2}));
    assert_ne!(certificate(&harpd.connect().await), before);

    // A call in progress is left alone, and still has its slot.
    assert!(!is_gone(pid));
    let mut waiting = harpd.call("wait", json!([])).await;
    waiting.acknowledged(true).await;
    running.close().await;
    running.rest().await;
    waiting.pid().await;

    host.write("users", "# nobody\n");
    harpd.signal(Signal::HUP);
    harpd.logged("nobody can call").await;
    wait_for_auth_error(&harpd).await;
}

#[tokio::test]
async fn a_removed_user_is_out_at_the_very_next_call() {
    let harpd = Host::new().script("one", "", "echo 1").start();
    assert_eq!(harpd.end("one", json!([])).await, json!({"result": 1}));
    harpd.host.write("users", "# nobody\n");
    let end = harpd.end("one", json!([])).await;
    assert_eq!(end["error"]["type"], "auth_error");
}

#[tokio::test]
async fn a_users_file_that_is_wrong_or_gone_is_told_once() {
    let harpd = Host::new().script("one", "", "echo 1").start();
    let users = std::fs::read_to_string(harpd.host.path("users")).unwrap();
    let told = |text: &str| {
        let log = harpd.log();
        let lines = log.iter().filter(|line| line.to_string().contains(text));
        lines.count()
    };
    harpd.host.write("users", "nonsense");
    for _ in 0..3 {
        assert_eq!(harpd.end("one", json!([])).await, json!({"result": 1}));
    }
    std::fs::remove_file(harpd.host.path("users")).unwrap();
    for _ in 0..2 {
        let end = harpd.end("one", json!([])).await;
        assert_eq!(end["error"]["type"], "auth_error");
    }
    harpd.host.write("users", &users);
    assert_eq!(harpd.end("one", json!([])).await, json!({"result": 1}));
    harpd.logged("users file read again").await;
    assert_eq!(told("its last good reading stays in force"), 1);
    assert_eq!(told("users file unusable, nobody can call"), 1);
}

async fn wait_for_auth_error(harpd: &crate::host::Harpd) {
    for _ in 0..100 {
        if harpd.end("new", json!([])).await["error"]["type"] == "auth_error" {
            return;
        }
    }
    panic!("the removed user still gets in");
}

#[tokio::test]
async fn a_bad_file_changes_nothing() {
    let harpd = Host::new().script("one", "", "echo 1").start();
    let config = std::fs::read_to_string(harpd.host.path("harpd.toml")).unwrap();
    harpd
        .host
        .write("harpd.toml", &format!("{config}\nmax_calls = 'many'\n"));
    harpd.signal(Signal::HUP);
    harpd.logged("not reloaded").await;
    harpd.logged("max_calls").await;
    assert_eq!(harpd.end("one", json!([])).await, json!({"result": 1}));

    harpd.host.write("harpd.toml", &config);
    harpd.host.write("key.pem", "no key");
    harpd.signal(Signal::HUP);
    wait_for("the second refusal", || {
        let refusals = harpd.log().into_iter().filter(|line| {
            line["message"]
                .as_str()
                .is_some_and(|message| message.contains("not reloaded"))
        });
        refusals.count() == 2
    })
    .await;
    assert_eq!(harpd.end("one", json!([])).await, json!({"result": 1}));
}

#[test]
fn a_test_tells_everything_that_is_wrong() {
    let told = |host: &Host| {
        let output = host.harpd(&["--test"]);
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let host = Host::new().script("one", "", "echo 1");
    assert_eq!(told(&host), (true, String::new()));

    let logs_nowhere = Host::new().set("log_file = '/nonexistent/log'");
    let (good, text) = told(&logs_nowhere);
    assert!(!good);
    assert!(
        text.contains("log_file: cannot append to /nonexistent/log"),
        "{text}"
    );

    let host = host.set("max_cals = 3");
    let (good, text) = told(&host);
    assert!(good);
    assert!(
        text.contains("harpd.toml:8: max_cals: unknown key, ignored; did you mean max_calls?"),
        "{text}"
    );

    host.write(
        "key.pem",
        &rcgen::KeyPair::generate().unwrap().serialize_pem(),
    );
    host.write("users", "rpc:plain\n");
    let (good, text) = told(&host);
    assert!(!good);
    assert!(text.contains("does not belong to"), "{text}");
    assert!(text.contains("users:1: the hash must be"), "{text}");

    let host = Host::new().command("gone", "", &["/nonexistent/command"]);
    let (good, text) = told(&host);
    assert!(!good);
    assert!(
        text.contains("procedure gone: command not found: /nonexistent/command"),
        "{text}"
    );

    let host = Host::new().script("one", "user = 0\ngroup = []\ntimeout = 'long'", "");
    let (good, text) = told(&host);
    assert!(!good);
    for line in [
        "procedure.one.user: must be a string",
        "procedure.one.group: must name at least one group",
        "procedure.one.timeout: must be a number of seconds",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let output = host.harpd(&[]);
    assert!(!output.status.success(), "it must not start either");
}

#[test]
fn the_list_names_the_procedures_and_their_modes() {
    let host = Host::new().script("b", "", "").script(
        "a",
        "output = 'json-lines'\narguments = 'argv'",
        "",
    );
    let output = host.harpd(&["list"]);
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "a\tjson-lines\targv\nb\tjson\tstdin\n"
    );
}

#[tokio::test]
async fn the_pidfile_is_there_while_it_runs() {
    let host = Host::new();
    let config = host.write_config();
    let pidfile = host.path("pid");
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_harpd"))
        .arg("-c")
        .arg(config)
        .arg("-p")
        .arg(&pidfile)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let expected = format!("{}\n", child.id());
    wait_for("the pidfile", || {
        std::fs::read_to_string(&pidfile).is_ok_and(|content| content == expected)
    })
    .await;
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::INT).unwrap();
    wait_for("the end", || child.try_wait().unwrap().is_some()).await;
    assert!(!pidfile.exists());
}

#[tokio::test]
async fn sessions_are_resumed_under_both_versions() {
    let harpd = Host::new().script("one", "", "echo 1").start();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(crate::host::AnyCertificate(Arc::clone(&provider)));
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let mut caller = connect(harpd.address, Arc::clone(&config)).await;
            caller.send_line(&request("one", &json!([]))).await;
            assert_eq!(caller.rest().await[1], json!({"result": 1}));
            kinds.push(caller.stream.get_ref().get_ref().1.handshake_kind());
        }
        assert_eq!(kinds[0], Some(HandshakeKind::Full));
        assert_eq!(kinds[1], Some(HandshakeKind::Resumed), "{version:?}");
    }
}

#[tokio::test]
async fn systemd_is_told_how_it_is() {
    let host = Host::new().script("one", "", "echo 1");
    let manager = UnixDatagram::bind(host.path("notify")).unwrap();
    let received = async || {
        let mut message = [0; 512];
        let received = tokio::time::timeout(crate::host::PATIENCE, manager.recv(&mut message));
        let length = received.await.expect("no message").unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let variable = format!("export NOTIFY_SOCKET='{}'", host.path("notify").display());
    let harpd = host.before_start(&variable).start();
    assert!(received().await.starts_with("READY=1\n"));
    harpd.signal(Signal::HUP);
    assert!(received().await.starts_with("RELOADING=1\n"));
    assert!(received().await.starts_with("READY=1\n"));
    harpd.signal(Signal::TERM);
    assert!(received().await.starts_with("STOPPING=1\n"));
}

#[tokio::test]
async fn sockets_that_are_handed_over_are_used_instead_of_listen() {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty()).unwrap();
    let number = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // Not every shell knows numbers of two digits.
    let script = format!("exec 3<&{number}; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\"");
    let harpd = Host::new()
        .script("one", "", "echo 1")
        .before_start(&format!("exec bash -c '{script}' bash \"$@\""))
        .start();
    assert_eq!(harpd.address, address);
    assert_eq!(harpd.end("one", json!([])).await, json!({"result": 1}));
}

fn certificate(caller: &crate::host::Caller) -> Vec<u8> {
    let (_, connection) = caller.stream.get_ref().get_ref();
    connection.peer_certificates().unwrap()[0].to_vec()
}

#[test]
fn a_start_that_fails_names_the_address_and_leaves_the_pidfile_alone() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let host = Host::new();
    let config = std::fs::read_to_string(host.write_config()).unwrap();
    let config = host.write("other.toml", &config.replace("127.0.0.1:0", &address));
    let pidfile = host.write("pid", "1234\n");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_harpd"))
        .arg("-c")
        .arg(config)
        .arg("-p")
        .arg(&pidfile)
        .output()
        .unwrap();
    assert!(!output.status.success());
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains(&format!("cannot listen on {address}")),
        "{told}"
    );
    assert_eq!(std::fs::read_to_string(pidfile).unwrap(), "1234\n");
}
