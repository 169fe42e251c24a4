//! Files that stand in a store's way and are put aside: what is in them is kept.

use std::fs;
use std::io;
use std::path::Path;

/// A file that was put aside.
#[derive(Debug)]
pub(super) struct Aside {
    name: String,
    aside: String,
}

impl Aside {
    /// Puts a file aside, or whatever is there by its name, and tells the log.
    pub(super) fn put(directory: &Path, name: &str, why: &str) -> io::Result<Aside> {
        let mut aside = format!("damaged.{name}");
        for number in 1.. {
            if directory.join(&aside).symlink_metadata().is_err() {
                break;
            }
            aside = format!("damaged.{name}.{number}");
        }
        fs::rename(directory.join(name), directory.join(&aside))?;
        tracing::warn!(
            file = %name, %why, %aside,
            "a file that is made out of the job store's data is of no use; it is put aside and made anew"
        );
        Ok(Aside {
            name: name.to_owned(),
            aside,
        })
    }

    /// Puts it back.
    pub(super) fn undo(&self, directory: &Path) -> io::Result<()> {
        fs::rename(directory.join(&self.aside), directory.join(&self.name))
    }
}
