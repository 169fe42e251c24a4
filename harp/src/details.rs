//! How a job ended and where it stands in its queue, for people and for programs.

use harp_service::terminal;
use serde::Serialize;
use serde_json::{Value, json};

/// How a job ended and where it stands in its queue, as the dispatcher's lists have it.
#[derive(Debug, Serialize)]
pub(crate) struct Details {
    outcome: Value,
    error_type: Value,
    queue: Value,
    ahead: Option<u64>,
    holders: Vec<Value>,
    waiting_for: Option<String>,
    place_kept: bool,
}

impl Details {
    /// Those of a job as lists have it.
    pub(crate) fn of(job: &Value) -> Details {
        let holders = job["holders"].as_array();
        Details {
            outcome: job["outcome"].clone(),
            error_type: job["error_type"].clone(),
            queue: job["queue"].clone(),
            ahead: job["ahead"].as_u64(),
            holders: holders.cloned().unwrap_or_default(),
            waiting_for: job["waiting_for"].as_str().map(str::to_owned),
            place_kept: job["place_kept"] == true,
        }
    }

    /// The lines for people.
    pub(crate) fn lines(&self) -> Vec<(&'static str, String)> {
        let mut lines = vec![("outcome", outcome(&json!(self)))];
        if let Value::Object(queue) = &self.queue {
            let (name, concurrency) = (&queue["name"], &queue["concurrency"]);
            lines.push(("queue", format!("{name}, {concurrency} at once")));
            lines.push(("place", self.place()));
        }
        if let Some(why) = self.why_it_waits() {
            lines.push(("waits", why.to_owned()));
        }
        lines
    }

    fn place(&self) -> String {
        let Some(ahead) = self.ahead else {
            return match (self.outcome.is_null(), self.place_kept) {
                (false, true) => "kept, until its host is done with it".to_owned(),
                (false, false) => "given back".to_owned(),
                (true, _) => "it holds one".to_owned(),
            };
        };
        let holders = self.holders.iter().filter_map(Value::as_str);
        let holders: Vec<&str> = holders.collect();
        format!("behind {ahead} jobs; held by {}", holders.join(", "))
    }

    fn why_it_waits(&self) -> Option<&'static str> {
        match self.waiting_for.as_deref()? {
            "host" => Some("at its host, where as many calls run as may (max_calls)"),
            "store" => Some("for the job store, which cannot be written at present"),
            "worker" => Some("for a worker of its service"),
            "operator" => Some("for harpcallerd resume: it came with a copy of another store"),
            _ => None,
        }
    }
}

/// How a job ended, with the type of its exception or error.
pub(crate) fn outcome(job: &Value) -> String {
    let kind = shown(&job["outcome"]);
    match &job["error_type"] {
        Value::String(name) => format!("{kind} {}", terminal::json(name)),
        _ => kind,
    }
}

/// A value in a table.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => terminal::json(text).into_owned(),
        other => terminal::json(&other.to_string()).into_owned(),
    }
}
