//! Files that others could change: what a daemon reads and runs is as trustworthy as the
//! least careful mode on the way to it.
//!
//! Looked at are the file, every directory above it, and the same of what symbolic links
//! on the way stand for. Access control lists are not looked at. Everything here blocks.

use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// As many links as the kernel follows on one way.
const MAX_LINKS: usize = 40;

/// Something on the way to a file that somebody else could change. Shown as a sentence
/// that names the file, the place and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Exposed {
    file: PathBuf,
    place: PathBuf,
    to: Whom,
}

/// The parties that could change a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    Owner(u32),
    Group(u32),
    Everybody,
}

/// Finds the first place on the way to a file, from the root on, that somebody could
/// change who is not root, this process's own user, or the given one. A file that cannot
/// be looked at is not exposed: the code that opens it will say what is wrong with it.
///
/// A group that may write counts as somebody else, but for root's own and for one that has
/// the number of a trusted owner, as users' private groups have.
///
/// # Errors
///
/// [`Exposed`].
pub fn check(file: &Path, also_trusted: Option<u32>) -> Result<(), Exposed> {
    let mut trusted = vec![0, rustix::process::geteuid().as_raw()];
    trusted.extend(also_trusted);
    let mut way = Way { trusted, links: 0 };
    match way.walk(file) {
        Ok(Some((place, to))) => Err(Exposed {
            file: file.to_owned(),
            place,
            to,
        }),
        Ok(None) | Err(_) => Ok(()),
    }
}

struct Way {
    trusted: Vec<u32>,
    links: usize,
}

impl Way {
    /// The first place that is exposed on the way to a file.
    fn walk(&mut self, file: &Path) -> io::Result<Option<(PathBuf, Whom)>> {
        let file = std::path::absolute(file)?;
        let mut places: Vec<_> = file.ancestors().collect();
        places.reverse();
        for place in places {
            let found = std::fs::symlink_metadata(place)?;
            if found.is_symlink() {
                self.links += 1;
                if self.links > MAX_LINKS {
                    return Ok(None);
                }
                // The link itself may be changed by all users that may write its directory.
                let target = std::fs::read_link(place)?;
                let target = place.parent().unwrap_or(Path::new("/")).join(target);
                if let Some(exposed) = self.walk(&normal(&target))? {
                    return Ok(Some(exposed));
                }
            } else if let Some(to) = self.judge(&found) {
                return Ok(Some((place.to_owned(), to)));
            }
        }
        Ok(None)
    }

    fn judge(&self, found: &Metadata) -> Option<Whom> {
        let (mode, owner, group) = (found.mode(), found.uid(), found.gid());
        if !self.trusted.contains(&owner) {
            return Some(Whom::Owner(owner));
        }
        // In a sticky directory others may make files, and not touch those that are there.
        if found.is_dir() && mode & 0o1000 != 0 {
            return None;
        }
        if mode & 0o002 != 0 {
            return Some(Whom::Everybody);
        }
        if mode & 0o020 != 0 && group != 0 && !self.trusted.contains(&group) {
            return Some(Whom::Group(group));
        }
        None
    }
}

/// The path without `.` and `..`, as the system would walk it if there were no links.
#[must_use]
pub fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir => drop(normal.pop()),
            std::path::Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
}

impl fmt::Display for Exposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Exposed { file, place, to } = self;
        write!(f, "{} could be changed by ", file.display())?;
        match to {
            Whom::Owner(uid) => write!(f, "user {uid}, who owns {}", place.display())?,
            Whom::Group(gid) => {
                write!(f, "group {gid}, which may write to {}", place.display())?;
            }
            Whom::Everybody => write!(f, "everybody, who may write to {}", place.display())?,
        }
        match to {
            Whom::Owner(_) => write!(f, ": chown root {}", place.display()),
            Whom::Group(_) | Whom::Everybody => write!(f, ": chmod go-w {}", place.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn told(file: &Path) -> String {
        check(file, None).map_or_else(|exposed| exposed.to_string(), |()| String::new())
    }

    #[test]
    fn what_others_may_write_is_found_wherever_it_is_on_the_way() {
        let top = tempfile::tempdir().unwrap();
        let inner = top.path().join("inner");
        fs::create_dir(&inner).unwrap();
        set(&inner, 0o755);
        let file = inner.join("file");
        fs::write(&file, "").unwrap();
        set(&file, 0o644);
        assert_eq!(told(&file), "");
        set(&file, 0o646);
        assert!(told(&file).contains("everybody"), "{}", told(&file));
        assert!(told(&file).ends_with(&format!("chmod go-w {}", file.display())));
        set(&file, 0o600);
        set(&inner, 0o757);
        assert!(told(&file).contains(&format!("write to {}:", inner.display())));
        set(&inner, 0o1777);
        assert_eq!(told(&file), "", "sticky: nobody else can touch the file");
        set(&inner, 0o700);

        // A link elsewhere is as safe as both ends.
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("link");
        symlink(&file, &link).unwrap();
        assert_eq!(told(&link), "");
        set(elsewhere.path(), 0o707);
        assert!(told(&link).contains("everybody"));
        set(elsewhere.path(), 0o700);
        set(&file, 0o666);
        assert!(told(&link).contains("everybody"));
        assert_eq!(told(&inner.join("missing")), "");
    }

    #[test]
    fn owners_and_groups_count() {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: only root can give files away");
            return;
        }
        let top = tempfile::tempdir().unwrap();
        let file = top.path().join("file");
        fs::write(&file, "").unwrap();
        set(&file, 0o664);
        assert_eq!(told(&file), "", "root's group");
        chown(&file, None, Some(12345)).unwrap();
        assert!(told(&file).contains("group 12345"));
        set(&file, 0o644);
        assert_eq!(told(&file), "");
        chown(&file, Some(12345), None).unwrap();
        assert!(told(&file).contains("user 12345, who owns"));
        assert_eq!(check(&file, Some(12345)), Ok(()), "who is trusted anyway");
        set(&file, 0o664);
        assert_eq!(
            check(&file, Some(12345)),
            Ok(()),
            "and that user's own group"
        );
    }
}
