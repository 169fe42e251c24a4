//! What a service is: its id, and what was registered.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use harp_jobs::ledger::{PaperId, PaperKind};
use harp_jobs::lineup::pool::PoolId;
use harp_proto::Json;
use harp_schema::{Dialect, Schema, Violation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Characters of a service's name.
pub const LONGEST_NAME: usize = 256;

/// Bytes of its description.
pub const LONGEST_DESCRIPTION: usize = 64 * 1024;

/// The `timeout` of a service that was registered without one, in seconds.
pub const DEFAULT_TIMEOUT: u64 = 30;

/// Longest `timeout` and lease, in seconds: a year.
pub const LONGEST_TIMEOUT: u64 = 365 * 86400;

/// The id of a service: a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(Uuid);

impl ServiceId {
    /// The id of a service that is registered now, in milliseconds since 1970.
    #[must_use]
    pub fn new(now: u64, chance: u128) -> ServiceId {
        let job = harp_proto::JobId::at(now, chance);
        ServiceId(Uuid::from_bytes(*job.as_bytes()))
    }

    /// The id of this number.
    #[must_use]
    pub fn from_number(number: u128) -> ServiceId {
        ServiceId(Uuid::from_u128(number))
    }

    /// The pool that its jobs are fetched from.
    #[must_use]
    pub fn pool(self) -> PoolId {
        PoolId(self.to_string().into())
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for ServiceId {
    type Err = uuid::Error;

    /// Reads an id, with its hyphens or without.
    fn from_str(text: &str) -> Result<ServiceId, uuid::Error> {
        Uuid::try_parse(text).map(ServiceId)
    }
}

/// The name of a service's paper.
#[must_use]
pub fn paper_id(id: ServiceId) -> PaperId {
    PaperId {
        kind: PaperKind::Service,
        name: id.0.as_u128(),
    }
}

/// A service as it was registered.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Its name; several may have the same.
    pub name: String,
    /// What it does, for people.
    pub description: String,
    /// What arguments have to be.
    pub arguments: Option<Declared>,
    /// What results have to be.
    pub result: Option<Declared>,
    /// Which draft its schemas are of.
    pub dialect: Dialect,
    /// Whether it is available, as its workers say.
    pub available: bool,
    /// Seconds without a word after which its workers count as gone.
    pub timeout: u64,
    /// The identity of who registered it.
    pub client: Option<String>,
    /// When, in milliseconds since 1970.
    pub registered: u64,
    /// When it was written last.
    pub written: u64,
}

/// A schema as it was registered.
#[derive(Debug, Clone, PartialEq)]
pub enum Declared {
    /// It judges values.
    Usable(Schema),
    /// It cannot be used: no value is what it wants.
    Unusable {
        /// What was registered.
        text: Json,
        /// Why it cannot be used.
        why: String,
    },
}

impl Declared {
    /// Reads a schema, whatever it is.
    #[must_use]
    pub fn read(text: &Json, dialect: Dialect) -> Declared {
        match Schema::new(text, dialect) {
            Ok(schema) => Declared::Usable(schema),
            Err(error) => Declared::Unusable {
                text: text.clone(),
                why: error.to_string(),
            },
        }
    }

    /// Its text.
    #[must_use]
    pub fn text(&self) -> &Json {
        match self {
            Declared::Usable(schema) => schema.text(),
            Declared::Unusable { text, .. } => text,
        }
    }

    /// What is wrong with a value.
    #[must_use]
    pub fn violations(&self, value: &Json) -> Vec<Violation> {
        match self {
            Declared::Usable(schema) => schema.violations(value),
            Declared::Unusable { why, .. } => vec![Violation {
                path: String::new(),
                message: format!("the schema cannot be used: {why}"),
                keyword: "schema".to_owned(),
            }],
        }
    }
}

/// A definition on record. A field is added with `#[serde(default)]`.
#[derive(Serialize, Deserialize)]
struct ServiceRecord {
    name: String,
    description: String,
    arguments_schema: Option<Json>,
    result_schema: Option<Json>,
    draft_4: bool,
    available: bool,
    timeout: u64,
    client: Option<String>,
    registered: u64,
    written: u64,
}

impl Definition {
    /// What goes on record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let record = ServiceRecord {
            name: self.name.clone(),
            description: self.description.clone(),
            arguments_schema: self.arguments.as_ref().map(|schema| schema.text().clone()),
            result_schema: self.result.as_ref().map(|schema| schema.text().clone()),
            draft_4: self.dialect == Dialect::Draft4,
            available: self.available,
            timeout: self.timeout,
            client: self.client.clone(),
            registered: self.registered,
            written: self.written,
        };
        // Texts and numbers can be written, and memory takes them.
        serde_json::to_vec(&record).unwrap_or_default().into()
    }

    /// Reads what is on record.
    ///
    /// # Errors
    ///
    /// Why it cannot be used.
    pub fn decode(text: &Bytes) -> Result<Definition, String> {
        let record: ServiceRecord =
            serde_json::from_slice(text).map_err(|error| error.to_string())?;
        let dialect = if record.draft_4 {
            Dialect::Draft4
        } else {
            Dialect::AsSaid
        };
        let schema = |text: Option<Json>| text.map(|text| Declared::read(&text, dialect));
        Ok(Definition {
            arguments: schema(record.arguments_schema),
            result: schema(record.result_schema),
            dialect,
            name: record.name,
            description: record.description,
            available: record.available,
            timeout: record.timeout,
            client: record.client,
            registered: record.registered,
            written: record.written,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_definition_comes_back_from_its_record() {
        let schema: Json = r#"{"type": "array"}"#.parse().unwrap();
        let definition = Definition {
            name: "spectrometer".to_owned(),
            description: String::new(),
            arguments: Some(Declared::read(&schema, Dialect::AsSaid)),
            result: Some(Declared::read(&"5".parse().unwrap(), Dialect::AsSaid)),
            dialect: Dialect::AsSaid,
            available: true,
            timeout: 30,
            client: Some("token:lab".to_owned()),
            registered: 5,
            written: 7,
        };
        assert_eq!(Definition::decode(&definition.encode()), Ok(definition));
        assert!(Definition::decode(&Bytes::from_static(b"{}")).is_err());
    }

    #[test]
    fn an_id_is_read_with_hyphens_or_without() {
        let id = ServiceId::new(1_700_000_000_000, 7);
        let text = id.to_string();
        assert_eq!(text.parse::<ServiceId>().unwrap(), id);
        assert_eq!(text.replace('-', "").parse::<ServiceId>().unwrap(), id);
        assert!("spectrometer".parse::<ServiceId>().is_err());
    }
}
