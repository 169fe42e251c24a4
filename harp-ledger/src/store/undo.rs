//! Puts a store's files back as they were where its start is refused although its engine
//! has been opened: the engine writes while it opens and reads (a new snapshot, pages that
//! it divides and joins), and what it wrote is not to stand beside the damage that somebody
//! has to look at.
//!
//! The engine appends to the newest segment of its file and goes on in segments that have
//! no content, or none that it needs any more. A file of up to 32 MiB is remembered whole, of
//! a larger one the newest segment and some without content; besides, the engine's small
//! files. `store.json` is not:
//! it is written anew only once nothing is in the way of the start.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::engine_log::{self, SEGMENT};

/// Up to this length a data file is remembered whole.
const WHOLE: u64 = 32 * 1024 * 1024;

/// Segments without content of a larger one that are remembered, at most.
const MOST_EMPTY: usize = 4;

/// The files as they were.
pub(super) struct Undo {
    directory: PathBuf,
    data_file: PathBuf,
    /// Length of the data file; `None` if there was none.
    length: Option<u64>,
    /// Parts of it, by their places.
    parts: Vec<(u64, Vec<u8>)>,
    /// The engine's files beside it.
    beside: BTreeMap<OsString, Vec<u8>>,
}

impl Undo {
    /// Remembers what an engine could change that is opened now. Changes nothing.
    pub(super) fn before(directory: &Path, data_file: PathBuf) -> io::Result<Undo> {
        let mut undo = Undo {
            beside: beside(directory)?,
            directory: directory.to_owned(),
            data_file,
            length: None,
            parts: Vec::new(),
        };
        let file = match File::open(&undo.data_file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(undo),
            file => file?,
        };
        let length = file.metadata()?.len();
        undo.length = Some(length);
        let (mut newest, mut some) = (None, Vec::new());
        for index in 0..engine_log::count(length) {
            if length <= WHOLE {
                some.push(index);
                continue;
            }
            match engine_log::header(&file, index)? {
                Some((lsn, _)) => newest = newest.max(Some((lsn, index))),
                None if some.len() < MOST_EMPTY => some.push(index),
                None => {}
            }
        }
        for index in newest.map(|(_, index)| index).into_iter().chain(some) {
            let at = index * SEGMENT as u64;
            let mut part = vec![0; usize::try_from(length - at).unwrap_or(SEGMENT).min(SEGMENT)];
            file.read_exact_at(&mut part, at)?;
            undo.parts.push((at, part));
        }
        Ok(undo)
    }

    /// Puts it back. No engine may have the files open.
    pub(super) fn restore(self) -> io::Result<()> {
        let Some(length) = self.length else {
            // There was no store, and what was made is a new one's.
            return Ok(());
        };
        let file = File::options()
            .read(true)
            .write(true)
            .open(&self.data_file)?;
        let mut found = Vec::new();
        for (at, part) in &self.parts {
            found.resize(part.len(), 0);
            let is_same = file.read_exact_at(&mut found, *at).is_ok() && found == *part;
            if !is_same {
                file.write_all_at(part, *at)?;
            }
        }
        if file.metadata()?.len() != length {
            file.set_len(length)?;
        }
        file.sync_all()?;
        let made = beside(&self.directory)?;
        for name in made.keys().filter(|name| !self.beside.contains_key(*name)) {
            fs::remove_file(self.directory.join(name))?;
        }
        for (name, content) in &self.beside {
            if made.get(name) != Some(content) {
                fs::write(self.directory.join(name), content)?;
            }
        }
        File::open(&self.directory)?.sync_all()
    }
}

/// The files that the engine makes beside its data file.
fn beside(directory: &Path) -> io::Result<BTreeMap<OsString, Vec<u8>>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let text = name.to_string_lossy();
        if text.starts_with("snap.") || text == "conf" {
            files.insert(name, fs::read(entry.path())?);
        }
    }
    Ok(files)
}
