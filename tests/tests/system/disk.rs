//! File systems of a test's own, which can be filled, stopped and taken away. Only root
//! can have them; a test that gets none says that it was skipped, and why.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::geteuid;

/// A file system of its own. Dropping it takes it away.
pub(crate) struct Mount {
    pub(crate) at: PathBuf,
    loop_device: Option<String>,
}

impl Mount {
    /// `None`, and says why, where this cannot be done.
    fn new(arguments: &[&str], at: &Path) -> Option<Mount> {
        fs::create_dir_all(at).unwrap();
        run("mount", arguments, at.to_str()?)?;
        Some(Mount {
            at: at.to_owned(),
            loop_device: None,
        })
    }

    pub(crate) fn tmpfs(size: &str, at: &Path) -> Option<Mount> {
        let size = format!("size={size},mode=0700");
        Mount::new(&["-t", "tmpfs", "-o", &size, "none"], at)
    }

    /// An ext4 file system in a file with holes, which takes room only when it is used.
    pub(crate) fn in_file(file: &Path, at: &Path) -> Option<Mount> {
        File::create(file).unwrap().set_len(256 << 20).unwrap();
        let file = file.to_str()?;
        run("mkfs.ext4", &["-q", "-O", "^has_journal"], file)?;
        let device = run("losetup", &["--find", "--show"], file)?;
        let device = device.trim().to_owned();
        let mut mount = Mount::new(&[&device], at)?;
        mount.loop_device = Some(device);
        Some(mount)
    }

    /// Writes a file until there is no room for another byte.
    pub(crate) fn fill(&self) {
        let mut file = File::create(self.at.join("filling")).unwrap();
        for size in [64 * 1024, 1] {
            while file.write_all(&vec![0x5a; size]).is_ok() {}
        }
    }

    pub(crate) fn make_room(&self) {
        fs::remove_file(self.at.join("filling")).unwrap();
    }

    /// `None`, and says why, where this cannot be done.
    pub(crate) fn stall(&self) -> Option<Stalled<'_>> {
        run("fsfreeze", &["--freeze"], self.at.to_str()?)?;
        Some(Stalled(self))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = run("umount", &["--lazy"], self.at.to_str().unwrap());
        if let Some(device) = &self.loop_device {
            let _ = run("losetup", &["--detach"], device);
        }
    }
}

/// A disk that does not answer: whoever writes to it waits. Dropping it lets the disk go
/// on; a process that waits cannot even be killed before.
pub(crate) struct Stalled<'a>(&'a Mount);

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        let _ = run("fsfreeze", &["--unfreeze"], self.0.at.to_str().unwrap());
    }
}

/// What a program of the system prints; `None`, told as a reason to skip the test, if it
/// does not succeed.
pub(crate) fn run(program: &str, arguments: &[&str], last: &str) -> Option<String> {
    if !geteuid().is_root() {
        eprintln!("skipped: only root may run {program}");
        return None;
    }
    match Command::new(program).args(arguments).arg(last).output() {
        Ok(output) if output.status.success() => {
            Some(String::from_utf8_lossy(&output.stdout).into())
        }
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr);
            eprintln!("skipped: {program} {arguments:?} {last}: {told}");
            None
        }
        Err(error) => {
            eprintln!("skipped: {program}: {error}");
            None
        }
    }
}
