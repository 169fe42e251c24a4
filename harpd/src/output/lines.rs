//! The modes `lines` and `json-lines`: each line is a packet.

use bytes::Bytes;
use harp_proto::{Failure, Json};

use super::splitter::{Line, Splitter};
use super::states::{self, States};
use super::{long_string, parse, parse_long, string, too_large};
use crate::answer::{LONG, Packet};

#[derive(Debug)]
pub(super) struct Lines {
    lines: Splitter,
    limit: usize,
    /// Of text, the states of the line that has not ended; none of JSON.
    states: Option<States>,
}

impl Lines {
    /// Only `\n` ends a line here: a `\r` may be what the caller wants to see.
    pub(super) fn strings(limit: usize) -> Lines {
        Lines {
            lines: Splitter::keeping_carriage_returns(limit),
            limit,
            states: Some(States::default()),
        }
    }

    pub(super) fn json(limit: usize) -> Lines {
        Lines {
            lines: Splitter::new(limit),
            limit,
            states: None,
        }
    }

    /// After an error, the next call goes on behind the line that was at fault.
    pub(super) fn feed(&mut self, bytes: &[u8], packets: &mut Vec<Packet>) -> Result<(), Failure> {
        let bytes = self.behind_what_is_written_over(bytes);
        self.lines.feed(bytes)?;
        while let Some(line) = self.next_line()? {
            self.take(line, packets)?;
        }
        if let Some(states) = &mut self.states {
            let held = self.lines.held();
            states.has_grown(&held[held.len() - held.len().min(bytes.len())..]);
            let past = states::past(held);
            if held.len() >= LONG && past > 0 {
                self.lines.drop_front(past);
                states.are_dropped();
            }
        }
        self.lines.settle()
    }

    /// Of a line that is long, what a `\r` and more behind it have written over is of no use
    /// any more: what is left of these bytes.
    fn behind_what_is_written_over<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let Some(states) = &mut self.states else {
            return bytes;
        };
        if !self.lines.is_long() {
            return bytes;
        }
        let end = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
        let past = states::past(&bytes[..end]);
        if past > 0 {
            self.lines.drop_front(usize::MAX);
            states.are_dropped();
        }
        &bytes[past..]
    }

    pub(super) fn last_line(&mut self, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        if self.lines.has_partial_line() {
            self.feed(b"\n", packets)
        } else {
            Ok(())
        }
    }

    /// True if the line that has not ended has a state that was not shown.
    pub(super) fn has_state(&self) -> bool {
        !self.lines.is_long() && self.states.as_ref().is_some_and(States::is_fresh)
    }

    /// Shows the newest state of the line that has not ended; those before it are past.
    pub(super) fn show_state(&mut self, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        let Some(states) = &mut self.states else {
            return Ok(());
        };
        // A state that is so long is shown when the line has ended.
        if self.lines.is_long() {
            return Ok(());
        }
        let held = self.lines.held();
        let past = states::past(held);
        let state = states.newest(&held[past..]);
        let shown = state.map(|state| string(&state, self.limit)).transpose();
        if states.are_past() {
            let is_over = held.ends_with(b"\r");
            self.lines
                .drop_front(if is_over { held.len() } else { past });
        }
        if let Some(shown) = shown? {
            packets.push(Packet::of(shown)?);
        }
        Ok(())
    }

    pub(super) fn result(&self) -> Json {
        if self.states.is_none() {
            Json::NULL
        } else {
            Json::from_trusted(Bytes::from_static(br#"{"exit_code":0}"#))
        }
    }

    fn take(&mut self, line: Line, packets: &mut Vec<Packet>) -> Result<(), Failure> {
        let Some(states) = &mut self.states else {
            packets.push(match line {
                Line::Short(line) => Packet::of(parse(&line, self.limit)?)?,
                Line::Long(line) => parse_long(line, self.limit, Packet::of)?,
            });
            return Ok(());
        };
        let begun = std::mem::take(states);
        let line = match line {
            Line::Short(line) => line,
            Line::Long(line) => {
                let mut packet = Packet::begin()?;
                long_string(line, self.limit, &mut packet)?;
                packets.push(Packet::end(packet)?);
                return Ok(());
            }
        };
        if begun.are_past() {
            // What came since the last that was shown, or held.
            let newest = &line[states::past(&line)..];
            if newest.iter().any(|byte| *byte != b'\r') {
                packets.push(Packet::of(string(newest, self.limit)?)?);
            }
        } else {
            packets.push(Packet::of(string(&line, self.limit)?)?);
        }
        Ok(())
    }

    fn next_line(&mut self) -> Result<Option<Line>, Failure> {
        loop {
            if let Ok(line) = self.lines.next() {
                return Ok(line);
            }
            let held = self.lines.held();
            let end = memchr::memchr(b'\n', held).unwrap_or(held.len());
            match states::past(&held[..end]) {
                // A progress bar is as long as its newest state.
                past @ 1.. if self.states.is_some() && !self.lines.is_long() => {
                    self.lines.drop_front(past);
                    self.states.iter_mut().for_each(States::are_dropped);
                }
                _ => {
                    self.lines.skip_line();
                    self.states = self.states.take().map(|_| States::default());
                    return Err(too_large(self.limit));
                }
            }
        }
    }
}
