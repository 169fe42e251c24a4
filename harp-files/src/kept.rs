//! Values that are made of files, and made again when these have changed.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use ring::digest::{self, Digest};

use crate::watched::Change;
use crate::{Watched, regular, text};

/// A value that was read from files. [`Kept::look`] reads it again when one of them has
/// changed; while they cannot be used, the last good value stays and every look tries again.
#[derive(Debug)]
pub struct Kept<T> {
    watched: Watched,
    /// Of what the value was made of: files that only look changed change nothing.
    digest: Digest,
    value: T,
    /// Why the files could not be used at the last look.
    complaint: Option<String>,
}

/// Result of a look at the files.
#[derive(Debug)]
pub enum Look<E> {
    /// Nothing new.
    Same,
    /// One of them has been written or replaced, and says what it said.
    Touched,
    /// What they say now is in force.
    New,
    /// They can be used again, and say what they said when they could be used last.
    Again,
    /// They cannot be used; the last good value is still there.
    Failed {
        /// Why.
        error: E,
        /// False if the last look has failed in the same way.
        is_news: bool,
    },
}

/// The files as they were read, in the order in which they were named.
#[derive(Debug)]
pub struct Contents(std::vec::IntoIter<Content>);

/// One file as it was read.
#[derive(Debug)]
pub struct Content {
    path: PathBuf,
    read: io::Result<Vec<u8>>,
}

impl<T> Kept<T> {
    /// Reads the files and has `parse` make a value of them, in the order of `files`.
    ///
    /// # Errors
    ///
    /// What `parse` says.
    pub fn read<E>(
        files: impl IntoIterator<Item = PathBuf>,
        parse: impl FnOnce(Contents) -> Result<T, E>,
    ) -> Result<Kept<T>, E> {
        // Looked at before they are read: a change in between is seen at the next look.
        let watched = Watched::new(files);
        let contents = contents(&watched);
        Ok(Kept {
            digest: digest(&contents),
            value: parse(Contents(contents.into_iter()))?,
            watched,
            complaint: None,
        })
    }

    /// The value of the last good reading.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Looks at the files, and reads them if they have changed since the last look, or less
    /// than 2 s before it.
    pub fn look<E: Display>(&mut self, parse: impl FnOnce(Contents) -> Result<T, E>) -> Look<E> {
        let change = self.watched.look();
        if change == Change::None {
            return Look::Same;
        }
        let contents = contents(&self.watched);
        let digest = digest(&contents);
        if digest.as_ref() == self.digest.as_ref() {
            return match (self.complaint.take(), change) {
                (Some(_), _) => Look::Again,
                (None, Change::Seen) => Look::Touched,
                (None, _) => Look::Same,
            };
        }
        match parse(Contents(contents.into_iter())) {
            Ok(value) => {
                self.value = value;
                self.digest = digest;
                self.complaint = None;
                Look::New
            }
            Err(error) => {
                // It may be no fault of the files, such as too many open ones, and go away
                // without a trace on them.
                self.watched.look_again();
                let complaint = error.to_string();
                let is_news = self.complaint.as_ref() != Some(&complaint);
                self.complaint = Some(complaint);
                Look::Failed { error, is_news }
            }
        }
    }
}

impl Contents {
    /// The next file; behind the last one that is absent.
    pub fn take(&mut self) -> Content {
        self.0.next().unwrap_or_else(|| Content {
            path: PathBuf::new(),
            read: Err(io::ErrorKind::NotFound.into()),
        })
    }
}

impl Content {
    /// The file, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True if there is no such file.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(&self.read, Err(error) if error.kind() == io::ErrorKind::NotFound)
    }

    /// What is in it.
    ///
    /// # Errors
    ///
    /// Those of [`regular::read`].
    pub fn bytes(self) -> io::Result<Vec<u8>> {
        self.read
    }

    /// What is in it, as text.
    ///
    /// # Errors
    ///
    /// Those of [`regular::read_to_string`].
    pub fn text(self) -> io::Result<String> {
        text::from_bytes(self.read?)
    }
}

fn contents(watched: &Watched) -> Vec<Content> {
    let read = |path: &Path| Content {
        path: path.to_owned(),
        read: regular::read(path),
    };
    watched.files().map(read).collect()
}

fn digest(contents: &[Content]) -> Digest {
    let mut all = digest::Context::new(&digest::SHA256);
    for content in contents {
        match &content.read {
            Ok(bytes) => {
                all.update(b"+");
                all.update(&bytes.len().to_be_bytes());
                all.update(bytes);
            }
            Err(_) if content.is_absent() => all.update(b"-"),
            Err(_) => all.update(b"?"),
        }
    }
    all.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(mut contents: Contents) -> Result<u32, String> {
        let content = contents.take();
        if content.is_absent() {
            return Ok(0);
        }
        let text = content.text().map_err(|error| error.to_string())?;
        text.parse().map_err(|_| format!("{text} is no number"))
    }

    #[test]
    fn a_change_counts_and_a_bad_one_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("1");
        let mut kept = Kept::read([path.clone()], number).unwrap();
        assert_eq!(*kept.value(), 1);
        // Written a moment ago, so it is read again, and says the same.
        assert!(matches!(kept.look(number), Look::Same));
        write("2");
        assert!(matches!(kept.look(number), Look::New));
        assert_eq!(*kept.value(), 2);
        std::fs::remove_file(&path).unwrap();
        write("2");
        assert!(matches!(kept.look(number), Look::Touched));
        write("two");
        for is_first in [true, false] {
            match kept.look(number) {
                Look::Failed { error, is_news } => {
                    assert_eq!((error.as_str(), is_news), ("two is no number", is_first));
                }
                look => panic!("{look:?}"),
            }
            assert_eq!(*kept.value(), 2);
        }
        write("2");
        assert!(matches!(kept.look(number), Look::Again));
        assert!(matches!(kept.look(number), Look::Same));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(kept.look(number), Look::New));
        assert_eq!(*kept.value(), 0);
    }

    #[test]
    fn a_named_pipe_in_a_files_place_is_told_and_not_waited_for() {
        use rustix::fs::{CWD, Mode, mkfifoat};

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("number");
        std::fs::write(&path, "1").unwrap();
        let mut kept = Kept::read([path.clone()], number).unwrap();
        std::fs::remove_file(&path).unwrap();
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let Look::Failed { error, .. } = kept.look(number) else {
            panic!("it was read");
        };
        assert!(error.contains("named pipe"), "{error}");
        assert_eq!(*kept.value(), 1);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "3").unwrap();
        assert!(matches!(kept.look(number), Look::New));
        assert_eq!(*kept.value(), 3);
    }
}
