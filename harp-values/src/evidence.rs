//! What a call without a result had printed: what is left to see of it, beside its packets.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::failure::Failure;
use crate::json::Json;

/// The ends of what a call has printed, [`Evidence::MOST`] bytes of each at most. On the wires
/// they are keys in the data of an error: `stdout` and `stderr`, where they are not empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Of standard output that makes no packets.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stdout: String,
    /// Of standard error.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub stderr: String,
}

impl Evidence {
    /// How much is kept of each, in bytes of UTF-8.
    pub const MOST: usize = 8 << 10;

    /// True if nothing was printed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.stdout.is_empty() && self.stderr.is_empty()
    }

    /// Standard error alone.
    #[must_use]
    pub fn of_stderr(&self) -> Evidence {
        Evidence {
            stdout: String::new(),
            stderr: self.stderr.clone(),
        }
    }

    /// What a failure has in its data; `None` if that is nothing. Somebody else may have made
    /// it: longer texts are cut at their beginning.
    #[must_use]
    pub fn of(failure: &Failure) -> Option<Evidence> {
        let Evidence { stdout, stderr } = failure.data.as_ref()?.decode().ok()?;
        let evidence = Evidence {
            stdout: end_of(stdout),
            stderr: end_of(stderr),
        };
        (!evidence.is_empty()).then_some(evidence)
    }

    /// The failure with this in its data, unless these are no object.
    #[must_use]
    pub fn within(&self, failure: Failure) -> Failure {
        if self.is_empty() {
            return failure;
        }
        let known = failure
            .data
            .as_ref()
            .map(Json::decode::<Map<String, Value>>);
        let mut data = match known {
            None => Map::new(),
            Some(Ok(data)) => data,
            // Not ours to change.
            Some(Err(_)) => return failure,
        };
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                data.insert(name.to_owned(), Value::from(text.as_str()));
            }
        }
        failure.with_data(&data)
    }
}

fn end_of(text: String) -> String {
    let mut start = text.len().saturating_sub(Evidence::MOST);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    match start {
        0 => text,
        start => text[start..].to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_in_an_error_is_found_there() {
        let evidence = Evidence {
            stdout: "half a line".into(),
            stderr: "why\n".into(),
        };
        let failure = Failure::new("cancelled", "m").with_data(&json!({"processes": 0}));
        assert_eq!(Evidence::of(&failure), None);
        let told = evidence.within(failure.clone());
        let data = told.data.as_ref().unwrap().as_str();
        let expected = r#"{"processes":0,"stderr":"why\n","stdout":"half a line"}"#;
        assert_eq!(data, expected);
        assert_eq!(Evidence::of(&told), Some(evidence.clone()));
        assert_eq!(
            Evidence::of(&evidence.of_stderr().within(failure.clone())),
            Some(evidence.of_stderr())
        );
        assert_eq!(Evidence::default().within(failure.clone()), failure);
        let foreign = failure.with_data(&[1]);
        assert_eq!(evidence.within(foreign.clone()), foreign);
        assert_eq!(Evidence::of(&foreign), None);
    }

    #[test]
    fn of_a_long_text_the_end_is_kept() {
        let stdout = "é".repeat(Evidence::MOST);
        let failure = Failure::new("cancelled", "m").with_data(&json!({"stdout": stdout + "!"}));
        let kept = Evidence::of(&failure).unwrap().stdout;
        assert_eq!(kept.len(), Evidence::MOST - 1);
        assert!(kept.ends_with("é!"));
    }
}
