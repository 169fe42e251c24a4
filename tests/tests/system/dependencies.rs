//! What is built in: every crate has its reason in CONTRIBUTING.md, and `unsafe` is
//! forbidden everywhere but in one crate.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use harp_tests::{members, repository};
use toml::Table;

fn manifest(file: &Path) -> Table {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
    text.parse().unwrap()
}

/// The crates of others in this table of dependencies.
fn crates(dependencies: &Table) -> impl Iterator<Item = &String> {
    let is_ours =
        |name: &str| name == "harpcallerd" || name == "harpd" || name.starts_with("harp-");
    dependencies.keys().filter(move |name| !is_ours(name))
}

/// Those that a manifest names in any of its tables of dependencies.
fn used(manifest: &Table) -> BTreeSet<String> {
    let kinds = ["dependencies", "dev-dependencies", "build-dependencies"];
    let of = |table: &Table| -> Vec<String> {
        let tables = kinds.iter().filter_map(|kind| table.get(*kind)?.as_table());
        tables.flat_map(crates).cloned().collect()
    };
    let targets = manifest
        .get("target")
        .and_then(|targets| targets.as_table());
    let targets = targets.into_iter().flat_map(|targets| targets.values());
    let of_targets = targets.filter_map(|target| target.as_table()).flat_map(of);
    of(manifest).into_iter().chain(of_targets).collect()
}

/// The first column of the table "Crates we build on".
fn explained() -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join("CONTRIBUTING.md")).unwrap();
    let (_, list) = text.split_once("\n## Crates we build on\n").unwrap();
    let rows = list.lines().filter_map(|line| line.strip_prefix("| "));
    let mut names = BTreeSet::new();
    for row in rows.filter(|row| !row.starts_with("---") && !row.starts_with("crate |")) {
        let (cell, reason) = row.split_once(" | ").unwrap();
        assert!(reason.trim_end_matches('|').trim().len() > 10, "{row}");
        for name in cell.split(", ") {
            assert!(names.insert(name.to_owned()), "{name} is there twice");
        }
    }
    names
}

#[test]
fn every_crate_that_is_used_has_its_reason_and_no_other() {
    let workspace = manifest(&repository().join("Cargo.toml"));
    let shared = workspace["workspace"]["dependencies"].as_table().unwrap();
    let shared: BTreeSet<String> = crates(shared).cloned().collect();
    let mut all = used(&manifest(&repository().join("fuzz/Cargo.toml")));
    all.extend(used(&manifest(&repository().join("python/Cargo.toml"))));
    for member in members() {
        all.extend(used(&manifest(&member.join("Cargo.toml"))));
    }
    let idle: Vec<_> = shared.difference(&all).collect();
    assert!(
        idle.is_empty(),
        "nobody uses {idle:?} of [workspace.dependencies]"
    );
    let explained = explained();
    let unexplained: Vec<_> = all.difference(&explained).collect();
    assert!(
        unexplained.is_empty(),
        "no reason in CONTRIBUTING.md: {unexplained:?}"
    );
    let gone: Vec<_> = explained.difference(&all).collect();
    assert!(
        gone.is_empty(),
        "in CONTRIBUTING.md, but not used: {gone:?}"
    );
}

/// What the core may know. Cargo unites the features of a workspace's members, so what it
/// asks for is read here, and `.ci/run` builds it alone.
#[test]
fn the_core_knows_no_socket_no_store_no_clock_and_no_client_protocol() {
    let core = manifest(&repository().join("harp-jobs/Cargo.toml"));
    let allowed = [
        "bytes",
        "dashmap",
        "futures-util",
        "harp-values",
        "serde",
        "thiserror",
        "tokio",
        "tracing",
    ];
    let dependencies = core["dependencies"].as_table().unwrap();
    for name in dependencies.keys() {
        assert!(allowed.contains(&name.as_str()), "harp-jobs knows {name}");
    }
    // Its channels alone: it can neither spawn nor sleep.
    let tokio = &dependencies["tokio"];
    assert_eq!(tokio["default-features"].as_bool(), Some(false));
    let features = tokio["features"].as_array().unwrap();
    let features: Vec<_> = features.iter().map(|name| name.as_str().unwrap()).collect();
    assert_eq!(features, ["sync", "macros"]);
}

#[test]
fn unsafe_code_is_forbidden_in_every_crate_but_one() {
    let workspace = manifest(&repository().join("Cargo.toml"));
    let lints = &workspace["workspace"]["lints"]["rust"];
    assert_eq!(lints["unsafe_code"].as_str(), Some("forbid"));
    let mut others = Vec::new();
    for member in members() {
        let manifest = manifest(&member.join("Cargo.toml"));
        let inherits = manifest["lints"].get("workspace");
        if inherits.and_then(toml::Value::as_bool) != Some(true) {
            others.push(manifest["package"]["name"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(others, ["harp-exec"]);
    let python = fs::read_to_string(repository().join("python/src/lib.rs")).unwrap();
    assert!(python.contains("\n#![forbid(unsafe_code)]\n"));
    let text = fs::read_to_string(repository().join("harp-exec/src/lib.rs")).unwrap();
    assert!(text.contains("\n//! # Why there is unsafe code here, and nowhere else\n"));
}

/// The Python package is a workspace of its own, so that nothing but this keeps them together.
#[test]
fn the_python_package_has_the_version_and_terms_of_the_workspace() {
    let workspace = manifest(&repository().join("Cargo.toml"));
    let shared = workspace["workspace"]["package"].as_table().unwrap();
    let python = manifest(&repository().join("python/Cargo.toml"));
    for (key, value) in shared {
        assert_eq!(python["package"].get(key), Some(value), "{key}");
    }
}
