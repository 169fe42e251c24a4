//! The file that says which process is the daemon.

use std::io;
use std::path::{Path, PathBuf};

/// The file with this process's number. Removed when dropped, unless somebody else has
/// written to it.
///
/// To be written once the daemon is sure to be the only one: a start that fails must not
/// touch the file of one that runs.
#[derive(Debug)]
pub struct Pidfile {
    path: PathBuf,
    content: String,
}

impl Pidfile {
    /// Writes the file.
    ///
    /// # Errors
    ///
    /// What the system says, with the path in the message.
    pub fn write(path: &Path) -> io::Result<Pidfile> {
        let content = format!("{}\n", std::process::id());
        std::fs::write(path, &content).map_err(|error| {
            let message = format!("cannot write the process id to {}: {error}", path.display());
            io::Error::new(error.kind(), message)
        })?;
        Ok(Pidfile {
            path: path.to_owned(),
            content,
        })
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if std::fs::read_to_string(&self.path).is_ok_and(|found| found == self.content) {
            // One that stays is overwritten at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_with_the_process_unless_it_is_somebody_elses() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let pidfile = Pidfile::write(&path).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, format!("{}\n", std::process::id()));
        drop(pidfile);
        assert!(!path.exists());

        let pidfile = Pidfile::write(&path).unwrap();
        std::fs::write(&path, "1\n").unwrap();
        drop(pidfile);
        assert!(path.exists());
    }
}
