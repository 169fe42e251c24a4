//! What is said of procedures: what they do, and what their arguments and results have to be.

use std::path::Path;

use harp_files::regular;
use harp_proto::{Failure, Json, error_type};
use harp_schema::{Dialect, Schema};
use harp_service::Table;
use serde::Serialize;
use serde_json::json;

/// The procedure that tells callers what they may call. No other has this name.
pub const DESCRIBE: &str = "harpd.describe";

/// What is said of one procedure; where nothing is said, anything goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Description {
    /// What it does, for people.
    #[serde(rename = "description", skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The JSON Schema of its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments_schema: Option<Json>,
    /// The JSON Schema of its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result_schema: Option<Json>,
    /// What harpd holds arguments against before it starts anything. Of a function and an
    /// agent nothing: they see for themselves.
    #[serde(skip)]
    held_to: Option<Schema>,
}

impl Description {
    /// Takes what a table `[procedure.NAME]` says. A schema that cannot be used is warned of,
    /// and is none.
    #[must_use]
    pub fn take(table: &Table<'_>) -> Description {
        let schema = |key: &str| {
            let file = table.path(key)?;
            let read = read(&file);
            read.inspect_err(|why| {
                table.warning(
                    key,
                    format!("{}: {why}; there is no schema then", file.display()),
                );
            })
            .ok()
        };
        let arguments = schema("arguments_schema");
        Description {
            text: table.string("description"),
            arguments_schema: arguments.as_ref().map(|schema| schema.text().clone()),
            result_schema: schema("result_schema").map(|schema| schema.text().clone()),
            held_to: arguments,
        }
    }

    /// Says what a procedure does, and what its arguments are as far as that can be told; they
    /// are not held against it here.
    #[must_use]
    pub fn told(text: Option<String>, arguments: &serde_json::Value) -> Description {
        let arguments = Json::encode(arguments).ok();
        let is_usable = |text: &Json| Schema::new(text, Dialect::AsSaid).is_ok();
        Description {
            text: text.filter(|text| !text.trim().is_empty()),
            arguments_schema: arguments.filter(is_usable),
            ..Description::default()
        }
    }

    /// Holds arguments against the schema.
    ///
    /// # Errors
    ///
    /// `invalid_argument_list`, with the places that are wrong in `errors`.
    pub fn check(&self, arguments: &Json) -> Result<(), Failure> {
        let errors = match &self.held_to {
            Some(schema) => schema.violations(arguments),
            None => Vec::new(),
        };
        let Some(first) = errors.first() else {
            return Ok(());
        };
        let message = format!(
            "the arguments are not what arguments_schema wants: {}{}{}",
            first.path,
            if first.path.is_empty() { "" } else { ": " },
            first.message
        );
        let failure = Failure::new(error_type::INVALID_ARGUMENT_LIST, message);
        Err(failure.with_data(&json!({ "errors": errors })))
    }
}

fn read(file: &Path) -> Result<Schema, String> {
    let text = regular::read(file).map_err(|error| error.to_string())?;
    let text = Json::parse(&text.into()).map_err(|error| error.to_string())?;
    Schema::new(&text, Dialect::AsSaid).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use harp_service::Settings;

    use super::*;

    #[test]
    fn arguments_are_held_against_the_schema_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("schema.json");
        let text = format!(
            "[procedure.p]\ndescription = 'd'\narguments_schema = '{}'\n",
            file.display()
        );
        let take = |schema: &str| {
            std::fs::write(&file, schema).unwrap();
            let settings = Settings::parse(&text, "f").unwrap();
            let tables = settings.table().tables("procedure");
            let description = Description::take(&tables[0].1);
            (description, settings.finish().unwrap().len())
        };
        let (description, warnings) = take(r#"{"items": {"type": "integer"}}"#);
        assert_eq!((description.text.as_deref(), warnings), (Some("d"), 0));
        assert_eq!(description.check(&"[1]".parse().unwrap()), Ok(()));
        let failure = description
            .check(&r#"[1, "a"]"#.parse().unwrap())
            .unwrap_err();
        assert_eq!(failure.error_type, "invalid_argument_list");
        assert!(failure.data.unwrap().as_str().contains(r#""path":"/1""#));
        // What cannot be used is no schema.
        let (description, warnings) = take(r#"{"type": "bogus"}"#);
        assert_eq!((description.arguments_schema.as_ref(), warnings), (None, 1));
        assert_eq!(description.check(&r#"["a"]"#.parse().unwrap()), Ok(()));
    }
}
