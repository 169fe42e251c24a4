//! Sending a request to a host that was reached, as it speaks.

use harp_host::kept::{KeptConnection, News};
use harp_host::{HostError, Phase};
use harp_jobs::ledger::Token;
use harp_jobs::transport::Commit;
use harp_proto::Traceparent;
use harp_proto::host;
use harp_proto::host::kept::{Keep, Request};
use harp_time::within;
use tokio::time::Instant;
use tracing::{Span, field};

use super::super::joined::{Asked, Joined};
use super::super::kept::KeptCall;
use super::super::plain::PlainCall;
use super::super::token::Note;
use super::super::told_of;
use super::{HarpAttempt, Link, Made, Reached, end_of_step};
use crate::host_attempts::Try;
use crate::hosts::Harpd;
use crate::traces::span::below_call;

impl HarpAttempt {
    /// Sends the request, unless something has to be on record before.
    pub(super) async fn send(&mut self, mut reached: Box<Reached>, by: Instant) -> Commit {
        let by = end_of_step(Some(by.min(reached.by)), self.rules.limits.connect_timeout);
        reached.by = reached.by.max(by);
        match &reached.made {
            // The record must not name a life that has not run it.
            Made::Plain(_) if self.note.take().is_some() => {
                self.link = Link::Open(reached);
                Commit::First(Token::default())
            }
            Made::Plain(_) => self.send_plain(*reached, by).await,
            Made::Kept(line) => {
                let keep_for = self.rules.limits.keep_for;
                let note = self
                    .note
                    .get_or_insert_with(|| Note::new(None, keep_for, self.epoch));
                if line.boot.is_some() && line.boot != note.boot {
                    *note = Note::new(line.boot.clone(), keep_for, self.epoch);
                    let token = note.token();
                    self.link = Link::Open(reached);
                    return Commit::First(token);
                }
                self.send_kept(*reached, by).await
            }
        }
    }

    fn request(&self, host: &Harpd) -> host::Request {
        host::Request {
            procedure: self.call.procedure.clone(),
            arguments: self.call.arguments.clone(),
            user: host.user.clone(),
            password: host.password.clone(),
        }
    }

    /// Where in its trace stands what the call does at its host.
    fn place_in_trace(&self) -> Option<Traceparent> {
        below_call(self.id.job, &self.call, self.shared.told.traces.is_on())
    }

    async fn send_plain(&mut self, reached: Reached, by: Instant) -> Commit {
        let request = self.request(&reached.host);
        let Made::Plain(connection) = reached.made else {
            return Commit::Done;
        };
        // By this the host's log names the call, which has no name on the wire.
        if let Some(from) = connection.local_address() {
            Span::current().record("from", field::display(from));
        }
        match connection.send(&request, by).await {
            Ok(call) => {
                let call = PlainCall::sent(call, reached.turn, reached.by, &self.rules);
                self.link = Link::Plain(call);
                Commit::Done
            }
            // A host that has not got all of the request does nothing.
            Err(error) => self.not_sent(reached.turn, &error),
        }
    }

    async fn send_kept(&mut self, reached: Reached, by: Instant) -> Commit {
        let (Made::Kept(mut line), Some(note)) = (reached.made, self.note.clone()) else {
            return Commit::Done;
        };
        self.epoch += 1;
        let boot = note.boot.as_deref();
        let takes_traceparent = (self.shared.lives).takes_traceparent(&self.call.host, boot);
        let traceparent = self.place_in_trace().filter(|_| takes_traceparent);
        let by = by + line.connection.delay();
        let connection = &mut line.connection;
        connection.request(Request {
            call: self.request(&reached.host),
            keep: Keep {
                call: self.id,
                keep: note.keep,
                epoch: self.epoch,
                boot: boot.map(str::to_owned),
                up: None,
                traceparent,
            },
        });
        let sent = match within(by, connection.flush()).await {
            Some(Err(error)) => refusal_before(connection, error),
            Some(Ok(())) => Ok(()),
            None => Err(HostError::timed_out(connection.endpoint(), Phase::Request)),
        };
        match sent {
            Ok(()) => {
                let joined = Joined::new(line, reached.host, Asked::Request, reached.by);
                let joined = joined.with_turn(reached.turn);
                let (shared, rules, call) = (&self.shared, &self.rules, &self.call);
                let call = KeptCall::new(shared, rules, call, self.id, &note, self.epoch);
                self.link = Link::Kept(Box::new(call.sent(joined)));
                Commit::Done
            }
            // One that was kept too long is replaced.
            Err(_) if line.connection.had_call() => {
                self.link = Link::Refused;
                Commit::Done
            }
            Err(error) => self.not_sent(reached.turn, &error),
        }
    }

    fn not_sent(&mut self, turn: Try, error: &HostError) -> Commit {
        match self.waits.failed(turn, error) {
            None => {
                self.link = Link::Refused;
                Commit::Done
            }
            Some(failure) => {
                told_of(error);
                Commit::Not {
                    failure,
                    certain: true,
                }
            }
        }
    }
}

/// What a host has said that does not take the whole request, or that there was an error.
fn refusal_before(connection: &mut KeptConnection, error: HostError) -> Result<(), HostError> {
    match connection.next_buffered() {
        Some(Ok(News::Refused(failure))) => Err(HostError::remote(connection.endpoint(), failure)),
        _ => Err(error),
    }
}
