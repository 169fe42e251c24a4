//! How much room the job store has on its file system.

use std::path::{Path, PathBuf};
use std::time::Duration;

use harp_files::Looks;
use rustix::fs::statvfs;
use tokio::time::timeout;

/// How long a file system that hangs keeps anybody from the rest of an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where the store is, and how much room there is.
#[derive(Debug)]
pub struct StoreRoom {
    directory: Option<PathBuf>,
    looks: Looks<Option<u64>>,
}

impl StoreRoom {
    /// That of the store in this directory; nothing is known of a database.
    #[must_use]
    pub fn of(directory: Option<&Path>) -> StoreRoom {
        let path = directory.map(Path::to_owned);
        StoreRoom {
            directory: directory.map(Path::to_owned),
            looks: Looks::new(move || {
                let found = statvfs(path.as_ref()?).ok()?;
                Some(found.f_bavail.saturating_mul(found.f_frsize))
            }),
        }
    }

    /// The directory of the store, if it is in one.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// Bytes that can still be written there; `None` if the file system does not say so within
    /// a second. Cancel safe.
    pub async fn free(&self) -> Option<u64> {
        timeout(PATIENCE, self.looks.look()).await.ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_directory_that_is_gone_has_no_room() {
        let root = tempfile::tempdir().unwrap();
        assert!(StoreRoom::of(Some(root.path())).free().await.is_some());
        assert_eq!(
            StoreRoom::of(Some(&root.path().join("gone"))).free().await,
            None
        );
    }
}
