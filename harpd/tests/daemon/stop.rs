//! A stop and a cancel that come while harpd waits for something else; the watchdog.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tokio::net::UnixDatagram;

use crate::host::{Host, PATIENCE, is_gone, wait_for};
use crate::python::{PROCEDURES, host};
use crate::python_server::fork_server;

/// What waits for an import or an interpreter does so for 10 s; this is promptly.
const PROMPTLY: Duration = Duration::from_secs(5);

/// A module whose import does not end; it writes its process's number beside it.
const HANGING: &str = "import os, time
directory = os.path.dirname(os.path.abspath(__file__))
with open(directory + '/new', 'w') as file:
    file.write(str(os.getpid()))
os.rename(directory + '/new', directory + '/importing')
time.sleep(1000)
";

/// Waits until the module is being imported.
async fn importing(host: &Host) -> Pid {
    let path = host.path("importing");
    wait_for("the import", || path.exists()).await;
    let number = std::fs::read_to_string(path).unwrap();
    Pid::from_raw(number.parse().unwrap()).unwrap()
}

async fn exit_code(process: &mut Child) -> Option<i32> {
    let mut status = None;
    wait_for("the end", || {
        status = process.try_wait().unwrap();
        status.is_some()
    })
    .await;
    status.unwrap().code()
}

#[tokio::test]
async fn a_stop_does_not_wait_for_an_import() {
    for (arguments, code) in [(&[][..], 0), (&["--test"], 1), (&["list"], 1)] {
        let Some(host) = host(HANGING) else { return };
        let config = host.write_config();
        let mut process = Command::new(env!("CARGO_BIN_EXE_harpd"))
            .arg("-c")
            .arg(config)
            .args(arguments)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let interpreter = importing(&host).await;
        let began = Instant::now();
        kill_process(Pid::from_child(&process), Signal::TERM).unwrap();
        assert_eq!(exit_code(&mut process).await, Some(code), "{arguments:?}");
        assert!(began.elapsed() < PROMPTLY, "{:?}", began.elapsed());
        wait_for("the interpreter to end", || is_gone(interpreter)).await;
    }
}

#[tokio::test]
async fn the_watchdog_is_fed_during_a_reload_and_a_stop_ends_it() {
    let Some(host) = host(PROCEDURES) else { return };
    let manager = UnixDatagram::bind(host.path("notify")).unwrap();
    let received = async || {
        let mut message = [0; 512];
        let received = tokio::time::timeout(PATIENCE, manager.recv(&mut message));
        let length = received.await.expect("no message").unwrap();
        String::from_utf8(message[..length].to_vec()).unwrap()
    };
    let variables = format!(
        "export NOTIFY_SOCKET='{}' WATCHDOG_USEC=200000 WATCHDOG_PID=$$",
        host.path("notify").display()
    );
    let mut harpd = host.before_start(&variables).start();
    assert!(received().await.starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(received().await, "WATCHDOG=1\n");
    }

    harpd.host.write("harpd.py", HANGING);
    harpd.signal(Signal::HUP);
    let interpreter = importing(&harpd.host).await;
    while !received().await.starts_with("RELOADING=1\n") {}
    for _ in 0..3 {
        assert_eq!(received().await, "WATCHDOG=1\n");
    }
    // Calls are served meanwhile.
    assert_eq!(harpd.end("add", json!([1])).await, json!({"result": 3}));

    let began = Instant::now();
    harpd.signal(Signal::TERM);
    assert_eq!(harpd.exit_code().await, Some(0));
    assert!(began.elapsed() < PROMPTLY, "{:?}", began.elapsed());
    wait_for("the interpreter to end", || is_gone(interpreter)).await;
    let mut last = received().await;
    while last == "WATCHDOG=1\n" {
        last = received().await;
    }
    assert!(last.starts_with("STOPPING=1\n"), "{last}");
}

#[tokio::test]
async fn a_hung_interpreter_holds_up_neither_a_cancel_nor_a_stop() {
    let Some(host) = host(PROCEDURES) else { return };
    let mut harpd = host.start();
    kill_process(fork_server(&harpd), Signal::STOP).unwrap();
    let mut calls = Vec::new();
    for _ in 0..3 {
        let mut call = harpd.call("add", json!([1])).await;
        call.acknowledged(false).await;
        calls.push(call);
    }
    let mut told_of_stop = calls.pop().unwrap();
    // The first is being asked for, the second waits behind it.
    for mut call in calls {
        let began = Instant::now();
        call.close().await;
        let rest = call.rest().await;
        assert_eq!(rest[0]["error"]["type"], "cancelled", "{rest:?}");
        assert_eq!(rest[0]["error"]["data"], json!({"processes": 0}));
        assert!(began.elapsed() < PROMPTLY, "{:?}", began.elapsed());
    }
    let began = Instant::now();
    harpd.signal(Signal::TERM);
    let rest = told_of_stop.rest().await;
    assert_eq!(rest[0]["error"]["type"], "shutdown", "{rest:?}");
    drop(told_of_stop);
    assert_eq!(harpd.exit_code().await, Some(0));
    assert!(began.elapsed() < PROMPTLY, "{:?}", began.elapsed());
}
