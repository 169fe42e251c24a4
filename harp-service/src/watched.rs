//! Seeing that files have changed.

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A file that was changed less than this before it was looked at may change again
/// without any sign of it: file times are as coarse as the granularity of the file system.
const SETTLED_AFTER: Duration = Duration::from_secs(2);

/// Files with what they looked like when they were read last.
///
/// Looking blocks, for as long as a `stat` of a local file does.
#[derive(Debug)]
pub struct Watched {
    files: Vec<(PathBuf, Look)>,
    /// False if the files have to be read at the next look, whatever they look like.
    is_settled: bool,
}

type Look = Result<Stamp, ErrorKind>;

/// What changes when a file is written or replaced. The time of the last change of its
/// inode is set by the system alone; the other times may be set by anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Watched {
    /// Looks at the files. To be called before they are read: a change in between is
    /// then seen at the next look.
    pub fn new<'p>(files: impl IntoIterator<Item = &'p Path>) -> Watched {
        let now = SystemTime::now();
        let files: Vec<_> = files
            .into_iter()
            .map(|file| (file.to_owned(), Stamp::of(file)))
            .collect();
        let is_settled = files.iter().all(|(_, look)| is_settled(*look, now));
        Watched { files, is_settled }
    }

    /// True if the files have to be read again: one of them has changed since the last
    /// look, or had changed so shortly before it that a second change could not be seen.
    #[must_use]
    pub fn has_changed(&mut self) -> bool {
        let now = SystemTime::now();
        let mut changed = !self.is_settled;
        let mut settled = true;
        for (file, look) in &mut self.files {
            let seen = Stamp::of(file);
            changed |= seen != *look;
            settled &= is_settled(seen, now);
            *look = seen;
        }
        self.is_settled = settled;
        changed
    }

    /// Has the files read at the next look, whatever they look like then. To be called when
    /// reading them failed, which need not be their fault: a change would be missed for good.
    pub fn look_again(&mut self) {
        self.is_settled = false;
    }
}

impl Stamp {
    fn of(path: &Path) -> Look {
        let file = std::fs::metadata(path).map_err(|error| error.kind())?;
        Ok(Stamp {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        })
    }
}

fn is_settled(look: Look, now: SystemTime) -> bool {
    let Ok(stamp) = look else {
        return true;
    };
    let changed = u64::try_from(stamp.changed.0).unwrap_or_default();
    let settled = SystemTime::UNIX_EPOCH + Duration::from_secs(changed) + SETTLED_AFTER;
    now > settled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_change_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        let mut watched = Watched::new([file.as_path()]);
        assert!(!watched.has_changed(), "a file that stays missing");
        std::fs::write(&file, "1").unwrap();
        assert!(watched.has_changed(), "made");
        std::fs::write(&file, "2").unwrap();
        assert!(watched.has_changed(), "written within the same moment");
        std::fs::remove_file(&file).unwrap();
        assert!(watched.has_changed(), "gone");
    }

    #[test]
    fn what_could_not_be_read_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("missing");
        let mut watched = Watched::new([file.as_path()]);
        assert!(!watched.has_changed());
        watched.look_again();
        assert!(watched.has_changed());
        assert!(!watched.has_changed(), "once");
    }
}
