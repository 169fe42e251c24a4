//! One line of the audit log.

use harp_values::Json;
use serde::Serialize;

use crate::client::{Client, Identity, Via};
use crate::record::CallRecord;

/// Bytes of a name that are written down: a name can be as long as a request.
const LONGEST_NAME: usize = 256;

/// One line. A key without a value is left out.
#[derive(Debug, Default, Serialize)]
pub struct Line {
    /// Milliseconds since 1970.
    pub time: u64,
    /// What has happened.
    pub event: &'static str,
    /// The client, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// Where it connects from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// What it asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<&'static str>,
    /// Why that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The host of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The procedure of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub procedure: Option<String>,
    /// The name of the queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Json>,
    /// The job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// How the job ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// Of an exception: its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// The arguments of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Json>,
    /// By which face the client came, unless by the client protocol or as an administrator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub via: Option<&'static str>,
    /// Of a prune: jobs submitted longer ago than so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_age: Option<u64>,
    /// Of the event `lost`: how many lines are missing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lines: Option<u64>,
}

impl Line {
    /// The memory that the line takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let texts = [
            &self.client,
            &self.peer,
            &self.error,
            &self.host,
            &self.procedure,
            &self.job,
            &self.outcome,
            &self.r#type,
        ];
        let texts = texts.into_iter().flatten().map(String::len);
        let values = [&self.queue, &self.arguments];
        let values = values
            .into_iter()
            .flatten()
            .map(|value| value.as_bytes().len());
        size_of::<Line>() + texts.sum::<usize>() + values.sum::<usize>()
    }

    /// A line about what a client has done, at a time in milliseconds since 1970.
    #[must_use]
    pub fn by(event: &'static str, client: &Client, time: u64) -> Line {
        Line {
            time,
            event,
            client: Some(client.name().to_owned()),
            peer: Some(client.peer.to_string()),
            via: (client.via == Via::Http).then_some("http"),
            ..Line::default()
        }
    }

    /// Adds what the store knows of the job. A line that names no client yet, that of an end,
    /// gets the job's submitter.
    pub fn add(&mut self, call: CallRecord) {
        let client = call.client;
        self.client
            .get_or_insert_with(|| client.unwrap_or_else(|| Identity::ANONYMOUS.to_owned()));
        self.host = Some(name(&call.host));
        self.procedure = Some(name(&call.procedure));
        let queue = call.queue.as_ref();
        self.queue = queue.and_then(|queue| queue.name.as_str().parse().ok());
    }
}

/// A name as it is written down: a long one is cut, with `...` behind it.
pub(super) fn name(name: &str) -> String {
    if name.len() <= LONGEST_NAME {
        return name.to_owned();
    }
    let mut ends = (0..=LONGEST_NAME).rev();
    let end = ends.find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_is_cut_between_two_characters() {
        assert_eq!(name("web01"), "web01");
        let long = format!("x{}", "\u{e9}".repeat(1000));
        let cut = name(&long);
        assert!(
            cut.len() <= LONGEST_NAME + 3 && cut.ends_with("\u{e9}..."),
            "{cut}"
        );
        assert!(long.starts_with(cut.trim_end_matches('.')));
    }

    #[test]
    fn every_text_of_a_line_counts() {
        let long = || Some("x".repeat(1000));
        let json = || long().map(|text| format!("\"{text}\"").parse().unwrap());
        let line = Line {
            host: long(),
            procedure: long(),
            client: long(),
            queue: json(),
            arguments: json(),
            ..Line::default()
        };
        assert!(line.bytes() >= 5000);
    }
}
