//! Names of hosts as a test wants them: it runs itself again where `/etc/hosts` is a file of
//! its own, which takes root, and no name service is asked.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use tempfile::NamedTempFile;

use crate::binaries::binary;

/// Tells a test that it runs where it has names of its own.
const INSIDE: &str = "HARP_TESTS_WITH_NAMES_OF_THEIR_OWN";

/// The names that a test has.
#[derive(Debug)]
pub struct OwnNames {
    hosts: NamedTempFile,
    /// What says that names are looked up there alone.
    switch: NamedTempFile,
}

impl OwnNames {
    fn mount() -> OwnNames {
        let names = OwnNames {
            hosts: NamedTempFile::new().expect("a temporary file"),
            switch: NamedTempFile::new().expect("a temporary file"),
        };
        names.set("");
        let mut switch = names.switch.as_file();
        switch.write_all(b"hosts: files\n").expect("room for it");
        let files = [
            (&names.hosts, "/etc/hosts"),
            (&names.switch, "/etc/nsswitch.conf"),
        ];
        for (file, at) in files {
            if Path::new(at).exists() {
                let mount = Command::new("mount")
                    .arg("--bind")
                    .arg(file.path())
                    .arg(at)
                    .status();
                assert!(mount.expect("a program that was there").success(), "{at}");
            }
        }
        names
    }

    /// These lines of `/etc/hosts` are all names that there are from now on, beside `localhost`.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn set(&self, lines: &str) {
        let text = format!("127.0.0.1 localhost\n{lines}");
        fs::write(self.hosts.path(), text).expect("a file of our own");
    }
}

/// Runs the test of this name in a file system of its own, or says why it is skipped.
///
/// # Panics
///
/// If it fails there.
pub fn with_own_names(test: &str, run: fn(&OwnNames)) {
    if env::var_os(INSIDE).is_some() {
        return run(&OwnNames::mount());
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.arg("--mount").stdin(Stdio::null());
        command
    };
    let probe = unshare()
        .args(["mount", "--bind", "/etc/hosts", "/etc/hosts"])
        .output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!("{test} is skipped: nothing can be mounted over /etc/hosts here");
        return;
    }
    let binaries = binary("harpcallerd");
    let output = unshare()
        .arg(env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture", test])
        .env(INSIDE, "1")
        .env("HARP_BIN_DIR", binaries.parent().expect("a directory"))
        .output()
        .expect("a program that was there");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}
