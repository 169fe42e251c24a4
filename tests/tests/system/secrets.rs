//! The passwords of hosts: not in a dump, not in files that others can read, and not in
//! memory for longer than they are of use.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;

use harp_tests::Cluster;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// The soft and the hard limit of a process, as the kernel shows them.
fn core_limit(process: u32) -> [String; 2] {
    let limits = fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let mut words = line.unwrap().split_whitespace().skip(4).map(str::to_owned);
    [words.next().unwrap(), words.next().unwrap()]
}

#[test]
fn a_dispatcher_that_crashes_leaves_no_dump() {
    let mut cluster = Cluster::builder().hosts(0).start();
    let process = cluster.dispatcher_id();
    // 1 where nobody has set it to 0 before: no file, and no program is given the dump.
    let [soft, hard] = core_limit(process);
    assert!(
        soft == hard && (soft == "1" || soft == "0"),
        "{soft} {hard}"
    );
    let id = i32::try_from(process).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::ABORT).unwrap();
    let status = cluster.wait_dispatcher_ended();
    assert_eq!(status.signal(), Some(6), "{status}");
    assert!(!status.core_dumped(), "{status}");
}

#[test]
fn a_password_is_gone_from_memory_when_the_registry_has_another() {
    const TEST: &str = "a_password_is_gone_from_memory_when_the_registry_has_another";
    let cluster = Cluster::builder().set("host_db_refresh", "1").start();
    let host = |password: &str| {
        let mut entry = cluster.entry("web01");
        entry["hostname"] = json!("other");
        entry["credentials"]["password"] = json!(password);
        // Longer than the first buffer, so that it grows with passwords in it.
        let mut entries = vec![entry.clone()];
        for number in 0..600 {
            entry["hostname"] = json!(format!("other{number}"));
            entries.push(entry.clone());
        }
        entries
    };
    let process = cluster.dispatcher_id();
    let (old, new) = ("kZ8-old-vQ2xW7pL-secret", "mT4-new-hR9bN3sK-secret");
    cluster.set_registry(&host(old));
    cluster.wait_for_refresh();
    let Some(before) = occurrences(process, old) else {
        eprintln!("{TEST} is skipped: the memory of a child cannot be read here");
        return;
    };
    assert!(before >= 600, "a registry in force is in memory: {before}");
    cluster.set_registry(&host(new));
    cluster.wait_for_refresh();
    cluster.wait_for_refresh();
    assert!(occurrences(process, new).unwrap() >= 600);
    assert_eq!(occurrences(process, old), Some(0));

    let cache = fs::metadata(cluster.path("hosts.cache")).unwrap();
    assert_eq!(cache.permissions().mode() & 0o777, 0o600);
}

/// How often a text stands in what a process can write to; `None` if that may not be read.
fn occurrences(process: u32, text: &str) -> Option<usize> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut memory = File::open(format!("/proc/{process}/mem")).ok()?;
    let mut found = 0;
    for map in maps.lines().filter(|map| map.contains(" rw")) {
        let (range, _) = map.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|place| u64::from_str_radix(place, 16).unwrap());
        memory.seek(SeekFrom::Start(from)).ok()?;
        let mut content = Vec::new();
        // A part that was given back meanwhile has nothing in it.
        let _ = (&mut memory).take(to - from).read_to_end(&mut content);
        found += memchr::memmem::find_iter(&content, text).count();
    }
    Some(found)
}
