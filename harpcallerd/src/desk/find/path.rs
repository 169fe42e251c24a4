//! A value in a user's JSON: by keys and indexes, what it has to be.

use std::collections::BTreeMap;

use harp_values::Json;
use serde_json::Value;
use serde_json::value::RawValue;

/// A place in a JSON text, and what may stand there.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    steps: Vec<String>,
    /// One of these: the JSON value of the text, or the string that is the text.
    values: Vec<Wanted>,
}

#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    text: String,
    value: Option<Value>,
}

impl Path {
    /// The path of this text, keys and indexes with dots between them, where one of these
    /// values is wanted.
    #[must_use]
    pub fn new(path: &str, values: Vec<String>) -> Path {
        let values = values.into_iter().map(|text| Wanted {
            value: serde_json::from_str(&text).ok(),
            text,
        });
        Path {
            steps: path.split('.').map(str::to_owned).collect(),
            values: values.collect(),
        }
    }

    /// True if one of the values stands there.
    pub(super) fn holds(&self, json: &Json) -> bool {
        let found = self.find(json.as_str());
        found.is_some_and(|found| self.values.iter().any(|wanted| wanted.is(found)))
    }

    fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        let mut text = text;
        for step in &self.steps {
            text = match text.as_bytes().first()? {
                b'{' => {
                    let keys: BTreeMap<std::borrow::Cow<'_, str>, &'t RawValue> =
                        serde_json::from_str(text).ok()?;
                    keys.get(step.as_str())?.get()
                }
                b'[' => {
                    let place: usize = step.parse().ok()?;
                    let values: Vec<&'t RawValue> = serde_json::from_str(text).ok()?;
                    values.get(place)?.get()
                }
                _ => return None,
            };
        }
        Some(text)
    }
}

impl Wanted {
    fn is(&self, found: &str) -> bool {
        // Numbers are compared as text first: a parser may change them.
        if found == self.text {
            return true;
        }
        let Ok(found) = serde_json::from_str::<Value>(found) else {
            return false;
        };
        found == Value::String(self.text.clone()) || self.value.as_ref() == Some(&found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_through_keys_and_indexes() {
        let json: Json = r#"{"a":[{"b":1.0},"7",12345678901234567890.10],"a b":null}"#
            .parse()
            .unwrap();
        let holds = |path: &str, value: &str| Path::new(path, vec![value.to_owned()]).holds(&json);
        assert!(holds("a.0.b", "1.0") && holds("a.0.b", "1.00"));
        assert!(holds("a.1", "7") && holds("a.1", "\"7\""));
        assert!(holds("a.2", "12345678901234567890.10"));
        assert!(holds("a b", "null") && holds("a.0", "{\"b\": 1.0}"));
        assert!(!holds("a.0.b", "2") && !holds("a.9", "7") && !holds("c", "7"));
        assert!(!holds("a.1.b", "7") && !holds("a.x", "7"));
    }
}
