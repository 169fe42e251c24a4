//! Schemas that the registry and hosts have told; the same text is read once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use harp_proto::Json;
use harp_schema::{Dialect, Schema};
use tracing::warn;

/// Schemas that are remembered.
const MOST: usize = 1000;

/// Schemas by their texts.
#[derive(Debug, Default)]
pub struct Schemas(Mutex<HashMap<Json, Option<Schema>>>);

impl Schemas {
    /// The schema of this text, which `of` whom has told; `None` if it cannot be used, which
    /// is warned of once.
    #[must_use]
    pub fn get(&self, text: &Json, of: &str) -> Option<Schema> {
        // A std mutex: held for a map operation.
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(schema) = known().get(text) {
            return schema.clone();
        }
        let schema = Schema::new(text, Dialect::AsSaid)
            .inspect_err(|why| warn!(of, %why, "a schema cannot be used; there is none then"))
            .ok();
        let mut known = known();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(text.clone(), schema.clone());
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_read_once_and_what_cannot_be_used_is_none() {
        let schemas = Schemas::default();
        let text: Json = r#"{"type": "array"}"#.parse().unwrap();
        let schema = schemas.get(&text, "web01").unwrap();
        assert_eq!(schemas.get(&text, "web02"), Some(schema));
        assert_eq!(
            schemas.get(&r#"{"type": "x"}"#.parse().unwrap(), "web01"),
            None
        );
        assert_eq!(schemas.0.lock().unwrap().len(), 2);
    }
}
