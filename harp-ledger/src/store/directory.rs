//! The store's directory: whose it is, who may read it, and what it says about itself
//! before the engine is let in.
//!
//! Beside the engine's files there are two of ours: `lock`, locked as long as the store
//! is open, and `store.json`, by which a damaged store is known where the engine would
//! take it for a new one, or for one that was written to a little less:
//!
//! ```json
//! {"layout":2,"mark":7,"closed_with":524288,"crc":"9c0f3b2a"}
//! ```
//!
//! - It is first written once the store is complete, so if it is there the engine's file
//!   must be there too.
//! - `mark` is a number that the store has as well, and that is raised a few times a
//!   second while jobs are written: there first, here after that is on disk. If the one
//!   in the store is the lower one, the last writes are gone.
//! - `crc` is a checksum of what stands before it.
//! - `closed_with` is the length of the engine's file at an orderly closing; missing
//!   while the store is open and after a crash.
//! - `keyed_behind` is a job: those behind it that have a key are found by it
//!   ([`keyed`](super::keyed)). A release that does not know that leaves it out.
//! - `home` says which file the note itself is, by which a copy is known
//!   ([`home`](super::home)).

use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use flate2::Crc;
use harp_files::regular;
use harp_time::clock;
use harp_values::JobId;
use serde::{Deserialize, Serialize};

use super::aside::Aside;
use super::error::OpenError;
use super::home::Home;
use super::layout;

/// The directory of a store, locked as long as this lives.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    lock: File,
    /// The life of the machine, if it is known.
    boot: Option<u64>,
    /// All jobs behind this one that have a key are found by it; `None` if nothing says so.
    keyed_behind: Option<JobId>,
}

/// Which files of ours are not in the directory any more.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Missing {
    pub(crate) lock: bool,
    pub(crate) about: bool,
}

/// What the store says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct About {
    layout: u32,
    #[serde(default)]
    mark: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed_with: Option<u64>,
    /// Filled in when it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyed_behind: Option<JobId>,
    /// Which file this is; filled in when it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    home: Option<Home>,
}

const ABOUT: &str = "store.json";
const LOCK: &str = "lock";

/// A note is shorter, in bytes.
const MOST_ABOUT: u64 = 4096;

/// Text in front of the checksum of `store.json`.
const CHECKSUM: &str = ",\"crc\":\"";

/// Whether this is a `store.json` as a release has written it.
pub(super) fn is_about(text: &[u8]) -> bool {
    About::read(text).is_some()
}

impl About {
    /// `None` if it is damaged. Layout 1 had no checksum.
    fn read(text: &[u8]) -> Option<About> {
        let text = std::str::from_utf8(text).ok()?;
        if let Some((told, crc)) = text.rsplit_once(CHECKSUM)
            && crc.trim_end() != format!("{:08x}\"}}", checksum(told))
        {
            return None;
        }
        serde_json::from_str(text).ok()
    }

    fn write(&self) -> io::Result<String> {
        let text = serde_json::to_string(self)?;
        let told = text.strip_suffix('}').unwrap_or(&text);
        Ok(format!("{told}{CHECKSUM}{:08x}\"}}\n", checksum(told)))
    }
}

fn checksum(text: &str) -> u32 {
    let mut crc = Crc::new();
    crc.update(text.as_bytes());
    crc.sum()
}

/// Bytes that are written to see whether writing works: two of the engine's segments.
const PROBE: usize = 1024 * 1024;

impl Directory {
    /// Makes the directory if it is not there, locks it, and removes what a killed
    /// process may have left behind.
    ///
    /// A directory that is made gets mode 0700, a file 0600. The mode of one that exists
    /// is its owner's affair; files in it are closed to others all the same.
    pub(crate) fn prepare(path: &Path) -> Result<Directory, OpenError> {
        let failed = |action| io_error(path, action);
        if !path.is_dir() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(path)
                .map_err(failed("create the directory"))?;
            if let Some(parent) = path.parent() {
                sync_directory(parent).map_err(failed("sync the directory above"))?;
            }
        }
        let mut directory = Directory {
            path: path.into(),
            lock: lock(path)?,
            boot: clock::boot(),
            keyed_behind: None,
        };
        directory.keyed_behind = directory.about().and_then(|about| about.keyed_behind);
        Ok(directory)
    }

    /// Locks the directory of a store, and changes nothing in it.
    pub(crate) fn look_at(path: &Path) -> Result<Directory, OpenError> {
        if !path.join("db").exists() {
            let nothing = io::ErrorKind::NotFound.into();
            return Err(io_error(path, "find a store there")(nothing));
        }
        // The process that has it open has made the lock.
        let file = regular::open(&path.join(LOCK))
            .or_else(|_| File::open(path))
            .map_err(io_error(path, "open the file lock"))?;
        Ok(Directory {
            path: path.into(),
            lock: locked(path, file)?,
            boot: clock::boot(),
            keyed_behind: None,
        })
    }

    /// Looks at what is there before the engine does, which could take the remains of a
    /// store for a new one. Returns the mark that the store must have, `None` if there is
    /// no store yet.
    pub(crate) fn inspect(&self) -> Result<Option<u64>, OpenError> {
        match self.note_file().symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.io_error("look at store.json")(error)),
            // One that is of no use is put aside; that there is one says that there is a store.
            Ok(_) => {}
        }
        let about = self.about().unwrap_or_default();
        if about.layout > layout::NEWEST {
            return Err(self.newer(about.layout));
        }
        let length = match std::fs::metadata(self.data_file()) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(self.damaged("its file db is missing"));
            }
            Err(error) => return Err(self.io_error("look at the file db")(error)),
        };
        if length == 0 {
            return Err(self.damaged("its file db is empty"));
        }
        match about.closed_with {
            Some(expected) if expected != length => Err(self.damaged(format!(
                "its file db was closed with {expected} bytes and has {length}; one that comes from a \
                 backup belongs to the store.json beside it there: put back the whole directory"
            ))),
            _ => Ok(Some(about.mark)),
        }
    }

    /// The mark that the store must have, as far as anything says so.
    pub(crate) fn noted_mark(&self) -> Option<u64> {
        Some(self.about()?.mark)
    }

    /// Whether it was closed in order.
    pub(crate) fn was_closed(&self) -> bool {
        self.about()
            .is_some_and(|about| about.closed_with.is_some())
    }

    fn about(&self) -> Option<About> {
        let mut text = Vec::new();
        let note = regular::open(&self.note_file()).ok()?;
        note.take(MOST_ABOUT).read_to_end(&mut text).ok()?;
        About::read(&text)
    }

    /// Makes the files that the engine would make with the mode of its choice.
    pub(crate) fn make_private_files(&self) -> Result<(), OpenError> {
        private_file(&self.data_file()).map_err(self.io_error("open the file db"))?;
        let blobs = self.path.join("blobs");
        match DirBuilder::new().mode(0o700).create(&blobs) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(self.io_error("create the directory blobs")(error))
            }
            _ => Ok(()),
        }
    }

    /// Closes to others what the engine has made when it was opened, and makes the names
    /// of all files durable.
    pub(crate) fn close_to_others(&self) -> Result<(), OpenError> {
        self.set_modes()
            .and_then(|()| sync_directory(&self.path))
            .map_err(self.io_error("set the modes of its files"))
    }

    /// Notes that the store is open and has this mark on disk.
    pub(crate) fn note_open(&self, mark: u64) -> io::Result<()> {
        self.note(About {
            layout: layout::VERSION,
            mark,
            ..About::default()
        })
    }

    /// Notes that the store has been closed in order, when nobody can write to its data
    /// file any more.
    pub(crate) fn note_closed(&self, mark: u64) -> io::Result<()> {
        self.note(About {
            layout: layout::VERSION,
            mark,
            closed_with: Some(std::fs::metadata(self.data_file())?.len()),
            ..About::default()
        })
    }

    /// Looks for the files beside the engine's. Two system calls.
    pub(crate) fn missing(&self) -> io::Result<Missing> {
        let at = |name| match std::fs::metadata(self.path.join(name)) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        };
        let locked = self.lock.metadata()?;
        let is_locked =
            |found: &std::fs::Metadata| (found.dev(), found.ino()) == (locked.dev(), locked.ino());
        Ok(Missing {
            lock: !at(LOCK)?.as_ref().is_some_and(is_locked),
            about: at(ABOUT)?.is_none(),
        })
    }

    /// Locks the directory again after its lock was removed or replaced.
    pub(crate) fn lock_again(&mut self) -> Result<(), OpenError> {
        self.lock = lock(&self.path)?;
        Ok(())
    }

    /// Tries whether the directory takes as much as the engine writes at once.
    pub(crate) fn probe(&self) -> io::Result<()> {
        make_way(&self.path, "probe")?;
        let path = self.path.join("probe");
        let written = private_file(&path).and_then(|mut file| {
            file.write_all(&vec![0x55; PROBE])?;
            file.sync_all()
        });
        // Not there if it could not be made.
        let removed = std::fs::remove_file(&path);
        written.and(removed)
    }

    /// Brings the data file to the disk as it is and has the system read it from there
    /// again: after a sync that failed, the system's memory may show what the disk does
    /// not have.
    pub(crate) fn forget_cached(&self) -> io::Result<()> {
        let file = File::options().write(true).open(self.data_file())?;
        file.sync_all()?;
        let all = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        // Some file systems do not know of it.
        let _ = all;
        Ok(())
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The engine's file.
    pub(crate) fn data_file(&self) -> PathBuf {
        self.path.join("db")
    }

    /// What the store says about itself.
    pub(crate) fn note_file(&self) -> PathBuf {
        self.path.join(ABOUT)
    }

    /// The job behind which all that have a key are found by it; from now on it is noted. If
    /// nothing says so, it is `newest`, the newest job that there is.
    pub(crate) fn keyed_behind(&mut self, newest: JobId) -> JobId {
        *self.keyed_behind.get_or_insert(newest)
    }

    /// The life of the machine, if it is known.
    pub(crate) fn boot(&self) -> Option<u64> {
        self.boot
    }

    pub(crate) fn damaged(&self, why: impl Into<String>) -> OpenError {
        OpenError::Damaged {
            path: self.path.clone(),
            why: why.into(),
        }
    }

    pub(crate) fn newer(&self, found: u32) -> OpenError {
        OpenError::Newer {
            path: self.path.clone(),
            found,
            known: layout::NEWEST,
        }
    }

    pub(crate) fn io_error(
        &self,
        action: &'static str,
    ) -> impl FnOnce(io::Error) -> OpenError + use<> {
        io_error(&self.path, action)
    }

    /// A process killed while it opens the store can leave `snap.*.generating`, with
    /// which the engine would never open again.
    pub(crate) fn remove_unfinished_snapshots(&self) -> Result<(), OpenError> {
        self.remove_generating()
            .map_err(self.io_error("remove an unfinished snapshot"))
    }

    fn remove_generating(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with("snap.") && name.ends_with(".generating") {
                tracing::info!(file = %name, "removing an unfinished snapshot of the job store");
                make_way(&self.path, &name)?;
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn set_modes(&self) -> io::Result<()> {
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if entry.file_type()?.is_file() && (name == "conf" || name.starts_with("snap.")) {
                std::fs::set_permissions(entry.path(), Permissions::from_mode(0o600))?;
            }
        }
        Ok(())
    }

    fn note(&self, mut about: About) -> io::Result<()> {
        let new = self.path.join("store.json.new");
        // What a copy may have left is not to be taken for the new note.
        make_way(&self.path, "store.json.new")?;
        remove(&new)?;
        let mut file = private_file(&new)?;
        about.home = Some(Home::of(&file, self.boot)?);
        about.keyed_behind = self.keyed_behind;
        file.write_all(about.write()?.as_bytes())?;
        file.sync_all()?;
        // Should a power cut undo the renaming, the older note is as true.
        std::fs::rename(&new, self.path.join(ABOUT))
    }
}

/// Locks the directory for this process.
fn lock(path: &Path) -> Result<File, OpenError> {
    let file = make_way(path, LOCK).and_then(|()| private_file(&path.join(LOCK)));
    let file = file.map_err(io_error(path, "open the file lock"))?;
    locked(path, file)
}

fn locked(path: &Path, lock: File) -> Result<File, OpenError> {
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.into() }),
        Err(TryLockError::Error(source)) => Err(io_error(path, "lock the file lock")(source)),
    }
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

/// Puts aside what is no file and stands where a file of the store is to be made.
fn make_way(directory: &Path, name: &str) -> io::Result<()> {
    match directory.join(name).symlink_metadata() {
        Ok(found) if !found.is_file() => Aside::put(directory, name, "it is no file").map(drop),
        _ => Ok(()),
    }
}

/// Removes a file, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    File::open(path)?.sync_all()
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> OpenError + use<> {
    let path = path.to_owned();
    move |source| OpenError::Io {
        path,
        action,
        source,
    }
}
