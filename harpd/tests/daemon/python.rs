//! Procedures of a Python module: the real shim in a real interpreter.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::host::{Host, is_gone, request};
use crate::kept::caller::{Kept, call_id, connected};

pub(crate) const PROCEDURES: &str = include_str!("../fixtures/python/procedures.py");

/// A host with this text as its module; `None`, and a word about it, without Python.
pub(crate) fn host(module: &str) -> Option<Host> {
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
async fn a_kept_call_finds_its_job_and_its_place_in_a_trace() {
    let Some(host) = host(PROCEDURES) else { return };
    let harpd = host.start();
    let place = json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    for (number, place) in [(1, place), (2, Value::Null)] {
        let (mut kept, boot) = connected(&harpd).await;
        let id = call_id(number);
        let mut request = Kept::request(&boot, &id, 1, "surroundings");
        if !place.is_null() {
            request["traceparent"] = place.clone();
        }
        kept.asks(&request).await;
        let end = kept.next().await.expect("an end");
        let environment = &end["result"]["environment"];
        assert_eq!(
            (&environment["HARP_JOB"], &environment["TRACEPARENT"]),
            (&json!(id), &place)
        );
        // Its own processes have it from there.
        let inherited = end["result"]["child"].as_str().unwrap();
        assert!(
            inherited.contains(&format!("HARP_JOB={id}\n")),
            "{inherited}"
        );
        assert_eq!(inherited.contains("TRACEPARENT="), !place.is_null());
        kept.ack_end(0).await;
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
async fn the_number_that_stands_for_no_change_is_no_user_and_no_group() {
    for option in ["uid=4294967295", "uid='4294967295'", "gid=[0, 4294967295]"] {
        let module = format!(
            "from harpd.proc import procedure\n@procedure({option})\ndef whoami():\n    pass\n"
        );
        let Some(host) = host(&module) else { return };
        let harpd = host.start();
        let error = harpd.end("whoami", json!([])).await["error"].take();
        assert_eq!(
            error["type"], "procedure_loading_error",
            "{option}: {error}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("a number below 4294967295"), "{message}");
    }
}

#[tokio::test]
async fn modules_in_the_directory_it_starts_in_are_not_taken_for_the_librarys() {
    let Some(mut host) = host("") else { return };
    host.write("array.py", "raise SystemExit('not the library')\n");
    host.write("json.py", "raise SystemExit('not the library')\n");
    let elsewhere = tempfile::tempdir().unwrap();
    let module = elsewhere.path().join("harpd.py");
    std::fs::write(&module, PROCEDURES).unwrap();
    let before = format!("{:?}", host.path("harpd.py"));
    host.procedures = host.procedures.replace(&before, &format!("{module:?}"));
    let harpd = host.start();
    assert_eq!(harpd.end("add", json!([1])).await, json!({"result": 3}));
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
