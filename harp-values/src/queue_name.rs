//! The name of a queue: a JSON object, equal to another by value.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::fields;
use crate::json::{Json, JsonError};

/// Greatest length of a queue's name in bytes of canonical text. The protocol names no
/// limit; a name is kept in memory with each waiting job, so there has to be one.
pub const MAX_QUEUE_NAME: usize = 4096;

/// A queue's name in canonical form: keys sorted, strings unescaped as far as JSON
/// allows, number literals as they came (client protocol, section 2: `1` and `1.0` are
/// different names).
///
/// ```
/// use harp_values::QueueName;
///
/// let one: QueueName = r#"{"b": "\u0041", "a": 1}"#.parse().unwrap();
/// let other: QueueName = r#"{"a":1,"b":"A"}"#.parse().unwrap();
/// assert_eq!(one, other);
/// assert_eq!(one.as_str(), r#"{"a":1,"b":"A"}"#);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueName(Arc<str>);

/// Why a value cannot name a queue.
#[derive(Debug, thiserror::Error)]
pub enum NotAQueueName {
    /// It is no JSON, or nests too deep.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// It is JSON, but no object.
    #[error("must be a JSON object")]
    NotAnObject,
    /// A key stands in it more than once, so that its value is not clear.
    #[error("repeats the key {0:?}")]
    RepeatedKey(String),
    /// It is longer than [`MAX_QUEUE_NAME`] bytes.
    #[error("longer than {MAX_QUEUE_NAME} bytes")]
    TooLong,
}

impl QueueName {
    /// The canonical text, which is JSON.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name that this JSON text stands for.
    ///
    /// # Errors
    ///
    /// [`NotAQueueName`] says why the text cannot name a queue.
    pub fn from_json(json: &Json) -> Result<QueueName, NotAQueueName> {
        if !json.as_bytes().starts_with(b"{") {
            return Err(NotAQueueName::NotAnObject);
        }
        let raw: &RawValue = serde_json::from_slice(json.as_bytes()).map_err(JsonError::Syntax)?;
        // An escape is at most six bytes for one byte of text.
        if json.as_bytes().len() > 6 * MAX_QUEUE_NAME {
            return Err(NotAQueueName::TooLong);
        }
        let mut name = String::with_capacity(json.as_bytes().len());
        write_canonical(raw, &mut name)?;
        if name.len() > MAX_QUEUE_NAME {
            return Err(NotAQueueName::TooLong);
        }
        Ok(QueueName(name.into()))
    }
}

fn write_canonical(raw: &RawValue, out: &mut String) -> Result<(), NotAQueueName> {
    match raw.get().as_bytes().first() {
        Some(b'{') => {
            let mut entries = fields::entries(raw).map_err(JsonError::Syntax)?;
            entries.sort_by(|one, other| one.0.cmp(&other.0));
            if let Some(twice) = entries.windows(2).find(|pair| pair[0].0 == pair[1].0) {
                let key = String::from_utf8_lossy(&twice[0].0).into_owned();
                return Err(NotAQueueName::RepeatedKey(key));
            }
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write_canonical(value, out)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            let items: Vec<&RawValue> =
                serde_json::from_str(raw.get()).map_err(JsonError::Syntax)?;
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out)?;
            }
            out.push(']');
        }
        Some(b'"') => write_string(&fields::string_bytes(raw).map_err(JsonError::Syntax)?, out),
        _ => out.push_str(raw.get()),
    }
    Ok(())
}

/// Writes a JSON string; halves of surrogate pairs, which are no text, stay escapes.
fn write_string(bytes: &[u8], out: &mut String) {
    out.push('"');
    let mut rest = bytes;
    while !rest.is_empty() {
        match std::str::from_utf8(rest) {
            Ok(text) => {
                write_escaped(text, out);
                break;
            }
            Err(error) => {
                let (text, half) = rest.split_at(error.valid_up_to());
                write_escaped(&String::from_utf8_lossy(text), out);
                // Three bytes of the shape ED A0..BF 80..BF hold U+D800 to U+DFFF.
                let half: Vec<u32> = half
                    .iter()
                    .take(3)
                    .map(|byte| u32::from(byte & 0x3f))
                    .collect();
                let low = half.iter().skip(1).fold(0, |sum, six| sum << 6 | six);
                let _ = write!(out, "\\u{:04x}", 0xd000 | low);
                rest = &rest[(error.valid_up_to() + 3).min(rest.len())..];
            }
        }
    }
    out.push('"');
}

fn write_escaped(text: &str, out: &mut String) {
    // A string always serializes, as text between quotes.
    let quoted = serde_json::to_string(text).unwrap_or_default();
    out.push_str(
        quoted
            .get(1..quoted.len().saturating_sub(1))
            .unwrap_or_default(),
    );
}

impl std::str::FromStr for QueueName {
    type Err = NotAQueueName;

    fn from_str(text: &str) -> Result<QueueName, NotAQueueName> {
        QueueName::from_json(&text.parse()?)
    }
}

impl fmt::Display for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for QueueName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> QueueName {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_equal_by_value() {
        for (one, other) in [
            (r#"{}"#, r#"{ }"#),
            (
                r#"{"a":1,"b":[{"y":2,"x":1}]}"#,
                r#"{"b":[{"x":1,"y":2}],"a":1}"#,
            ),
            (r#"{"a":"\u00e9\/"}"#, r#"{"a":"é/"}"#),
            (r#"{"\u0061":"\ud83d\ude00"}"#, r#"{"a":"😀"}"#),
            (r#"{"a":"\uD800x"}"#, r#"{"a":"\ud800\u0078"}"#),
        ] {
            assert_eq!(name(one), name(other));
        }
        for (one, other) in [
            (r#"{"a":1}"#, r#"{"a":1.0}"#),
            (r#"{"a":"1"}"#, r#"{"a":1}"#),
            (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
            (r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"\ud800"}"#, r#"{"a":"\ud801"}"#),
        ] {
            assert_ne!(name(one), name(other));
        }
    }

    #[test]
    fn half_a_surrogate_pair_stays_what_it_was() {
        assert_eq!(
            name(r#"{"a":"x\uDBFFy\udc00"}"#).as_str(),
            r#"{"a":"x\udbffy\udc00"}"#
        );
    }

    #[test]
    fn what_cannot_name_a_queue_is_refused() {
        for text in [
            "1",
            "[]",
            "\"q\"",
            "null",
            "{",
            r#"{"a":1,"\u0061":2}"#,
            r#"{"a":{"b":1,"b":1}}"#,
        ] {
            assert!(text.parse::<QueueName>().is_err(), "{text}");
        }
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_QUEUE_NAME));
        assert!(matches!(
            long.parse::<QueueName>(),
            Err(NotAQueueName::TooLong)
        ));
    }

    proptest! {
        #[test]
        fn the_canonical_text_names_the_same_queue(
            entries in proptest::collection::hash_map(any::<String>(), any::<(String, i32)>(), 0..6),
        ) {
            let text = serde_json::to_string(&entries).unwrap();
            let name = name(&text);
            prop_assert_eq!(&name.as_str().parse::<QueueName>().unwrap(), &name);
        }
    }
}
