//! File systems of a test's own, which can be filled, stopped and cut off. Only root can
//! have them; where there is none, this says that a test is skipped, and why.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, geteuid, getrlimit, prlimit};

use crate::wait::{PATIENCE, until};

/// How long a disk in a file is.
const DISK_SIZE: u64 = 512 << 20;

/// A file system that is whole when it is made, so that the system does not go on making it
/// in the background while it is used; for a few large files.
const WHOLE: [&str; 7] = [
    "-q",
    "-b",
    "4096",
    "-N",
    "2048",
    "-E",
    "lazy_itable_init=0,lazy_journal_init=0",
];

/// So many copies of a disk at least are tried before it is said that something writes to it
/// all the time: on a busy machine one takes long, and what the system has in memory goes to
/// the disk in a few bursts.
const COPIES: u32 = 20;

/// Sets how long the files of a process of ours may become: what it writes beyond that fails, as
/// on a full disk. `None` is what this process has.
///
/// # Panics
///
/// If there is no such process.
pub fn limit_files(process: u32, limit: Option<u64>) {
    let now = getrlimit(Resource::Fsize);
    let new = Rlimit {
        current: limit,
        maximum: now.maximum,
    };
    let id = Pid::from_raw(process.cast_signed());
    prlimit(id, Resource::Fsize, new).expect("a limit of a process of our own");
}

/// A file system of its own. Dropping it takes it away.
#[derive(Debug)]
pub struct Mount {
    at: PathBuf,
    /// The file that the disk is, and its device.
    disk: Option<(PathBuf, String)>,
}

impl Mount {
    /// A file system in memory, of a size such as `48m`. `None`, and says why, where this
    /// cannot be done.
    #[must_use]
    pub fn tmpfs(size: &str, at: &Path) -> Option<Mount> {
        let size = format!("size={size},mode=0700");
        mount(&["-t", "tmpfs", "-o", &size, "none"], at)?;
        Some(Mount {
            at: at.to_owned(),
            disk: None,
        })
    }

    /// A disk in a file with holes, which takes room only when it is used: ext4 without a
    /// journal. `None`, and says why, where this cannot be done.
    #[must_use]
    pub fn in_file(file: &Path, at: &Path) -> Option<Mount> {
        Mount::format(&["-O", "^has_journal"], file, at)
    }

    /// Mounts as [`Mount::in_file`] does, with the journal that disks have as a rule.
    #[must_use]
    pub fn with_journal(file: &Path, at: &Path) -> Option<Mount> {
        Mount::format(&["-J", "size=8"], file, at)
    }

    fn format(options: &[&str], file: &Path, at: &Path) -> Option<Mount> {
        let made = File::create(file).and_then(|file| file.set_len(DISK_SIZE));
        made.expect("a place for the disk's file");
        run("mkfs.ext4", &[&WHOLE, options].concat(), file.to_str()?)?;
        Mount::of_image(file, at)
    }

    fn of_image(file: &Path, at: &Path) -> Option<Mount> {
        let device = run("losetup", &["--find", "--show"], file.to_str()?)?;
        let device = device.trim().to_owned();
        let mounted = mount(&[&device], at);
        // From here on the device is taken away, too.
        let disk = Mount {
            at: at.to_owned(),
            disk: Some((file.to_owned(), device)),
        };
        mounted.map(|()| disk)
    }

    /// Where it is.
    #[must_use]
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// Writes a file until there is no room for another byte.
    ///
    /// # Panics
    ///
    /// If that file cannot be made.
    pub fn fill(&self) {
        let mut file = File::create(self.at.join("filling")).expect("room for another file");
        for size in [64 * 1024, 1] {
            while file.write_all(&vec![0x5a; size]).is_ok() {}
        }
    }

    /// Takes the file of [`Mount::fill`] away.
    ///
    /// # Panics
    ///
    /// If it is not there.
    pub fn make_room(&self) {
        fs::remove_file(self.at.join("filling")).expect("a file system that was filled");
    }

    /// Lets everybody wait who writes. `None`, and says why, where this cannot be done.
    #[must_use]
    pub fn stall(&self) -> Option<Stalled<'_>> {
        run("fsfreeze", &["--freeze"], self.at.to_str()?)?;
        Some(Stalled(self))
    }

    /// Cuts the power: puts in its place what the disk has been given up to now, without
    /// what the system has kept in memory. `die` ends the processes that have files open on it;
    /// nothing that they write from now on counts.
    ///
    /// # Panics
    ///
    /// If this is no disk in a file, or cannot be replaced.
    pub fn cut_power(&mut self, die: impl FnOnce()) {
        let (image, device) = self.disk.take().expect("a disk in a file");
        let copy = image.with_extension("copy");
        copy_of_a_moment(&image, &copy, &device);
        die();
        unmount(&self.at, Some(&device));
        fs::rename(&copy, &image).expect("a directory of our own");
        // Others take and give back devices meanwhile.
        let mut after = until("the disk is there again", || {
            Mount::of_image(&image, &self.at)
        });
        std::mem::swap(self, &mut after);
        // What is left of the old one has been taken away.
        std::mem::forget(after);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let device = self.disk.as_ref().map(|(_, device)| device.as_str());
        unmount(&self.at, device);
    }
}

/// A disk that does not answer: a process that writes to it waits. Dropping it lets the disk go
/// on; a process that waits cannot even be killed before.
#[derive(Debug)]
pub struct Stalled<'a>(&'a Mount);

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        let at = self.0.at.to_str().unwrap_or_default();
        let _ = run("fsfreeze", &["--unfreeze"], at);
    }
}

/// Copies a disk's file as it is in one moment: nothing was written to the device meanwhile.
/// The system may write out of its memory, and then it is copied again.
fn copy_of_a_moment(image: &Path, copy: &Path, device: &str) {
    let names = [image, copy].map(|file| file.to_str().expect("a name in UTF-8"));
    let give_up = Instant::now() + PATIENCE;
    for copies in 1.. {
        let before = written(device);
        let copied = run("cp", &["--sparse=always", names[0]], names[1]);
        copied.expect("room for a copy of the disk");
        let after = written(device);
        if before.is_some() && after == before {
            return;
        }
        assert!(
            copies < COPIES || Instant::now() < give_up,
            "{device} is written to all the time: {before:?}, {after:?}"
        );
        sleep(Duration::from_millis(10));
    }
}

/// How often a device has been written to; `None` while something is under way.
fn written(device: &str) -> Option<u64> {
    let name = Path::new(device).file_name()?.to_str()?;
    let statistics = fs::read_to_string("/proc/diskstats").expect("the devices' statistics");
    // The device's numbers and name; of reads their number, merged, sectors, time; the same of
    // writes; and what is under way.
    let mut lines = statistics.lines().map(|line| line.split_whitespace());
    let line: Vec<&str> = lines
        .find(|line| line.clone().nth(2) == Some(name))?
        .collect();
    let number = |place: usize| line.get(place)?.parse().ok();
    let (writes, under_way): (u64, u64) = (number(7)?, number(11)?);
    (under_way == 0).then_some(writes)
}

fn mount(arguments: &[&str], at: &Path) -> Option<()> {
    fs::create_dir_all(at).expect("a place to mount it");
    run("mount", arguments, at.to_str()?).map(drop)
}

fn unmount(at: &Path, device: Option<&str>) {
    let _ = run("umount", &["--lazy"], at.to_str().unwrap_or_default());
    if let Some(device) = device {
        let _ = run("losetup", &["--detach"], device);
    }
}

/// What a program of the system prints; `None`, told as a reason to skip the test, if it
/// does not succeed.
#[must_use]
pub fn run(program: &str, arguments: &[&str], last: &str) -> Option<String> {
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
