//! An agent that is built on the Python packages for Choria agents, as they are published.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::choria::host;
use crate::host::make_executable;

const PACKAGES: [&str; 3] = [
    "py-mco-agent==0.4.0",
    "py-choria-external==0.2.0",
    "jsonschema",
];
/// For the environment and the packages in it, once.
const INSTALL_TIME: Duration = Duration::from_secs(120);

/// Written as the packages' documentation has it.
const PARROT: &str = r#"
import logging
from choria_external.dispatcher import dispatch
from mco_agent import Agent, action, register_actions

logger = logging.getLogger("choria.parrot")


@register_actions
class Parrot(Agent):

    @action
    def echo(self):
        logger.warning("a word of warning")
        self.reply.data["message"] = self.request.data["message"]

    @action
    def config(self):
        self.reply.data["value"] = self.config["parrot.cage"]

    @action
    def fail(self):
        self.reply.data["so far"] = 1
        self.reply.fail(3, "no cracker")

    @action
    def abort(self):
        self.reply.data["so far"] = 1
        raise RuntimeError("out of crackers")


if __name__ == "__main__":
    dispatch(Parrot)
"#;

/// Python with the packages; a word why not, otherwise. Kept between runs.
fn interpreter() -> Result<PathBuf, String> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("choria-packages");
    let python = directory.join("bin/python3");
    let installed = directory.join("installed");
    if installed.exists() {
        return Ok(python);
    }
    let until = Instant::now() + INSTALL_TIME;
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&directory);
    run(make, until)?;
    let mut install = Command::new(&python);
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(["--retries", "1", "--timeout", "15"])
        .args(PACKAGES);
    run(install, until)?;
    std::fs::write(installed, "").map_err(|error| error.to_string())?;
    Ok(python)
}

fn run(mut command: Command, until: Instant) -> Result<(), String> {
    let shown = format!("{command:?}");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command
        .spawn()
        .map_err(|error| format!("{shown}: {error}"))?;
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("{shown}: {status}")),
            None if Instant::now() >= until => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{shown}: took too long"));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

#[tokio::test]
async fn an_agent_built_on_the_published_packages_runs_unmodified() {
    let python = match tokio::task::spawn_blocking(interpreter).await.unwrap() {
        Ok(python) => python,
        Err(why) => return println!("skipped: cannot have the packages for agents: {why}"),
    };
    let host = host();
    let ddl = json!({
        "$schema": "https://choria.io/schemas/mcorpc/ddl/v1/agent.json",
        "metadata": {"name": "parrot", "version": "1.0.0", "timeout": 20, "provider": "external"},
        "actions": [
            {
                "action": "echo",
                "input": {"message": {"type": "string", "optional": false, "maxlength": 50,
                    "validation": "shellsafe"}},
                "output": {"message": {"default": "nothing"}, "mood": {"default": "good"}},
            },
            {"action": "config"},
            {"action": "fail"},
            {"action": "abort"},
            {"action": "undone"},
        ],
    });
    host.write("agents/parrot.json", &ddl.to_string());
    let program = format!("#!{}\n{PARROT}", python.display());
    make_executable(&host.write("agents/parrot", &program));
    std::fs::create_dir(host.path("etc/plugin.d")).unwrap();
    host.write("etc/plugin.d/parrot.cfg", "parrot.cage = brass\n");
    let harpd = host.start();
    // Its activation check has 2 s for the start of an interpreter and its imports, which
    // a busy machine may not manage at the first attempts.
    let until = Instant::now() + INSTALL_TIME;
    while Instant::now() < until {
        let listed = harpd.end("parrot.echo", json!({"message": "x"})).await;
        if listed["result"].is_object() {
            break;
        }
        let reloads = |log: &[serde_json::Value]| {
            log.iter()
                .filter(|line| line["message"] == "reloaded")
                .count()
        };
        let before = reloads(&harpd.log());
        harpd.signal(Signal::HUP);
        crate::host::wait_for("a reload", || reloads(&harpd.log()) > before).await;
    }

    let end = harpd
        .end("parrot.echo", json!({"message": "hello é"}))
        .await;
    assert_eq!(
        end,
        json!({"result": {"message": "hello é", "mood": "good"}})
    );
    let warning = harpd.logged("a word of warning").await;
    assert_eq!(
        (&warning["level"], &warning["source"]),
        (&json!("WARN"), &json!("parrot#echo"))
    );
    let end = harpd.end("parrot.config", json!({})).await;
    assert_eq!(end, json!({"result": {"value": "brass"}}));
    let refused = harpd.end("parrot.echo", json!({"message": "a;b"})).await;
    assert_eq!(refused["error"]["type"], "invalid_argument_list");
    for (action, kind, message, data) in [
        (
            "fail",
            "missing_data",
            "no cracker",
            json!({"statuscode": 3, "data": {"so far": 1}}),
        ),
        (
            "abort",
            "rpc_aborted",
            "RPC Aborted: RPC Aborted: out of crackers",
            json!({"statuscode": 1, "data": {"so far": 1}}),
        ),
        (
            "undone",
            "rpc_aborted",
            "RPC Aborted: RPC Aborted: Unknown RPC Action: undone",
            json!({"statuscode": 1, "data": {}}),
        ),
    ] {
        let end = harpd.end(&format!("parrot.{action}"), json!({})).await;
        let expected = json!({"type": kind, "message": message, "data": data});
        assert_eq!(end, json!({"exception": expected}));
    }
}
