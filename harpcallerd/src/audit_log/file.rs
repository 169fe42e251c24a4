//! The audit log's file: mode 0600, appended to, nothing in it ever changed.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use harp_files::append;
use tokio::task::spawn_blocking;

/// The open file. Cheap to move between threads.
#[derive(Debug)]
pub(super) struct AuditFile {
    path: PathBuf,
    file: Arc<File>,
    /// The last line may have been cut short.
    is_torn: bool,
}

impl AuditFile {
    /// Opens the file, and makes it if it is missing. Blocks.
    pub(super) fn open(path: &Path) -> io::Result<AuditFile> {
        let file = append::open(path, 0o600).map_err(|error| {
            let message = format!("cannot open the audit log {}: {error}", path.display());
            io::Error::new(error.kind(), message)
        })?;
        Ok(AuditFile {
            path: path.to_owned(),
            file: Arc::new(file),
            is_torn: false,
        })
    }

    /// Opens the file of this name anew; if that fails, the old one stays.
    pub(super) async fn reopen(self) -> (AuditFile, io::Result<()>) {
        let path = self.path.clone();
        let opened = spawn_blocking(move || AuditFile::open(&path)).await;
        match opened.map_err(io::Error::other).flatten() {
            Ok(file) => (file, Ok(())),
            Err(error) => (self, Err(error)),
        }
    }

    /// Appends whole lines.
    pub(super) async fn append(mut self, mut lines: Vec<u8>) -> (AuditFile, io::Result<()>) {
        if self.is_torn {
            lines.insert(0, b'\n');
        }
        let file = Arc::clone(&self.file);
        let written = spawn_blocking(move || (&*file).write_all(&lines)).await;
        let result = written.map_err(io::Error::other).flatten();
        self.is_torn = result.is_err();
        (self, result)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn lines_are_appended_to_a_private_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let file = AuditFile::open(&path).unwrap();
        let (_, result) = file.append(b"one\n".to_vec()).await;
        result.unwrap();
        let file = AuditFile::open(&path).unwrap();
        let (file, result) = file.append(b"two\n".to_vec()).await;
        result.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"one\ntwo\n");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600);

        std::fs::rename(&path, directory.path().join("old")).unwrap();
        let (file, result) = file.reopen().await;
        result.unwrap();
        let (_, result) = file.append(b"three\n".to_vec()).await;
        result.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"three\n");
    }

    #[tokio::test]
    async fn after_a_failure_a_line_begins_anew() {
        let full = AuditFile {
            is_torn: false,
            ..AuditFile::open(Path::new("/dev/full")).unwrap()
        };
        let (full, result) = full.append(b"lost\n".to_vec()).await;
        assert!(result.is_err());
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit");
        let file = AuditFile {
            is_torn: full.is_torn,
            ..AuditFile::open(&path).unwrap()
        };
        let (_, result) = file.append(b"there\n".to_vec()).await;
        result.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"\nthere\n");
    }
}
