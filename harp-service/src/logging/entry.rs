//! One event of the log, with the spans that it happened in.

use std::fmt::{self, Debug, Write};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::Level;
use tracing::field::{Field as Name, Visit};

/// Bytes of a field's value that are logged. Some, such as a procedure's name, are the
/// client's and can be megabytes long.
const LONGEST_VALUE: usize = 4 * 1024;
/// Bytes that most values have at most: a job's id, a peer's address.
const USUAL_VALUE: usize = 40;
/// Bytes of a message that are logged.
const LONGEST_MESSAGE: usize = 16 * 1024;

/// An event of the log.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) time: SystemTime,
    pub(super) level: Level,
    /// The module that says so.
    pub(super) target: &'static str,
    pub(super) event: Fields,
    /// The outermost first.
    pub(super) spans: Vec<Arc<Span>>,
}

/// A span and its fields so far.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) name: &'static str,
    pub(super) fields: Fields,
}

/// The fields of an event or a span.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// The field `message`, which spans do not have.
    pub(super) message: String,
    /// The others, in their order.
    pub(super) others: Vec<Field>,
}

/// A field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) value: Value,
}

/// A field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Anything.
    Text(String),
    /// A number or a truth value, in the words of JSON.
    Plain(String),
}

impl Entry {
    /// An entry of the log's own.
    pub(super) fn own(level: Level, message: &str, others: Vec<Field>) -> Entry {
        Entry {
            time: SystemTime::now(),
            level,
            target: module_path!(),
            event: Fields {
                message: message.to_owned(),
                others,
            },
            spans: Vec::new(),
        }
    }
}

impl Value {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Value::Text(text) | Value::Plain(text) => text,
        }
    }
}

impl Fields {
    fn set(&mut self, name: &Name, value: Value) {
        let name = name.name();
        let name = name.strip_prefix("r#").unwrap_or(name);
        // A span's field that is recorded again.
        match self.others.iter_mut().find(|field| field.name == name) {
            Some(field) => field.value = value,
            None => self.others.push(Field { name, value }),
        }
    }

    fn plain(&mut self, name: &Name, value: impl ToString) {
        self.set(name, Value::Plain(value.to_string()));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, name: &Name, value: &dyn Debug) {
        if name.name() == "message" {
            self.message = bounded(LONGEST_MESSAGE, format_args!("{value:?}"));
        } else {
            let text = bounded(LONGEST_VALUE, format_args!("{value:?}"));
            self.set(name, Value::Text(text));
        }
    }

    fn record_str(&mut self, name: &Name, value: &str) {
        self.record_debug(name, &format_args!("{value}"));
    }

    fn record_bool(&mut self, name: &Name, value: bool) {
        self.plain(name, value);
    }

    fn record_u64(&mut self, name: &Name, value: u64) {
        self.plain(name, value);
    }

    fn record_i64(&mut self, name: &Name, value: i64) {
        self.plain(name, value);
    }

    fn record_u128(&mut self, name: &Name, value: u128) {
        self.plain(name, value);
    }

    fn record_i128(&mut self, name: &Name, value: i128) {
        self.plain(name, value);
    }

    fn record_f64(&mut self, name: &Name, value: f64) {
        if value.is_finite() {
            self.plain(name, value);
        } else {
            // JSON has no words for infinities and NaN.
            self.record_debug(name, &value);
        }
    }
}

/// The text, or its beginning and a sign that there was more.
fn bounded(limit: usize, text: fmt::Arguments<'_>) -> String {
    let mut bounded = Bounded {
        text: String::with_capacity(USUAL_VALUE),
        limit,
    };
    // An error is the writer's own "no more".
    if bounded.write_fmt(text).is_err() {
        bounded.text.push('\u{2026}');
    }
    bounded.text
}

struct Bounded {
    text: String,
    limit: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = self.limit - self.text.len();
        if part.len() <= room {
            self.text.push_str(part);
            return Ok(());
        }
        let end = (0..=room).rev().find(|end| part.is_char_boundary(*end));
        self.text.push_str(&part[..end.unwrap_or(0)]);
        self.limit = self.text.len();
        Err(fmt::Error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_is_cut_between_characters() {
        assert_eq!(bounded(4, format_args!("{}", "abcd")), "abcd");
        assert_eq!(
            bounded(4, format_args!("{}{}", "ab", "cde")),
            "abcd\u{2026}"
        );
        assert_eq!(bounded(3, format_args!("{}", "ab\u{e9}")), "ab\u{2026}");
    }
}
