//! One connection to the dispatcher.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use harp_host::IoCode;
use harp_host::line_reader::{LineError, LineReader};
use harp_proto::client::ReplyError;
use harp_proto::client::reply::{self, HelloReply};
use harp_proto::{Json, Outcome};
use harp_time::within;
use tokio::time::Instant;

use super::reach::{advice, code, reach};
use super::socket::Socket;
use super::{Address, Options, Target};
use crate::Error;
use crate::error::{Broken, Phase};

/// A connection to the dispatcher, with no reply outstanding or one. Dropping it closes
/// it.
#[derive(Debug)]
pub(crate) struct Connection {
    address: Arc<Address>,
    lines: LineReader<Socket>,
    manners: Manners,
    /// True if it has carried a request before.
    reused: bool,
}

/// Further use of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Manners {
    /// One request, and then it is closed.
    OneRequest,
    /// The dispatcher has answered `hello`.
    Greeted {
        /// Its name and version.
        server: Box<str>,
        /// The extensions in force.
        features: Box<[String]>,
    },
}

impl Connection {
    /// Resolves, connects, does the TLS handshake if there is to be one, and asks for a
    /// persistent connection if there is a line for that. The first of the addresses with
    /// which all that succeeds wins: one that is silent for 250 ms has the next tried beside
    /// it (RFC 8305). True if the dispatcher has answered the line. Dropping the future
    /// closes the connection.
    pub(crate) async fn open(
        target: &Target,
        options: &Options,
        hello: Option<&[u8]>,
        deadline: Instant,
    ) -> Result<(Connection, bool), Error> {
        let Target {
            address,
            protection,
            answered,
        } = target;
        let greeted = async |socket| {
            let mut connection = Connection {
                address: Arc::clone(address),
                lines: LineReader::new(socket, options.max_reply_size),
                manners: Manners::OneRequest,
                reused: false,
            };
            let has_answered = match hello {
                Some(line) => connection.hello(line).await?,
                None => false,
            };
            Ok((connection, has_answered))
        };
        reach(address, protection, answered, deadline, greeted).await
    }

    /// Asks for a persistent connection (client protocol, section 8). False if the
    /// dispatcher closed the connection without an answer, as one does that does not know
    /// `hello`. Not cancel safe: one that was given up is to be dropped with the connection.
    async fn hello(&mut self, line: &[u8]) -> Result<bool, Error> {
        let greeting = async {
            self.lines.source_mut().write_all(line).await?;
            self.lines.next().await
        };
        let answer = match greeting.await {
            Ok(answer) => answer,
            Err(error) if self.knows_no_hello(&error) => return Ok(false),
            Err(error) => return Err(self.broken(Phase::Hello, error)),
        };
        let greeted: HelloReply = self.reply(&answer)?;
        self.manners = Manners::Greeted {
            server: greeted.server.into(),
            features: greeted.features.into(),
        };
        Ok(true)
    }

    /// Sends a request's line. An error means that the dispatcher has not got all of it,
    /// so that it is no request (client protocol, section 1). Not cancel safe: one that was
    /// given up is to be dropped with the connection.
    pub(crate) async fn send(&mut self, line: &[u8], deadline: Instant) -> Result<(), Error> {
        let write = self.lines.source_mut().write_all(line);
        match within(deadline, write).await {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.broken(Phase::Request, LineError::Io(error))),
            None => Err(self.timed_out(Phase::Request)),
        }
    }

    /// The next line of the reply. Cancel safe.
    pub(crate) async fn receive(&mut self) -> Result<Bytes, Error> {
        std::future::poll_fn(|context| self.poll_receive(context)).await
    }

    /// Receives the next line before a deadline. Cancel safe.
    pub(crate) async fn receive_until(&mut self, deadline: Instant) -> Result<Bytes, Error> {
        match within(deadline, self.receive()).await {
            Some(line) => line,
            None => Err(self.timed_out(Phase::Reply)),
        }
    }

    pub(crate) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Result<Bytes, Error>> {
        Poll::Ready(match ready!(self.lines.poll_next(context)) {
            Ok(line) => Ok(line),
            Err(error) => Err(self.broken(Phase::Reply, error)),
        })
    }

    /// Reads a reply's line. An error without the protocol's key is a job's outcome; where
    /// there can be none, it is the original dispatcher that refuses the request.
    pub(crate) fn reply<R: reply::Reply>(&self, line: &Bytes) -> Result<R, Error> {
        reply::decode(line).map_err(|error| {
            let failure = match error {
                ReplyError::Fault(failure) => failure,
                ReplyError::Malformed(_) => {
                    match Outcome::from_json(&Json::from_trusted(line.clone())) {
                        Some(Outcome::Error(failure)) => failure,
                        _ => return self.malformed(&error),
                    }
                }
            };
            Error::refused(&self.address, failure)
        })
    }

    pub(crate) fn malformed(&self, why: &dyn std::fmt::Display) -> Error {
        Error::protocol(format!(
            "dispatcher {}, phase reply: {why}; is it harpcallerd that listens there?",
            self.address
        ))
    }

    /// True if the dispatcher has said that this extension is in force.
    pub(crate) fn has(&self, feature: &str) -> bool {
        match &self.manners {
            Manners::OneRequest => false,
            Manners::Greeted { features, .. } => features.iter().any(|name| name == feature),
        }
    }

    /// What the dispatcher has said of itself: its name and version, and the extensions in
    /// force.
    pub(crate) fn greeting(&self) -> Option<(&str, &[String])> {
        match &self.manners {
            Manners::OneRequest => None,
            Manners::Greeted { server, features } => Some((server, features)),
        }
    }

    /// Where it goes to.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// True if the dispatcher was not greeted on it, or did not answer.
    pub(crate) fn is_taciturn(&self) -> bool {
        self.manners == Manners::OneRequest
    }

    /// True if an earlier request was answered on it, so that it may have died since.
    pub(crate) fn is_reused(&self) -> bool {
        self.reused
    }

    pub(crate) fn mark_reused(&mut self) {
        self.reused = true;
    }

    /// True if nothing has come since the last reply, not even the end: asks the system,
    /// whose answer is newer than what the runtime has seen.
    pub(crate) fn is_quiet(&self) -> bool {
        !self.lines.has_partial_line() && self.lines.source().is_quiet()
    }

    /// True if this is how one ends the connection that knows no `hello`; such a one knows
    /// no TLS either.
    fn knows_no_hello(&self, error: &LineError) -> bool {
        !self.lines.source().is_tls()
            && !self.is_tls_alert()
            && match error {
                LineError::Closed => !self.lines.has_partial_line(),
                LineError::Io(error) => is_end(error),
                LineError::TooLong(_) | LineError::GaveWay => false,
            }
    }

    /// True if what has come in place of a line is an alert of TLS: one that does not speak it
    /// was sent to a listener that does.
    fn is_tls_alert(&self) -> bool {
        // The record's type, and the version's first byte (RFC 8446, section 5.1).
        self.lines.held().starts_with(&[21, 3])
    }

    fn broken(&self, phase: Phase, error: LineError) -> Error {
        if self.is_tls_alert() {
            let broken = Broken {
                phase: Phase::Tls,
                code: IoCode::Tls,
                taciturn: false,
            };
            let told = "this listener speaks TLS, and was spoken to without; add \
                        .tls(Tls::ca_file(\"...\")), or write harps:// before the address";
            return Error::broken(&self.address, broken, told);
        }
        let taciturn = self.is_taciturn();
        let broken = |code| Broken {
            phase,
            code,
            taciturn,
        };
        match error {
            LineError::TooLong(too_long) => Error::protocol(format!(
                "dispatcher {}, phase reply: {too_long}; max_reply_size sets the limit",
                self.address
            )),
            LineError::Closed => Error::broken(
                &self.address,
                broken(IoCode::Closed),
                if taciturn && phase != Phase::Hello {
                    "the dispatcher closed the connection before it had answered; \
                         one that knows no `hello` does so when it refuses a request, \
                         as for a job it does not know"
                } else if self.lines.has_partial_line() {
                    "the dispatcher closed the connection in the middle of a line"
                } else {
                    "the dispatcher closed the connection before it had answered"
                },
            ),
            // No memory of ours is anybody else's.
            LineError::GaveWay => Error::broken(&self.address, broken(IoCode::TimedOut), ""),
            LineError::Io(error) => {
                let code = code(&error);
                let advice = advice(&self.address, code, phase, &error);
                Error::broken(&self.address, broken(code), advice).with_source(error)
            }
        }
    }

    pub(crate) fn timed_out(&self, phase: Phase) -> Error {
        let broken = Broken {
            phase,
            code: IoCode::TimedOut,
            taciturn: self.is_taciturn(),
        };
        Error::broken(&self.address, broken, "no answer in time")
    }
}

/// True if the peer has ended the connection.
fn is_end(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}
