//! Whether the files that the engine has open are still those at the store's path.
//!
//! A directory that was deleted or moved stays usable for a process that has its files open, and
//! everything that is written there is gone at the next start; so is what is written to a
//! file that somebody has emptied. So the path is looked at before and
//! after each round of writing, before anybody is answered, and a few times a second while
//! nothing is written.

use std::cell::Cell;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};

use super::directory::Directory;
use super::engine_log::SEGMENT;

/// Between two looks at the directory while nothing is written.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(400);

/// The file that was opened at the store's path.
#[derive(Debug)]
pub(super) struct Presence {
    /// Held open, so that no other file can get its number.
    _data: File,
    device: u64,
    inode: u64,
    /// Its length when it was looked at last.
    length: Cell<u64>,
}

impl Presence {
    /// Notes which file is the store's now.
    pub(super) fn note(directory: &Directory) -> io::Result<Presence> {
        let data = File::open(directory.data_file())?;
        let found = data.metadata()?;
        Ok(Presence {
            _data: data,
            device: found.dev(),
            inode: found.ino(),
            length: Cell::new(found.len()),
        })
    }

    /// Looks whether that file is where a start would look for it, and has not been cut off.
    /// One system call.
    ///
    /// # Errors
    ///
    /// What is there instead, as a message for the operator.
    pub(super) fn check(&self, directory: &Directory) -> Result<(), String> {
        match std::fs::metadata(directory.data_file()) {
            Ok(found) if self.is_it(&found) => self.measure(found.len()),
            Ok(_) => Err(format!(
                "another store has been put in the place of {}: put the one that is in use back, \
                 or restart to use the other",
                directory.path().display()
            )),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(missing(directory.path(), &error))
            }
            Err(error) => Err(format!("cannot look at the file db: {error}")),
        }
    }

    /// Looks, like [`Presence::check`], and whether files can be made in the directory.
    ///
    /// # Errors
    ///
    /// As for [`Presence::check`].
    pub(super) fn check_directory(&self, directory: &Directory) -> Result<(), String> {
        self.check(directory)?;
        access(directory.path(), Access::WRITE_OK | Access::EXEC_OK).map_err(|error| {
            let path = directory.path().display();
            format!("files cannot be made in the directory {path}: {error}")
        })
    }

    /// The engine itself shortens its file by whole segments, and never to nothing.
    fn measure(&self, length: u64) -> Result<(), String> {
        let before = self.length.get();
        let is_whole = length > 0 && length.is_multiple_of(SEGMENT as u64);
        if length < before && !is_whole {
            return Err(format!(
                "somebody has cut the file db off, from {before} bytes to {length}: put a backup \
                 of it back, or have \"harpcallerd check-store --salvage\" find what is left"
            ));
        }
        self.length.set(length);
        Ok(())
    }

    fn is_it(&self, found: &Metadata) -> bool {
        (found.dev(), found.ino()) == (self.device, self.inode)
    }
}

fn missing(path: &Path, error: &io::Error) -> String {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(_) => format!("the file db is gone from the directory {shown}"),
        Err(_) => format!("the directory {shown} is gone: {error}"),
    }
}
