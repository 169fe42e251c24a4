//! One line of the audit log.

use harp_proto::Json;
use harp_time::clock;
use serde::Serialize;

use crate::client::{Client, Identity, Via};
use crate::record::CallRecord;

/// Bytes of a name that are written down: a name can be as long as a request.
const LONGEST_NAME: usize = 256;

/// One line. A key without a value is left out.
#[derive(Debug, Default, Serialize)]
pub(super) struct Line {
    /// Milliseconds since 1970.
    pub(super) time: u64,
    pub(super) event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) procedure: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) job: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) arguments: Option<Json>,
    /// By which face the client came, unless by the client protocol or as an administrator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) via: Option<&'static str>,
    /// Of a prune: jobs submitted longer ago than so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_age: Option<u64>,
    /// Of the event `lost`: how many lines are missing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lines: Option<u64>,
}

impl Line {
    /// The memory that the line takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let texts = [
            &self.client,
            &self.peer,
            &self.error,
            &self.host,
            &self.procedure,
            &self.job,
            &self.outcome,
        ];
        let texts = texts.into_iter().flatten().map(String::len);
        let values = [&self.queue, &self.arguments];
        let values = values
            .into_iter()
            .flatten()
            .map(|value| value.as_bytes().len());
        size_of::<Line>() + texts.sum::<usize>() + values.sum::<usize>()
    }

    pub(super) fn by(event: &'static str, client: &Client) -> Line {
        Line {
            time: clock::now(),
            event,
            client: Some(client.name().to_owned()),
            peer: Some(client.peer.to_string()),
            via: (client.via == Via::Http).then_some("http"),
            ..Line::default()
        }
    }

    /// Adds what the store knows of the job. A line that names no client yet, that of an end,
    /// gets the job's submitter.
    pub(super) fn add(&mut self, call: CallRecord) {
        let client = call.client;
        self.client
            .get_or_insert_with(|| client.unwrap_or_else(|| Identity::ANONYMOUS.to_owned()));
        self.host = Some(name(&call.host));
        self.procedure = Some(name(&call.procedure));
        let queue = call.queue.as_ref();
        self.queue = queue.and_then(|queue| queue.name.as_str().parse().ok());
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let before = out.len();
        // Texts and numbers always can be.
        if serde_json::to_writer(&mut *out, self).is_err() {
            out.truncate(before);
            return;
        }
        out.push(b'\n');
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
    use crate::client::Peer;

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

    #[test]
    fn a_line_has_what_is_known_and_no_more() {
        let peer = Peer::Network("192.0.2.1:5".parse().unwrap());
        let client = Client {
            identity: Some(Identity::of_token("shop")),
            ..Client::unknown(peer, Via::Listener, false)
        };
        let mut text = Vec::new();
        Line {
            time: 5,
            job: Some("j".to_owned()),
            ..Line::by("cancelled", &client)
        }
        .write(&mut text);
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "{\"time\":5,\"event\":\"cancelled\",\"client\":\"token:shop\",\
             \"peer\":\"192.0.2.1:5\",\"job\":\"j\"}\n"
        );
    }
}
