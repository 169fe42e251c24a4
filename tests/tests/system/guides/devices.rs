//! What README.md and harpcaller-devices(7) say of devices of auto-trainer.

use std::fs;
use std::process::Command;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread;
use std::time::Duration;

use harp_tests::{Cluster, FakeDevice, repository, until};
use serde_json::{Value, json};

use super::{Watched, block, blocks, shell};

/// The index of the device's next event; a lower one than before would be that of a new life.
static NEXT: AtomicU64 = AtomicU64::new(1);

#[test]
fn a_device_is_called_followed_and_recorded_as_it_is_said() {
    let readme = blocks("README.md");
    let said = block(&readme, "{\"hostname\": \"rig1\"");
    let mut entry: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    let device = FakeDevice::start();
    let here = device.entry("rig1");
    for (key, value) in here.as_object().unwrap() {
        match key.as_str() {
            "hostname" | "kind" => assert_eq!(entry[key], *value),
            _ => entry[key] = value.clone(),
        }
    }
    let cluster = Cluster::builder().hosts(0).entry(entry).start();
    let typed = |command: &str| {
        let text = format!("export HARPCALLER={}\nexec {command}", cluster.address());
        shell(&text, &cluster.path(""))
    };

    let commands = said.lines().filter_map(|line| line.strip_prefix("$ "));
    for command in commands.map(|line| line.split(" #").next().unwrap().trim()) {
        play(command, &device, typed(command));
    }
    let recorded = until("the events are recorded", || {
        let jobs = run(typed("harp jobs --json client=device"));
        let job: Value = serde_json::from_str(jobs.lines().next()?).ok()?;
        (job["packets"].as_u64()? > 0).then_some(job)
    });
    assert_eq!(recorded["procedure"], "events", "{recorded}");

    let page = fs::read_to_string(repository().join("man/harpcaller-devices.7")).unwrap();
    let example = page.split(".Bd -literal").nth(1).unwrap();
    let example = example.split(".Ed").next().unwrap();
    let commands: Vec<&str> = example.lines().skip(1).collect();
    assert_eq!(commands.len(), 3, "{commands:?}");
    for command in commands {
        play(command, &device, typed(command));
    }
}

/// Plays a command, with a device that does its part.
fn play(said: &str, device: &FakeDevice, command: Command) {
    match said.split_whitespace().nth(3) {
        None => assert!(run(command).contains("rig1"), "{said}"),
        Some("events") => follow(said, device, command),
        Some(_) => thread::scope(|scope| {
            let called = scope.spawn(|| run(command));
            device.next().reply(100, &json!({"mode": "idle"}));
            assert!(called.join().unwrap().contains("idle"), "{said}");
        }),
    }
}

/// Has the device publish events of the first kind that is asked for until one has been shown.
fn follow(said: &str, device: &FakeDevice, command: Command) {
    let kinds = said.split_once('[').unwrap().1;
    let kind = kinds.split(',').next().unwrap();
    let mut live = Watched::start(command);
    let is_seen = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2000 {
                if is_seen.load(Relaxed) {
                    break;
                }
                device.event(kind.parse().unwrap(), NEXT.fetch_add(1, Relaxed));
                thread::sleep(Duration::from_millis(20));
            }
        });
        live.wait_for(kind);
        is_seen.store(true, Relaxed);
    });
}

/// Runs a command that ends well; what it prints.
fn run(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
