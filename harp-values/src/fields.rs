//! Reading the keys of one JSON object, none of them twice and none left over.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{Json, JsonError};

/// Keys that are looked at in one object of the protocols, which know fewer. Those behind
/// are read over, so that an object of a million keys costs no more than its length.
const MAX_KEYS: usize = 64;

/// An object's keys with their values still as text, in the order they came.
///
/// Keys are bytes: a JSON string may hold half of a surrogate pair, which no `str` can.
pub struct Fields<'a> {
    /// Dotted prefix of this object's keys in messages, empty for the line's own.
    path: String,
    entries: Vec<Entry<'a>>,
    /// There are more keys than [`MAX_KEYS`].
    has_more: bool,
}

/// A key and the text of its value.
type Entry<'a> = (Cow<'a, [u8]>, &'a RawValue);

/// A problem with a value, and the key that it stands at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ShapeError {
    /// The key, dotted when nested.
    pub field: String,
    /// The problem, for people.
    pub problem: Cow<'static, str>,
}

impl<'a> Fields<'a> {
    /// Reads the keys of an object. `None` if the text is JSON but no object.
    ///
    /// # Errors
    ///
    /// If the text is no JSON, or not UTF-8.
    pub fn read(line: &'a Bytes) -> Result<Option<Fields<'a>>, serde_json::Error> {
        let text = std::str::from_utf8(line).map_err(de::Error::custom)?;
        if !text.trim_ascii_start().starts_with('{') {
            return serde_json::from_str(text).map(|IgnoredAny| None);
        }
        Fields::of_object(String::new(), text).map(Some)
    }

    fn of_object(path: String, text: &'a str) -> Result<Fields<'a>, serde_json::Error> {
        let (entries, has_more) = read_entries(text, MAX_KEYS)?;
        Ok(Fields {
            path,
            entries,
            has_more,
        })
    }

    /// The error that something is wrong with the value of this key.
    #[must_use]
    pub fn error(&self, key: &str, problem: impl Into<Cow<'static, str>>) -> ShapeError {
        ShapeError {
            field: self.dotted(key),
            problem: problem.into(),
        }
    }

    /// True if the key is there and nobody has taken it.
    #[must_use]
    pub fn has(&self, key: &str) -> bool {
        self.entries
            .iter()
            .any(|(name, _)| **name == *key.as_bytes())
    }

    /// Takes the value of a key out, whatever it is.
    pub fn raw(&mut self, key: &str) -> Option<&'a RawValue> {
        let place = self
            .entries
            .iter()
            .position(|(name, _)| **name == *key.as_bytes())?;
        Some(self.entries.remove(place).1)
    }

    /// Takes out the value of a key where null means absent (client protocol, section 2).
    pub fn non_null(&mut self, key: &str) -> Option<&'a RawValue> {
        self.raw(key).filter(|value| value.get() != "null")
    }

    /// A value that belongs to the user.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] with the key and what is wrong with it.
    pub fn json(&mut self, line: &Bytes, key: &str) -> Result<Option<Json>, ShapeError> {
        let Some(raw) = self.raw(key) else {
            return Ok(None);
        };
        match Json::slice(line, raw) {
            Ok(json) => Ok(Some(json)),
            Err(error @ (JsonError::TooDeep | JsonError::Syntax(_))) => {
                Err(self.error(key, error.to_string()))
            }
        }
    }

    /// Takes what [`Fields::json`] does, of a key that has to be there.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] with the key and what is wrong with it.
    pub fn required_json(&mut self, line: &Bytes, key: &str) -> Result<Json, ShapeError> {
        match self.json(line, key)? {
            Some(json) => Ok(json),
            None => Err(self.error(key, "missing")),
        }
    }

    /// A string of Unicode text.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] with the key and what is wrong with it.
    pub fn string(&mut self, key: &str) -> Result<Option<String>, ShapeError> {
        match self
            .non_null(key)
            .map(|raw| serde_json::from_str(raw.get()))
        {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(self.error(key, "must be a string of Unicode text")),
        }
    }

    /// Takes what [`Fields::string`] does, of a key that has to be there.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] with the key and what is wrong with it.
    pub fn required_string(&mut self, key: &str) -> Result<String, ShapeError> {
        match self.string(key)? {
            Some(text) => Ok(text),
            None => Err(self.error(key, "missing, must be a string")),
        }
    }

    /// Text for people: halves of surrogate pairs, which a host's language may let
    /// through, become U+FFFD.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] with the key and what is wrong with it.
    pub fn required_text(&mut self, key: &str) -> Result<String, ShapeError> {
        let problem = "missing, must be a string";
        let raw = self.raw(key).ok_or_else(|| self.error(key, problem))?;
        match string_bytes(raw) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(_) => Err(self.error(key, problem)),
        }
    }

    /// True or false.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] with the key and what is wrong with it.
    pub fn boolean(&mut self, key: &str) -> Result<Option<bool>, ShapeError> {
        match self.non_null(key).map(RawValue::get) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.error(key, "must be true or false")),
        }
    }

    /// A whole number of at least `least`. Anything above `u64` is as good as endless
    /// and becomes the greatest number.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] with the key and what is wrong with it.
    pub fn integer(&mut self, key: &str, least: u64) -> Result<Option<u64>, ShapeError> {
        let Some(raw) = self.non_null(key) else {
            return Ok(None);
        };
        let text = raw.get();
        let number = if text.bytes().all(|digit| digit.is_ascii_digit()) {
            Some(text.parse().unwrap_or(u64::MAX))
        } else {
            None
        };
        match number {
            Some(number) if number >= least => Ok(Some(number)),
            _ => Err(self.error(key, format!("must be a whole number, {least} or more"))),
        }
    }

    /// A nested object, or null for none.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] with the key and what is wrong with it.
    pub fn object(&mut self, key: &str) -> Result<Option<Fields<'a>>, ShapeError> {
        let Some(raw) = self.non_null(key) else {
            return Ok(None);
        };
        if !raw.get().starts_with('{') {
            return Err(self.error(key, "must be an object"));
        }
        let path = self.dotted(key);
        Fields::of_object(path, raw.get())
            .map(Some)
            .map_err(|error| self.error(key, error.to_string()))
    }

    /// Takes out all keys with their values as texts: of a string what is in it, of an array
    /// each of its values, of anything else its JSON text.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] with a key that is no Unicode text, or whose value is none.
    pub fn texts(mut self) -> Result<Vec<(String, String)>, ShapeError> {
        let mut texts = Vec::new();
        let problem = "must be Unicode text";
        for (key, value) in std::mem::take(&mut self.entries) {
            let Ok(name) = std::str::from_utf8(&key) else {
                return Err(self.error(&String::from_utf8_lossy(&key), problem));
            };
            let values: Vec<&RawValue> = if value.get().starts_with('[') {
                serde_json::from_str(value.get())
                    .map_err(|error| self.error(name, error.to_string()))?
            } else {
                vec![value]
            };
            for value in values {
                let text = if value.get().starts_with('"') {
                    serde_json::from_str(value.get()).map_err(|_| self.error(name, problem))?
                } else {
                    value.get().to_owned()
                };
                texts.push((name.to_owned(), text));
            }
        }
        self.none_left()?;
        Ok(texts)
    }

    /// Refuses an object with a key that stands in it twice.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] with the key and what is wrong with it.
    pub fn none_repeated(&self) -> Result<(), ShapeError> {
        for (index, (name, _)) in self.entries.iter().enumerate() {
            if self.entries[..index]
                .iter()
                .any(|(earlier, _)| earlier == name)
            {
                return Err(
                    self.error(&String::from_utf8_lossy(name), "stands here more than once")
                );
            }
        }
        Ok(())
    }

    /// Refuses an object with keys that nobody took.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] with the key and what is wrong with it.
    pub fn none_left(self) -> Result<(), ShapeError> {
        match self.entries.first() {
            Some((name, _)) => Err(self.error(&String::from_utf8_lossy(name), "unknown key")),
            None if self.has_more => {
                let problem = format!("more than {MAX_KEYS} keys");
                Err(self.error(self.path.rsplit('.').next().unwrap_or_default(), problem))
            }
            None => Ok(()),
        }
    }

    fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }
}

/// All entries of an object that belongs to a user.
pub(crate) fn entries(raw: &RawValue) -> Result<Vec<Entry<'_>>, serde_json::Error> {
    read_entries(raw.get(), usize::MAX).map(|(entries, _)| entries)
}

/// Reads a text that is one object: up to so many entries, and whether there were more.
fn read_entries(text: &str, most: usize) -> Result<(Vec<Entry<'_>>, bool), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let entries = reader.deserialize_map(EntriesVisitor { most })?;
    reader.end()?;
    Ok(entries)
}

/// A JSON string as bytes: UTF-8, but for halves of surrogate pairs.
pub(crate) fn string_bytes(raw: &RawValue) -> Result<Cow<'_, [u8]>, serde_json::Error> {
    StringBytes.deserialize(&mut serde_json::Deserializer::from_str(raw.get()))
}

/// Reads up to so many entries, and over those behind; true if there were any.
struct EntriesVisitor {
    most: usize,
}

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = (Vec<Entry<'de>>, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::with_capacity(8);
        while let Some(key) = map.next_key_seed(StringBytes)? {
            if entries.len() == self.most {
                map.next_value::<IgnoredAny>()?;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                return Ok((entries, true));
            }
            entries.push((key, map.next_value()?));
        }
        Ok((entries, false))
    }
}

struct StringBytes;

impl<'de> DeserializeSeed<'de> for StringBytes {
    type Value = Cow<'de, [u8]>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for StringBytes {
    type Value = Cow<'de, [u8]>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(bytes))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(bytes.to_vec()))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text.as_bytes()))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.as_bytes().to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<T>(line: &'static str, read: impl FnOnce(&mut Fields<'_>) -> T) -> T {
        read(
            &mut Fields::read(&Bytes::from_static(line.as_bytes()))
                .unwrap()
                .unwrap(),
        )
    }

    #[test]
    fn nested_keys_are_dotted() {
        let error = with(r#"{"queue":{"name":1}}"#, |fields| {
            fields
                .object("queue")
                .unwrap()
                .unwrap()
                .object("name")
                .map(drop)
                .unwrap_err()
        });
        assert_eq!(error.field, "queue.name");
    }

    #[test]
    fn integers_are_whole_and_may_be_huge() {
        let read = |line| with(line, |fields| fields.integer("n", 1));
        assert_eq!(read(r#"{"n":1}"#), Ok(Some(1)));
        assert_eq!(read(r#"{"n":null}"#), Ok(None));
        assert_eq!(read(r#"{"n":99999999999999999999999}"#), Ok(Some(u64::MAX)));
        for line in [
            r#"{"n":0}"#,
            r#"{"n":-1}"#,
            r#"{"n":1.0}"#,
            r#"{"n":"1"}"#,
            r#"{"n":1e3}"#,
        ] {
            assert_eq!(read(line).unwrap_err().field, "n", "{line}");
        }
    }

    #[test]
    fn keys_behind_the_most_are_one_problem() {
        let keys: String = (0..100_000)
            .map(|key| format!(r#","{key}":{key}"#))
            .collect();
        let line = Bytes::from(format!(r#"{{"a":1{keys}}}"#));
        let mut fields = Fields::read(&line).unwrap().unwrap();
        assert_eq!(fields.none_repeated(), Ok(()));
        for key in 0..MAX_KEYS - 1 {
            assert!(fields.raw(&key.to_string()).is_some());
        }
        assert!(fields.raw("a").is_some());
        assert!(
            fields
                .none_left()
                .unwrap_err()
                .problem
                .contains("more than 64")
        );
    }

    #[test]
    fn a_key_may_hold_half_a_surrogate_pair() {
        let error = with(r#"{"a":1,"\ud800":1,"a":2}"#, |fields| {
            assert!(fields.has("a"));
            fields.none_repeated().unwrap_err()
        });
        assert_eq!(error.field, "a");
    }
}
