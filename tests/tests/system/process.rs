//! The dispatcher as a process: its pidfile, and signals that come early (daemon
//! specification, "Commands").

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use harp_tests::{Cluster, Daemon, Log, until};

/// Starts a dispatcher with a pidfile, as a service manager would.
fn command(cluster: &Cluster) -> Command {
    let mut command = cluster.command();
    command
        .arg("start")
        .arg("--config")
        .arg(cluster.config())
        .arg("--pidfile")
        .arg(cluster.path("pid"));
    command
}

/// A configuration and what belongs to it, but no dispatcher that runs with it.
fn stopped() -> Cluster {
    let mut cluster = Cluster::builder().hosts(0).start();
    cluster.stop_dispatcher();
    cluster
}

#[test]
fn the_pidfile_is_that_of_the_running_daemon() {
    let cluster = stopped();
    let log = Log::new("harpcallerd");
    let mut daemon = Daemon::start(command(&cluster), &log);
    let address = daemon.listening();
    let pidfile = cluster.path("pid");
    let expected = format!("{}\n", daemon.id());
    assert_eq!(fs::read_to_string(&pidfile).unwrap(), expected);
    // Whether the second fails at the address or, where that is free, at the store.
    let any_port = fs::read_to_string(cluster.config()).unwrap();
    let same_port = any_port.replace(":0\"", &format!(":{}\"", address.port()));
    assert_ne!(any_port, same_port);
    for text in [any_port, same_port] {
        fs::write(cluster.config(), text).unwrap();
        let output = command(&cluster).output().unwrap();
        assert!(!output.status.success());
        let found = fs::read_to_string(&pidfile);
        assert_eq!(found.as_ref().ok(), Some(&expected), "{output:?}");
    }
    daemon.terminate();
    assert!(daemon.wait().success());
    assert!(!pidfile.exists(), "the pidfile is gone after the stop");
}

#[test]
fn a_stop_is_heeded_while_the_first_hosts_script_runs() {
    let cluster = stopped();
    fs::remove_file(cluster.path("hosts.cache")).unwrap();
    cluster.set_registry_script(
        "cd \"$(dirname \"$0\")\"; echo $$ > script.new; mv script.new script; exec sleep 600",
    );
    let log = Log::new("harpcallerd");
    let mut daemon = Daemon::start(command(&cluster), &log);
    let script = until("the script runs", || {
        fs::read_to_string(cluster.path("script")).ok()
    });
    let asked = Instant::now();
    daemon.terminate();
    assert_eq!(daemon.wait().code(), Some(0), "{}", log.text());
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(10), "at once: {took:?}");
    assert!(!cluster.path("pid").exists(), "the pidfile is gone");
    let process = format!("/proc/{}/stat", script.trim());
    until("the script is gone", || {
        // Gone, or waiting for whoever inherited it.
        let stat = fs::read_to_string(&process).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}
