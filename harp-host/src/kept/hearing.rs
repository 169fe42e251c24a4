//! What a line of the host means where the connection stands.

use std::time::Duration;

use bytes::Bytes;
use harp_proto::host;
use harp_proto::host::kept::Message;
use harp_proto::{Failure, Outcome};
use tokio::time::Instant;

use super::{BEAT, KeptConnection, News, Stage};
use crate::{HostError, Phase};

impl KeptConnection {
    pub(super) fn news(&mut self, line: &Bytes, phase: Phase) -> Result<News, HostError> {
        let unexpected =
            |why: &dyn std::fmt::Display| HostError::unexpected(&self.endpoint, phase, line, why);
        let message = Message::decode(line).map_err(|error| unexpected(&error))?;
        match (message, self.stage) {
            (Message::Beat { .. }, _) if self.pace.is_flood(Instant::now()) => {
                Err(unexpected(&"more beats than any host has to send"))
            }
            (Message::Beat { up, waits }, _) => {
                self.vouching.came(up, Instant::now());
                if self.has_call() {
                    self.say_durable(false);
                }
                Ok(News::Beat { waits })
            }
            (Message::Acknowledged(answer), Stage::Asked)
                if self.attaches && answer.attached.is_none() =>
            {
                Err(unexpected(&"the answer to an attach without since"))
            }
            (Message::Acknowledged(acknowledgement), Stage::Asked) => {
                self.vouching.came(acknowledgement.up, Instant::now());
                self.stage = Stage::Running;
                self.had_call = true;
                self.delay = Duration::ZERO;
                self.streams = acknowledgement.stream_result;
                self.beat = BEAT.min(acknowledgement.keep / 6);
                Ok(News::Acknowledged(acknowledgement))
            }
            (Message::Acknowledged(_), _) => Err(unexpected(&"a second acknowledgement")),
            (Message::Plain(host::Message::Error(failure)), Stage::Asked) => {
                self.stage = Stage::Idle;
                Ok(News::Refused(failure))
            }
            (Message::Plain(message), Stage::Running) => self.of_call(message, line),
            (Message::Plain(host::Message::Error(failure)), Stage::Idle | Stage::Ended) => {
                // What the host closes the connection for.
                Err(HostError::remote(&self.endpoint, failure))
            }
            (Message::Plain(_), _) => Err(unexpected(&"there is no call that this is of")),
        }
    }

    fn of_call(&mut self, message: host::Message, line: &Bytes) -> Result<News, HostError> {
        let unexpected = |why: &dyn std::fmt::Display| {
            HostError::unexpected(&self.endpoint, Phase::Stream, line, why)
        };
        let (news, size) = match message {
            host::Message::Stream(_) if !self.streams => {
                return Err(unexpected(&"a packet, but the procedure does not stream"));
            }
            host::Message::Stream(data) => {
                let size = data.as_bytes().len();
                (News::Packet(data), size)
            }
            host::Message::Result(result) => {
                let size = result.as_bytes().len();
                (News::End(Outcome::Returned(result)), size)
            }
            host::Message::Exception(failure) => (News::End(Outcome::Exception(failure)), 0),
            // No end: the host could not understand a line, and the call goes on.
            host::Message::Error(failure) if is_fault(&failure) => {
                return Err(HostError::remote(&self.endpoint, failure));
            }
            host::Message::Error(failure) => (News::End(Outcome::Error(failure)), 0),
            host::Message::Acknowledged { .. } => {
                return Err(unexpected(&"an acknowledgement of another protocol"));
            }
        };
        let limit = self.limits.max_packet_size;
        if size > limit {
            return Err(unexpected(&format_args!(
                "{size} bytes in one packet or result; max_packet_size allows {limit}"
            )));
        }
        match &news {
            News::Packet(_) => self.packet += 1,
            _ => self.stage = Stage::Ended,
        }
        Ok(news)
    }
}

/// True for what a host says of a line that is no message.
fn is_fault(failure: &Failure) -> bool {
    failure.error_type == harp_proto::error_type::INVALID_REQUEST
}
