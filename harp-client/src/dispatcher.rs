//! The dispatcher as a client sees it: where it is, the connections to it, one question
//! and its answer.
//!
//! Whichever future of these is dropped closes the connection that it works on: only one
//! whose reply was read whole goes back to the pool, so that no answer is ever taken for
//! that of another question.

mod address;
mod connection;
pub(crate) mod feature;
mod lost;
mod pool;
mod reach;
mod reconnect;
mod repeat;
mod site;
mod socket;
mod target;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use harp_host::IoCode;
use harp_proto::client::Request;
use harp_proto::client::reply::{CallReply, Reply};
use harp_proto::{Json, Password};
use harp_time::within;
use tokio::time::Instant;

pub(crate) use address::{Address, Addresses};
pub(crate) use connection::Connection;
pub(crate) use lost::OnLost;
#[cfg(feature = "worker")]
pub(crate) use reach::reach;
pub(crate) use reconnect::Reconnect;
pub use repeat::Repeat;
use site::Site;
#[cfg(feature = "worker")]
pub(crate) use socket::{Socket, Stream};
pub(crate) use target::Target;
pub(crate) use tls::Protection;
pub use tls::Tls;

use crate::error::Phase;
use crate::traceparent::CurrentTrace;
use crate::{Error, Stats, deadline, trace};

/// Options that a [`HarpCallerBuilder`](crate::HarpCallerBuilder) sets.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// For resolving, connecting, TLS and `hello` together.
    pub(crate) connect_timeout: Duration,
    /// For all of a request that does not wait: its turn, connecting, its repetitions and
    /// their pauses, until the end of its reply.
    pub(crate) request_timeout: Duration,
    /// How calls with a key are made again.
    pub(crate) repeat: Repeat,
    pub(crate) pool_size: usize,
    pub(crate) client_name: Option<String>,
    /// Token by which the client authenticates.
    pub(crate) token: Option<Password>,
    /// Greatest length of a reply's line in bytes.
    pub(crate) max_reply_size: usize,
    /// How long a dispatcher that was lost is looked for.
    pub(crate) reconnect_for: Duration,
    /// The program's function that is told when it was lost.
    pub(crate) on_lost: Option<OnLost>,
    /// The program's function that knows the trace of a call.
    pub(crate) trace: Option<CurrentTrace>,
}

/// The dispatcher, and how long requests to it may take. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Dispatcher {
    site: Arc<Site>,
    pub(crate) request_timeout: Duration,
    pub(crate) repeat: Repeat,
}

/// Whether a request is answered at once or when something has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Short,
    /// At its time, which the request's time limit bounds.
    Slow,
    Waits,
}

impl Dispatcher {
    pub(crate) fn new(targets: Vec<Target>, options: Options) -> Dispatcher {
        Dispatcher {
            request_timeout: options.request_timeout,
            repeat: options.repeat,
            site: Arc::new(Site::new(targets, options)),
        }
    }

    /// Its address, as the user has named it.
    pub(crate) fn address(&self) -> &dyn std::fmt::Display {
        &*self.site
    }

    pub(crate) fn stats(&self) -> Stats {
        self.site.counters.stats(self.site.pool.idle())
    }

    /// The trace that a call which is made now is part of, if the program says one.
    pub(crate) fn current_trace(&self) -> Option<String> {
        self.site.options.trace.as_ref()?.ask()
    }

    /// Asks what is answered at once. Waits for its turn if as many short requests are
    /// under way as the pool has places.
    pub(crate) async fn ask<R: Reply>(&self, request: &Request) -> Result<R, Error> {
        let asked = self.ask_until(request, self.request_deadline());
        self.counted(request, asked).await
    }

    /// Submits a call. One that can be made again safely is, as long as the dispatcher comes
    /// back within the time limit of the request.
    pub(crate) async fn submit(&self, call: &Request) -> Result<CallReply, Error> {
        self.counted(call, self.repeated(call)).await
    }

    async fn repeated(&self, call: &Request) -> Result<CallReply, Error> {
        let deadline = self.request_deadline();
        let mut reconnect = Reconnect::within(self.request_timeout, self.repeat)
            .telling(self.site.options.on_lost.clone());
        loop {
            let error = match self.ask_until::<CallReply>(call, deadline).await {
                Ok(reply) => {
                    trace::submitted(reply.job_id);
                    return Ok(reply);
                }
                Err(error) => error,
            };
            if !is_question(call) {
                return Err(error);
            }
            tokio::time::sleep(reconnect.after(error)?).await;
            self.site.counters.repetitions.count();
        }
    }

    /// Asks what is answered when something has happened, within the time limit of a
    /// request.
    pub(crate) async fn ask_slowly<R: Reply>(&self, request: &Request) -> Result<R, Error> {
        let deadline = self.request_deadline();
        self.counted(request, self.question(request, Pace::Slow, deadline))
            .await
    }

    /// Asks what is answered when something has happened, for as long as that takes; the
    /// request has to be on its way by the deadline.
    pub(crate) async fn ask_and_wait<R: Reply>(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<R, Error> {
        self.question(request, Pace::Waits, deadline).await
    }

    /// Sends a line as it is, on a connection of its own (greeted only if there is a token),
    /// and returns the first line of the reply.
    pub(crate) async fn raw(&self, request: &Json) -> Result<Json, Error> {
        let mut line = BytesMut::from(request.as_bytes());
        line.extend_from_slice(b"\n");
        let deadline = self.request_deadline();
        let mut connection = match self.site.options.token {
            Some(_) => self.identified(deadline).await?,
            None => self.site.connect(deadline).await?,
        };
        connection.send(&line, deadline).await?;
        let answer = connection.receive_until(deadline).await?;
        Json::parse(&answer).map_err(|error| connection.malformed(&error).with_source(error))
    }

    /// A connection for one request, an idle one if there is any.
    pub(crate) async fn connection(&self, deadline: Instant) -> Result<Connection, Error> {
        match self.site.pool.take() {
            Some(connection) => Ok(connection),
            None => self.new_connection(deadline).await,
        }
    }

    /// Gives a connection back whose reply has been read whole.
    pub(crate) fn give_back(&self, connection: Connection) {
        self.site.pool.put(connection);
    }

    /// Closes the connections that carry no request.
    pub(crate) fn close_idle(&self) {
        self.site.pool.clear();
    }

    /// Counts a request and its error, and has it traced.
    pub(crate) async fn counted<T>(
        &self,
        request: &Request,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let counters = &self.site.counters;
        counters.requests.count();
        let answer = trace::request(request, asked).await;
        if answer.is_err() {
            counters.failed_requests.count();
        }
        answer
    }

    /// A wait or a stream of packets is about to go on.
    pub(crate) fn count_reconnect(&self) {
        self.site.counters.reconnects.count();
    }

    /// Deadline of a request that begins now.
    pub(crate) fn request_deadline(&self) -> Instant {
        deadline::after(self.request_timeout)
    }

    /// Decides about the attempts of a request that waits for a job.
    pub(crate) fn reconnect(&self) -> Reconnect {
        let patience = self.site.options.reconnect_for;
        let reconnect = if self.site.was_reached() {
            Reconnect::reached(patience)
        } else {
            Reconnect::new(patience)
        };
        reconnect.telling(self.site.options.on_lost.clone())
    }

    /// When a request that waits for a job has to be on its way, if its next attempt begins
    /// now.
    pub(crate) fn attempt_deadline(&self, reconnect: &Reconnect) -> Instant {
        let deadline = self.request_deadline();
        reconnect
            .until()
            .map_or(deadline, |until| until.min(deadline))
    }

    async fn ask_until<R: Reply>(&self, request: &Request, deadline: Instant) -> Result<R, Error> {
        let turn = within(deadline, self.site.pool.permit()).await;
        let _permit = turn.ok_or_else(|| self.site.no_turn())?;
        self.question(request, Pace::Short, deadline).await
    }

    async fn question<R: Reply>(
        &self,
        request: &Request,
        pace: Pace,
        deadline: Instant,
    ) -> Result<R, Error> {
        let question = is_question(request);
        let mut connection = self.connection_for(request, deadline).await?;
        let line = line_for(request, &connection);
        let answer = match exchange(&mut connection, &line, pace, deadline).await {
            // A caller that waits comes back by itself.
            Err(error)
                if pace != Pace::Waits
                    && connection.is_reused()
                    && can_be_sent_again(&error, question) =>
            {
                // It had died while it was idle. Those beside it were opened to the same
                // dispatcher.
                self.site.pool.clear();
                connection = self.connection_for(request, deadline).await?;
                let line = line_for(request, &connection);
                exchange(&mut connection, &line, pace, deadline).await
            }
            answer => answer,
        };
        let reply = answer.and_then(|answer| {
            let reply = connection.reply(&answer)?;
            self.give_back(connection);
            Ok(reply)
        });
        if question {
            reply.map_err(Error::of_a_question)
        } else {
            reply
        }
    }

    /// A connection to a dispatcher that knows all that this request needs.
    async fn connection_for(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<Connection, Error> {
        let lacks =
            |connection: &Connection| feature::needed(request).find(|name| !connection.has(name));
        let mut connection = self.connection(deadline).await?;
        if lacks(&connection).is_some() && connection.is_taciturn() {
            // One that was just stopping, perhaps.
            if let Some(greeted) = self.site.greeted(deadline).await? {
                connection = greeted;
            }
        }
        match lacks(&connection) {
            None => Ok(connection),
            Some(name) => {
                if !connection.is_taciturn() {
                    self.give_back(connection);
                }
                Err(Error::unsupported(&self.site, name))
            }
        }
    }

    /// A new connection, persistent if the dispatcher has such.
    pub(crate) async fn new_connection(&self, deadline: Instant) -> Result<Connection, Error> {
        if self.site.options.token.is_some() {
            return self.identified(deadline).await;
        }
        if !self.site.pool.is_taciturn()
            && let Some(connection) = self.site.greeted(deadline).await?
        {
            return Ok(connection);
        }
        // Whether it is one that knows no `hello` or one that is just stopping shows when
        // a request is answered without.
        self.site.connect(deadline).await
    }

    /// A new connection to a dispatcher that has taken the token.
    async fn identified(&self, deadline: Instant) -> Result<Connection, Error> {
        let connection = match self.site.greeted(deadline).await? {
            Some(connection) => Some(connection),
            // One that was just stopping, perhaps.
            None => self.site.greeted(deadline).await?,
        };
        connection
            .filter(|connection| connection.has(feature::TOKEN))
            .ok_or_else(|| Error::unsupported(&self.site, feature::TOKEN))
    }
}

async fn exchange(
    connection: &mut Connection,
    line: &[u8],
    pace: Pace,
    deadline: Instant,
) -> Result<Bytes, Error> {
    connection.send(line, deadline).await?;
    match pace {
        Pace::Short | Pace::Slow => connection.receive_until(deadline).await,
        Pace::Waits => connection.receive().await,
    }
}

/// The request's line. What only adds to the answer is left out where the dispatcher does
/// not know it.
fn line_for(request: &Request, connection: &Connection) -> BytesMut {
    let mut line = BytesMut::new();
    match request {
        Request::Call(call)
            if call.limits && !connection.has(feature::LIMITS)
                || call.traceparent.is_some() && !connection.has(feature::TRACEPARENT) =>
        {
            let mut call = call.clone();
            call.limits &= connection.has(feature::LIMITS);
            if !connection.has(feature::TRACEPARENT) {
                call.traceparent = None;
            }
            Request::Call(call).encode(&mut line);
        }
        Request::GetStatus { job, snapshot, .. } if !connection.has(feature::EVIDENCE) => {
            let request = Request::GetStatus {
                job: *job,
                evidence: false,
                snapshot: *snapshot,
            };
            request.encode(&mut line);
        }
        request => request.encode(&mut line),
    }
    line
}

/// True for requests that get the same answer when they are made twice. A cancel does
/// nothing more the second time, but its answer is another; a call with `unless_since`
/// may make a second job if the first has failed in between.
fn is_question(request: &Request) -> bool {
    match request {
        Request::Call(call) => call.key.is_some() && call.unless_since.is_none(),
        Request::Cancel { .. } => false,
        _ => true,
    }
}

/// True if a request that failed on a connection that had been idle goes to a new one.
fn can_be_sent_again(error: &Error, question: bool) -> bool {
    error.broken_at().is_some_and(|broken| {
        let taken = broken.phase == Phase::Reply;
        broken.code != IoCode::TimedOut && (question || !taken)
    })
}
