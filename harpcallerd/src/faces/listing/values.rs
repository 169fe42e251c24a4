//! A user's values in an answer: the text that they were, or that text in a JSON string.

use harp_proto::{Failure, Json, Outcome};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::names::{NameFault, Names};

/// How a user's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// As the text that they were sent as.
    AsSent,
    /// As JSON strings that hold that text, for clients whose parser changes numbers.
    Text,
}

impl Values {
    /// Takes out how a user's values are to be written.
    ///
    /// # Errors
    ///
    /// If it is a word that means nothing.
    pub fn take(names: &mut Names) -> Result<Values, NameFault> {
        Ok(match names.word("values", &["text"])? {
            Some(_) => Values::Text,
            None => Values::AsSent,
        })
    }
}

/// A user's value, to be written.
#[derive(Debug, Clone)]
pub struct UserValue<'a>(pub &'a Json, pub Values);

/// How a job ended, to be written as the wire's last line, with more keys behind.
#[derive(Debug, Clone)]
pub struct Ended<'a> {
    /// How.
    pub outcome: &'a Outcome,
    /// How the user's values of it are written.
    pub values: Values,
    /// When, in milliseconds since 1970, where that is part of it.
    pub at: Option<u64>,
}

impl Serialize for UserValue<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let UserValue(json, values) = self;
        match values {
            Values::AsSent => json.serialize(serializer),
            Values::Text => serializer.serialize_str(json.as_str()),
        }
    }
}

impl Serialize for Ended<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.outcome {
            Outcome::Returned(result) => {
                map.serialize_entry("result", &UserValue(result, self.values))?;
            }
            Outcome::Exception(failure) => {
                map.serialize_entry("exception", &Told(failure, self.values))?;
            }
            // Its data are ours.
            Outcome::Error(failure) => {
                map.serialize_entry("error", &Told(failure, Values::AsSent))?;
            }
            Outcome::Cancelled => map.serialize_entry("cancelled", &true)?,
        }
        if let Some(at) = self.at {
            map.serialize_entry("ended", &at)?;
        }
        map.end()
    }
}

struct Told<'a>(&'a Failure, Values);

impl Serialize for Told<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Told(failure, values) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &failure.error_type)?;
        map.serialize_entry("message", &failure.message)?;
        if let Some(data) = &failure.data {
            map.serialize_entry("data", &UserValue(data, *values))?;
        }
        map.end()
    }
}
