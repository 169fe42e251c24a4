//! How a job ended.

use std::fmt;

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use crate::failure::Failure;
use crate::fields::{Fields, ShapeError};
use crate::json::Json;
use crate::write;

/// The end result of a job (client protocol, section 4).
///
/// It serializes as `harp --json` shows an end: the kind as `outcome`, and beside it `result`,
/// `exception` or `error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The procedure returned this value.
    Returned(Json),
    /// The procedure raised an exception.
    Exception(Failure),
    /// The job was cancelled.
    Cancelled,
    /// The call could not be made or did not come to an end of its own.
    Error(Failure),
}

/// How a job ended, without what came of it. It serializes to its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// The procedure returned.
    Returned,
    /// The procedure raised an exception.
    Exception,
    /// The job was cancelled.
    Cancelled,
    /// The call could not be made or did not come to an end of its own.
    Error,
}

/// Why an outcome is no value of the wanted type.
#[derive(Debug, thiserror::Error)]
pub enum NotReturned {
    /// The procedure raised an exception.
    #[error("the procedure raised an exception: {0}")]
    Exception(#[source] Failure),
    /// The call could not be made or did not come to an end of its own.
    #[error("the call did not come to its end: {0}")]
    Error(#[source] Failure),
    /// The job was cancelled.
    #[error("the job was cancelled")]
    Cancelled,
    /// The procedure returned a value of another type.
    #[error("the procedure returned a value of another type: {0}")]
    OtherType(#[source] serde_json::Error),
}

impl Outcome {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> OutcomeKind {
        match self {
            Outcome::Returned(_) => OutcomeKind::Returned,
            Outcome::Exception(_) => OutcomeKind::Exception,
            Outcome::Cancelled => OutcomeKind::Cancelled,
            Outcome::Error(_) => OutcomeKind::Error,
        }
    }

    /// What the procedure returned, as a type of the reader's choice ([`Json`] takes
    /// anything).
    ///
    /// # Errors
    ///
    /// Whatever else has become of the job, or that the value has not the shape of `T`.
    pub fn into_result<T: DeserializeOwned>(self) -> Result<T, NotReturned> {
        match self {
            Outcome::Returned(value) => value.decode().map_err(NotReturned::OtherType),
            Outcome::Exception(failure) => Err(NotReturned::Exception(failure)),
            Outcome::Error(failure) => Err(NotReturned::Error(failure)),
            Outcome::Cancelled => Err(NotReturned::Cancelled),
        }
    }

    /// The outcome as a line of the client protocol, its newline not included.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let mut text = BytesMut::new();
        self.write(&mut text);
        Json::from_trusted(text.freeze())
    }

    /// Reads what [`Outcome::to_json`] wrote. `None` if it is something else.
    #[must_use]
    pub fn from_json(text: &Json) -> Option<Outcome> {
        let line = text.clone().into_bytes();
        let mut fields = Fields::read(&line).ok()??;
        Outcome::take(&line, &mut fields).ok()?
    }

    /// A word for logs: `returned`, `exception`, `cancelled` or the error's type.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Outcome::Returned(_) => "returned",
            Outcome::Exception(_) => "exception",
            Outcome::Cancelled => "cancelled",
            Outcome::Error(failure) => &failure.error_type,
        }
    }

    /// Takes the outcome out of a reply, `None` if none is there.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] if one is there that has not the form of the protocol.
    pub fn take(line: &Bytes, fields: &mut Fields<'_>) -> Result<Option<Outcome>, ShapeError> {
        if let Some(result) = fields.json(line, "result")? {
            return Ok(Some(Outcome::Returned(result)));
        }
        if let Some(exception) = fields.object("exception")? {
            return Ok(Some(Outcome::Exception(Failure::take(line, exception)?)));
        }
        if let Some(error) = fields.object("error")? {
            return Ok(Some(Outcome::Error(Failure::take(line, error)?)));
        }
        if fields.boolean("cancelled")? == Some(true) {
            return Ok(Some(Outcome::Cancelled));
        }
        Ok(None)
    }

    /// Appends the outcome as [`Outcome::to_json`] gives it.
    pub fn write(&self, out: &mut BytesMut) {
        match self {
            Outcome::Returned(result) => write::single(out, "result", |out| result.write(out)),
            Outcome::Exception(failure) => {
                write::single(out, "exception", |out| failure.write(out));
            }
            Outcome::Cancelled => out.extend_from_slice(b"{\"cancelled\":true}"),
            Outcome::Error(failure) => write::single(out, "error", |out| failure.write(out)),
        }
    }
}

impl OutcomeKind {
    /// The word of `harp --json` and of the lists: `returned`, `exception`, `cancelled` or
    /// `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            OutcomeKind::Returned => "returned",
            OutcomeKind::Exception => "exception",
            OutcomeKind::Cancelled => "cancelled",
            OutcomeKind::Error => "error",
        }
    }
}

impl fmt::Display for OutcomeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("outcome", &self.kind())?;
        match self {
            Outcome::Returned(value) => map.serialize_entry("result", value)?,
            Outcome::Exception(failure) => map.serialize_entry("exception", failure)?,
            Outcome::Error(failure) => map.serialize_entry("error", failure)?,
            Outcome::Cancelled => {}
        }
        map.end()
    }
}

/// Its kind, and what was said of a failure.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())?;
        match self {
            Outcome::Returned(value) => write!(f, ": {value}"),
            Outcome::Exception(failure) | Outcome::Error(failure) => write!(f, ": {failure}"),
            Outcome::Cancelled => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_four_outcomes_have_the_form_of_the_protocol() {
        let failure = Failure::new("t", "m\n").with_data(&serde_json::json!({"a": 1}));
        for (outcome, text) in [
            (
                Outcome::Returned("[1.0]".parse().unwrap()),
                r#"{"result":[1.0]}"#,
            ),
            (
                Outcome::Exception(failure.clone()),
                r#"{"exception":{"type":"t","message":"m\n","data":{"a":1}}}"#,
            ),
            (Outcome::Cancelled, r#"{"cancelled":true}"#),
            (
                Outcome::Error(Failure::new("t", "m")),
                r#"{"error":{"type":"t","message":"m"}}"#,
            ),
        ] {
            assert_eq!(outcome.to_json().as_str(), text);
            assert_eq!(Outcome::from_json(&outcome.to_json()), Some(outcome));
        }
    }

    #[test]
    fn programs_are_shown_what_the_command_shows() {
        let failure = Failure::new("t", "m").with_data(&[1]);
        for (outcome, json, text) in [
            (
                Outcome::Returned("1.50".parse().unwrap()),
                r#"{"outcome":"returned","result":1.50}"#,
                "returned: 1.50",
            ),
            (
                Outcome::Exception(failure),
                r#"{"outcome":"exception","exception":{"type":"t","message":"m","data":[1]}}"#,
                "exception: t: m",
            ),
            (
                Outcome::Error(Failure::new("t", "m")),
                r#"{"outcome":"error","error":{"type":"t","message":"m"}}"#,
                "error: t: m",
            ),
            (
                Outcome::Cancelled,
                r#"{"outcome":"cancelled"}"#,
                "cancelled",
            ),
        ] {
            assert_eq!(serde_json::to_string(&outcome).unwrap(), json);
            assert_eq!(outcome.to_string(), text);
        }
    }

    #[test]
    fn a_result_is_a_value_of_the_wanted_type_or_says_why_not() {
        let returned = |text: &str| Outcome::Returned(text.parse().unwrap());
        assert_eq!(returned("[1]").into_result::<Vec<u8>>().unwrap(), [1]);
        let why = |outcome: Outcome| outcome.into_result::<u8>().unwrap_err();
        assert!(matches!(why(returned("[1]")), NotReturned::OtherType(_)));
        assert!(matches!(why(Outcome::Cancelled), NotReturned::Cancelled));
        let failure = Failure::new("t", "m");
        let raised = why(Outcome::Exception(failure.clone()));
        assert!(matches!(&raised, NotReturned::Exception(told) if *told == failure));
        assert!(matches!(
            why(Outcome::Error(failure)),
            NotReturned::Error(_)
        ));
    }
}
