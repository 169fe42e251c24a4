//! Taking keys out of one table of the file.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::Settings;
use super::tree::{Keys, Value};

/// The longest time that a key can say: ten years of 365 days.
const MAX_TIME: Duration = Duration::from_secs(10 * 365 * 86400);

/// One table. Every method that names a key makes it a known one. A key that is not
/// there reads as `None`; so does a wrong one, which [`Settings::finish`] then reports.
#[derive(Debug, Clone)]
pub struct Table<'s> {
    settings: &'s Settings,
    keys: &'s Keys,
    /// Dotted; empty for the file's own.
    name: String,
    line: usize,
}

impl<'s> Table<'s> {
    pub(super) fn root(settings: &'s Settings) -> Table<'s> {
        Table::new(settings, &settings.root, String::new(), 1)
    }

    fn new(settings: &'s Settings, keys: &'s Keys, name: String, line: usize) -> Table<'s> {
        // Its keys are unknown until asked for, even if nothing at all is asked.
        settings.notes.borrow_mut().known.look_into(name.clone());
        Table {
            settings,
            keys,
            name,
            line,
        }
    }

    /// Any string.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) => Some(text.clone()),
            other => self.wrong(key, "must be a string", other),
        }
    }

    /// A path, not empty; relative ones are left as they are.
    #[must_use]
    pub fn path(&self, key: &str) -> Option<PathBuf> {
        let path = self.string(key)?;
        if path.is_empty() {
            return self.refuse(key, "must be a path, not an empty string");
        }
        Some(PathBuf::from(path))
    }

    /// A whole number in the range.
    #[must_use]
    pub fn integer(&self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let expected = match (*range.start(), *range.end()) {
            (least, u64::MAX) => format!("must be a whole number, {least} or more"),
            (least, most) => format!("must be a whole number from {least} to {most}"),
        };
        match self.take(key)? {
            Value::Integer(_, Some(number)) if range.contains(number) => Some(*number),
            Value::Integer(written, _) => self.refuse(key, format!("{expected}, not {written}")),
            other => self.wrong(key, &expected, other),
        }
    }

    /// A time in seconds, whole or with a fraction, at least `min` and at most ten
    /// years.
    #[must_use]
    pub fn seconds(&self, key: &str, min: u64) -> Option<Duration> {
        let expected = format!("must be a number of seconds, {min} or more");
        let seconds = match self.take(key)? {
            Value::Integer(_, number) => number.map(Duration::from_secs),
            Value::Float(number) => Duration::try_from_secs_f64(*number).ok(),
            other => return self.wrong(key, &expected, other),
        };
        match seconds {
            Some(time) if time > MAX_TIME => {
                self.refuse(key, "must be at most ten years, 315360000 seconds")
            }
            Some(time) if time >= Duration::from_secs(min) => Some(time),
            _ => self.refuse(key, expected),
        }
    }

    /// A part of a whole: a number from 0 to 1.
    #[must_use]
    pub fn fraction(&self, key: &str) -> Option<f64> {
        let expected = "must be a number from 0 to 1";
        let fraction = match self.take(key)? {
            Value::Integer(_, number) => match number {
                Some(0) => Some(0.0),
                Some(1) => Some(1.0),
                _ => None,
            },
            Value::Float(number) => Some(*number),
            other => return self.wrong(key, expected, other),
        };
        match fraction {
            Some(fraction) if (0.0..=1.0).contains(&fraction) => Some(fraction),
            _ => self.refuse(key, expected),
        }
    }

    /// A number of bytes: an integer, or a string with the unit `K`, `M` or `G`
    /// (powers of 1024), as `"16M"`. At least 1.
    #[must_use]
    pub fn size(&self, key: &str) -> Option<u64> {
        let expected =
            "must be a number of bytes, 1 or more, or a string such as \"16M\" (K, M, G)";
        let size = match self.take(key)? {
            Value::Integer(_, number) => *number,
            Value::String(text) => parse_size(text),
            other => return self.wrong(key, expected, other),
        };
        match size {
            Some(size) if size > 0 => Some(size),
            _ => self.refuse(key, expected),
        }
    }

    /// True or false.
    #[must_use]
    pub fn boolean(&self, key: &str) -> Option<bool> {
        match self.take(key)? {
            Value::Boolean(value) => Some(*value),
            other => self.wrong(key, "must be true or false", other),
        }
    }

    /// An array of strings.
    #[must_use]
    pub fn strings(&self, key: &str) -> Option<Vec<String>> {
        self.parsed_strings(key)
    }

    /// A string, or an array of strings.
    #[must_use]
    pub fn one_or_more_strings(&self, key: &str) -> Option<Vec<String>> {
        match self.take(key)? {
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(_) => self.strings(key),
            other => self.wrong(key, "must be a string or an array of strings", other),
        }
    }

    /// A string that a type can be made of; the type's own error says what is wrong.
    #[must_use]
    pub fn parsed<T: FromStr<Err: Display>>(&self, key: &str) -> Option<T> {
        match self.string(key)?.parse() {
            Ok(value) => Some(value),
            Err(error) => self.refuse(key, error.to_string()),
        }
    }

    /// An array of strings of which a type can be made. `None` if any element is wrong.
    #[must_use]
    pub fn parsed_strings<T: FromStr<Err: Display>>(&self, key: &str) -> Option<Vec<T>> {
        let elements = match self.take(key)? {
            Value::Array(elements) => elements,
            other => return self.wrong(key, "must be an array of strings", other),
        };
        let mut values = Vec::with_capacity(elements.len());
        for element in elements.iter() {
            let problem = match &element.value {
                Value::String(text) => match text.parse() {
                    Ok(value) => {
                        values.push(value);
                        continue;
                    }
                    Err(error) => format!("{text:?}: {error}"),
                },
                other => format!("must be an array of strings; {} is in it", other.kind()),
            };
            self.settings
                .problem(element.line, dotted(&self.name, key), problem);
        }
        (values.len() == elements.len()).then_some(values)
    }

    /// A string that is one of the given words.
    #[must_use]
    pub fn one_of(&self, key: &str, words: &[&str]) -> Option<String> {
        let word = self.string(key)?;
        if words.contains(&word.as_str()) {
            return Some(word);
        }
        let list: Vec<_> = words.iter().map(|word| format!("{word:?}")).collect();
        self.refuse(
            key,
            format!("must be one of {}, not {word:?}", list.join(", ")),
        )
    }

    /// A table whose values are all strings.
    #[must_use]
    pub fn string_map(&self, key: &str) -> Option<BTreeMap<String, String>> {
        let table = self.table(key)?;
        let mut map = BTreeMap::new();
        for name in table.keys.keys() {
            let value = table.string(name)?;
            map.insert(name.clone(), value);
        }
        Some(map)
    }

    /// A table inside this one.
    #[must_use]
    pub fn table(&self, key: &str) -> Option<Table<'s>> {
        match self.take(key)? {
            Value::Table(keys) => Some(self.inner(keys, dotted(&self.name, key), self.line(key))),
            other => self.wrong(key, "must be a table", other),
        }
    }

    /// The tables inside a table, each with its name, as `[procedure.NAME]`; sorted by
    /// name.
    #[must_use]
    pub fn tables(&self, key: &str) -> Vec<(String, Table<'s>)> {
        let Some(outer) = self.table(key) else {
            return Vec::new();
        };
        outer
            .keys
            .keys()
            .filter_map(|name| {
                let inner = outer.table(name)?;
                Some((name.clone(), inner))
            })
            .collect()
    }

    /// The tables of an array, as `[[listener]]`, in their order. In messages the first
    /// is called `listener[0]`.
    #[must_use]
    pub fn array_of_tables(&self, key: &str) -> Vec<Table<'s>> {
        let elements = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Array(elements)) => elements,
            Some(other) => {
                return self
                    .wrong(key, "must be an array of tables", other)
                    .unwrap_or_default();
            }
        };
        let name = dotted(&self.name, key);
        let mut tables = Vec::with_capacity(elements.len());
        for (index, element) in elements.iter().enumerate() {
            let line = element.line;
            match &element.value {
                Value::Table(keys) => {
                    tables.push(self.inner(keys, indexed(&name, index), line));
                }
                other => self.settings.problem(
                    line,
                    name.clone(),
                    format!("must be an array of tables; {} is in it", other.kind()),
                ),
            }
        }
        tables
    }

    /// Passes a value on, and reports the key as missing if it is not in the table at
    /// all. (If it is there and wrong, that has been reported.)
    pub fn required<T>(&self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() && self.take(key).is_none() {
            self.settings
                .problem(self.line, dotted(&self.name, key), "missing, must be set");
        }
        value
    }

    /// Reports a problem that the caller found, at the key's line, or the table's if the
    /// key is not there.
    pub fn problem(&self, key: &str, message: impl Into<String>) {
        self.settings
            .problem(self.line(key), dotted(&self.name, key), message);
    }

    /// Reports what is no reason to refuse the file, at the key's line or the table's.
    pub fn warning(&self, key: &str, message: impl Into<String>) {
        self.settings
            .warning(self.line(key), dotted(&self.name, key), message);
    }

    /// Accepts a key, or a table with all that is in it, without reading it. Says
    /// whether it was there.
    pub fn ignore(&self, key: &str) -> bool {
        self.take(key).is_some()
    }

    /// Says that keys of this table restrict or trust somebody. To pass over a key that
    /// was meant for one of them, or one in a table of that name, would let in whom the
    /// file's owner meant to keep out; so these are errors, not warnings.
    pub fn guard(&self, keys: &[&str]) {
        for key in keys {
            self.guard_also(key, &[]);
        }
    }

    /// Guards one key as [`Table::guard`] does, which people also call by other words.
    pub fn guard_also(&self, key: &str, words: &[&'static str]) {
        let mut notes = self.settings.notes.borrow_mut();
        notes.known.guard(&self.name, key, words);
    }

    fn take(&self, key: &str) -> Option<&'s Value> {
        self.settings.notes.borrow_mut().known.know(&self.name, key);
        Some(&self.keys.get(key)?.value.value)
    }

    fn inner(&self, keys: &'s Keys, name: String, line: usize) -> Table<'s> {
        Table::new(self.settings, keys, name, line)
    }

    /// The line that a key stands in, or the table's own.
    fn line(&self, key: &str) -> usize {
        self.keys.get(key).map_or(self.line, |entry| entry.key_line)
    }

    fn wrong<T>(&self, key: &str, expected: &str, found: &Value) -> Option<T> {
        self.refuse(key, format!("{expected}, not {}", found.kind()))
    }

    fn refuse<T>(&self, key: &str, message: impl Into<String>) -> Option<T> {
        self.problem(key, message);
        None
    }
}

/// A key's full name, quoted where TOML would want it.
pub(super) fn dotted(table: &str, key: &str) -> String {
    let is_bare = !key.is_empty()
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if is_bare {
        Cow::Borrowed(key)
    } else {
        Cow::Owned(format!("{key:?}"))
    };
    if table.is_empty() {
        key.into_owned()
    } else {
        format!("{table}.{key}")
    }
}

/// The name of one table of an array.
pub(super) fn indexed(array: &str, index: usize) -> String {
    format!("{array}[{index}]")
}

fn parse_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().next_back()? {
        (end, 'K') => (&text[..end], 10),
        (end, 'M') => (&text[..end], 20),
        (end, 'G') => (&text[..end], 30),
        _ => (text, 0),
    };
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}
