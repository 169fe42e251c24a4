//! The repository that these tests belong to: what they hold the sources and pages against.

use std::fs;
use std::path::{Path, PathBuf};

/// Its top.
#[must_use]
pub fn repository() -> &'static Path {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("a member of the workspace")
}

/// The directories of the workspace's members.
///
/// # Panics
///
/// If the workspace's file is not as it should be.
#[must_use]
pub fn members() -> Vec<PathBuf> {
    let text = fs::read_to_string(repository().join("Cargo.toml")).expect("the workspace's file");
    let workspace: toml::Table = text.parse().expect("TOML");
    let members = workspace["workspace"]["members"].as_array();
    let members = members.expect("a list of members").iter();
    let members = members.map(|member| member.as_str().expect("the name of a directory"));
    members.map(|member| repository().join(member)).collect()
}

/// The Rust files below a directory, without those files and directories whose names are to be
/// left out.
///
/// # Panics
///
/// If a directory cannot be read.
#[must_use]
pub fn sources(directory: &Path, is_left_out: fn(&str) -> bool) -> Vec<PathBuf> {
    files_of(directory, &["rs"], is_left_out)
}

/// The files with these extensions below a directory, as [`sources`] finds those of Rust.
///
/// # Panics
///
/// If a directory cannot be read.
#[must_use]
pub fn files_of(
    directory: &Path,
    extensions: &[&str],
    is_left_out: fn(&str) -> bool,
) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("an entry of a directory").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if is_left_out(&name) {
            continue;
        }
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            found.extend(files_of(&path, extensions, is_left_out));
        } else if extension.is_some_and(|extension| extensions.contains(&extension)) {
            found.push(path);
        }
    }
    found
}
