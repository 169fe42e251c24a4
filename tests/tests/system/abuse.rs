//! Hostile clients and broken hosts: whatever one of them does, everything else goes on,
//! and what it can take is bounded.
//!
//! What the protocol says of bad requests, bad hosts and a bad registry script is in the
//! modules of these names.

mod clients;
mod followers;
mod hosts;
mod limits;
mod memory;
mod tls;

use std::fs;
use std::process::{Command, Stdio};

use harp_tests::Cluster;
use serde_json::json;

use crate::assertions::NO_JOB;

/// The dispatcher answers others at once.
#[track_caller]
fn assert_serves(cluster: &Cluster) {
    let answer = cluster
        .caller()
        .ask(json!({"harpcaller": 1, "cancel": NO_JOB}));
    assert_eq!(answer, json!({"cancelled": false}));
}

/// Memory of the dispatcher, in bytes.
fn memory(cluster: &Cluster) -> u64 {
    memory_of(cluster.dispatcher_id(), "VmRSS:")
}

/// Memory of a process, in bytes: `VmRSS:` of now, `VmHWM:` the most there was.
fn memory_of(process: u32, which: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(which));
    let kilobytes = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap();
    kilobytes.parse::<u64>().unwrap() * 1024
}

/// How many descriptors the dispatcher has open.
fn descriptors(cluster: &Cluster) -> usize {
    fs::read_dir(format!("/proc/{}/fd", cluster.dispatcher_id()))
        .unwrap()
        .count()
}

/// True if a command can be run; says that a test is skipped if not.
fn can_run(test: &str, command: &str, arguments: &[&str]) -> bool {
    let status = Command::new(command)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let can = status.is_ok_and(|status| status.success());
    if !can {
        eprintln!("{test} is skipped: {command} {arguments:?} cannot be run here");
    }
    can
}
