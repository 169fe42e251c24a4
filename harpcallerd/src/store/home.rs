//! Whether a store stands where it was written, or is a copy of it: restored from a
//! backup, moved to another disk, made by hand.
//!
//! In a copy the calls that wait may have been made by the dispatcher of the original, so
//! they are held ([`Table::Held`]) until the operator says that they are to be made here.
//!
//! A store is known by its note, `store.json`. Each note is a new file that says which
//! file it is itself: device, inode and moment of birth, which no copy has in common with
//! it, not even one that is written over the original. A device's number can change when
//! the machine starts, so it counts only within one life of the machine.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::directory::Directory;
use super::entries::Entries;
use super::error::StoreError;
use super::layout::{self, Table};
use super::read;
use super::sled::{Batch, Engine, EngineError};

/// Jobs that are held in one step.
const AT_ONCE: usize = 1000;

/// Which file a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Home {
    device: u64,
    inode: u64,
    /// In nanoseconds since 1970, where the file system knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    born: Option<u64>,
    /// The life of the machine in which the note was written, if that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<u64>,
}

impl Home {
    /// Tells the home of a note which is being written, in this boot of the machine.
    pub(super) fn of(note: &File, boot: Option<u64>) -> io::Result<Home> {
        Ok(Home::from(&note.metadata()?, boot))
    }

    fn from(found: &Metadata, boot: Option<u64>) -> Home {
        let born = found.created().ok();
        let born = born.and_then(|born| born.duration_since(UNIX_EPOCH).ok());
        Home {
            device: found.dev(),
            inode: found.ino(),
            born: born.and_then(|born| u64::try_from(born.as_nanos()).ok()),
            boot,
        }
    }

    /// Whether a note that says this is the file that was found.
    fn is(&self, found: &Home) -> bool {
        let is_born_then = match (self.born, found.born) {
            (Some(noted), Some(found)) => noted == found,
            _ => true,
        };
        let is_other_boot = self.boot.is_none() || self.boot != found.boot;
        self.inode == found.inode
            && is_born_then
            && (is_other_boot || self.device == found.device || is_anonymous(self.device))
    }
}

/// Whether the number was made up when the file system was mounted, so that the next mount
/// gets another.
fn is_anonymous(device: u64) -> bool {
    rustix::fs::major(device) == 0
}

/// What counts of a note here. It is read by itself, since a damaged one is no hindrance.
#[derive(Deserialize)]
struct Note {
    #[serde(default)]
    home: Option<Home>,
}

/// Holds the calls that wait in a store if that is a copy. What is held is on disk when
/// this returns, so the note may be written anew.
pub(super) fn hold_if_copy(
    directory: &Directory,
    engine: &Engine,
    mark: u64,
) -> Result<(), EngineError> {
    if !is_copy(directory, engine)? {
        return Ok(());
    }
    let held = hold_waiting(engine, mark)?;
    if held > 0 {
        tracing::warn!(
            jobs = held,
            "this job store is a copy of another, restored or moved: jobs that waited in it are \
             held until \"harpcallerd resume\" or a cancel, since the other may have run them"
        );
    }
    Ok(())
}

/// Whether a store does not stand where its note was written.
pub(super) fn is_copy(directory: &Directory, entries: &dyn Entries) -> Result<bool, EngineError> {
    let file = File::open(directory.note_file()).ok();
    let noted = file.as_ref().and_then(|file| {
        let note: Note = serde_json::from_reader(file).ok()?;
        note.home
    });
    let found = file.as_ref().and_then(|file| file.metadata().ok());
    match (noted, found) {
        (Some(noted), Some(found)) => Ok(!noted.is(&Home::from(&found, directory.boot()))),
        // A store of an earlier release does not say where it is; one of this release whose
        // note is gone has been put together from parts.
        _ => match entries.contains(layout::HOME_KEY) {
            // It is there, though damaged.
            Err(EngineError::Value { .. }) => Ok(true),
            found => found,
        },
    }
}

/// Holds all calls that wait, and returns how many there are.
pub(super) fn hold_waiting(engine: &Engine, mark: u64) -> Result<usize, EngineError> {
    let live = read::live_rows(engine, Table::Live);
    let live = live.map_err(|error: StoreError| EngineError::Damaged(error.to_string()))?;
    let waiting = live.jobs.iter().filter(|(_, job)| job.started.is_none());
    let waiting: Vec<_> = waiting.map(|(id, _)| *id).collect();
    for jobs in waiting.chunks(AT_ONCE) {
        let mut batch = Batch::new(mark);
        for id in jobs {
            batch.insert(&Table::Held.key(*id), b"");
        }
        engine.apply(batch)?;
    }
    engine.sync()?;
    Ok(waiting.len())
}

/// Notes in the store that its note on disk says where it is.
pub(super) fn settle(engine: &Engine, mark: u64) -> Result<(), EngineError> {
    if engine.contains(layout::HOME_KEY)? {
        return Ok(());
    }
    let mut batch = Batch::new(mark);
    batch.insert(layout::HOME_KEY, b"");
    engine.apply(batch)?;
    engine.sync()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(device: u64, inode: u64, born: Option<u64>, boot: u64) -> Home {
        Home {
            device,
            inode,
            born,
            boot: (boot > 0).then_some(boot),
        }
    }

    #[test]
    fn an_original_is_known_and_a_copy_is_not_taken_for_it() {
        let (disk, other) = (rustix::fs::makedev(8, 1), rustix::fs::makedev(8, 2));
        let noted = home(disk, 7, Some(100), 1);
        let cases = [
            (home(disk, 7, Some(100), 1), true, "a restart"),
            (
                home(other, 7, Some(100), 2),
                true,
                "a boot with other numbers",
            ),
            (
                home(disk, 7, None, 2),
                true,
                "a kernel that does not tell births",
            ),
            (home(disk, 8, Some(200), 1), false, "a copy"),
            (
                home(disk, 7, Some(200), 2),
                false,
                "a copy that got the same number",
            ),
            (
                home(other, 7, Some(100), 1),
                false,
                "a copy of the whole disk",
            ),
        ];
        for (found, expected, what) in cases {
            assert_eq!(noted.is(&found), expected, "{what}");
        }
        let made_up = home(rustix::fs::makedev(0, 5), 7, Some(100), 1);
        let again = home(rustix::fs::makedev(0, 9), 7, Some(100), 1);
        assert!(made_up.is(&again), "another mount");
        let unknown = home(disk, 7, Some(100), 0);
        assert!(
            unknown.is(&home(other, 7, Some(100), 0)),
            "no boot is known"
        );
    }
}
