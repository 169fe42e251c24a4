//! What is known of the procedures of hosts: how they are described, and by whom.

use std::collections::BTreeMap;

use harp_proto::Json;
use serde::{Deserialize, Serialize};

/// What somebody has said of a procedure. Keys that are not named here are passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// What it does, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The JSON Schema of its arguments, as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arguments_schema: Option<Json>,
    /// The JSON Schema of its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_schema: Option<Json>,
}

/// The procedures of a host by their names.
pub type Procedures = BTreeMap<String, Described>;

/// Whether anything is said of results.
#[must_use]
pub fn have_results(procedures: &Procedures) -> bool {
    procedures
        .values()
        .any(|described| described.result_schema.is_some())
}

/// Those that describe procedures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The dispatcher's configuration.
    Dispatcher,
    /// The hosts registry.
    Registry,
    /// The host itself, at this time, in milliseconds since 1970.
    Host(u64),
    /// Whoever has registered the service.
    Service,
}

impl Source {
    /// The word of the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Source::Dispatcher => "dispatcher",
            Source::Registry => "registry",
            Source::Host(_) => "host",
            Source::Service => "service",
        }
    }

    /// When it was learned, if it was.
    #[must_use]
    pub fn learned(self) -> Option<u64> {
        match self {
            Source::Host(learned) => Some(learned),
            Source::Dispatcher | Source::Registry | Source::Service => None,
        }
    }
}
