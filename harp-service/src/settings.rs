//! A configuration file in TOML, read so that its owner can mend it: every problem is
//! reported with its key, its line and what was expected, and all of them at once.
//!
//! A daemon takes the keys it knows out of a [`Table`]. A wrong type or value is noted
//! and reads as absent; [`Settings::finish`] then gives either all the problems or the
//! warnings, among them every key that nobody asked for, with the nearest key that
//! somebody did.
//!
//! ```
//! use harp_service::Settings;
//!
//! let text = "listen = ['*:3502']\nmax_age = 'old'\nmax_agee = 1\n";
//! let settings = Settings::parse(text, "example.toml").unwrap();
//! let root = settings.table();
//! assert_eq!(root.strings("listen").unwrap(), ["*:3502"]);
//! assert_eq!(root.integer("max_age", 1..=1000), None);
//! let error = settings.finish().unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "example.toml:2: max_age: must be a whole number from 1 to 1000, not a string"
//! );
//! ```

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use tree::{Keys, Lines};
use unknown::KnownKeys;

mod table;
mod tree;
mod unknown;

pub use table::Table;

/// The text of one configuration file, and what has been found about it so far.
#[derive(Debug)]
pub struct Settings {
    origin: String,
    root: Keys,
    notes: RefCell<Notes>,
}

/// Problems and warnings that reading has found.
#[derive(Debug, Default)]
struct Notes {
    problems: Vec<Note>,
    warnings: Vec<Note>,
    known: KnownKeys,
}

/// Something to say about one line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    origin: String,
    line: usize,
    /// Dotted; empty if the text itself could not be understood.
    key: String,
    message: String,
}

/// A thing that does not keep the daemon from starting but that its owner should know.
/// Shown as `FILE:LINE: KEY: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning(Note);

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file was read and is wrong. Shown as a line `FILE:LINE: KEY: message` for
    /// each problem, in the order of the file.
    #[error("{0}")]
    Wrong(Problems),
}

/// Everything that is wrong with one file, at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Note>);

impl Settings {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is not TOML.
    pub fn read(path: &Path) -> Result<Settings, SettingsError> {
        let text = harp_files::regular::read_to_string(path).map_err(|source| {
            SettingsError::Unreadable {
                path: path.to_owned(),
                source,
            }
        })?;
        Settings::parse(&text, &path.display().to_string())
    }

    /// Takes a text; `origin` is the name that messages give it.
    ///
    /// # Errors
    ///
    /// If it is not TOML: every syntax error with its line.
    pub fn parse(text: &str, origin: &str) -> Result<Settings, SettingsError> {
        let lines = Lines::of(text);
        let (root, errors) = DeTable::parse_recoverable(text);
        let settings = Settings {
            origin: origin.to_owned(),
            root: lines.keys(root.get_ref()),
            notes: RefCell::default(),
        };
        for error in errors {
            let place = error.span().map_or(0, |span| span.start);
            settings.problem(lines.line(place), String::new(), error.message());
        }
        settings.check_problems()?;
        Ok(settings)
    }

    /// The file's own table, that all others are in.
    #[must_use]
    pub fn table(&self) -> Table<'_> {
        Table::root(self)
    }

    /// The keys that were asked for, by the dotted names of their tables (empty for the
    /// outermost): what a manual has to describe.
    #[must_use]
    pub fn known_keys(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.notes.borrow().known.all()
    }

    /// The verdict, when everything known has been asked for: what to warn of.
    ///
    /// # Errors
    ///
    /// If there was any problem: all of them.
    pub fn finish(&self) -> Result<Vec<Warning>, SettingsError> {
        let unknown = self.notes.borrow().known.unknown(&self.root);
        for unknown in unknown {
            if unknown.refused {
                self.problem(unknown.line, unknown.key, unknown.message);
            } else {
                self.warning(unknown.line, unknown.key, unknown.message);
            }
        }
        self.check_problems()?;
        let mut warnings = std::mem::take(&mut self.notes.borrow_mut().warnings);
        warnings.sort_by_key(|note| note.line);
        Ok(warnings.into_iter().map(Warning).collect())
    }

    fn check_problems(&self) -> Result<(), SettingsError> {
        let mut problems = self.notes.borrow().problems.clone();
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by_key(|note| note.line);
        Err(SettingsError::Wrong(Problems(problems)))
    }

    fn problem(&self, line: usize, key: String, message: impl Into<String>) {
        let note = self.note(line, key, message.into());
        self.notes.borrow_mut().problems.push(note);
    }

    fn warning(&self, line: usize, key: String, message: impl Into<String>) {
        let note = self.note(line, key, message.into());
        self.notes.borrow_mut().warnings.push(note);
    }

    fn note(&self, line: usize, key: String, message: String) -> Note {
        Note {
            origin: self.origin.clone(),
            line,
            key,
            message,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: ", self.origin, self.line)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, note) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            note.fmt(f)?;
        }
        Ok(())
    }
}

/// The last word on a file that can be used, after its warnings have been told.
#[must_use]
pub fn verdict(warnings: usize) -> String {
    match warnings {
        0 => "good".to_owned(),
        1 => "can be used, with 1 warning".to_owned(),
        warnings => format!("can be used, with {warnings} warnings"),
    }
}

#[cfg(test)]
mod tests;
