//! Whether a store stands where it was written, or is a copy of it: restored from a
//! backup, moved to another disk, made by hand.
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

    /// Which file that is.
    pub(super) fn from(found: &Metadata, boot: Option<u64>) -> Home {
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
    pub(super) fn is(&self, found: &Home) -> bool {
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
