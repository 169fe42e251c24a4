//! Which crate may depend on which. The walls between the crates hold because Cargo keeps them; this
//! holds what Cargo is told.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use harp_tests::repository;
use serde_json::Value;

/// The members that are part of what is installed or published, each with the members that
/// it may depend on. Tests, fuzzing and benchmarks may depend on anything.
const MAY_USE: &[(&str, &[&str])] = &[
    ("harp-values", &[]),
    ("harp-files", &[]),
    ("harp-budget", &[]),
    ("harp-zmtp", &[]),
    ("harp-time", &["harp-values"]),
    ("harp-proto", &["harp-values"]),
    ("harp-schema", &["harp-values"]),
    ("harp-jobs", &["harp-values"]),
    (
        "harp-ledger",
        &["harp-files", "harp-jobs", "harp-time", "harp-values"],
    ),
    ("harp-postgres", &["harp-jobs", "harp-values"]),
    (
        "harp-host",
        &["harp-budget", "harp-files", "harp-proto", "harp-time"],
    ),
    (
        "harp-device",
        &[
            "harp-budget",
            "harp-host",
            "harp-jobs",
            "harp-time",
            "harp-values",
            "harp-zmtp",
        ],
    ),
    (
        "harp-client",
        &["harp-files", "harp-host", "harp-proto", "harp-time"],
    ),
    ("harp-service", &["harp-files", "harp-time"]),
    ("harp-exec", &[]),
    ("harp-page", &[]),
    (
        "harp",
        &["harp-client", "harp-files", "harp-proto", "harp-service"],
    ),
    (
        "harpcallerd",
        &[
            "harp-budget",
            "harp-device",
            "harp-exec",
            "harp-files",
            "harp-host",
            "harp-jobs",
            "harp-ledger",
            "harp-page",
            "harp-postgres",
            "harp-proto",
            "harp-schema",
            "harp-service",
            "harp-time",
            "harp-values",
        ],
    ),
    (
        "harpd",
        &[
            "harp-budget",
            "harp-exec",
            "harp-files",
            "harp-proto",
            "harp-schema",
            "harp-service",
            "harp-time",
        ],
    ),
];

/// The members that nobody installs.
const NOT_SHIPPED: &[&str] = &[
    "harp-example-axum",
    "harp-fuzz",
    "harp-tests",
    "harp-bench",
    "harp-sim",
];

/// What does input and output, runs tasks, or reads files for people.
const OUTSIDE_WORLD: [&str; 10] = [
    "clap",
    "nix",
    "rustix",
    "rustls",
    "sled",
    "socket2",
    "tokio",
    "tokio-rustls",
    "toml",
    "tracing-subscriber",
];

/// The members, each with its ordinary dependencies and the features it asks them for.
fn members() -> BTreeMap<String, BTreeMap<String, BTreeSet<String>>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(repository())
        .output()
        .expect("the cargo that built this");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap();
    let packages = packages.iter().map(|package| {
        let all = package["dependencies"].as_array().unwrap();
        // Those of tests and build scripts have a kind.
        let ordinary = all.iter().filter(|used| used["kind"].is_null());
        let used = ordinary.map(|used| {
            let features = used["features"].as_array().unwrap();
            (text(&used["name"]), features.iter().map(text).collect())
        });
        (text(&package["name"]), used.collect())
    });
    packages.collect()
}

#[test]
fn every_member_uses_only_the_members_that_it_may() {
    let members = members();
    let ours: BTreeSet<&String> = members.keys().collect();
    let listed = MAY_USE
        .iter()
        .map(|(name, _)| *name)
        .chain(NOT_SHIPPED.iter().copied());
    let listed: BTreeSet<String> = listed.map(str::to_owned).collect();
    let listed: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(ours, listed, "each member has its place in this list");
    for &(name, may) in MAY_USE {
        let uses = members[name].keys().filter(|used| ours.contains(used));
        let uses: Vec<&str> = uses.map(String::as_str).collect();
        let too_many: Vec<_> = uses.iter().filter(|used| !may.contains(used)).collect();
        assert!(too_many.is_empty(), "{name} must not use {too_many:?}");
        let idle: Vec<_> = may.iter().filter(|used| !uses.contains(used)).collect();
        assert!(idle.is_empty(), "{name} may use {idle:?} and does not");
    }
}

#[test]
fn architecture_shows_what_each_crate_uses() {
    let page = include_str!("../../../ARCHITECTURE.md");
    for &(name, uses) in MAY_USE {
        let uses: Vec<String> = uses.iter().map(|used| format!("`{used}`")).collect();
        let row = if uses.is_empty() {
            format!("| `{name}` | | ")
        } else {
            format!("| `{name}` | {} | ", uses.join(", "))
        };
        assert!(page.contains(&row), "ARCHITECTURE.md has no row {row}");
        let heading = format!("\n### {name}\n");
        assert!(page.contains(&heading), "{name} has no table of files");
    }
}

#[test]
fn values_and_wires_know_nothing_of_the_outside_world() {
    let members = members();
    for name in ["harp-values", "harp-proto"] {
        let uses = members[name].keys();
        let outside: Vec<_> = uses
            .filter(|used| OUTSIDE_WORLD.contains(&used.as_str()))
            .collect();
        assert!(outside.is_empty(), "{name} uses {outside:?}");
    }
}

/// Nobody but the ledger decides about jobs and writes them.
#[test]
fn nothing_that_is_installed_writes_jobs_without_the_ledger() {
    let members = members();
    let bare = |name: &str| {
        let features = members[name].get("harp-ledger");
        features.is_some_and(|features| features.contains("bare"))
    };
    let users: Vec<_> = MAY_USE.iter().filter(|(name, _)| bare(name)).collect();
    assert!(users.is_empty(), "{users:?}");
    assert!(bare("harp-bench"), "the name of the feature");
}

#[test]
fn one_member_alone_knows_the_engine_of_the_store() {
    let members = members();
    let users: Vec<_> = MAY_USE
        .iter()
        .filter(|(name, _)| members[*name].contains_key("sled"))
        .map(|(name, _)| *name)
        .collect();
    assert_eq!(users, ["harp-ledger"]);
}
