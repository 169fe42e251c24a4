//! How a procedure's standard output becomes the answer (harpd, "What its output
//! becomes").
//!
//! An [`Output`] is fed bytes as they come. What it makes of them never depends on how
//! they were cut; when the states of a line that is written again and again are shown,
//! whoever feeds it decides.

use bytes::Bytes;
use harp_proto::host::Message;
use harp_proto::{Failure, Json};

mod document;
mod harp;
pub(crate) mod limit;
mod lines;
mod splitter;
mod states;

use document::Document;
use harp::Harp;
use limit::too_large;
use lines::Lines;

use crate::answer::{Answer, Packet, no_room, one_at_a_time};
use crate::choria::reply::AgentReply;
use crate::exit::Exit;
use crate::stash::Stash;

/// The `output` key of a procedure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputMode {
    /// One JSON document is the result; nothing at all is null.
    Json,
    /// Everything, as a string, is the result.
    Text,
    /// Each line, as a string, is a packet.
    Lines,
    /// Each line, a JSON value, is a packet.
    JsonLines,
    /// Lines of the host protocol itself.
    Harp {
        /// Whether the procedure streams.
        stream: bool,
    },
    /// Lines of the host protocol, error lines too: a procedure of a Python module, whose
    /// lines harpd's own shim writes.
    Module {
        /// Whether the procedure streams.
        stream: bool,
    },
}

/// The output of one call, as far as it has come.
#[derive(Debug)]
pub struct Output {
    decoder: Decoder,
}

#[derive(Debug)]
enum Decoder {
    Document(Document),
    Lines(Lines),
    Harp(Harp),
    Agent(Box<AgentReply>),
}

impl OutputMode {
    /// Whether packets may come, for the acknowledgement.
    #[must_use]
    pub fn streams(self) -> bool {
        match self {
            OutputMode::Json | OutputMode::Text => false,
            OutputMode::Lines | OutputMode::JsonLines => true,
            OutputMode::Harp { stream } | OutputMode::Module { stream } => stream,
        }
    }

    /// The value of the `output` key.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            OutputMode::Json => "json",
            OutputMode::Text => "text",
            OutputMode::Lines => "lines",
            OutputMode::JsonLines => "json-lines",
            OutputMode::Harp { .. } => "harp",
            OutputMode::Module { .. } => "module",
        }
    }

    /// The start of a call's output. One result, or one packet, may be `max_output`
    /// bytes long: as it is written, and as JSON text.
    #[must_use]
    pub fn start(self, max_output: usize) -> Output {
        let decoder = match self {
            OutputMode::Json => Decoder::Document(Document::json(max_output)),
            OutputMode::Text => Decoder::Document(Document::text(max_output)),
            OutputMode::Lines => Decoder::Lines(Lines::strings(max_output)),
            OutputMode::JsonLines => Decoder::Lines(Lines::json(max_output)),
            OutputMode::Harp { stream } => Decoder::Harp(Harp::new(stream, max_output)),
            OutputMode::Module { stream } => Decoder::Harp(Harp::with_errors(stream, max_output)),
        };
        Output { decoder }
    }
}

impl Output {
    /// The start of an agent's run, whose answer is in a file.
    #[must_use]
    pub fn of_agent(reply: AgentReply) -> Output {
        Output {
            decoder: Decoder::Agent(Box::new(reply)),
        }
    }

    /// Takes bytes in and appends the packets that they complete.
    ///
    /// # Errors
    ///
    /// The exception that ends the call: `invalid_output` or `output_too_large`. Packets
    /// before the offending place have been appended. Where output is lines, the next call
    /// goes on behind the line that was at fault.
    pub fn feed(&mut self, bytes: &[u8], packets: &mut Vec<Packet>) -> Result<(), Failure> {
        match &mut self.decoder {
            Decoder::Document(document) => document.feed(bytes),
            Decoder::Lines(lines) => lines.feed(bytes, packets),
            Decoder::Harp(harp) => harp.feed(bytes, packets),
            Decoder::Agent(agent) => {
                agent.log.push(bytes);
                Ok(())
            }
        }
    }

    /// Takes in what a call that has its outcome still prints: what makes packets makes
    /// them, what does not fit is left out.
    pub fn feed_last_words(&mut self, bytes: &[u8], packets: &mut Vec<Packet>) {
        let mut bytes = bytes;
        if matches!(self.decoder, Decoder::Document(_)) {
            return;
        }
        while self.feed(bytes, packets).is_err() {
            bytes = &[];
        }
    }

    /// True if a line that has not ended was written anew (`\r`) since
    /// [`Output::show_state`].
    #[must_use]
    pub fn has_state(&self) -> bool {
        match &self.decoder {
            Decoder::Lines(lines) => lines.has_state(),
            Decoder::Document(_) | Decoder::Harp(_) | Decoder::Agent(_) => false,
        }
    }

    /// Appends the newest state of such a line, a packet that ends in `\r`. Those before it
    /// that were not shown are written over, as on a terminal.
    ///
    /// # Errors
    ///
    /// As from [`Output::feed`].
    pub fn show_state(&mut self, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        match &mut self.decoder {
            Decoder::Lines(lines) => lines.show_state(packets),
            Decoder::Document(_) | Decoder::Harp(_) | Decoder::Agent(_) => Ok(()),
        }
    }

    /// The command has exited with code 0 and everything has been fed: the message that
    /// ends the call. To be asked once.
    ///
    /// # Errors
    ///
    /// An exception as from [`Output::feed`].
    pub fn succeeded(&mut self, packets: &mut Vec<Packet>) -> Result<Answer, Failure> {
        self.last_line(packets)?;
        match &mut self.decoder {
            Decoder::Document(document) => document.result(),
            Decoder::Lines(lines) => Ok(Answer::Short(Message::Result(lines.result()))),
            Decoder::Harp(harp) => harp.end(),
            Decoder::Agent(agent) => one_at_a_time(|| Answer::of(agent.succeeded()?)),
        }
    }

    /// The command has exited otherwise: the exception that it told of itself, if it did.
    /// To be asked once.
    #[must_use]
    pub fn failed(&mut self, exit: Exit, packets: &mut Vec<Packet>) -> Option<Answer> {
        // A last line cut short is no surprise and not what went wrong.
        let _ = self.last_line(packets);
        match &mut self.decoder {
            Decoder::Harp(harp) => harp.exception(),
            Decoder::Agent(agent) => Some(Answer::Short(Message::Exception(agent.failed(exit)))),
            Decoder::Document(_) | Decoder::Lines(_) => None,
        }
    }

    /// Takes the last line, which counts even without its newline.
    ///
    /// # Errors
    ///
    /// As from [`Output::feed`].
    pub fn last_line(&mut self, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        match &mut self.decoder {
            Decoder::Document(_) | Decoder::Agent(_) => Ok(()),
            Decoder::Lines(lines) => lines.last_line(packets),
            Decoder::Harp(harp) => harp.last_line(packets),
        }
    }
}

/// Output that does not fit the mode; shows the beginning of it.
fn invalid(line: &[u8], why: impl std::fmt::Display) -> Failure {
    const SHOWN: usize = 1024;
    let shown = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
    Failure::new(
        "invalid_output",
        format!("the procedure's output does not fit its output mode: {why}"),
    )
    .with_data(&serde_json::json!({ "line": shown }))
}

/// JSON text of the procedure, checked.
fn parse(text: &Bytes, limit: usize) -> Result<Json, Failure> {
    let json = Json::parse(text).map_err(|error| invalid(text, error))?;
    within(limit, json)
}

/// Bytes of the procedure as a JSON string.
fn string(bytes: &[u8], limit: usize) -> Result<Json, Failure> {
    let text = String::from_utf8_lossy(bytes);
    let json = Json::encode(text.as_ref()).map_err(|error| invalid(bytes, error))?;
    within(limit, json)
}

/// Parses as [`parse`] does, text that is long; `then` makes of it what does not stay in memory.
fn parse_long<T>(
    text: Stash,
    limit: usize,
    then: impl FnOnce(Json) -> Result<T, Failure>,
) -> Result<T, Failure> {
    one_at_a_time(|| {
        let text = Bytes::from(text.read_all().map_err(no_room)?);
        then(parse(&text, limit)?)
    })
}

/// Puts long bytes of the procedure behind `into` as a JSON string.
fn long_string(mut bytes: Stash, limit: usize, into: &mut Stash) -> Result<(), Failure> {
    let before = into.len();
    let mut push = |text: &[u8]| {
        if into.len() - before + text.len() > limit {
            return Err(too_large(limit));
        }
        into.push(text).map_err(no_room)
    };
    push(b"\"")?;
    let (mut rest, mut text) = (Vec::new(), Vec::new());
    loop {
        let front = bytes.front().map_err(no_room)?;
        let count = front.len();
        rest.extend_from_slice(front);
        bytes.advance(count);
        text.clear();
        let mut left = 0;
        for chunk in rest.utf8_chunks() {
            let valid = serde_json::to_string(chunk.valid()).unwrap_or_default();
            let valid = valid
                .strip_prefix('"')
                .and_then(|text| text.strip_suffix('"'));
            text.extend_from_slice(valid.unwrap_or_default().as_bytes());
            let invalid = chunk.invalid();
            let is_cut = invalid.as_ptr_range().end == rest.as_ptr_range().end;
            if is_cut && !bytes.is_empty() {
                // A character of which the end is still to come.
                left = invalid.len();
            } else if !invalid.is_empty() {
                text.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        push(&text)?;
        rest.drain(..rest.len() - left);
        if bytes.is_empty() {
            return push(b"\"");
        }
    }
}

fn within(limit: usize, json: Json) -> Result<Json, Failure> {
    if json.as_bytes().len() > limit {
        Err(too_large(limit))
    } else {
        Ok(json)
    }
}

#[cfg(test)]
mod tests;
