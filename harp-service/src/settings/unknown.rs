//! Keys of a file that nobody asked for: warned of, or refused where one that is passed
//! over would let somebody do what the file's owner meant to forbid.

use std::collections::{BTreeMap, BTreeSet};

use super::table::{dotted, indexed};
use super::tree::{Keys, Value};

/// Keys of a file that are known, by the dotted names of their tables.
#[derive(Debug, Default)]
pub(super) struct KnownKeys {
    tables: BTreeMap<String, Known>,
}

/// The known keys of one table.
#[derive(Debug, Default)]
struct Known {
    keys: BTreeSet<String>,
    /// Those of them that restrict or trust.
    guarded: BTreeSet<String>,
    /// Other words for a guarded key, and which.
    meant: BTreeMap<&'static str, String>,
}

/// A key that nobody asked for.
pub(super) struct Unknown {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) message: String,
    /// Whether the file cannot be used with it.
    pub(super) refused: bool,
}

impl KnownKeys {
    /// Makes a table one that is looked into, even if none of its keys is asked for.
    pub(super) fn look_into(&mut self, table: String) {
        self.tables.entry(table).or_default();
    }

    /// Notes that somebody asked for a key.
    pub(super) fn know(&mut self, table: &str, key: &str) {
        match self.tables.get_mut(table) {
            Some(known) => drop(known.keys.insert(key.to_owned())),
            None => {
                let known = self.tables.entry(table.to_owned()).or_default();
                known.keys.insert(key.to_owned());
            }
        }
    }

    /// Notes that a key restricts or trusts, and what else people call it.
    pub(super) fn guard(&mut self, table: &str, key: &str, words: &[&'static str]) {
        let known = self.tables.entry(table.to_owned()).or_default();
        known.guarded.insert(key.to_owned());
        for word in words {
            known.meant.insert(word, key.to_owned());
        }
    }

    /// All keys that were asked for.
    pub(super) fn all(&self) -> BTreeMap<String, BTreeSet<String>> {
        let tables = self.tables.iter();
        tables
            .map(|(name, known)| (name.clone(), known.keys.clone()))
            .collect()
    }

    /// The keys of the file's own table, and of those inside it, that nobody asked for. A
    /// table that was accepted without being looked into is passed over.
    pub(super) fn unknown(&self, root: &Keys) -> Vec<Unknown> {
        let mut found = Vec::new();
        self.collect("", root, false, &mut found);
        found
    }

    /// `strict`: the table is part of one that restricts or trusts.
    fn collect(&self, name: &str, keys: &Keys, strict: bool, found: &mut Vec<Unknown>) {
        let Some(known) = self.tables.get(name) else {
            return;
        };
        for (key, entry) in keys {
            let full = dotted(name, key);
            if !known.keys.contains(key) {
                let (mut message, mut refused) = known.judge(key, strict);
                if !refused && let Some(inner) = self.guarded_inside(&entry.value.value) {
                    let why = "unknown table, with a key in it that restricts or trusts";
                    (message, refused) = (format!("{why}: {inner}"), true);
                }
                found.push(Unknown {
                    line: entry.key_line,
                    key: full,
                    message,
                    refused,
                });
                continue;
            }
            let strict = strict || known.guarded.contains(key);
            match &entry.value.value {
                Value::Table(inner) => self.collect(&full, inner, strict, found),
                Value::Array(elements) => {
                    for (index, element) in elements.iter().enumerate() {
                        if let Value::Table(inner) = &element.value {
                            self.collect(&indexed(&full, index), inner, strict, found);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// The first key of a table that nobody knows, or of those inside it, which is much like
    /// one of the file's own that restricts or trusts: its writer believes it to hold.
    fn guarded_inside<'t>(&self, value: &'t Value) -> Option<&'t str> {
        let own = self.tables.get("")?;
        match value {
            Value::Table(keys) => keys.iter().find_map(|(key, entry)| {
                if own.guarded_like(&plain(key)).is_some() {
                    Some(key.as_str())
                } else {
                    self.guarded_inside(&entry.value.value)
                }
            }),
            Value::Array(elements) => elements
                .iter()
                .find_map(|element| self.guarded_inside(&element.value)),
            _ => None,
        }
    }
}

impl Known {
    /// The guarded key that was probably meant by this.
    fn guarded_like(&self, plain: &str) -> Option<&String> {
        let meant = self.meant.get(plain);
        meant.or_else(|| nearest(plain, &self.guarded))
    }

    /// Warning about an unknown key, and whether it is refused.
    fn judge(&self, key: &str, strict: bool) -> (String, bool) {
        let plain = plain(key);
        let guarded = self.guarded_like(&plain);
        let near = guarded.or_else(|| nearest(&plain, &self.keys));
        let mean = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        if strict {
            let message = format!("unknown key in a table that restricts or trusts{mean}");
            (message, true)
        } else if guarded.is_some() {
            let message = format!("unknown key, too much like one that restricts or trusts{mean}");
            (message, true)
        } else {
            (format!("unknown key, ignored{mean}"), false)
        }
    }
}

/// The known key that was probably meant.
fn nearest<'k>(key: &str, known: &'k BTreeSet<String>) -> Option<&'k String> {
    known
        .iter()
        .map(|candidate| (likeness(key, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// From 0 to 1. What is a part of a name, at least half of it, is as good as one that is
/// spelled wrong: `certs_file` for `known_certs_file`, `tls_ca_file` for `ca_file`.
fn likeness(key: &str, candidate: &str) -> f64 {
    let is_part_of =
        |part: &str, whole: &str| part.len() * 2 >= whole.len() && whole.contains(part);
    let is_part = is_part_of(key, candidate) || is_part_of(candidate, key);
    let alike = strsim::jaro_winkler(key, candidate);
    if is_part { alike.max(0.9) } else { alike }
}

/// As keys are spelled: small letters, with underscores.
fn plain(key: &str) -> String {
    key.trim().to_lowercase().replace(['-', ' ', '.'], "_")
}
