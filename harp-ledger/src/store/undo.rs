//! Puts a store's files back as they were where its start is refused although its engine
//! has been opened: the engine writes while it opens and reads (a new snapshot, zeros over
//! what it does not need, pages that it divides and joins), and what it wrote is not to stand
//! beside the damage that somebody has to look at.
//!
//! What the engine may write over is set aside before, in a file without a name in the same
//! directory, of which up to 32 MiB stay in memory: segments that its snapshot does not need,
//! and those with what was written since. A file of up to 32 MiB is set aside whole. Afterwards every segment's
//! beginning is held against what it was. Besides, the engine's small files. `store.json` is
//! not: it is written anew only once nothing is in the way of the start.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use tempfile::SpooledTempFile;

use super::aside::Aside;
use super::derived;
use super::engine_log::{self, Places, SEGMENT};

/// Up to this length a data file is set aside whole, and so much stays in memory.
const WHOLE: usize = 32 * 1024 * 1024;

/// The files as they were.
pub(super) struct Undo {
    directory: PathBuf,
    data_file: PathBuf,
    /// The data file; `None` if there was none.
    data: Option<Data>,
    /// The engine's files beside it.
    beside: BTreeMap<OsString, Vec<u8>>,
    /// Files that were put aside.
    aside: Vec<Aside>,
}

struct Data {
    length: u64,
    /// The headers of all segments.
    headers: Vec<Option<(u64, u64)>>,
    /// The parts that are set aside, one behind the other: where they stood, and their lengths.
    parts: Vec<(u64, usize)>,
    kept: SpooledTempFile,
}

impl Undo {
    /// Sets aside what an engine could change that is opened now. Changes nothing. `aside`
    /// are files that have been put aside for it.
    pub(super) fn before(
        directory: &Path,
        data_file: PathBuf,
        aside: Vec<Aside>,
    ) -> io::Result<Undo> {
        let data = match File::open(&data_file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            file => Some(Data::before(directory, &file?, WHOLE)?),
        };
        Ok(Undo {
            beside: beside(directory)?,
            directory: directory.to_owned(),
            data_file,
            data,
            aside,
        })
    }

    /// Puts it back. No engine may have the files open.
    pub(super) fn restore(self) -> io::Result<()> {
        let Some(data) = self.data else {
            // There was no store, and what was made is a new one's.
            return Ok(());
        };
        let made = beside(&self.directory)?;
        for name in made.keys().filter(|name| !self.beside.contains_key(*name)) {
            fs::remove_file(self.directory.join(name))?;
        }
        for (name, content) in &self.beside {
            if made.get(name) != Some(content) {
                fs::write(self.directory.join(name), content)?;
            }
        }
        for aside in self.aside.iter().rev() {
            aside.undo(&self.directory)?;
        }
        data.restore(&self.data_file)?;
        File::open(&self.directory)?.sync_all()
    }
}

impl Data {
    /// Up to `whole` bytes it is set aside as a whole.
    fn before(directory: &Path, file: &File, whole: usize) -> io::Result<Data> {
        let length = file.metadata()?.len();
        let headers: Vec<_> = (0..engine_log::count(length))
            .map(|index| engine_log::header(file, index))
            .collect::<io::Result<_>>()?;
        let needed = if length <= whole as u64 {
            BTreeSet::new()
        } else {
            needed(directory, file, &headers, length)?
        };
        let mut kept = tempfile::spooled_tempfile_in(whole, directory);
        let (mut parts, mut part) = (Vec::new(), Vec::new());
        for (index, header) in (0..).zip(&headers) {
            if needed.contains(&index) {
                continue;
            }
            let at = read_segment(file, index, length, &mut part)?;
            // Most of what is not needed is zeros by now.
            if header.is_some() || part.iter().any(|byte| *byte != 0) {
                kept.write_all(&part)?;
                parts.push((at, part.len()));
            }
        }
        Ok(Data {
            length,
            headers,
            parts,
            kept,
        })
    }

    fn restore(mut self, data_file: &Path) -> io::Result<()> {
        let file = File::options().read(true).write(true).open(data_file)?;
        let mut part = Vec::new();
        let mut written = Vec::new();
        // Of what was zeros too.
        let kept: BTreeMap<u64, usize> = self.parts.iter().copied().collect();
        file.set_len(self.length)?;
        self.kept.rewind()?;
        for (index, header) in (0..).zip(&self.headers) {
            let at = read_segment(&file, index, self.length, &mut part)?;
            if let Some(len) = kept.get(&at) {
                written.resize(*len, 0);
                self.kept.read_exact(&mut written)?;
            } else if header.is_none() {
                written.clear();
                written.resize(part.len(), 0);
            } else if engine_log::header(&file, index)? == *header {
                continue;
            } else {
                return Err(io::Error::other(format!(
                    "what was at byte {at} of the file db is gone"
                )));
            }
            if written != part {
                file.write_all_at(&written, at)?;
            }
        }
        file.sync_all()
    }
}

/// The segments that an engine which is opened now needs as they are: those where its
/// snapshot has a page of which nothing was written since.
fn needed(
    directory: &Path,
    file: &File,
    headers: &[Option<(u64, u64)>],
    length: u64,
) -> io::Result<BTreeSet<u64>> {
    let places = derived::newest_snapshot(directory)?.unwrap_or_default();
    let Places { known, pages } = places;
    let is_newer =
        |header: &Option<(u64, u64)>| header.is_some_and(|(lsn, _)| lsn + SEGMENT as u64 > known);
    let mut written = BTreeSet::new();
    for (index, _) in (0..).zip(headers).filter(|(_, header)| is_newer(header)) {
        let segment = engine_log::segment(file, index, length)?;
        let messages = segment.messages.iter();
        written.extend(messages.filter(|it| it.lsn >= known).map(|it| it.page));
    }
    let untouched = pages
        .into_iter()
        .filter(|(page, _)| !written.contains(page));
    let needed = untouched.map(|(_, at)| at / SEGMENT as u64);
    let is_older = |index: &u64| {
        let header = usize::try_from(*index).ok().and_then(|it| headers.get(it));
        header.is_some_and(|header| header.is_some() && !is_newer(header))
    };
    Ok(needed.filter(is_older).collect())
}

/// Reads a segment, zeros where the file ends before it does, and returns where it stands.
fn read_segment(file: &File, index: u64, length: u64, into: &mut Vec<u8>) -> io::Result<u64> {
    let at = index * SEGMENT as u64;
    let len = usize::try_from(length - at).unwrap_or(SEGMENT).min(SEGMENT);
    into.clear();
    into.resize(len, 0);
    file.read_exact_at(into, at)?;
    Ok(at)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a file that counts as too long to be set aside whole, what an engine writes over
    /// comes back, and what it needs is not copied.
    #[test]
    fn only_what_the_engine_may_write_over_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let config = || {
            sled::Config::new()
                .path(directory.path())
                .flush_every_ms(None)
        };
        let fill = |from: u32, to: u32, value: u8| {
            let db = config().open().unwrap();
            for number in from..to {
                db.insert(number.to_be_bytes(), vec![value; 3000]).unwrap();
            }
            db.flush().unwrap();
        };
        fill(0, 3000, 1);
        // Much of what was written before is not needed any more.
        fill(0, 1000, 2);
        drop(config().open().unwrap());
        let path = directory.path().join("db");
        let before = fs::read(&path).unwrap();
        let kept = Data::before(directory.path(), &File::open(&path).unwrap(), 0).unwrap();
        let set_aside: usize = kept.parts.iter().map(|(_, len)| len).sum();
        assert!(
            set_aside > 0 && set_aside < before.len() / 2,
            "{set_aside} of {}",
            before.len()
        );
        fill(2900, 3000, 3);
        assert_ne!(fs::read(&path).unwrap(), before);
        kept.restore(&path).unwrap();
        assert!(fs::read(&path).unwrap() == before);
        // What it needs and has lost is told.
        let kept = Data::before(directory.path(), &File::open(&path).unwrap(), 0).unwrap();
        let lost = (0..).zip(&kept.headers).find(|(index, header)| {
            let at = index * SEGMENT as u64;
            header.is_some() && kept.parts.iter().all(|(part, _)| *part != at)
        });
        let at = lost.unwrap().0 * SEGMENT as u64;
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0; 30], at).unwrap();
        assert!(kept.restore(&path).is_err());
    }
}
