//! Finding the binaries, built as the running test is.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The path of a binary of the project. The first call builds them all, unless the variable
/// `HARP_BIN_DIR` names a folder that has them.
///
/// # Panics
///
/// If they cannot be built or found.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static FOLDER: LazyLock<PathBuf> =
        LazyLock::new(|| env::var_os("HARP_BIN_DIR").map_or_else(build, PathBuf::from));
    let path = FOLDER.join(name);
    assert!(path.is_file(), "there is no {}", path.display());
    path
}

fn build() -> PathBuf {
    // TARGET/PROFILE/deps/system-HASH, TARGET/PROFILE/examples/demo, or a binary in
    // TARGET/PROFILE itself; between the first two stands the platform if `--target` was
    // given.
    let executable = env::current_exe().expect("the path of this program");
    let mut folder = executable.parent().expect("a target folder");
    if folder.ends_with("deps") || folder.ends_with("examples") {
        folder = folder.parent().expect("a target folder");
    }
    let folder = folder.to_owned();
    let mut target = folder.parent().expect("a target folder");

    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command
        .args([
            "build",
            "--quiet",
            "--bins",
            "--package=harp",
            "--package=harpcallerd",
            "--package=harpd",
        ])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .args(["--profile", &profile(&folder)]);
    if !target.join("CACHEDIR.TAG").exists() {
        let platform = target.file_name().expect("a platform's name");
        command.arg("--target").arg(platform);
        target = target.parent().expect("a target folder");
    }
    command.arg("--target-dir").arg(target);
    // What cargo tells this program about its own package would, told to a build script
    // of another, have that built again.
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(key);
        }
    }
    let status = command.status().expect("cargo can be run");
    assert!(status.success(), "cargo could not build the daemons");
    folder
}

fn profile(folder: &Path) -> String {
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev".to_owned(),
        Some(name) => name.to_owned(),
    }
}
