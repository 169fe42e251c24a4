//! A call that a host has been sent.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use harp_budget::Share;
use harp_proto::host::Message;
use harp_proto::{Json, Outcome, error_type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::connection::HostLines;
use crate::line_reader::{LineError, READ_SIZE};
use crate::{Endpoint, HostError, IoCode, Limits, Phase, told};
use harp_time::within;

/// A call on a host, first to be [acknowledged](HostCall::acknowledged). Dropping it
/// closes the connection, which cancels the call; [`HostCall::cancel`] also learns whether
/// the host is done with it.
#[derive(Debug)]
pub struct HostCall {
    endpoint: Endpoint,
    limits: Limits,
    lines: HostLines,
    streams: bool,
    /// By how much its limits are put off, because this process stood still.
    delay: Duration,
    proves_cancels: bool,
}

/// News of a call from its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The next packet; only of a call that streams.
    Packet(Json),
    /// The call's end, after which there is nothing more.
    End(Outcome),
}

/// Knowledge of the host after a cancel (host protocol, "Proof of a cancel").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancel {
    /// The host has proved that nothing of the call is left.
    Confirmed,
    /// The connection ended without that proof.
    Unconfirmed,
}

/// How the connection of a call ended whose host was told that it is no longer wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// The host has proved that nothing of the call is left.
    Proved,
    /// The host, or its system, has ended the connection without that proof.
    Closed,
    /// The connection is dead on this side. The host may not know.
    Lost,
}

/// Whether more packets are wanted at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Yes.
    More,
    /// The one just given is the last.
    Enough,
}

impl HostCall {
    pub(crate) fn new(
        endpoint: Endpoint,
        limits: Limits,
        lines: HostLines,
        delay: Duration,
        proves_cancels: bool,
    ) -> HostCall {
        HostCall {
            endpoint,
            limits,
            lines,
            streams: false,
            delay,
            proves_cancels,
        }
    }

    /// Waits for the acknowledgement, which comes before any event, until the deadline.
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// A [`HostError`] of the phase `acknowledge`; of the kind
    /// [`Remote`](crate::HostErrorKind::Remote) if the host refuses the request.
    pub async fn acknowledged(&mut self, deadline: Instant) -> Result<(), HostError> {
        match within(deadline + self.delay, self.lines.next()).await {
            None => Err(self.timed_out(Phase::Acknowledge)),
            Some(Ok(answer)) => self.acknowledge(&answer),
            Some(Err(error)) => Err(HostError::line(&self.endpoint, Phase::Acknowledge, error)),
        }
    }

    /// True if the procedure streams, so that packets may come; false before the
    /// acknowledgement.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.streams
    }

    /// True if the host has agreed on `harp/1` by its name, as our harpd does and the original
    /// does not: when the call is given up it says that nothing of it is left, and what it had
    /// printed. False where nothing was offered ([`Connection::open`](crate::Connection::open)).
    #[must_use]
    pub fn proves_cancels(&self) -> bool {
        self.proves_cancels
    }

    /// When something came from the host last, be it a part of a message: a host shows life
    /// by a space between two messages.
    #[must_use]
    pub fn heard(&self) -> Instant {
        self.lines.heard()
    }

    /// Waits for the next event. Cancel safe. Not to be called again after
    /// [`Event::End`] or an error.
    ///
    /// # Errors
    ///
    /// A [`HostError`] of the phase `stream`: the connection ended, or the host sent
    /// what is no message of the protocol.
    pub async fn next(&mut self) -> Result<Event, HostError> {
        poll_fn(|context| self.poll_event(context)).await
    }

    /// The next event if it has arrived already, without waiting. A fast host can keep
    /// this going: a caller that collects events this way needs a limit of its own.
    pub fn next_buffered(&mut self) -> Option<Result<Event, HostError>> {
        let mut context = Context::from_waker(Waker::noop());
        match self.poll_event(&mut context) {
            Poll::Ready(event) => Some(event),
            Poll::Pending => None,
        }
    }

    /// Gives `take` the packets that have been read already, as JSON text, as long as it
    /// wants more. Other events, and packets in an unusual form, stop it and are left to
    /// [`next`](HostCall::next) and [`next_buffered`](HostCall::next_buffered). For many
    /// small packets: they cost no memory of their own.
    pub fn take_packets(&mut self, mut take: impl FnMut(&[u8]) -> Wanted) {
        if !self.streams {
            return;
        }
        let limit = self.limits.max_packet_size;
        let mut wanted = Wanted::More;
        self.lines.take_read(|line| {
            let packet = Message::plain_packet(line).filter(|data| data.len() <= limit);
            match (wanted, packet) {
                (Wanted::More, Some(data)) => {
                    wanted = take(data);
                    true
                }
                _ => false,
            }
        });
    }

    /// What the last message holds of the budget for large ones, if it does: to be kept as
    /// long as the message.
    pub fn take_share(&mut self) -> Option<Share> {
        self.lines.take_share()
    }

    /// Tells the host that the call is no longer wanted. A host that does not read can
    /// keep this waiting: bound it with a time limit of your own. Cancel safe.
    pub async fn tell_cancel(&mut self) {
        // A host that is gone is found out by reading.
        let _ = self.lines.source_mut().shutdown().await;
    }

    /// Tells the host that the call is no longer wanted, then reads and drops what it
    /// still sends until it proves that it is done or the connection ends. Takes as long
    /// as the host takes: bound it with a time limit of your own. Dropping the future
    /// closes the connection.
    pub async fn cancel(mut self) -> Cancel {
        match self.part().await {
            Parting::Proved => Cancel::Confirmed,
            Parting::Closed | Parting::Lost => Cancel::Unconfirmed,
        }
    }

    /// Cancels as [`HostCall::cancel`] does, but dropping the future leaves the connection open.
    /// Cancel safe. Nothing else may be read afterwards.
    pub async fn part(&mut self) -> Parting {
        self.tell_cancel().await;
        loop {
            match self.lines.next().await {
                Ok(line) if proves_cancel(&line) => return Parting::Proved,
                Ok(_) => {}
                Err(LineError::Closed) => return Parting::Closed,
                Err(LineError::Io(error)) => return Parting::after(&error),
                Err(LineError::TooLong(_) | LineError::GaveWay) => break,
            }
        }
        // No line can be made out any more, but the end of the connection can.
        self.lines.forget_lines();
        let mut dropped = vec![0; READ_SIZE];
        loop {
            match self.lines.source_mut().read(&mut dropped).await {
                Ok(0) => return Parting::Closed,
                Ok(_) => {}
                Err(error) => return Parting::after(&error),
            }
        }
    }

    /// True if the host's system has confirmed that this side has ended the connection, so
    /// that the host can know. False where that cannot be found out. Cancel safe.
    pub async fn is_told(&self) -> bool {
        told::is_told(self.lines.source().get_ref().0.socket()).await
    }

    fn acknowledge(&mut self, answer: &Bytes) -> Result<(), HostError> {
        let unexpected = |why: &dyn std::fmt::Display| {
            HostError::unexpected(&self.endpoint, Phase::Acknowledge, answer, why)
        };
        match Message::decode(answer) {
            Ok(Message::Acknowledged { stream_result }) => {
                self.streams = stream_result;
                Ok(())
            }
            Ok(Message::Error(failure)) => Err(HostError::remote(&self.endpoint, failure)),
            Ok(_) => Err(unexpected(&"expected the request's acknowledgement")),
            Err(error) => Err(unexpected(&error)),
        }
    }

    /// Makes the error for a request that could not be written: a host that refuses it early
    /// may not read all of it, and what it said is there to be read.
    pub(crate) fn refusal_before(&mut self, error: HostError) -> HostError {
        if let Some(Ok(answer)) = self.lines.next_arrived()
            && let Err(refusal) = self.acknowledge(&answer)
        {
            return refusal;
        }
        error
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn timed_out(&self, phase: Phase) -> HostError {
        HostError::timed_out(&self.endpoint, phase)
    }

    /// Polls for what [`HostCall::next`] waits for.
    ///
    /// # Errors
    ///
    /// Those of [`HostCall::next`].
    pub fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, HostError>> {
        Poll::Ready(match ready!(self.lines.poll_next(context)) {
            Ok(line) => self.event(&line),
            Err(error) => Err(HostError::line(&self.endpoint, Phase::Stream, error)),
        })
    }

    fn event(&self, line: &Bytes) -> Result<Event, HostError> {
        let unexpected = |why: &dyn std::fmt::Display| {
            HostError::unexpected(&self.endpoint, Phase::Stream, line, why)
        };
        let (event, size) = match Message::decode(line) {
            Ok(Message::Stream(_)) if !self.streams => {
                return Err(unexpected(&"a packet, but the procedure does not stream"));
            }
            Ok(Message::Stream(data)) => {
                let size = data.as_bytes().len();
                (Event::Packet(data), size)
            }
            Ok(Message::Result(result)) => {
                let size = result.as_bytes().len();
                (Event::End(Outcome::Returned(result)), size)
            }
            Ok(Message::Exception(failure)) => (Event::End(Outcome::Exception(failure)), 0),
            Ok(Message::Error(failure)) => (Event::End(Outcome::Error(failure)), 0),
            Ok(Message::Acknowledged { .. }) => {
                return Err(unexpected(&"a second acknowledgement"));
            }
            Err(error) => return Err(unexpected(&error)),
        };
        let limit = self.limits.max_packet_size;
        if size > limit {
            Err(unexpected(&format_args!(
                "{size} bytes in one packet or result; max_packet_size allows {limit}"
            )))
        } else {
            Ok(event)
        }
    }
}

impl Parting {
    fn after(error: &io::Error) -> Parting {
        if IoCode::of(error).is_end_of_connection() {
            Parting::Closed
        } else {
            Parting::Lost
        }
    }
}

fn proves_cancel(line: &Bytes) -> bool {
    // A host may be flooding us with lines; few are worth a closer look.
    memchr::memmem::find(line, error_type::CANCELLED.as_bytes()).is_some()
        && Message::decode(line).is_ok_and(|message| message.proves_cancel())
}
