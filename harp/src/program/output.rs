//! What a command prints, as packets and a result: the modes that harpd has, too.

use bytes::Bytes;
use harp_client::{Failure, Json};
use harp_proto::LineBuffer;
use harp_proto::host::Message;
use serde_json::json;

use crate::command_line::serve::OutputMode;

/// The longest line, and the longest result, in bytes.
const LONGEST: usize = 16 * 1024 * 1024;

/// The output of one command, as far as it has come.
#[derive(Debug)]
pub(super) struct Output {
    mode: OutputMode,
    lines: LineBuffer,
    /// Of the modes whose result is everything.
    whole: Vec<u8>,
    /// Of the mode `harp`: what ended it.
    end: Option<Message>,
}

impl Output {
    pub(super) fn new(mode: OutputMode) -> Output {
        Output {
            mode,
            lines: LineBuffer::new(LONGEST),
            whole: Vec::new(),
            end: None,
        }
    }

    /// Takes bytes in; the packets that they complete.
    ///
    /// # Errors
    ///
    /// The exception that ends the job. The packets before are lost with it.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Json>, Failure> {
        if matches!(self.mode, OutputMode::Json | OutputMode::Text) {
            if self.whole.len() + bytes.len() > LONGEST {
                return Err(too_large());
            }
            self.whole.extend_from_slice(bytes);
            return Ok(Vec::new());
        }
        self.lines.space(bytes.len()).extend_from_slice(bytes);
        let mut packets = Vec::new();
        while let Some(line) = self.lines.next_line().map_err(|_| too_large())? {
            packets.extend(self.packet(&line)?);
        }
        Ok(packets)
    }

    /// The last line, which counts even without its end.
    ///
    /// # Errors
    ///
    /// As from [`Output::feed`].
    pub(super) fn last_line(&mut self) -> Result<Vec<Json>, Failure> {
        if self.lines.has_partial_line() {
            self.feed(b"\n")
        } else {
            Ok(Vec::new())
        }
    }

    fn packet(&mut self, line: &Bytes) -> Result<Option<Json>, Failure> {
        match self.mode {
            OutputMode::Lines => string(line).map(Some),
            OutputMode::JsonLines => {
                let packet = Json::parse(line).map_err(|error| invalid(line, &error));
                packet.map(Some)
            }
            OutputMode::Harp if self.end.is_some() => {
                let why = "a line behind the one with result or exception";
                Err(invalid(line, &why))
            }
            OutputMode::Harp => match Message::decode(line) {
                Ok(Message::Stream(packet)) => Ok(Some(packet)),
                Ok(end @ (Message::Result(_) | Message::Exception(_))) => {
                    self.end = Some(end);
                    Ok(None)
                }
                Ok(_) => Err(invalid(
                    line,
                    &"only stream, result and exception may be in it",
                )),
                Err(error) => Err(invalid(line, &error)),
            },
            // They have no lines.
            OutputMode::Json | OutputMode::Text => Ok(None),
        }
    }

    /// The result of a command that has ended with exit code 0.
    ///
    /// # Errors
    ///
    /// The exception that it has told of itself, or `invalid_output`.
    pub(super) fn result(self) -> Result<Json, Failure> {
        match self.mode {
            OutputMode::Lines => Ok(encoded(&json!({ "exit_code": 0 }))),
            OutputMode::JsonLines => Ok(Json::NULL),
            OutputMode::Text => string(&self.whole),
            OutputMode::Json if self.whole.iter().all(u8::is_ascii_whitespace) => Ok(Json::NULL),
            OutputMode::Json => {
                let whole = Bytes::from(self.whole);
                Json::parse(&whole).map_err(|error| invalid(&whole, &error))
            }
            OutputMode::Harp => match self.end {
                Some(Message::Result(result)) => Ok(result),
                Some(Message::Exception(failure)) => Err(failure),
                _ => Err(invalid(
                    b"",
                    &"it ended without a line with result or exception",
                )),
            },
        }
    }

    /// The exception that a command which has failed has told of itself.
    pub(super) fn exception(self) -> Option<Failure> {
        match self.end {
            Some(Message::Exception(failure)) => Some(failure),
            _ => None,
        }
    }
}

fn string(bytes: &[u8]) -> Result<Json, Failure> {
    let text = String::from_utf8_lossy(bytes);
    Json::encode(text.as_ref()).map_err(|error| invalid(bytes, &error))
}

fn encoded(value: &serde_json::Value) -> Json {
    // A value can be written.
    Json::encode(value).unwrap_or(Json::NULL)
}

fn too_large() -> Failure {
    let told = format!("a line or a result of the command is longer than {LONGEST} bytes");
    Failure::new("output_too_large", told).with_data(&json!({ "limit": LONGEST }))
}

/// Output that does not fit the mode; shows the beginning of it.
fn invalid(line: &[u8], why: &dyn std::fmt::Display) -> Failure {
    const SHOWN: usize = 1024;
    let shown = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]);
    let told = format!("the command's output does not fit --output: {why}");
    Failure::new("invalid_output", told).with_data(&json!({ "line": shown }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(mode: OutputMode, text: &str) -> Result<(Vec<String>, String), Failure> {
        let mut output = Output::new(mode);
        let mut packets = Vec::new();
        for byte in text.as_bytes() {
            packets.extend(output.feed(&[*byte])?);
        }
        packets.extend(output.last_line()?);
        let packets = packets.iter().map(|packet| packet.as_str().to_owned());
        Ok((packets.collect(), output.result()?.as_str().to_owned()))
    }

    #[test]
    fn each_mode_makes_packets_and_a_result() {
        let cases: &[(OutputMode, &str, &[&str], &str)] = &[
            (
                OutputMode::Lines,
                "a\nb 1",
                &["\"a\"", "\"b 1\""],
                r#"{"exit_code":0}"#,
            ),
            (
                OutputMode::JsonLines,
                "1.50\n[ 2 ]\n",
                &["1.50", "[2]"],
                "null",
            ),
            (OutputMode::Json, "{\"a\":\n 1.0}\n", &[], r#"{"a":1.0}"#),
            (OutputMode::Json, " \n", &[], "null"),
            (OutputMode::Text, "a\nb\n", &[], r#""a\nb\n""#),
            (
                OutputMode::Harp,
                "{\"stream\": 1}\n{\"result\": [2]}",
                &["1"],
                "[2]",
            ),
        ];
        for (mode, text, packets, result) in cases {
            let (told, end) = run(*mode, text).unwrap();
            assert_eq!(
                (told.as_slice(), end.as_str()),
                (
                    &*packets
                        .iter()
                        .map(|text| (*text).to_owned())
                        .collect::<Vec<_>>(),
                    *result
                ),
                "{mode:?}"
            );
        }
    }

    #[test]
    fn what_does_not_fit_the_mode_is_an_exception() {
        for (mode, text, told) in [
            (OutputMode::JsonLines, "{\n", "invalid_output"),
            (OutputMode::Json, "a", "invalid_output"),
            (OutputMode::Harp, "", "invalid_output"),
            (
                OutputMode::Harp,
                "{\"harp\":1,\"stream_result\":true}\n",
                "invalid_output",
            ),
            (
                OutputMode::Harp,
                "{\"result\":1}\n{\"result\":1}\n",
                "invalid_output",
            ),
            (
                OutputMode::Harp,
                "{\"exception\":{\"type\":\"hot\",\"message\":\"too hot\"}}\n",
                "hot",
            ),
        ] {
            assert_eq!(
                run(mode, text).unwrap_err().error_type,
                told,
                "{mode:?} {text}"
            );
        }
    }
}
