//! What is wrong with a value that is held against a schema.

use serde::Serialize;

/// What is wrong with a value, at one place of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The place, as a JSON pointer: `/release`; empty for the value itself.
    pub path: String,
    /// What is wrong there, in words.
    pub message: String,
    /// The keyword of the schema that is violated, or `schema` if that cannot be used.
    pub keyword: String,
}
