//! The file's content with the line of everything, apart from the text it came from.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The keys of one table.
pub(super) type Keys = BTreeMap<String, Entry>;

/// A key's value and where both stand.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key_line: usize,
    pub(super) value: Placed,
}

/// A value and its line.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    String(String),
    /// As written; the number only if it is not negative and fits.
    Integer(String, Option<u64>),
    Float(f64),
    Boolean(bool),
    Date,
    Array(Vec<Placed>),
    Table(Keys),
}

impl Value {
    /// For messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::String(_) => "a string",
            Value::Integer(..) => "an integer",
            Value::Float(_) => "a number with a fraction",
            Value::Boolean(_) => "true or false",
            Value::Date => "a date",
            Value::Array(_) => "an array",
            Value::Table(_) => "a table",
        }
    }
}

/// Line numbers, from 1, of places in a text.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Lines {
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        Lines(std::iter::once(0).chain(starts).collect())
    }

    pub(super) fn line(&self, place: usize) -> usize {
        self.0.partition_point(|start| *start <= place)
    }

    pub(super) fn keys(&self, table: &DeTable<'_>) -> Keys {
        table
            .iter()
            .map(|(key, value)| {
                let entry = Entry {
                    key_line: self.line(key.span().start),
                    value: self.placed(value),
                };
                (key.get_ref().to_string(), entry)
            })
            .collect()
    }

    fn placed(&self, value: &Spanned<DeValue<'_>>) -> Placed {
        Placed {
            line: self.line(value.span().start),
            value: match value.get_ref() {
                DeValue::String(text) => Value::String(text.to_string()),
                DeValue::Integer(number) => {
                    let digits = number.as_str().trim_start_matches('+');
                    let parsed = u64::from_str_radix(digits, number.radix()).ok();
                    Value::Integer(number.to_string(), parsed)
                }
                // The parser lets nothing else through.
                DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
                DeValue::Boolean(value) => Value::Boolean(*value),
                DeValue::Datetime(_) => Value::Date,
                DeValue::Array(elements) => Value::Array(
                    elements
                        .iter()
                        .map(|element| self.placed(element))
                        .collect(),
                ),
                DeValue::Table(table) => Value::Table(self.keys(table)),
            },
        }
    }
}
