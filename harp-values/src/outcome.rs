//! How a job ended.

use bytes::{Bytes, BytesMut};

use crate::failure::Failure;
use crate::fields::{Fields, ShapeError};
use crate::json::Json;
use crate::write;

/// The end result of a job (client protocol, section 4).
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

impl Outcome {
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
}
