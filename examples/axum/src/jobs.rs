//! The jobs that this application has started: their ids, in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use harp_client::JobId;

/// The ids, oldest first. Cheap to clone. The dispatcher knows all else about them.
#[derive(Debug, Clone)]
pub(crate) struct Jobs(Arc<Mutex<Kept>>);

#[derive(Debug)]
struct Kept {
    ids: Vec<JobId>,
    file: File,
}

impl Jobs {
    /// Reads the file, one id a line; makes it if there is none.
    pub(crate) fn open(path: PathBuf) -> io::Result<Jobs> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .open(path)?;
        let mut ids = Vec::new();
        for line in BufReader::new(&file).lines() {
            // A line that was cut off by a crash is no id.
            ids.extend(line?.parse::<JobId>());
        }
        Ok(Jobs(Arc::new(Mutex::new(Kept { ids, file }))))
    }

    /// Remembers a job. Blocks while the disk does; the line is short.
    pub(crate) fn add(&self, id: JobId) -> io::Result<()> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.file.write_all(format!("{id}\n").as_bytes())?;
        kept.file.sync_data()?;
        kept.ids.push(id);
        Ok(())
    }

    /// True for a job that was started here.
    pub(crate) fn knows(&self, id: JobId) -> bool {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.ids.contains(&id)
    }

    /// The last so many, newest first.
    pub(crate) fn newest(&self, count: usize) -> Vec<JobId> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.ids.iter().rev().take(count).copied().collect()
    }
}
