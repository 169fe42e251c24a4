//! What is known of the procedures of hosts: how they are described, and by whom.

use std::collections::BTreeMap;

use harp_proto::Json;
use serde::Deserialize;

/// What somebody has said of a procedure. Keys that are not named here are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Described {
    /// What it does, for people.
    #[serde(default)]
    pub description: Option<String>,
    /// The JSON Schema of its arguments, as it was written.
    #[serde(default)]
    pub arguments_schema: Option<Json>,
    /// The JSON Schema of its result.
    #[serde(default)]
    pub result_schema: Option<Json>,
}

/// The procedures of a host by their names.
pub type Procedures = BTreeMap<String, Described>;

/// Those that describe procedures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The hosts registry.
    Registry,
}

impl Source {
    /// The word of the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Source::Registry => "registry",
        }
    }
}
