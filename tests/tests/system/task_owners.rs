//! Every long-lived task and thread of what is installed has an owner, a name and a phase of
//! the stop: whoever begins one does so by way of `Tasks` or the core's `World`, and the names
//! stand in ARCHITECTURE.md. What begins tasks in another way is listed here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use harp_tests::{repository, sources};

use crate::import_circles::productions;

/// The crates of what is installed, or part of it.
const CRATES: [&str; 18] = [
    "harp",
    "harp-budget",
    "harp-client",
    "harp-device",
    "harp-exec",
    "harp-files",
    "harp-host",
    "harp-jobs",
    "harp-ledger",
    "harp-postgres",
    "harp-proto",
    "harp-schema",
    "harp-service",
    "harp-time",
    "harp-values",
    "harp-zmtp",
    "harpcallerd",
    "harpd",
];

/// What begins tasks and threads that nobody would own otherwise.
const WAYS: [&str; 6] = [
    "tokio::spawn(",
    "tokio::task::spawn(",
    "thread::spawn(",
    "thread::Builder::new()",
    "JoinSet::new()",
    "TaskTracker::new()",
];

/// The files that do so, how often, and the owner, with which the tasks end.
const OWNERS: [(&str, usize, &str); 19] = [
    (
        "harp/src/interrupt.rs",
        1,
        "the question to the operator, with the process",
    ),
    (
        "harp/src/program.rs",
        2,
        "`Running`: a command's standard input and error, with its process group",
    ),
    (
        "harp-client/src/worker/job.rs",
        1,
        "`Job`: its lease, until it is dropped",
    ),
    (
        "harp-client/src/worker/link.rs",
        1,
        "`Link`: a connection, as long as it is kept",
    ),
    (
        "harp-device/src/shared.rs",
        1,
        "`Kept`: a device's two tasks, ended with it",
    ),
    (
        "harp-host/src/names.rs",
        1,
        "`Names`: look-ups of names, each with its answer",
    ),
    (
        "harp-ledger/src/store/open.rs",
        1,
        "`Store`: \"store writer\"",
    ),
    (
        "harp-ledger/src/store/sled.rs",
        1,
        "`Engine`: its end, waited for by its close",
    ),
    ("harp-service/src/logging/writer.rs", 1, "`Log`: \"log\""),
    ("harp-service/src/tasks.rs", 1, "`Tasks` itself"),
    (
        "harpcallerd/src/commands/status.rs",
        1,
        "`status`: its question, as long as it waits for the answer",
    ),
    (
        "harpcallerd/src/daemon.rs",
        2,
        "`Daemon`: connections, what was asked and goes on",
    ),
    (
        "harpcallerd/src/faces/admin.rs",
        1,
        "\"administration\": administrators' connections",
    ),
    (
        "harpcallerd/src/listener/change.rs",
        1,
        "`Listeners`: one task a socket",
    ),
    (
        "harpcallerd/src/world.rs",
        1,
        "`Runtime`: the core's tasks, by phase",
    ),
    (
        "harpd/src/choria.rs",
        1,
        "the start: a look at each agent, waited for",
    ),
    (
        "harpd/src/python/server.rs",
        1,
        "`Server`: an interpreter's pipes, as long as it runs",
    ),
    ("harpd/src/reaper.rs", 1, "`Reaper`: \"processes\""),
    (
        "harpd/src/service.rs",
        2,
        "`Service`: connections, calls that are kept",
    ),
];

/// The files of all these crates, by name from the top of the repository, without their
/// tests.
fn all() -> BTreeMap<String, String> {
    let without_tests = |name: &str| matches!(name, "tests" | "tests.rs");
    let files = CRATES.map(|name| sources(&repository().join(name).join("src"), without_tests));
    productions(files.concat())
}

/// How often a text begins tasks without `Tasks` or a world.
fn begun(text: &str) -> usize {
    WAYS.iter().map(|way| text.matches(way).count()).sum()
}

/// The names that a text gives to tasks.
fn names(text: &str) -> BTreeSet<&str> {
    let calls = text.split(".spawn(").skip(1);
    let names = calls.filter_map(|call| call.trim_start().strip_prefix('"')?.split('"').next());
    names.collect()
}

#[test]
fn every_long_lived_task_has_an_owner() {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for (name, text) in all() {
        let count = begun(&text);
        if count > 0 {
            found.insert(name, count);
        }
    }
    let owned = OWNERS
        .iter()
        .map(|(name, count, _)| ((*name).to_owned(), *count));
    assert_eq!(found, owned.collect(), "begun without Tasks or a world");
}

#[test]
fn every_task_with_a_name_stands_in_architecture() {
    let page = fs::read_to_string(repository().join("ARCHITECTURE.md")).unwrap();
    let (_, owners) = page.split_once("\n## Who owns what\n").unwrap();
    let owners = owners.split("\n## ").next().unwrap();
    let texts = all();
    let named: BTreeSet<&str> = texts.values().flat_map(|text| names(text)).collect();
    assert!(named.len() > 15, "{named:?}");
    let missing: Vec<_> = named
        .into_iter()
        .filter(|name| !owners.contains(&format!("\"{name}\"")))
        .collect();
    assert!(missing.is_empty(), "no row for {missing:?}");
}

/// Without it the tests above could not fail.
#[test]
fn a_task_without_an_owner_is_found() {
    let text = "fn f() { tokio::spawn(g()); world.spawn(\n    \"run\", h()); }";
    assert_eq!(begun(text), 1);
    assert_eq!(names(text), BTreeSet::from(["run"]));
    assert_eq!(begun("tasks.spawn(\"news\", hear());"), 0);
}
