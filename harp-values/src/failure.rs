//! A failure in the form that both wires give it.

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::fields::{Fields, ShapeError};
use crate::json::Json;
use crate::write;

/// `{"type": STR, "message": STR, "data": ANY?}`: the body of every exception and error
/// (client protocol, section 7; host protocol).
///
/// It serializes to that object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The wire's `type`: one of [`error_type`](crate::error_type), or any other word that a host chose.
    #[serde(rename = "type")]
    pub error_type: String,
    /// For people.
    pub message: String,
    /// For programs; what is in it depends on the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Json>,
}

impl Failure {
    /// A failure without data.
    pub fn new(error_type: impl Into<String>, message: impl Into<String>) -> Failure {
        Failure {
            error_type: error_type.into(),
            message: message.into(),
            data: None,
        }
    }

    /// Adds data to the failure, any value that serializes to a JSON object.
    #[must_use]
    pub fn with_data(mut self, data: &impl serde::Serialize) -> Failure {
        // Data made by this project are strings and numbers; should one not serialize,
        // the type and the message still tell the story.
        self.data = Json::encode(data).ok();
        self
    }

    /// Reads the object that a reply has as its `exception` or `error`.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] if `type` or `message` is missing or no string, or the data nests too
    /// deep.
    pub fn take(line: &Bytes, mut fields: Fields<'_>) -> Result<Failure, ShapeError> {
        Ok(Failure {
            error_type: fields.required_text("type")?,
            message: fields.required_text("message")?,
            data: fields.json(line, "data")?,
        })
    }

    /// Appends the object as it stands in a line.
    pub fn write(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"{\"type\":");
        write::string(out, &self.error_type);
        out.extend_from_slice(b",\"message\":");
        write::string(out, &self.message);
        if let Some(data) = &self.data {
            out.extend_from_slice(b",\"data\":");
            data.write(out);
        }
        out.extend_from_slice(b"}");
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}

impl std::error::Error for Failure {}
