//! The procedures that every host of a cluster has.

use std::path::Path;

use serde_json::json;

/// A shell script that a host offers as a procedure.
#[derive(Debug, Clone)]
pub(super) struct Procedure {
    pub(super) name: String,
    settings: String,
    body: String,
}

impl Procedure {
    pub(super) fn new(name: &str, settings: &str, body: &str) -> Procedure {
        Procedure {
            name: name.to_owned(),
            settings: settings.to_owned(),
            body: body.to_owned(),
        }
    }

    /// The text of the script.
    pub(super) fn script(&self) -> String {
        format!("#!/bin/sh\n{}\n", self.body)
    }

    /// Its table in the host's configuration.
    pub(super) fn settings(&self, scripts: &Path) -> String {
        let command = json!([scripts.join(&self.name)]);
        format!(
            "\n[procedure.{}]\ncommand = {command}\n{}\n",
            self.name, self.settings
        )
    }
}

const JSON: &str = "output = 'json'\narguments = 'argv'";
const LINES: &str = "output = 'lines'\narguments = 'argv'";
const JSON_LINES: &str = "output = 'json-lines'\narguments = 'argv'";

/// The procedures, each with what it does with its arguments.
pub(super) fn standard() -> Vec<Procedure> {
    [
        // Returns the arguments as they came.
        ("echo", "output = 'json'\narguments = 'stdin'", "exec cat"),
        // A packet for each argument: a string, or the JSON text that the argument is.
        ("say", LINES, "for line; do printf '%s\\n' \"$line\"; done"),
        ("packets", JSON_LINES, "for line; do printf '%s\\n' \"$line\"; done"),
        // Packets 0 to N - 1, each of them its own number.
        ("count", JSON_LINES, "exec seq 0 $(($1 - 1))"),
        // Packets of N bytes of JSON text each, as many as there are arguments.
        (
            "blob",
            JSON_LINES,
            "for size; do printf '\"'; head -c $((size - 2)) /dev/zero | tr '\\0' x; echo '\"'; done",
        ),
        // What the result is, too.
        (
            "big_result",
            JSON,
            "printf '\"'; head -c $(($1 - 2)) /dev/zero | tr '\\0' x; printf '\"'",
        ),
        // Prints a `Feed`: as packets, or as the result.
        ("feed", JSON_LINES, "exec cat \"$1\""),
        ("gate", JSON, "exec cat \"$1\""),
        // Ends with an exit code, and a message on standard error.
        ("fail", JSON, "echo \"$2\" >&2; exit \"$1\""),
        ("fail_streaming", LINES, "echo one; echo two; echo \"$2\" >&2; exit \"$1\""),
        // Says nothing, does not end.
        ("silent", JSON, "exec sleep 600"),
        ("silent_stream", LINES, "exec sleep 600"),
        // Says something every 0.1 s, does not end.
        ("busy", LINES, "while :; do echo tick; sleep 0.1; done"),
        // Writes into file $1 when it starts and when it ends.
        (
            "trace",
            JSON,
            "echo \"start $2\" >> \"$1\"; sleep 0.05; echo \"end $2\" >> \"$1\"",
        ),
    ]
    .map(|(name, settings, body)| Procedure::new(name, settings, body))
    .into()
}
