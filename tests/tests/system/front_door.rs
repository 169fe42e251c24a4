//! The walls around the front door, read from the sources of the dispatcher: a face is
//! translation and reaches nothing behind the desk; the desk knows no wire.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use harp_tests::repository;

use crate::import_circles::{paths, production};

/// What is behind the desk, by paths and by fields and verbs.
const BEHIND: [&str; 11] = [
    "crate::boot",
    "crate::daemon",
    "crate::dispatcher",
    "crate::recordings",
    "crate::reload",
    "crate::retention",
    "harp_jobs::audit",
    "harp_jobs::jobs",
    "harp_jobs::lineup",
    "harp_jobs::runner",
    "harp_ledger",
];

/// Parts of the desk that its verbs alone use.
const INNER: [&str; 5] = [
    ".dispatcher",
    ".audit.",
    ".ledger()",
    ".jobs()",
    ".refresher",
];

/// Sockets, files that people write, and words of a wire.
const WIRES: [&str; 15] = [
    "axum",
    "crate::commands",
    "crate::config",
    "crate::faces",
    "crate::listener",
    "harp_host",
    "harp_proto",
    "harp_zmtp",
    "hyper",
    "rustls",
    "sled",
    "tokio::io",
    "tokio::net",
    "tokio_rustls",
    "toml",
];

/// The files of a part of the dispatcher, by name, without their tests.
fn part(name: &str) -> BTreeMap<String, String> {
    fn read(path: &Path, found: &mut BTreeMap<String, String>) {
        if path.is_dir() {
            for entry in fs::read_dir(path).unwrap() {
                read(&entry.unwrap().path(), found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !path
                .iter()
                .any(|part| part == "tests" || part == "tests.rs")
        {
            let text = production(&fs::read_to_string(path).unwrap());
            found.insert(path.display().to_string(), text);
        }
    }
    let top = repository().join("harpcallerd/src");
    let mut found = BTreeMap::new();
    read(&top.join(name), &mut found);
    read(&top.join(format!("{name}.rs")), &mut found);
    found
}

/// Which of these a text uses.
fn used(text: &str, forbidden: &[&'static str]) -> Vec<&'static str> {
    let paths: Vec<String> = paths(text).iter().map(|path| path.join("::")).collect();
    let is_used = |name: &&str| {
        if name.starts_with('.') {
            return text.contains(*name);
        }
        let inner = format!("{name}::");
        paths
            .iter()
            .any(|path| path == name || path.starts_with(&inner))
    };
    forbidden.iter().copied().filter(is_used).collect()
}

/// What the files of a part use of what they must not.
fn holes(name: &str, forbidden: &[&'static str]) -> Vec<(String, Vec<&'static str>)> {
    let files = part(name);
    assert!(files.len() > 20, "{name}: {} files", files.len());
    let found = files
        .into_iter()
        .map(|(file, text)| (file, used(&text, forbidden)));
    found.filter(|(_, used)| !used.is_empty()).collect()
}

#[test]
fn faces_reach_nothing_behind_the_desk() {
    let forbidden = [&BEHIND[..], &INNER[..]].concat();
    let holes = holes("faces", &forbidden);
    assert!(holes.is_empty(), "{holes:#?}");
}

#[test]
fn the_desk_knows_no_wire() {
    let holes = holes("desk", &WIRES);
    assert!(holes.is_empty(), "{holes:#?}");
}

/// Without it the tests above could not fail.
#[test]
fn a_hole_in_a_wall_is_found() {
    let face = "use std::fs;\nuse harp_jobs::{client::Client, jobs::Jobs};\n\
                fn f(desk: &Desk) { desk.dispatcher.close(); crate::retention::keep(); }";
    let forbidden = [&BEHIND[..], &INNER[..]].concat();
    let found = ["crate::retention", "harp_jobs::jobs", ".dispatcher"];
    assert_eq!(used(face, &forbidden), found);
    assert_eq!(
        used("use harp_proto::client::Reply;", &WIRES),
        ["harp_proto"]
    );
    assert!(used("use harp_jobs::client::Client;", &forbidden).is_empty());
}
