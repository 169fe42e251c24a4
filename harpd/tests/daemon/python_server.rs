//! The interpreter behind a Python module: how it starts, ends, and is replaced.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::json;

use crate::host::{Harpd, Host, is_gone, wait_for};
use crate::python::{PROCEDURES, host};

/// The fork server: what runs the module below a keeper that does not.
pub(crate) fn fork_server(harpd: &Harpd) -> Pid {
    // Keepers of calls are children of harpd too, and forks of the interpreter; its own
    // keeper is none.
    let mut keepers = children(harpd.pid()).into_iter();
    let own = keepers.find_map(|keeper| {
        let mut below = children(keeper).into_iter();
        let server = below.find(|child| runs_the_module(*child));
        server.filter(|_| !runs_the_module(keeper))
    });
    own.expect("a fork server")
}

fn children(parent: Pid) -> Vec<Pid> {
    let threads = format!("/proc/{}/task", parent.as_raw_nonzero());
    let of_thread = |thread: std::fs::DirEntry| {
        let children = std::fs::read_to_string(thread.path().join("children"));
        children.unwrap_or_default()
    };
    let threads = std::fs::read_dir(threads).into_iter().flatten().flatten();
    let all: String = threads.map(of_thread).collect();
    all.split_whitespace()
        .map(|number| Pid::from_raw(number.parse().unwrap()).unwrap())
        .collect()
}

fn runs_the_module(process: Pid) -> bool {
    let number = process.as_raw_nonzero();
    let words = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
    words.ends_with(b"harpd.py\0")
}

#[tokio::test]
async fn a_fork_server_that_dies_is_replaced_and_calls_go_on() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = host.start();
    let go_on = harpd.host.path("go on");
    let mut held = harpd.call("held", json!([go_on])).await;
    held.acknowledged(true).await;
    let pid = held.pid().await;

    let server = fork_server(&harpd);
    rustix::process::kill_process(server, Signal::KILL).unwrap();
    harpd.logged("Python module imported again").await;
    assert!(is_gone(server) && !is_gone(pid));
    assert_eq!(harpd.end("add", json!([1])).await, json!({"result": 3}));

    // Again and again, with a pause in between: what is called meanwhile is told so, or
    // waits, and the calls after that are served.
    for _ in 0..2 {
        let server = fork_server(&harpd);
        rustix::process::kill_process(server, Signal::KILL).unwrap();
        wait_for("it to go", || is_gone(server)).await;
        let began = Instant::now();
        loop {
            let end = harpd.end("add", json!([1])).await;
            if end == json!({"result": 3}) {
                break;
            }
            assert_eq!(end["error"]["type"], "system_error", "{end}");
            assert!(began.elapsed() < Duration::from_secs(10));
        }
    }
    std::fs::write(go_on, "").unwrap();
    assert_eq!(held.rest().await, [json!({"result": "went on"})]);
}

#[tokio::test]
async fn what_the_fork_server_names_as_a_calls_process_is_looked_at() {
    // As whoever has taken over the interpreter would answer.
    let module = format!(
        "{PROCEDURES}\n\
         import __main__, os\n\
         _start = __main__.start\n\
         def _named(*arguments):\n\
         \x20   if not os.path.exists('named'):\n\
         \x20       return _start(*arguments)\n\
         \x20   return int(open('named').read())\n\
         __main__.start = _named\n"
    );
    let Some(host) = host(&module) else { return };
    let harpd = host.start();
    let named = harpd.host.path("named");
    let go_on = harpd.host.path("go on");
    let mut held = harpd.call("held", json!([go_on])).await;
    held.acknowledged(true).await;
    let pid = held.pid().await;
    // It leads its session, but is no child of harpd.
    let mut stranger = Command::new("setsid")
        .args(["sleep", "1000"])
        .spawn()
        .unwrap();
    let strange = i32::try_from(stranger.id()).unwrap();
    for number in [0, strange, pid.as_raw_nonzero().get()] {
        std::fs::write(&named, number.to_string()).unwrap();
        let error = harpd.end("add", json!([1])).await["error"].take();
        assert_eq!(error["type"], "system_error", "{number}: {error}");
        std::fs::remove_file(&named).unwrap();
        wait_for_result(&harpd).await;
    }
    let lives = stranger.try_wait().unwrap().is_none();
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    assert!(lives);
    std::fs::write(go_on, "").unwrap();
    assert_eq!(held.rest().await, [json!({"result": "went on"})]);
}

/// Between one fork server and the next, calls are told that there is none.
async fn wait_for_result(harpd: &Harpd) {
    let began = Instant::now();
    while harpd.end("add", json!([1])).await != json!({"result": 3}) {
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_import_that_hangs_and_a_fork_server_that_does_are_given_up() {
    let Some(hanging) = host("import time\ntime.sleep(1000)\n") else {
        return;
    };
    let Some(host) = host(PROCEDURES) else { return };
    let tested = tokio::task::spawn_blocking(move || hanging.harpd(&["--test"]));
    let harpd = host.start();
    let server = fork_server(&harpd);
    rustix::process::kill_process(server, Signal::STOP).unwrap();
    let error = harpd.end("add", json!([1])).await["error"].take();
    assert_eq!(error["type"], "system_error", "{error}");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("did not fork within 10 s"), "{message}");
    harpd.logged("Python module imported again").await;
    assert_eq!(harpd.end("add", json!([1])).await, json!({"result": 3}));
    assert!(is_gone(server));

    let tested = tested.await.unwrap();
    assert!(!tested.status.success());
    let stderr = String::from_utf8(tested.stderr).unwrap();
    assert!(
        stderr.contains("its import took longer than 10 s"),
        "{stderr}"
    );
}

#[tokio::test]
async fn a_module_that_cannot_be_imported_is_told_and_mended_by_a_reload() {
    for (module, told) in [
        (
            "import sys\n\nnonsense\n",
            "NameError: name 'nonsense' is not defined",
        ),
        ("def broken(:\n", "SyntaxError"),
        (
            "import os\nos._exit(7)\n",
            "ended before it had imported it",
        ),
        (
            "from harpd.proc import procedure\n@procedure(timeout='x')\ndef p(): pass\n",
            "procedure p: timeout must be a number",
        ),
        (
            "from harpd.proc import procedure\n@procedure(nonsense=1)\ndef p(): pass\n",
            "TypeError",
        ),
    ] {
        let Some(host) = host(module) else { return };
        let tested = host.harpd(&["--test"]);
        assert!(!tested.status.success());
        let stderr = String::from_utf8(tested.stderr).unwrap();
        assert!(stderr.contains(told), "{stderr}");
        let harpd = host.command("other", "output = 'text'", &["echo"]).start();
        let error = harpd.end("p", json!([])).await["error"].take();
        assert_eq!(error["type"], "procedure_loading_error", "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.contains("harpd.py") && message.contains(told),
            "{message}"
        );
        // The rest works.
        assert_eq!(harpd.end("other", json!([])).await, json!({"result": "\n"}));

        harpd.host.write(
            "harpd.py",
            "from harpd.proc import *\n@procedure\ndef p(): return 1\n",
        );
        harpd.signal(Signal::HUP);
        harpd.logged("reloaded").await;
        assert_eq!(harpd.end("p", json!([])).await, json!({"result": 1}));
    }
}

#[tokio::test]
async fn a_reload_imports_the_module_again_and_leaves_running_calls_alone() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = host.start();
    let go_on = harpd.host.path("go on");
    let mut held = harpd.call("held", json!([go_on])).await;
    held.acknowledged(true).await;
    held.pid().await;
    let earlier = fork_server(&harpd);

    harpd.host.write(
        "harpd.py",
        "from harpd.proc import procedure\nimport beside\n@procedure\ndef new(): return beside.N\n",
    );
    harpd.host.write("beside.py", "N = 5\n");
    harpd.signal(Signal::HUP);
    harpd.logged("reloaded").await;
    assert_eq!(harpd.end("new", json!([])).await, json!({"result": 5}));
    let gone = harpd.end("add", json!([1])).await;
    assert_eq!(gone["error"]["type"], "no_such_procedure");
    std::fs::write(go_on, "").unwrap();
    assert_eq!(held.rest().await, [json!({"result": "went on"})]);
    wait_for("the earlier interpreter to end", || is_gone(earlier)).await;
    // Nothing was written beside the module.
    assert!(!harpd.host.path("__pycache__").exists());
}

#[tokio::test]
async fn the_fork_server_ends_with_harpd() {
    let Some(host) = host(PROCEDURES) else { return };
    let mut harpd = host.start();
    let server = fork_server(&harpd);
    harpd.signal(Signal::TERM);
    assert_eq!(harpd.exit_code().await, Some(0));
    wait_for("the fork server to end", || is_gone(server)).await;
}

#[test]
fn list_and_test_know_the_procedures() {
    let Some(host) = host(PROCEDURES) else { return };
    let host = host.command("add", "output = 'text'", &["echo"]);
    let listed = host.harpd(&["list"]);
    let names = String::from_utf8(listed.stdout).unwrap();
    for name in ["add", "Ticker", "hello", "count"] {
        assert_eq!(
            names
                .lines()
                .filter(|line| line.split('\t').next() == Some(name))
                .count(),
            1,
            "{names}"
        );
    }
    let stderr = String::from_utf8(listed.stderr).unwrap();
    assert!(
        stderr.contains("procedure add: there is another of this name"),
        "{stderr}"
    );
    let tested = host.harpd(&["--test"]);
    assert!(tested.status.success(), "{tested:?}");

    let mut host = Host::new();
    host.procedures = "[python]\nmodule = '/m.py'\ninterpreter = 'no-such-python'\n".to_owned();
    let tested = host.harpd(&["--test"]);
    let stderr = String::from_utf8(tested.stderr).unwrap();
    assert!(
        stderr.contains("no executable file no-such-python"),
        "{stderr}"
    );
}

/// Not a limit, but the proof of the promise: a call costs a fork and not the start of
/// an interpreter.
#[tokio::test]
async fn a_call_costs_less_than_the_start_of_an_interpreter() {
    let Some(host) = host(
        "import json, subprocess, asyncio, http.client\nfrom harpd.proc import procedure\n@procedure\ndef p(): pass\n",
    ) else {
        return;
    };
    let module: PathBuf = host.path("harpd.py");
    let harpd = host.start();
    let started = fastest(|| start_interpreter(&module));
    let mut called = Duration::MAX;
    for _ in 0..5 {
        let began = Instant::now();
        assert_eq!(harpd.end("p", json!([])).await, json!({"result": null}));
        called = called.min(began.elapsed());
    }
    println!("a call: {called:?}; an interpreter's start with the same imports: {started:?}");
    assert!(called < started);
}

fn fastest(mut act: impl FnMut()) -> Duration {
    let time = |_| {
        let began = Instant::now();
        act();
        began.elapsed()
    };
    (0..3).map(time).min().unwrap()
}

fn start_interpreter(module: &Path) {
    let text = std::fs::read_to_string(module).unwrap();
    let imports = text.lines().next().unwrap();
    let status = Command::new("python3").args(["-c", imports]).status();
    assert!(status.unwrap().success());
}
