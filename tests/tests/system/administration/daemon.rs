//! Starting, stopping and asking after a dispatcher.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use harp_tests::{Cluster, Daemon, Log, binary, until};

use super::complaint;
use crate::assertions::NO_JOB;

#[test]
fn status_tells_by_word_and_exit_code() {
    let mut cluster = Cluster::builder().hosts(0).start();
    let running = cluster.run(&["status"]);
    assert_eq!(running.status.code(), Some(0));
    assert_eq!(running.stdout, b"harpcallerd is running\n");
    assert_eq!(cluster.run(&["status", "--wait"]).stdout, running.stdout);
    cluster.stop_dispatcher();
    for arguments in [&["status"][..], &["status", "--wait", "--timeout", "0"]] {
        let stopped = cluster.run(arguments);
        assert_eq!(stopped.status.code(), Some(1));
        assert_eq!(stopped.stdout, b"harpcallerd is stopped\n");
    }
    // The others say what is the matter.
    for arguments in [&["list"][..], &["reload"], &["drain"], &["info", NO_JOB]] {
        let told = complaint(&cluster.run(arguments), 1);
        assert!(
            told.contains("not running") && told.contains("control"),
            "{told}"
        );
    }
    assert!(cluster.run(&["stop"]).status.success(), "it is stopped");
}

#[test]
fn a_start_can_be_waited_for_and_stopped() {
    let mut cluster = Cluster::builder().hosts(0).start();
    cluster.stop_dispatcher();
    fs::remove_file(cluster.path("hosts.cache")).unwrap();
    cluster.set_registry_script(
        "cd \"$(dirname \"$0\")\"; touch begun; while ! [ -e go ]; do sleep 0.02; done",
    );
    let start = || {
        let log = Log::new("harpcallerd");
        let mut command = cluster.command();
        command.arg("start").arg("--config").arg(cluster.config());
        let daemon = Daemon::start(command, &log);
        until("the script runs", || {
            cluster.path("begun").exists().then_some(())
        });
        (daemon, log)
    };
    let waiting = |arguments: &[&str]| {
        let mut command = cluster.command();
        command.args(arguments).stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let (mut daemon, _log) = start();
    for words in [&["status"][..], &["status", "--wait", "--timeout", "0"]] {
        let told = cluster.run(words);
        assert_eq!(told.status.code(), Some(3));
        assert_eq!(told.stdout, b"harpcallerd is starting\n");
    }
    for arguments in [&["list"][..], &["reload"]] {
        let told = complaint(&cluster.run(arguments), 1);
        assert!(told.contains("starting"), "{told}");
    }
    let patient = waiting(&["status", "--wait", "--timeout", "60"]);
    assert!(cluster.run(&["stop"]).status.success());
    assert!(daemon.wait().success());

    // It waits on for the next start.
    fs::remove_file(cluster.path("begun")).unwrap();
    let (mut daemon, _log) = start();
    fs::write(cluster.path("go"), "").unwrap();
    let told = patient.wait_with_output().unwrap();
    assert_eq!(told.stdout, b"harpcallerd is running\n");
    assert!(cluster.run(&["status"]).status.success());
    daemon.terminate();
    assert!(daemon.wait().success());
}

#[test]
fn a_stop_is_waited_for() {
    let mut cluster = Cluster::builder().unkept().set("stop_grace", "60").start();
    let caller = cluster.caller();
    let mut feed = cluster.feed("gate");
    let _ = caller.call("web01", "gate", &feed.arguments());
    until("it runs", || feed.is_read().then_some(()));
    let id = cluster.dispatcher_id().to_string();
    let stop = cluster.run(&["stop", "--timeout", "1", "--print-pid"]);
    let told = complaint(&stop, 1);
    assert!(told.contains("not ended within 1 s"), "{told}");
    assert_eq!(String::from_utf8_lossy(&stop.stdout).trim(), id);
    let mut patient = cluster.command().arg("stop").spawn().unwrap();
    let ending = cluster.run(&["status"]);
    assert_eq!(ending.status.code(), Some(3), "it still runs: {ending:?}");
    assert!(patient.try_wait().unwrap().is_none());
    drop(feed);
    assert!(patient.wait().unwrap().success());
    assert!(!cluster.socket().exists(), "the socket is gone");
    assert!(cluster.wait_dispatcher_ended().success());
}

#[test]
fn a_second_daemon_is_refused_and_what_is_stale_replaced() {
    let mut cluster = Cluster::builder().hosts(0).start();
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(cluster.socket()), 0o600);
    let start = |cluster: &Cluster, socket: &str| {
        let config = cluster.config();
        let mut command = Command::new(binary("harpcallerd"));
        command.arg("--socket").arg(cluster.path(socket));
        command.arg("start").arg("--config").arg(config);
        command.output().unwrap()
    };
    let told = complaint(&start(&cluster, "control"), 1);
    assert!(told.contains("already running"), "{told}");
    assert!(cluster.run(&["status"]).status.success());
    // The configuration's port is 0: what is refused is the store.
    let text = fs::read_to_string(cluster.config()).unwrap();
    assert!(text.contains(":0\""), "{text}");
    let told = complaint(&start(&cluster, "other"), 1);
    assert!(
        told.contains("jobs") && told.contains("in use by another process"),
        "{told}"
    );
    assert!(!cluster.path("other").exists());

    let open = cluster.path("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o1777)).unwrap();
    let told = complaint(&start(&cluster, "open/control"), 1);
    assert!(told.contains("chmod go-w"), "{told}");

    cluster.kill_dispatcher();
    assert!(cluster.socket().exists(), "left behind by the crash");
    assert_eq!(cluster.run(&["status"]).status.code(), Some(1));
    cluster.start_dispatcher();
    assert!(cluster.run(&["status", "--wait"]).status.success());
}

/// An old socket that nobody listens on any more, and one that somebody else has.
#[test]
fn a_foreign_listener_is_not_replaced() {
    let mut cluster = Cluster::builder().hosts(0).start();
    cluster.stop_dispatcher();
    let _listener = UnixListener::bind(cluster.socket()).unwrap();
    let mut command = cluster.command();
    command.arg("start").arg("--config").arg(cluster.config());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut told)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert!(told.contains("already running"), "{told}");
}
