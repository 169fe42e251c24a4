//! Devices made of the published packages, unmodified: peers of these tests, never a part of
//! the project.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harp_tests::{Cluster, until};
use serde_json::{Value, json};

use super::{packets, wait_for_standing};

/// For an environment and the packages in it, once.
const INSTALL_TIME: Duration = Duration::from_secs(180);

/// Events of the device that is asked for many, a thousand a second.
const MANY: u64 = 5000;

/// Python with packages of the package index, kept between runs; a word why not, otherwise.
pub(crate) fn python_with(name: &str, packages: &[&str]) -> Result<PathBuf, String> {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let python = directory.join("bin/python3");
    let installed = directory.join("installed");
    if installed.exists() {
        return Ok(python);
    }
    let give_up = Instant::now() + INSTALL_TIME;
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(&directory);
    run(make, give_up)?;
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
        .args(packages);
    run(install, give_up)?;
    std::fs::write(installed, "").map_err(|error| error.to_string())?;
    Ok(python)
}

fn run(mut command: Command, give_up: Instant) -> Result<(), String> {
    let shown = format!("{command:?}");
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = quiet.spawn().map_err(|error| format!("{shown}: {error}"))?;
    loop {
        match child.try_wait().map_err(|error| error.to_string())? {
            Some(status) if status.success() => return Ok(()),
            Some(status) => return Err(format!("{shown}: {status}")),
            None if Instant::now() >= give_up => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{shown}: took too long"));
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// A device of a package.
struct PackagedDevice {
    child: Child,
    ports: (u16, u16),
}

impl PackagedDevice {
    /// Starts a device whose heartbeats come every second. A port that is free now may be
    /// somebody else's a moment later, so others are tried.
    fn start(python: &Path) -> PackagedDevice {
        for _ in 0..10 {
            let free = || {
                TcpListener::bind("127.0.0.1:0")
                    .unwrap()
                    .local_addr()
                    .unwrap()
                    .port()
            };
            let ports = (free(), free());
            let program =
                Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/devices/device.py");
            let mut child = Command::new(python)
                .arg(program)
                .args([ports.0.to_string(), ports.1.to_string(), "1".to_owned()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut said = String::new();
            BufReader::new(child.stdout.take().unwrap())
                .read_line(&mut said)
                .unwrap();
            let device = PackagedDevice { child, ports };
            if said == "ready\n" {
                return device;
            }
        }
        panic!("no device could be started");
    }

    fn entry(&self) -> Value {
        json!({
            "hostname": "rig1", "kind": "autotrainer", "address": "127.0.0.1",
            "event_port": self.ports.0, "command_port": self.ports.1,
        })
    }
}

impl Drop for PackagedDevice {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything that a device of this version is asked for. `changes` says whether it writes
/// values of replies in another style.
fn a_device_of(version: &str, changes: bool) {
    let package = format!("auto-trainer-api=={version}");
    // What the first versions need and do not say.
    let packages = [&package, "typing-extensions"];
    let name = format!("auto-trainer-api-{version}");
    let python = match python_with(&name, &packages) {
        Ok(python) => python,
        Err(why) => return println!("skipped: cannot have {package}: {why}"),
    };
    let device = PackagedDevice::start(&python);
    let mut cluster = Cluster::builder().hosts(0).entry(device.entry()).start();
    let caller = cluster.caller();
    let host = wait_for_standing(&cluster, |host| host["device"]["interval"].is_u64());
    assert_eq!(host["state"], "reachable");
    assert_eq!(host["device"]["version"], version);
    let identifier = if changes { "rig1" } else { "rig-1" };
    assert_eq!(host["device"]["identifier"], identifier);
    let interval = host["device"]["interval"].as_u64().unwrap();
    assert!((500..3000).contains(&interval), "{interval}");

    let call = |procedure: &str, arguments: Value| {
        let job = caller.call("rig1", procedure, &arguments.to_string());
        caller.result(&job)
    };
    let printable: String = ('!'..='~')
        .filter(|char| !char.is_ascii_uppercase())
        .collect();
    let asked = json!({"text": printable, "n": [1, -2.5, 1e300, true, null]});
    let answer = call("get_status", asked.clone());
    assert_eq!(answer["result"]["mode"], "idle", "{answer}");
    if !changes {
        assert_eq!(answer["result"]["asked"], asked, "it came as it was sent");
    }
    assert_eq!(
        call("get_status", json!([]))["result"]["asked"],
        Value::Null
    );
    assert_eq!(
        call("custom:4", json!([])),
        json!({"result": {"pending": true}})
    );
    let failed = call("custom:3", json!({}));
    assert_eq!(failed["exception"]["type"], "failed", "{failed}");
    assert_eq!(failed["exception"]["data"]["errorCode"], 7);
    let raised = call("custom:2", json!({}));
    assert_eq!(raised["exception"]["type"], "exception", "{raised}");
    let none = call("custom:5", json!({}));
    assert_eq!(none["exception"]["type"], "unavailable", "{none}");

    // A thousand events a second, and the result behind them.
    let many = json!({"count": MANY, "pause": 1_000_000});
    let job = caller.call("rig1", "custom:1", &many.to_string());
    assert_eq!(caller.result(&job), json!({"result": {"count": MANY}}));
    let events = packets(&caller, &job);
    let numbers = events
        .iter()
        .map(|event| event["context"]["number"].as_u64());
    assert!(numbers.eq((0..MANY).map(Some)), "each once, in order");
    assert_eq!(
        (&events[0]["topic"], &events[0]["kind"]),
        (&json!("event"), &json!(1101))
    );

    // It outlives the dispatcher.
    let slow = json!({"count": 6, "pause": 1_000_000_000_u64});
    let job = caller.call("rig1", "custom:1", &slow.to_string());
    until("it streams", || {
        (!packets(&caller, &job).is_empty()).then_some(())
    });
    cluster.kill_dispatcher();
    cluster.start_dispatcher();
    let caller = cluster.caller();
    assert_eq!(caller.result(&job), json!({"result": {"count": 6}}));
    assert!(
        packets(&caller, &job)
            .iter()
            .any(|packet| packet["topic"] == "gap")
    );

    // Killed in the middle, nobody can know; started anew it is another one.
    let stream = caller.call("rig1", "events", "[]");
    drop(device);
    wait_for_standing(&cluster, |host| host["state"] == "unreachable");
    assert!(caller.cancel(&stream));
}

#[test]
fn a_device_of_the_newest_package() {
    a_device_of("0.12.0", false);
}

#[test]
fn a_device_of_an_old_package() {
    a_device_of("0.9.7", true);
}
