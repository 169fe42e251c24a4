//! Reloading, draining, retention, and being a service of systemd (daemon
//! specification, "Configuration" and "Commands").

use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use harp_tests::certificates::Authority;
use harp_tests::{Caller, Cluster, binary, until};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

#[test]
fn a_reload_changes_addresses_and_limits_and_names_what_needs_a_restart() {
    let mut cluster = Cluster::start();
    let caller = cluster.caller();
    let old = cluster.address();
    let mut kept = caller.send(json!({"harpcaller": 1, "hello": {}}));
    assert!(kept.line()["server"].is_string());
    let new = harp_tests::unique_address();
    cluster.set(
        "listen",
        &json!([format!("{new}:{}", old.port())]).to_string(),
    );
    cluster.set("max_live_jobs", "1");
    cluster.set("cache_size", "'80M'");
    let output = cluster.reload();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("cache_size"), "{said}");
    let moved = Caller::new((new, old.port()).into());
    let _ = moved.call("web01", "silent", "[]");
    let refused =
        moved.ask(r#"{"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": []}"#);
    assert_eq!(refused["error"]["type"], "overloaded", "{refused}");
    until("the old address is closed", || {
        std::net::TcpStream::connect(old).is_err().then_some(())
    });
    kept.send(json!({"harpcaller": 1, "hello": {}}));
    assert!(kept.line()["server"].is_string(), "its session goes on");
}

#[test]
fn a_bad_file_changes_nothing_and_says_why() {
    let mut cluster = Cluster::start();
    cluster.set("max_live_jobs", "'many'");
    let output = cluster.reload();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("max_live_jobs: must be a whole number"),
        "{said}"
    );
    cluster.set("max_live_jobs", "1");
    cluster.set("ca_file", "'/nonexistent/ca.pem'");
    let output = cluster.reload();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("trust: ") && said.contains("/nonexistent/ca.pem"),
        "{said}"
    );
    let caller = cluster.caller();
    let _ = caller.call("web01", "silent", "[]");
    let job = caller.call("web01", "echo", "[1]");
    assert_eq!(caller.result(&job), json!({"result": [1]}));
}

#[test]
fn a_drain_lets_what_runs_end_and_keeps_what_waits() {
    let mut cluster = Cluster::builder().set("stop_grace", "0").start();
    let caller = cluster.caller();
    let queue = r#""queue": {"name": {"q": 1}, "concurrency": 1}"#;
    let mut feed = cluster.feed("gate");
    let _ = caller.call_with("web01", "gate", &feed.arguments(), queue);
    let waits = caller.call_with("web01", "echo", "[2]", queue);
    until("it runs", || feed.is_read().then_some(()));
    let mut drain = cluster.command().arg("drain").spawn().unwrap();
    let call = r#"{"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": []}"#;
    until("no calls are taken", || {
        (caller.ask(call)["error"]["type"] == "shutdown").then_some(())
    });
    assert!(drain.try_wait().unwrap().is_none(), "one still runs");
    drop(feed);
    assert!(drain.wait().unwrap().success());
    assert!(cluster.wait_dispatcher_ended().success());
    cluster.start_dispatcher();
    assert_eq!(cluster.caller().result(&waits), json!({"result": [2]}));
}

#[test]
fn old_jobs_are_pruned_and_live_ones_stay() {
    let mut cluster = Cluster::start();
    // With the port that it has been given in its configuration.
    cluster.restart_dispatcher();
    let caller = cluster.caller();
    let jobs: Vec<_> = (0..20)
        .map(|_| caller.call("web01", "echo", "[]"))
        .collect();
    for job in &jobs {
        let _ = caller.result(job);
    }
    let live = caller.call("web01", "silent", "[]");
    assert!(cluster.run(&["prune-jobs"]).status.success());
    assert_eq!(
        cluster.lines(&["list", "--all"]).len(),
        21,
        "none is 30 days old"
    );
    cluster.set("max_jobs", "5");
    assert!(cluster.reload().status.success());
    until("fifteen are gone", || {
        (cluster.lines(&["list", "--all"]).len() == 6).then_some(())
    });
    assert!(cluster.run(&["prune-jobs", "--age", "0"]).status.success());
    let left = cluster.lines(&["list", "--all"]);
    assert!(left.len() == 1 && left[0].contains(&live), "{left:?}");
}

#[test]
fn systemd_hands_sockets_over_and_is_told_how_it_is() {
    let mut cluster = Cluster::start();
    cluster.stop_dispatcher();
    let manager = UnixDatagram::bind(cluster.path("notify")).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let start = || {
        // The socket comes as standard input, and goes where systemd puts it.
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "exec 3<&0 0</dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\"",
            ])
            .arg(binary("harpcallerd"))
            .arg("--socket")
            .arg(cluster.socket())
            .args(["start", "--config"])
            .arg(cluster.config())
            .env("NOTIFY_SOCKET", cluster.path("notify"))
            .env("WATCHDOG_USEC", "200000")
            .stdin(OwnedFd::from(socket.try_clone().unwrap()))
            .stderr(fs::File::create(cluster.path("log")).unwrap());
        command.spawn().unwrap()
    };
    let wait_for = |what: &str| {
        until(what, || {
            let mut message = [0; 512];
            let length = manager.recv(&mut message).unwrap();
            let text = String::from_utf8_lossy(&message[..length]).into_owned();
            text.contains(what).then_some(())
        });
    };
    let caller = Caller::new(address);
    for _ in 0..2 {
        // Whoever connects before the start is served by it.
        let mut early = caller.send(json!({"harpcaller": 1, "hello": {}}));
        let mut child = start();
        wait_for("READY=1");
        assert!(early.line()["server"].is_string());
        wait_for("WATCHDOG=1");
        let job = caller.call("web01", "echo", "[]");
        assert_eq!(caller.result(&job), json!({"result": []}));
        assert!(cluster.run(&["reload"]).status.success());
        wait_for("RELOADING=1");
        wait_for("READY=1");
        assert!(cluster.run(&["stop"]).status.success());
        wait_for("STOPPING=1");
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn sighup_reloads_and_a_bad_file_then_changes_nothing() {
    let mut cluster = Cluster::start();
    cluster.restart_dispatcher();
    let id = Pid::from_raw(cluster.dispatcher_id().cast_signed()).unwrap();
    let text = fs::read_to_string(cluster.config()).unwrap();
    let caller = cluster.caller();
    let _ = caller.call("web01", "silent", "[]");
    fs::write(cluster.config(), format!("max_live_jobs = 1\n{text}")).unwrap();
    kill_process(id, Signal::HUP).unwrap();
    let _ = cluster.log().wait_for("configuration reloaded");
    let call = r#"{"harpcaller": 1, "host": "web01", "procedure": "echo", "arguments": []}"#;
    assert_eq!(caller.ask(call)["error"]["type"], "overloaded");
    fs::write(cluster.config(), format!("max_live_jobs = 'x'\n{text}")).unwrap();
    kill_process(id, Signal::HUP).unwrap();
    let _ = cluster
        .log()
        .wait_for("configuration not reloaded, the one in force stays");
    assert!(cluster.log().text().contains(":1: max_live_jobs: must be"));
    assert_eq!(caller.ask(call)["error"]["type"], "overloaded");
    fs::write(cluster.config(), text).unwrap();
    kill_process(id, Signal::HUP).unwrap();
    until("the limit is gone", || {
        caller.ask(call)["job_id"].is_string().then_some(())
    });
}

#[test]
fn a_host_that_is_not_trusted_any_more_is_refused_on_the_next_call() {
    let good = Authority::shared().issue(&["127.0.0.1"]);
    let other = Authority::new("another");
    let mut cluster = Cluster::builder().host_certificate(good.clone()).start();
    cluster.restart_dispatcher();
    let caller = cluster.caller();
    let ask = || caller.result(&caller.call("web01", "echo", "[1]"));
    let assert_trusted = || assert_eq!(ask(), json!({"result": [1]}));
    let assert_refused = || {
        let answer = ask();
        assert_eq!(answer["error"]["type"], "network_error", "{answer}");
        assert_eq!(answer["error"]["data"]["code"], "tls", "{answer}");
    };
    let (old_ca, new_ca) = (cluster.path("ca.pem"), cluster.path("other.pem"));
    fs::write(&new_ca, other.pem()).unwrap();
    // Twice, so that there is a TLS session to resume.
    assert_trusted();
    assert_trusted();
    let reload = |cluster: &mut Cluster, key: &str, value: &str| {
        cluster.set(key, value);
        let output = cluster.reload();
        assert!(output.status.success(), "{output:?}");
    };
    reload(&mut cluster, "ca_file", &json!(new_ca).to_string());
    assert_refused();
    reload(&mut cluster, "ca_file", &json!(old_ca).to_string());
    assert_trusted();

    let known = cluster.path("known.pem");
    fs::write(&known, &good.pem).unwrap();
    cluster.set("ca_file", "");
    reload(&mut cluster, "known_certs_file", &json!(known).to_string());
    assert_trusted();
    // The list is looked at before each call, without any reload.
    fs::write(&known, other.issue(&["127.0.0.1"]).pem).unwrap();
    assert_refused();
    reload(&mut cluster, "ca_file", &json!(old_ca).to_string());
    assert_trusted();
}

#[test]
fn the_registry_gets_another_script_and_interval() {
    let mut cluster = Cluster::start();
    cluster.restart_dispatcher();
    let caller = cluster.caller();
    let renamed = |name: &str| {
        let mut entry = cluster.entry("web01");
        entry["hostname"] = json!(name);
        entry.to_string()
    };
    let (first, second) = (renamed("web77"), renamed("web78"));
    let list = cluster.path("other.jsonl");
    let script = cluster.set_program("other.sh", &format!("exec cat {}", list.display()));
    fs::write(&list, first).unwrap();
    cluster.set("host_db_script", &json!(script).to_string());
    cluster.set("host_db_refresh", "1");
    assert!(cluster.reload().status.success());
    let is_known = |host: &str| {
        let answer = caller.result(&caller.call(host, "echo", "[1]"));
        answer == json!({"result": [1]})
    };
    until("the other script has been run", || {
        is_known("web77").then_some(())
    });
    assert!(!is_known("web01"), "it is not in the other one's list");
    fs::write(&list, second).unwrap();
    until("it is run at the other interval", || {
        is_known("web78").then_some(())
    });
}
