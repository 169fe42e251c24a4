//! JSON Schema for arguments and results of procedures. Nothing is ever fetched, neither by
//! network nor from a file, and patterns are matched in time linear in the text.

mod effort;

use std::fmt;
use std::sync::Arc;

use harp_values::Json;
pub use harp_values::Violation;
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::Value;

/// Violations that are told of one value.
const MOST: usize = 20;

/// Characters of one violation's message. It shows the value that is wrong.
const MESSAGE: usize = 300;

/// Bytes that a compiled pattern may take.
const PATTERN: usize = 1024 * 1024;

/// A schema, ready to judge values. Cheap to clone.
#[derive(Clone)]
pub struct Schema(Arc<Parts>);

struct Parts {
    text: Json,
    dialect: Dialect,
    validator: Validator,
}

/// Which draft a schema is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// The one that `$schema` names: draft 4, 6, 7, 2019-09 or 2020-12, which is the default.
    #[default]
    AsSaid,
    /// Draft 4, whatever `$schema` says.
    Draft4,
}

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchema {
    /// It is too long.
    #[error("a schema has {} bytes at most", Schema::LONGEST)]
    TooLong,
    /// It is not one, refers to something outside of itself, or has a pattern that cannot be
    /// matched in linear time.
    #[error("{0}")]
    Unusable(String),
}

impl Schema {
    /// The greatest length of a schema's text, in bytes.
    pub const LONGEST: usize = 256 * 1024;

    /// Reads a schema.
    ///
    /// # Errors
    ///
    /// [`BadSchema`].
    pub fn new(text: &Json, dialect: Dialect) -> Result<Schema, BadSchema> {
        if text.as_bytes().len() > Schema::LONGEST {
            return Err(BadSchema::TooLong);
        }
        let unusable = |why: &dyn fmt::Display| BadSchema::Unusable(shortened(&why.to_string()));
        let mut value: Value = text.decode().map_err(|error| unusable(&error))?;
        if !value.is_object() && !value.is_boolean() {
            return Err(unusable(&"a schema is an object or a boolean"));
        }
        effort::watch(&mut value);
        let patterns = PatternOptions::regex().size_limit(PATTERN);
        let mut options = jsonschema::options()
            .offline()
            .with_keyword(effort::KEYWORD, effort::keyword)
            .with_pattern_options(patterns);
        if dialect == Dialect::Draft4 {
            options = options.with_draft(Draft::Draft4);
        }
        let validator = options.build(&value).map_err(|error| unusable(&error))?;
        Ok(Schema(Arc::new(Parts {
            text: text.clone(),
            dialect,
            validator,
        })))
    }

    /// The schema as it was written.
    #[must_use]
    pub fn text(&self) -> &Json {
        &self.0.text
    }

    /// What is wrong with a value: nothing if it is as it should be, and at most 20 places.
    /// Numbers are judged as far as a double holds them. What takes more than 200 ms of a
    /// processor is not judged to its end, and that is what is told then.
    #[must_use]
    pub fn violations(&self, value: &Json) -> Vec<Violation> {
        match value.decode::<Value>() {
            Ok(value) => self.violations_of(&value),
            Err(error) => vec![Violation {
                path: String::new(),
                message: shortened(&error.to_string()),
                keyword: "schema".to_owned(),
            }],
        }
    }

    /// What is wrong with a value that was read already.
    #[must_use]
    pub fn violations_of(&self, value: &Value) -> Vec<Violation> {
        let judged = effort::within(effort::LONGEST, || {
            let errors = self.0.validator.iter_errors(value).take(MOST);
            errors.map(|error| violation(&error)).collect()
        });
        judged.unwrap_or_else(|| {
            let longest = effort::LONGEST.as_millis();
            vec![Violation {
                path: String::new(),
                message: format!("it takes more than {longest} ms to judge"),
                keyword: "schema".to_owned(),
            }]
        })
    }
}

fn violation(error: &ValidationError<'_>) -> Violation {
    Violation {
        path: error.instance_path().to_string(),
        message: shortened(&error.to_string()),
        keyword: error.kind().keyword().to_owned(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schema")
            .field(&self.0.text.as_str())
            .finish()
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Schema) -> bool {
        (&self.0.text, self.0.dialect) == (&other.0.text, other.0.dialect)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::*;

    fn schema(text: &str) -> Result<Schema, BadSchema> {
        Schema::new(&text.parse().unwrap(), Dialect::AsSaid)
    }

    fn violations(schema: &Schema, value: &str) -> Vec<(String, String)> {
        let violations = schema.violations(&value.parse().unwrap());
        let places = violations.into_iter();
        places.map(|one| (one.path, one.keyword)).collect()
    }

    #[test]
    fn each_place_is_told_with_its_keyword() {
        let schema = schema(
            r#"{"type": "object", "required": ["release"],
                "properties": {"release": {"type": "integer", "minimum": 1}}}"#,
        )
        .unwrap();
        assert_eq!(violations(&schema, r#"{"release": 7}"#), []);
        let told = violations(&schema, r#"{"release": 0}"#);
        assert_eq!(told, [("/release".to_owned(), "minimum".to_owned())]);
        let told = violations(&schema, "{}");
        assert_eq!(told, [(String::new(), "required".to_owned())]);
        let many = format!("[{}]", vec!["1"; 100].join(","));
        let strings = self::schema(r#"{"items": {"type": "string"}}"#).unwrap();
        assert_eq!(violations(&strings, &many).len(), MOST);
    }

    #[test]
    fn the_draft_is_the_one_that_is_said_or_draft_4() {
        // A boolean there in draft 4, a number from draft 6 on.
        let text = r#"{"minimum": 5, "exclusiveMinimum": true}"#.parse().unwrap();
        assert!(Schema::new(&text, Dialect::AsSaid).is_err());
        let schema = Schema::new(&text, Dialect::Draft4).unwrap();
        assert_eq!(violations(&schema, "5").len(), 1);
        let said = r#"{"$schema": "http://json-schema.org/draft-04/schema#",
                       "minimum": 5, "exclusiveMinimum": true}"#;
        assert!(self::schema(said).is_ok());
        let text = r#"{"$schema": "https://json-schema.org/draft/2020-12/schema"}"#;
        assert!(Schema::new(&text.parse().unwrap(), Dialect::Draft4).is_ok());
    }

    #[test]
    fn nothing_is_fetched() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let file = std::env::temp_dir().join("harp-schema-that-nobody-reads.json");
        for reference in [
            format!("http://127.0.0.1:{port}/x.json"),
            format!("file://{}", file.display()),
        ] {
            let text = format!(r#"{{"$ref": "{reference}"}}"#);
            let refused = schema(&text).unwrap_err();
            assert!(matches!(refused, BadSchema::Unusable(_)), "{refused:?}");
        }
        let accepted = listener.accept().map(drop);
        assert!(accepted.is_err(), "it has connected");
        // Within itself it may refer.
        let inside = schema(r##"{"$ref": "#/$defs/a", "$defs": {"a": {"type": "null"}}}"##);
        assert_eq!(violations(&inside.unwrap(), "1").len(), 1);
    }

    #[test]
    fn patterns_take_linear_time() {
        let schema = schema(r#"{"pattern": "^(a+)+$"}"#).unwrap();
        let text = format!("\"{}!\"", "a".repeat(100_000));
        let begun = Instant::now();
        assert_eq!(violations(&schema, &text).len(), 1);
        // Exponential time would be longer than the age of the universe.
        assert!(begun.elapsed() < Duration::from_secs(60));
        let backwards = self::schema(r#"{"pattern": "(a)\\1"}"#);
        assert!(backwards.is_err(), "not linear");
    }

    #[test]
    fn a_schema_that_refers_to_itself_comes_to_an_end() {
        for text in [
            r##"{"$ref": "#"}"##,
            r##"{"allOf": [{"$ref": "#"}, {"$ref": "#"}]}"##,
            r##"{"not": {"$ref": "#"}}"##,
            r##"{"anyOf": [{"$ref": "#"}, {"type": "null"}]}"##,
            r##"{"properties": {"a": {"$ref": "#"}}, "type": "object"}"##,
            r##"{"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}"##,
        ] {
            // Some are refused, and none says nothing for ever.
            if let Ok(schema) = schema(text) {
                let _ = violations(&schema, r#"{"a": {"a": {"a": 1}}}"#);
            }
        }
        let too_long = [(String::new(), "schema".to_owned())];
        // Each part refers twice to the next: as a tree it would have 2^40 leaves.
        let part = |number| {
            let next = format!(r##"{{"$ref": "#/$defs/{}"}}"##, number + 1);
            format!(r#""{number}": {{"allOf": [{next}, {next}]}}"#)
        };
        let parts: Vec<String> = (0..40).map(part).collect();
        let text = format!(
            r##"{{"$ref": "#/$defs/0", "$defs": {{{}, "40": {{"type": "integer"}}}}}}"##,
            parts.join(", ")
        );
        for value in ["7", "\"x\""] {
            assert_eq!(violations(&schema(&text).unwrap(), value), too_long);
        }
        // Twice at each place of the value.
        let text =
            r##"{"properties": {"a": {"$ref": "#"}}, "patternProperties": {"a": {"$ref": "#"}}}"##;
        let value = r#"{"a":"#.repeat(60) + "1" + &"}".repeat(60);
        assert_eq!(violations(&schema(text).unwrap(), &value), too_long);
        // What is only data, or named like a keyword, is as it was.
        let text = r##"{"enum": [{"items": {}}, 1], "$defs": {"items": {"not": {}}},
            "properties": {"items": {"const": {"allOf": [{}]}}}}"##;
        let schema = schema(text).unwrap();
        assert_eq!(violations(&schema, r#"{"items": {}}"#).len(), 1);
        assert_eq!(
            violations(&schema, r#"{"items": {"allOf": [{}]}}"#).len(),
            1
        );
        assert_eq!(violations(&schema, "1"), []);
    }

    #[test]
    fn what_is_no_schema_is_refused() {
        for text in ["1", "[]", r#"{"type": "bogus"}"#, r#"{"properties": 1}"#] {
            assert!(schema(text).is_err(), "{text}");
        }
        let long = format!(r#"{{"description": "{}"}}"#, "x".repeat(Schema::LONGEST));
        assert_eq!(schema(&long), Err(BadSchema::TooLong));
    }
}
