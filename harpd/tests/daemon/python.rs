//! Procedures of a Python module: the real shim in a real interpreter.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::host::{Harpd, Host, is_gone, request, wait_for};

const PROCEDURES: &str = include_str!("../fixtures/python/procedures.py");

/// A host with this text as its module; `None`, and a word about it, without Python.
fn host(module: &str) -> Option<Host> {
    let there = Command::new("python3").arg("--version").output();
    if !there.is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no python3");
        return None;
    }
    let mut host = Host::new();
    let file = host.write("harpd.py", module);
    let path = host.path("");
    host.procedures.push_str(&format!(
        "[python]\nmodule = {file:?}\ndirectory = {path:?}\nenvironment = {{ MORE = 'x' }}\n"
    ));
    Some(host)
}

/// The fork server: harpd's only child with this command line that is not one of these
/// calls.
fn fork_server(harpd: &Harpd, calls: &[Pid]) -> Pid {
    let children = format!("/proc/{0}/task", harpd.pid().as_raw_nonzero());
    let of_thread = |thread: std::fs::DirEntry| {
        let children = std::fs::read_to_string(thread.path().join("children"));
        children.unwrap_or_default()
    };
    let all: String = std::fs::read_dir(children)
        .unwrap()
        .flatten()
        .map(of_thread)
        .collect();
    let is_server = |pid: &Pid| {
        let number = pid.as_raw_nonzero();
        let words = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        words.ends_with(b"harpd.py\0") && !calls.contains(pid)
    };
    let mut children = all
        .split_whitespace()
        .map(|number| Pid::from_raw(number.parse().unwrap()).unwrap());
    children.find(is_server).expect("a fork server")
}

fn exception(kind: &str, message: &str, module: &str) -> Value {
    json!({"exception": {
        "type": kind, "message": message, "data": {"class": kind, "module": module},
    }})
}

#[tokio::test]
async fn functions_and_objects_are_called_with_their_arguments() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = host.start();
    for (procedure, arguments, result) in [
        ("add", json!([1]), json!(3)),
        ("add", json!([1, 5]), json!(6)),
        ("add", json!({"second": 3, "first": 0}), json!(3)),
        (
            "anything",
            json!([1, null, "é"]),
            json!([[1, null, "é"], {}]),
        ),
        (
            "anything",
            json!({"b": 1, "a b": [2]}),
            json!([[], {"b": 1, "a b": [2]}]),
        ),
        ("hello", json!(["you"]), json!("hello, you")),
        ("Upper", json!({"text": "x"}), json!("X")),
        ("wrapped", json!([]), json!("inner")),
    ] {
        let answers = harpd.answers(procedure, arguments).await;
        let acknowledged = json!({"harp": 1, "stream_result": false});
        assert_eq!(
            answers,
            [acknowledged, json!({"result": result})],
            "{procedure}"
        );
    }
    for name in ["ordinary", "_private", "Greeter", "Procedure", "procedure"] {
        let end = harpd.end(name, json!([])).await;
        assert_eq!(end["error"]["type"], "no_such_procedure", "{name}: {end}");
    }
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_told_before_the_call() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = host.start();
    for (procedure, arguments, told) in [
        ("add", json!([]), "'first'"),
        ("add", json!([1, 2, 3]), "too many positional"),
        ("add", json!({"first": 1, "third": 3}), "'third'"),
        ("hello", json!([]), "'name'"),
        ("count", json!([]), "'to'"),
    ] {
        let error = &harpd.end(procedure, arguments).await["error"];
        assert_eq!(error["type"], "invalid_argument_list", "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.starts_with(procedure) && message.contains(told),
            "{message}"
        );
    }
    // A number that JSON allows and Python does not.
    let mut caller = harpd.connect().await;
    let line = request("add", &json!(["number"])).replace("\"number\"", &"9".repeat(5000));
    caller.send_line(&line).await;
    let end = caller.rest().await.pop().unwrap();
    let is_refused = end["error"]["type"] == "invalid_argument_list";
    // Before 3.11 Python had no such limit.
    assert!(is_refused || end["result"].is_number(), "{end}");
    // A TypeError of the procedure itself is its own.
    let end = harpd.end("add", json!([1, "x"])).await;
    assert_eq!(end["exception"]["type"], "TypeError");
}

#[tokio::test]
async fn streams_yield_packets_and_may_end_in_a_result() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = host.start();
    for (procedure, arguments, packets, end) in [
        (
            "count",
            json!([3]),
            json!([0, 1, 2]),
            json!({"result": {"counted": 3}}),
        ),
        (
            "without_result",
            json!([]),
            json!(["é"]),
            json!({"result": null}),
        ),
        (
            "returning",
            json!([]),
            json!([1]),
            json!({"result": "returned"}),
        ),
        ("listed", json!([]), json!([1, 2]), json!({"result": null})),
        (
            "Ticker",
            json!({"ticks": 2}),
            json!(["tick", "tick"]),
            json!({"result": 2}),
        ),
        (
            "breaking",
            json!([]),
            json!([1]),
            exception("OwnError", "after one", "__harpd__"),
        ),
    ] {
        let answers = harpd.answers(procedure, arguments).await;
        assert_eq!(answers[0], json!({"harp": 1, "stream_result": true}));
        assert_eq!(answers.last(), Some(&end), "{procedure}");
        let streamed = &answers[1..answers.len() - 1];
        let streamed: Vec<_> = streamed.iter().map(|line| line["stream"].clone()).collect();
        assert_eq!(Value::from(streamed), packets, "{procedure}");
    }
}

#[tokio::test]
async fn exceptions_have_class_and_module() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = host.start();
    for (procedure, arguments, end) in [
        (
            "failing",
            json!(["why\n"]),
            exception("OwnError", "why\n", "__harpd__"),
        ),
        (
            "missing_key",
            json!([]),
            exception("KeyError", "'key'", "builtins"),
        ),
        (
            "leaving",
            json!([]),
            exception("SystemExit", "enough", "builtins"),
        ),
    ] {
        assert_eq!(harpd.end(procedure, arguments).await, end);
    }
    for (procedure, kind) in [
        ("unshowable", "Unshowable"),
        ("not_json", "TypeError"),
        ("not_a_number", "ValueError"),
    ] {
        let end = harpd.end(procedure, json!([])).await;
        assert_eq!(end["exception"]["type"], kind, "{end}");
    }
    // Those that leave without a word are told as commands are.
    let end = harpd.end("exiting", json!([])).await;
    assert_eq!(end["exception"]["type"], "exit_status");
    assert_eq!(end["exception"]["data"]["exit_code"], 3);
    let end = harpd.end("killed", json!([])).await;
    assert_eq!(end["exception"]["type"], "signal");
    assert_eq!(end["exception"]["message"], "last words");
    assert_eq!(end["exception"]["data"]["signal"], "SIGKILL");
}

#[tokio::test]
async fn what_is_printed_is_for_the_log_and_not_the_answer() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = host.set("log_level = 'debug'").start();
    let answers = harpd.answers("talkative", json!([])).await;
    assert_eq!(answers[1..], [json!({"result": "real"})]);
    for said in ["imported by", "forged too", "on stderr", "half a line"] {
        harpd.logged(said).await;
    }
}

#[tokio::test]
async fn a_call_is_a_fork_of_its_own_with_the_surroundings_of_a_command() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = host.start();
    let told = harpd.end("surroundings", json!([])).await["result"].take();
    let environment = told["environment"].as_object().unwrap();
    let names: Vec<_> = environment.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["HARP_PEER", "HARP_PROCEDURE", "HARP_USER", "MORE", "PATH"]
    );
    assert_eq!(environment["HARP_PROCEDURE"], "surroundings");
    assert_eq!(environment["HARP_USER"], "rpc");
    assert!(
        environment["HARP_PEER"]
            .as_str()
            .unwrap()
            .starts_with("127.0.0.1:")
    );
    let inherited = told["child"].as_str().unwrap();
    assert_eq!(inherited.lines().count(), names.len(), "{inherited}");
    // Three streams, the way for the answer, and the listing's own.
    assert_eq!(told["descriptors"].as_array().unwrap().len(), 5, "{told}");
    assert_eq!(
        told["child_descriptors"].as_array().unwrap().len(),
        4,
        "{told}"
    );
    assert_eq!(told["leads"], true);
    assert_eq!(told["forked"], true);
    assert_eq!(told["stdin"], "");
    let directory = harpd.host.directory.path().canonicalize().unwrap();
    assert_eq!(told["directory"], directory.to_str().unwrap());
    // Imported once, whatever the number of calls.
    let imports = harpd.log();
    let imports = imports
        .iter()
        .filter(|line| line.to_string().contains("imported by"));
    assert_eq!(imports.count(), 1);
}

#[tokio::test]
async fn the_decorators_timeout_holds() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = host.start();
    let began = Instant::now();
    let end = harpd.end("slow", json!([])).await;
    assert_eq!(end["error"]["type"], "timeout");
    assert_eq!(end["error"]["data"]["seconds"], 1);
    assert!(began.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_cancel_ends_a_deaf_call_with_its_grandchild_and_proves_it() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = host.start();
    let mut caller = harpd.call("clinging", json!([])).await;
    caller.acknowledged(true).await;
    let family = [caller.pid().await, caller.pid().await, caller.pid().await];
    caller.close().await;
    let rest = caller.rest().await;
    assert_eq!(rest.len(), 1, "{rest:?}");
    assert_eq!(rest[0]["error"]["type"], "cancelled");
    assert_eq!(rest[0]["error"]["data"], json!({"processes": 0}));
    assert!(family.into_iter().all(is_gone));
}

#[tokio::test]
async fn many_calls_at_once() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = std::sync::Arc::new(host.start());
    let calls: Vec<_> = (0..60)
        .map(|number| {
            let harpd = std::sync::Arc::clone(&harpd);
            tokio::spawn(async move {
                let end = harpd.end("add", json!([number, 1])).await;
                assert_eq!(end, json!({"result": number + 1}));
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn large_arguments_and_results_pass() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = host.start();
    let text = "é".repeat(1 << 20);
    let end = harpd.end("Upper", json!([text])).await;
    assert_eq!(end["result"].as_str().unwrap().len(), 2 << 20);
}

#[tokio::test]
async fn a_fork_server_that_dies_is_replaced_and_calls_go_on() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = host.start();
    let go_on = harpd.host.path("go on");
    let mut held = harpd.call("held", json!([go_on])).await;
    held.acknowledged(true).await;
    let pid = held.pid().await;

    let server = fork_server(&harpd, &[pid]);
    rustix::process::kill_process(server, Signal::KILL).unwrap();
    harpd.logged("Python module imported again").await;
    assert!(is_gone(server) && !is_gone(pid));
    assert_eq!(harpd.end("add", json!([1])).await, json!({"result": 3}));

    // Again and again, with a pause in between: what is called meanwhile is told so, or
    // waits, and the calls after that are served.
    for _ in 0..2 {
        let server = fork_server(&harpd, &[pid]);
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
async fn an_import_that_hangs_and_a_fork_server_that_does_are_given_up() {
    let Some(hanging) = host("import time\ntime.sleep(1000)\n") else {
        return;
    };
    let Some(host) = host(PROCEDURES) else { return };
    let tested = tokio::task::spawn_blocking(move || hanging.harpd(&["--test"]));
    let harpd = host.start();
    let server = fork_server(&harpd, &[]);
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
async fn results_and_packets_are_limited() {
    let Some(mut host) = host(PROCEDURES) else {
        return;
    };
    host.procedures.push_str("max_output = '1K'\n");
    let harpd = host.start();
    let text = |length| json!(["x".repeat(length)]);
    let end = harpd.end("Upper", text(1000)).await;
    assert!(end["result"].is_string(), "{end}");
    for length in [1023, 200_000] {
        let end = harpd.end("Upper", text(length)).await;
        assert_eq!(end["exception"]["type"], "output_too_large", "{end}");
    }
}

#[tokio::test]
async fn a_module_that_cannot_be_imported_is_told_and_mended_by_a_reload() {
    for (module, told) in [
        (
            "import sys\n\nnonsense\n",
            "NameError: name 'nonsense' is not defined",
        ),
        ("def broken(:\n", "SyntaxError"),
        ("import os\nos._exit(7)\n", "ended while it imported it"),
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
    let pid = held.pid().await;
    let earlier = fork_server(&harpd, &[pid]);

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
    let server = fork_server(&harpd, &[]);
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
            names.lines().filter(|line| *line == name).count(),
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

#[tokio::test]
async fn uid_and_gid_are_taken_on() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root may become other users");
        return;
    }
    let Some(host) = host(include_str!("../fixtures/python/privileged.py")) else {
        return;
    };
    let harpd = host.start();
    let result = async |procedure: &str| harpd.end(procedure, json!([])).await["result"].take();
    let id = |words: &[&str]| {
        let output = Command::new("id").args(words).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim().parse::<u32>().unwrap()
    };
    let (nobody, its_group) = (id(&["-u", "nobody"]), id(&["-g", "nobody"]));
    let told = result("by_name").await;
    assert_eq!(told[0], json!([nobody, nobody, nobody]));
    assert_eq!(told[1], json!([its_group, its_group, its_group]));
    assert_eq!(told[2], json!([its_group]));
    let told = result("by_number").await;
    assert_eq!(
        told,
        json!([[12345, 12345, 12345], [23456, 23456, 23456], [23456]])
    );
    let daemon = id(&["-g", "daemon"]);
    let told = result("by_groups").await;
    assert_eq!(
        told,
        json!([[0, 0, 0], [daemon, daemon, daemon], [daemon, 34567]])
    );

    for (procedure, why) in [
        ("unknown", "there is no user"),
        ("without_group", "needs a gid"),
    ] {
        let error = harpd.end(procedure, json!([])).await["error"].take();
        assert_eq!(error["type"], "system_error", "{error}");
        assert!(error["message"].as_str().unwrap().contains(why), "{error}");
    }
}

#[tokio::test]
async fn the_interpreter_runs_as_the_configured_user() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root may become other users");
        return;
    }
    let Some(host) = host(include_str!("../fixtures/python/privileged.py")) else {
        return;
    };
    let mut host = host.readable_by_all();
    host.procedures.push_str("user = 'nobody'\n");
    let harpd = host.start();
    let told = harpd.end("by_name", json!([])).await;
    assert_ne!(told["result"][0][0], 0, "{told}");
    // And may become nobody else.
    let told = harpd.end("by_number", json!([])).await;
    assert_eq!(told["error"]["type"], "system_error", "{told}");
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
