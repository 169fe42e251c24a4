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

/// Result of a look at files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The files are as they were: they need not be read again.
    None,
    /// They look as they did, but had changed so shortly before the last look that a second
    /// change could not be seen; or they could not be read.
    Possible,
    /// One of them has been written, replaced, made or removed since the last look.
    Seen,
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
    pub fn new(files: impl IntoIterator<Item = PathBuf>) -> Watched {
        let now = SystemTime::now();
        let files: Vec<_> = files
            .into_iter()
            .map(|file| {
                let look = Stamp::of(&file);
                (file, look)
            })
            .collect();
        let is_settled = files.iter().all(|(_, look)| is_settled(*look, now));
        Watched { files, is_settled }
    }

    /// The files, in the order in which they were given.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(file, _)| file.as_path())
    }

    /// Looks at the files again.
    pub fn look(&mut self) -> Change {
        let now = SystemTime::now();
        let mut changed = false;
        let mut settled = true;
        for (file, look) in &mut self.files {
            let seen = Stamp::of(file);
            changed |= seen != *look;
            settled &= is_settled(seen, now);
            *look = seen;
        }
        let was_settled = std::mem::replace(&mut self.is_settled, settled);
        match (changed, was_settled) {
            (true, _) => Change::Seen,
            (false, false) => Change::Possible,
            (false, true) => Change::None,
        }
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

/// Whether a later change is sure to show. A time in the future is not relied upon.
fn is_settled(look: Look, now: SystemTime) -> bool {
    let Ok(stamp) = look else {
        return true;
    };
    let age = u64::try_from(stamp.changed.0)
        .ok()
        // Its fraction is left out: it may be up to a second later.
        .and_then(|seconds| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds + 1)))
        .and_then(|changed| now.duration_since(changed).ok());
    age.is_some_and(|age| age >= SETTLED_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// True if the files have to be read again.
    fn changed(watched: &mut Watched) -> bool {
        watched.look() != Change::None
    }

    #[test]
    fn each_kind_of_change_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("f");
        let mut watched = Watched::new([file.clone()]);
        assert!(!changed(&mut watched), "a file that stays missing");
        std::fs::write(&file, "1").unwrap();
        assert!(changed(&mut watched), "made");
        std::fs::write(&file, "2").unwrap();
        assert!(changed(&mut watched), "written within the same moment");
        std::fs::remove_file(&file).unwrap();
        assert!(changed(&mut watched), "gone");
    }

    #[test]
    fn what_could_not_be_read_is_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("missing");
        let mut watched = Watched::new([file.clone()]);
        assert!(!changed(&mut watched));
        watched.look_again();
        assert!(changed(&mut watched));
        assert!(!changed(&mut watched), "once");
    }

    #[test]
    fn the_time_of_the_change_itself_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("f");
        // With a time of modification that says nothing.
        let write = |content: &str| {
            std::fs::write(&path, content).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        };
        write("one");
        let before = Stamp::of(&path).unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while Stamp::of(&path).unwrap() == before {
            assert!(std::time::Instant::now() < until);
            write("two");
        }
    }

    #[test]
    fn only_a_file_left_alone_for_a_while_is_settled() {
        let stamp = Stamp {
            device: 0,
            inode: 0,
            size: 0,
            modified: (0, 0),
            changed: (1000, 999_999_999),
        };
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for (now, settled) in [(900, false), (1001, false), (1002, false), (1003, true)] {
            assert_eq!(is_settled(Ok(stamp), at(now)), settled, "{now}");
        }
        assert!(is_settled(Err(ErrorKind::NotFound), at(0)));
    }
}
