//! The modes `lines` and `json-lines`: each line is a packet.

use bytes::Bytes;
use harp_proto::{Failure, Json, LineBuffer};

use super::states::{self, States};
use super::{parse, string, too_large};

#[derive(Debug)]
pub(super) struct Lines {
    buffer: LineBuffer,
    limit: usize,
    /// Of text, the states of the line that has not ended; none of JSON.
    states: Option<States>,
}

impl Lines {
    /// Only `\n` ends a line here: a `\r` may be what the caller wants to see.
    pub(super) fn strings(limit: usize) -> Lines {
        Lines {
            buffer: LineBuffer::keeping_carriage_returns(limit),
            limit,
            states: Some(States::default()),
        }
    }

    pub(super) fn json(limit: usize) -> Lines {
        Lines {
            buffer: LineBuffer::new(limit),
            limit,
            states: None,
        }
    }

    /// After an error, the next call goes on behind the line that was at fault.
    pub(super) fn feed(&mut self, bytes: &[u8], packets: &mut Vec<Json>) -> Result<(), Failure> {
        self.buffer.space(bytes.len()).extend_from_slice(bytes);
        while let Some(line) = self.next_line()? {
            self.take(&line, packets)?;
        }
        if let Some(states) = &mut self.states {
            let held = self.buffer.held();
            states.has_grown(&held[held.len() - held.len().min(bytes.len())..]);
        }
        Ok(())
    }

    pub(super) fn last_line(&mut self, packets: &mut Vec<Json>) -> Result<(), Failure> {
        if self.buffer.has_partial_line() {
            self.feed(b"\n", packets)
        } else {
            Ok(())
        }
    }

    /// True if the line that has not ended has a state that was not shown.
    pub(super) fn has_state(&self) -> bool {
        self.states.as_ref().is_some_and(States::is_fresh)
    }

    /// Shows the newest state of the line that has not ended; those before it are past.
    pub(super) fn show_state(&mut self, packets: &mut Vec<Json>) -> Result<(), Failure> {
        let Some(states) = &mut self.states else {
            return Ok(());
        };
        let held = self.buffer.held();
        let past = states::past(held);
        let state = states.newest(&held[past..]);
        let shown = state.map(|state| string(&state, self.limit)).transpose();
        if states.are_past() {
            let is_over = held.ends_with(b"\r");
            self.buffer
                .drop_front(if is_over { held.len() } else { past });
        }
        packets.extend(shown?);
        Ok(())
    }

    pub(super) fn result(&self) -> Json {
        if self.states.is_none() {
            Json::NULL
        } else {
            Json::from_trusted(Bytes::from_static(br#"{"exit_code":0}"#))
        }
    }

    fn take(&mut self, line: &Bytes, packets: &mut Vec<Json>) -> Result<(), Failure> {
        let Some(states) = &mut self.states else {
            packets.push(parse(line, self.limit)?);
            return Ok(());
        };
        let begun = std::mem::take(states);
        if begun.are_past() {
            // What came since the last that was shown, or held.
            let newest = &line[states::past(line)..];
            if newest.iter().any(|byte| *byte != b'\r') {
                packets.push(string(newest, self.limit)?);
            }
        } else {
            packets.push(string(line, self.limit)?);
        }
        Ok(())
    }

    fn next_line(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if let Ok(line) = self.buffer.next_line() {
                return Ok(line);
            }
            let held = self.buffer.held();
            let end = memchr::memchr(b'\n', held).unwrap_or(held.len());
            match states::past(&held[..end]) {
                // A progress bar is as long as its newest state.
                past @ 1.. if self.states.is_some() => {
                    self.buffer.drop_front(past);
                    self.states.iter_mut().for_each(States::are_dropped);
                }
                _ => {
                    self.buffer.skip_line();
                    self.states = self.states.take().map(|_| States::default());
                    return Err(too_large(self.limit));
                }
            }
        }
    }
}
