//! Evidence that a call without a result leaves in its error, beside its packets.

use harp_proto::{Failure, Json};
use serde_json::{Map, Value};

/// The ends of what a command has printed, 8 KiB of each at most, up to its own end.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Of standard output that makes no packets.
    pub(super) stdout: String,
    /// Of standard error.
    pub(super) stderr: String,
}

impl Evidence {
    /// Output on standard error alone.
    pub(super) fn of_stderr(&self) -> Evidence {
        Evidence {
            stdout: String::new(),
            stderr: self.stderr.clone(),
        }
    }

    /// The failure with `stdout` and `stderr` in its data, where they are not empty.
    pub(super) fn within(&self, failure: Failure) -> Failure {
        let said = [("stdout", &self.stdout), ("stderr", &self.stderr)];
        let said: Vec<_> = said
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .collect();
        if said.is_empty() {
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
        for (name, text) in said {
            data.insert(name.to_owned(), Value::from(text.as_str()));
        }
        failure.with_data(&data)
    }
}
