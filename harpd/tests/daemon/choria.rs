//! Agents written for Choria, as they are started and what becomes of what they do.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use crate::host::{Harpd, Host, is_gone, make_executable, wait_for};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/agents");

/// A host with the agent `deep` in one layout, and `probe` in the other if there is
/// Python for it; its temporary files in a directory of its own.
pub(crate) fn host() -> Host {
    let host = Host::new();
    let fixture = |name: &str| std::fs::read_to_string(Path::new(FIXTURES).join(name)).unwrap();
    for directory in ["agents", "agents/deep", "tmp", "etc"] {
        std::fs::create_dir(host.path(directory)).unwrap();
    }
    host.write("agents/deep/deep.json", &fixture("deep/deep.json"));
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let program = format!("agents/deep/deep-linux_{architecture}");
    make_executable(&host.write(&program, &fixture("deep/deep.sh")));
    if has_python() {
        host.write("agents/probe.json", &fixture("probe.json"));
        make_executable(&host.write("agents/probe", &fixture("probe")));
    }
    host.write("facts.json", r#"{"site": "lab"}"#);
    let (agents, etc, facts) = (
        host.path("agents"),
        host.path("etc"),
        host.path("facts.json"),
    );
    let temporary = format!("export TMPDIR='{}'", host.path("tmp").display());
    let mut host = host.before_start(&temporary);
    host.procedures.push_str(&format!(
        "[choria]\nagents = {agents:?}\nconfig_dir = {etc:?}\nfacts = {facts:?}\n\
         max_output = '1M'\n"
    ));
    host
}

fn has_python() -> bool {
    let output = std::process::Command::new("python3")
        .arg("--version")
        .output();
    output.is_ok_and(|output| output.status.success())
}

/// An agent that is a shell script with one action, `act`.
fn add_agent(host: &Host, name: &str, script: &str) {
    let ddl = json!({
        "metadata": {"name": name, "provider": "external", "timeout": 20},
        "actions": [{"action": "act"}],
    });
    host.write(&format!("agents/{name}.json"), &ddl.to_string());
    let script = format!("#!/bin/sh\n{script}\n");
    make_executable(&host.write(&format!("agents/{name}"), &script));
}

/// Directories of calls that are there now.
fn call_directories(host: &Host) -> Vec<PathBuf> {
    let entries = |path: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect()
    };
    let of_harpds = entries(&host.path("tmp"));
    let all = of_harpds.iter().flat_map(|directory| entries(directory));
    all.filter(|path| path.is_dir()).collect()
}

/// Waits until `deep.sleep` has told of it.
async fn grandchild(harpd: &Harpd) -> Pid {
    let line = harpd.logged("grandchild").await.to_string();
    let number = line.split("grandchild ").nth(1).unwrap();
    let number: String = number.chars().take_while(char::is_ascii_digit).collect();
    Pid::from_raw(number.parse().unwrap()).unwrap()
}

async fn exception(harpd: &Harpd, procedure: &str, arguments: Value) -> Value {
    let mut end = harpd.end(procedure, arguments).await;
    assert!(end["exception"].is_object(), "{end}");
    end["exception"].take()
}

#[tokio::test]
async fn an_agent_is_started_as_by_choria() {
    if !has_python() {
        return println!("skipped: there is no python3");
    }
    let harpd = host().start();
    let arguments = json!({"text": "some words", "options": {"b": 1, "a": [null]}});
    let answers = harpd.answers("probe.echo", arguments.clone()).await;
    assert_eq!(answers[0], json!({"harp": 1, "stream_result": false}));
    let told = &answers[1]["result"];

    let text = |path: &str| told.pointer(path).unwrap().as_str().unwrap().to_owned();
    let (request_file, reply_file) = (text("/argv/1"), text("/argv/2"));
    let temporary = harpd.host.path("tmp").canonicalize().unwrap();
    assert_eq!(told["directory"], temporary.to_str().unwrap());
    assert_eq!(
        text("/argv/0"),
        harpd.host.path("agents/probe").to_str().unwrap()
    );
    assert_eq!(text("/argv/3"), "io.choria.mcorpc.external.v1.rpc_request");
    assert_eq!(told["argv"].as_array().unwrap().len(), 4);
    let facts_file = text("/environment/CHORIA_EXTERNAL_FACTS");
    assert_eq!(
        told["environment"],
        json!({
            "CHORIA_EXTERNAL_REQUEST": request_file,
            "CHORIA_EXTERNAL_REPLY": reply_file,
            "CHORIA_EXTERNAL_PROTOCOL": "io.choria.mcorpc.external.v1.rpc_request",
            "CHORIA_EXTERNAL_CONFIG": harpd.host.path("etc/plugin.d/probe"),
            "CHORIA_EXTERNAL_FACTS": facts_file,
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        })
    );
    assert_eq!(told["facts"], r#"{"site": "lab"}"#);
    assert_eq!(
        (&told["stdin"], &told["stdin_is"]),
        (&json!(""), &json!("/dev/null"))
    );
    assert_eq!(told["session"], true);
    assert_eq!(told["absent"], "by default");

    let request = told["request"].as_object().unwrap();
    assert_eq!(request.len(), 11, "{request:?}");
    for (key, value) in [
        (
            "$schema",
            json!("https://choria.io/schemas/mcorpc/external/v1/rpc_request.json"),
        ),
        (
            "protocol",
            json!("io.choria.mcorpc.external.v1.rpc_request"),
        ),
        ("agent", json!("probe")),
        ("action", json!("echo")),
        ("senderid", json!("127.0.0.1")),
        ("callerid", json!("harp=rpc")),
        ("collective", json!("mcollective")),
        ("ttl", json!(20)),
        ("data", arguments),
    ] {
        assert_eq!(request[key], value, "{key}");
    }
    let id = request["requestid"].as_str().unwrap();
    assert!(
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id}"
    );
    let age =
        std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - request["msgtime"].as_u64().unwrap();
    assert!(age < 60, "{age}");
    for file in [request_file, reply_file, facts_file] {
        assert!(
            file.starts_with(harpd.host.path("tmp").to_str().unwrap()),
            "{file}"
        );
        assert!(!Path::new(&file).exists(), "{file}");
    }
    assert!(call_directories(&harpd.host).is_empty());
}

#[tokio::test]
async fn arguments_are_held_against_the_description() {
    if !has_python() {
        return println!("skipped: there is no python3");
    }
    let harpd = host().start();
    for (procedure, arguments, input) in [
        (
            "probe.echo",
            json!({"text": "UPPER"}),
            json!({"input": "text"}),
        ),
        (
            "probe.echo",
            json!({"text": "x".repeat(21)}),
            json!({"input": "text"}),
        ),
        (
            "probe.echo",
            json!({"options": []}),
            json!({"input": "options"}),
        ),
        (
            "probe.echo",
            json!({"nothing": 1}),
            json!({"input": "nothing"}),
        ),
        ("probe.echo", json!(["text"]), Value::Null),
        (
            "deep.status",
            json!({"message": "m"}),
            json!({"input": "code"}),
        ),
        (
            "deep.status",
            json!({"code": 1.5, "message": "m"}),
            json!({"input": "code"}),
        ),
    ] {
        let answers = harpd.answers(procedure, arguments).await;
        // In place of the acknowledgement.
        assert_eq!(answers.len(), 1, "{answers:?}");
        let error = &answers[0]["error"];
        assert_eq!(error["type"], "invalid_argument_list");
        assert_eq!(error["data"], input);
        if let Some(input) = input["input"].as_str() {
            assert!(
                error["message"].as_str().unwrap().contains(input),
                "{error}"
            );
        }
    }
    let gone = harpd.end("deep.nothing", json!({})).await;
    assert_eq!(gone["error"]["type"], "no_such_procedure");
}

#[tokio::test]
async fn replies_become_results_and_exceptions() {
    let harpd = host().start();
    let status = async |code: u32| {
        let arguments = json!({"code": code, "message": "what went wrong"});
        harpd.end("deep.status", arguments).await
    };
    assert_eq!(status(0).await, json!({"result": {"x": 1.0, "n": 7}}));
    for (code, kind) in [
        (1, "rpc_aborted"),
        (2, "unknown_action"),
        (3, "missing_data"),
        (4, "invalid_data"),
        (5, "unknown_error"),
    ] {
        let data = json!({"statuscode": code, "data": {"x": 1.0, "n": 7}});
        let expected = json!({"type": kind, "message": "what went wrong", "data": data});
        assert_eq!(status(code).await, json!({"exception": expected}));
    }
    for (action, told) in [
        (
            "silent",
            "Could not call external agent deep#silent: it wrote no reply",
        ),
        (
            "exit3",
            "Could not call external agent deep#exit3: executing deep failed: exit status 3",
        ),
        ("killed", "executing deep failed: signal SIGKILL"),
        ("garbage", "failed to decode reply json"),
        ("fifo", "cannot read its reply"),
    ] {
        let exception = exception(&harpd, &format!("deep.{action}"), json!({})).await;
        assert_eq!(exception["type"], "rpc_aborted", "{exception}");
        assert!(
            exception["message"].as_str().unwrap().contains(told),
            "{exception}"
        );
        assert_eq!(exception["data"], json!({"statuscode": 1, "data": {}}));
    }
    let too_large = exception(&harpd, "deep.huge", json!({})).await;
    assert_eq!(too_large["type"], "output_too_large");
    assert!(call_directories(&harpd.host).is_empty());
}

#[tokio::test]
async fn what_an_agent_prints_is_for_the_log_however_much() {
    let harpd = host().start();
    let end = harpd.end("deep.loud", json!({})).await;
    assert_eq!(end, json!({"result": {"said": "much"}}));
    let said = harpd.logged("one of many lines").await;
    assert_eq!(
        (&said["level"], &said["source"]),
        (&json!("INFO"), &json!("deep#loud"))
    );
    let trouble = harpd.logged("trouble").await;
    assert_eq!(trouble["level"], "WARN");
    let lines = harpd.log();
    let lines = lines.iter().filter(|line| line["source"] == "deep#loud");
    assert!(lines.count() < 1100);
}

#[tokio::test]
async fn the_descriptions_timeout_ends_the_agent_with_its_grandchild() {
    let harpd = host().start();
    let began = Instant::now();
    let end = harpd.end("deep.sleep", json!({})).await;
    assert_eq!(end["error"]["type"], "timeout");
    assert_eq!(end["error"]["data"]["seconds"], 2);
    assert!(began.elapsed() >= Duration::from_secs(2));
    assert!(is_gone(grandchild(&harpd).await));
    assert!(call_directories(&harpd.host).is_empty());
}

#[tokio::test]
async fn a_cancel_is_proved_and_leaves_no_files() {
    let mut harpd = host().start();
    let mut caller = harpd.call("deep.sleep", json!({})).await;
    caller.acknowledged(false).await;
    harpd.logged("grandchild").await;
    assert_eq!(call_directories(&harpd.host).len(), 1);
    caller.close().await;
    let rest = caller.rest().await;
    assert_eq!(rest[0]["error"]["data"], json!({"processes": 0}));
    wait_for("the files to go", || {
        call_directories(&harpd.host).is_empty()
    })
    .await;
    harpd.signal(Signal::TERM);
    assert_eq!(harpd.exit_code().await, Some(0));
    let left = std::fs::read_dir(harpd.host.path("tmp")).unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn agents_that_are_not_active_have_no_procedures() {
    let host = host();
    add_agent(&host, "active", r#"echo '{"activate": true}' > "$2""#);
    add_agent(&host, "idle", r#"echo '{"activate": false}' > "$2""#);
    add_agent(
        &host,
        "failing",
        r#"echo '{"activate": true}' > "$2"; exit 1"#,
    );
    add_agent(&host, "mute", "");
    add_agent(
        &host,
        "slow",
        &format!("echo $$ > '{}'; sleep 1000", host.path("slow").display()),
    );
    add_agent(&host, "absent", "");
    std::fs::remove_file(host.path("agents/absent")).unwrap();
    add_agent(&host, "scout", r#"echo '{"activate": true}' > "$2""#);
    host.write("agents/broken.json", "{");
    host.write(
        "agents/golang.json",
        r#"{"metadata": {"name": "golang", "provider": "golang"}, "actions": []}"#,
    );

    let listed = String::from_utf8(host.harpd(&["list"]).stdout).unwrap();
    let of_scripts: Vec<_> = listed
        .lines()
        .filter_map(|line| line.strip_suffix("\tchoria")?.split('\t').next())
        .filter(|name| name.ends_with(".act"))
        .collect();
    assert_eq!(of_scripts, ["active.act"]);
    assert!(listed.contains("deep.exit3"), "{listed}");
    let tested = host.harpd(&["--test"]);
    assert!(!tested.status.success());

    let harpd = host.start();
    for told in [
        "agent failing: not activated: exit status 1",
        "agent mute: not activated: its answer",
        "agent slow: not activated: no answer within 2 s",
        "agent absent: not activated: command not found",
        "scout is reserved",
        "broken.json: not an agent's description",
    ] {
        assert_eq!(harpd.logged(told).await["level"], "WARN");
    }
    assert!(
        !harpd
            .log()
            .iter()
            .any(|line| line.to_string().contains("golang"))
    );
    let number = std::fs::read_to_string(harpd.host.path("slow")).unwrap();
    assert!(is_gone(
        Pid::from_raw(number.trim().parse().unwrap()).unwrap()
    ));
    for name in ["idle.act", "failing.act", "slow.act", "scout.act"] {
        let end = harpd.end(name, json!({})).await;
        assert_eq!(end["error"]["type"], "no_such_procedure");
    }
    // It says nothing but that it is active: everything else is by default.
    let end = harpd.end("active.act", json!({})).await;
    assert_eq!(end, json!({"result": {}}));
    assert!(call_directories(&harpd.host).is_empty());
}

#[tokio::test]
async fn a_reload_finds_other_agents_and_a_missing_program_is_told() {
    let host = host();
    add_agent(&host, "one", r#"echo '{"activate": true}' > "$2""#);
    let harpd = host.start();
    assert_eq!(harpd.end("one.act", json!({})).await, json!({"result": {}}));
    add_agent(&harpd.host, "two", r#"echo '{"activate": true}' > "$2""#);
    std::fs::remove_file(harpd.host.path("agents/one")).unwrap();
    let end = harpd.end("one.act", json!({})).await;
    assert_eq!(end["error"]["type"], "procedure_loading_error");
    harpd.signal(Signal::HUP);
    harpd.logged("reloaded").await;
    assert_eq!(harpd.end("two.act", json!({})).await, json!({"result": {}}));
    let end = harpd.end("one.act", json!({})).await;
    assert_eq!(end["error"]["type"], "no_such_procedure");
}

#[tokio::test]
async fn agents_run_as_the_configured_user() {
    if !rustix::process::geteuid().is_root() || !has_python() {
        return println!("skipped: only root may become other users, and there must be python3");
    }
    let mut host = host().readable_by_all();
    for path in ["agents", "tmp"] {
        let mode = PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(host.path(path), mode).unwrap();
    }
    host.procedures.push_str("user = 'nobody'\n");
    let harpd = host.start();
    let told = harpd.end("probe.echo", json!({})).await;
    let nobody = std::process::Command::new("id")
        .args(["-u", "nobody"])
        .output()
        .unwrap();
    let nobody = String::from_utf8(nobody.stdout).unwrap();
    assert_eq!(told["result"]["uid"].to_string(), nobody.trim(), "{told}");
}

#[tokio::test]
async fn the_files_of_a_harpd_that_was_killed_are_removed_by_the_next() {
    let host = host();
    let mut first = host.start();
    let mut caller = first.call("deep.sleep", json!({})).await;
    caller.acknowledged(false).await;
    let grandchild = grandchild(&first).await;
    let left = call_directories(&first.host);
    assert_eq!(left.len(), 1);
    first.signal(Signal::KILL);
    first.exit_code().await;
    assert!(left[0].exists());

    let listed = std::process::Command::new(env!("CARGO_BIN_EXE_harpd"))
        .arg("--config")
        .arg(first.host.path("harpd.toml"))
        .arg("list")
        .env("TMPDIR", first.host.path("tmp"))
        .output()
        .unwrap();
    assert!(listed.status.success());
    assert!(!left[0].exists());
    // As the unit of a harpd that was killed would see to.
    let group = rustix::process::getpgid(Some(grandchild)).unwrap();
    rustix::process::kill_process_group(group, Signal::KILL).unwrap();
}
