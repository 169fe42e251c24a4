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
mod socket;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use harp_host::IoCode;
use harp_host::race::Answered;
use harp_proto::client::reply::{CallReply, Reply};
use harp_proto::client::{Hello, Request};
use harp_proto::{Json, Password};
use tokio::time::Instant;

pub(crate) use address::Address;
pub(crate) use connection::Connection;
pub(crate) use lost::OnLost;
use pool::ConnectionPool;
#[cfg(feature = "worker")]
pub(crate) use reach::reach;
pub(crate) use reconnect::Reconnect;
#[cfg(feature = "worker")]
pub(crate) use socket::{Socket, Stream};
pub(crate) use tls::Protection;
pub use tls::Tls;

use crate::error::Phase;
use crate::{Error, deadline};

/// Options that a [`HarpCallerBuilder`](crate::HarpCallerBuilder) sets.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// For resolving, connecting, TLS and `hello` together.
    pub(crate) connect_timeout: Duration,
    /// From the request to the end of its reply, of requests that do not wait.
    pub(crate) request_timeout: Duration,
    pub(crate) pool_size: usize,
    pub(crate) client_name: Option<String>,
    /// Token by which the client authenticates.
    pub(crate) token: Option<Password>,
    pub(crate) transport: Protection,
    /// Greatest length of a reply's line in bytes.
    pub(crate) max_reply_size: usize,
    /// How long a dispatcher that was lost is looked for.
    pub(crate) reconnect_for: Duration,
    /// The program's function that is told when it was lost.
    pub(crate) on_lost: Option<OnLost>,
}

#[derive(Debug)]
pub(crate) struct Dispatcher {
    address: Arc<Address>,
    options: Options,
    pool: ConnectionPool,
    /// True once there was a connection: the address is no mistake.
    reached: AtomicBool,
    /// Which of its addresses has answered.
    answered: Answered,
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
    pub(crate) fn new(address: Address, options: Options) -> Dispatcher {
        Dispatcher {
            address: Arc::new(address),
            pool: ConnectionPool::new(options.pool_size),
            options,
            reached: AtomicBool::new(false),
            answered: Answered::default(),
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Asks what is answered at once. Waits for its turn if as many short requests are
    /// under way as the pool has places.
    pub(crate) async fn ask<R: Reply>(&self, request: &Request) -> Result<R, Error> {
        let _permit = self.pool.permit().await;
        self.question(request, Pace::Short).await
    }

    /// Submits a call. One that can be made again safely is, as long as the dispatcher comes
    /// back within the time limit of a request.
    pub(crate) async fn submit(&self, call: &Request) -> Result<CallReply, Error> {
        let mut reconnect = self.reconnect_within(self.options.request_timeout);
        loop {
            let error = match self.ask(call).await {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if !is_question(call) {
                return Err(error);
            }
            tokio::time::sleep(reconnect.after(error)?).await;
        }
    }

    /// Asks what is answered when something has happened, within the time limit of a
    /// request.
    pub(crate) async fn ask_slowly<R: Reply>(&self, request: &Request) -> Result<R, Error> {
        self.question(request, Pace::Slow).await
    }

    /// Asks what is answered when something has happened, for as long as that takes.
    pub(crate) async fn ask_and_wait<R: Reply>(&self, request: &Request) -> Result<R, Error> {
        self.question(request, Pace::Waits).await
    }

    /// Sends a line as it is, on a connection of its own (greeted only if there is a token),
    /// and returns the first line of the reply.
    pub(crate) async fn raw(&self, request: &Json) -> Result<Json, Error> {
        let mut line = BytesMut::from(request.as_bytes());
        line.extend_from_slice(b"\n");
        let mut connection = match self.options.token {
            Some(_) => self.identified(self.connect_deadline()).await?,
            None => self.connect(self.connect_deadline()).await?,
        };
        let deadline = self.request_deadline();
        connection.send(&line, deadline).await?;
        let answer = connection.receive_until(deadline).await?;
        Json::parse(&answer).map_err(|error| connection.malformed(&error).with_source(error))
    }

    /// A connection for one request, an idle one if there is any.
    pub(crate) async fn connection(&self) -> Result<Connection, Error> {
        match self.pool.take() {
            Some(connection) => Ok(connection),
            None => self.new_connection().await,
        }
    }

    /// Gives a connection back whose reply has been read whole.
    pub(crate) fn give_back(&self, connection: Connection) {
        self.pool.put(connection);
    }

    /// Closes the connections that carry no request.
    pub(crate) fn close_idle(&self) {
        self.pool.clear();
    }

    /// Deadline by which a request that is sent now must have been taken.
    pub(crate) fn request_deadline(&self) -> Instant {
        deadline::after(self.options.request_timeout)
    }

    pub(crate) fn reconnect(&self) -> Reconnect {
        self.reconnect_within(self.options.reconnect_for)
    }

    fn reconnect_within(&self, patience: Duration) -> Reconnect {
        let reconnect = if self.reached.load(Ordering::Relaxed) {
            Reconnect::reached(patience)
        } else {
            Reconnect::new(patience)
        };
        reconnect.telling(self.options.on_lost.clone())
    }

    async fn question<R: Reply>(&self, request: &Request, pace: Pace) -> Result<R, Error> {
        let question = is_question(request);
        let mut connection = self.connection_for(request).await?;
        let line = line_for(request, &connection);
        let answer = match self.exchange(&mut connection, &line, pace).await {
            // A caller that waits comes back by itself.
            Err(error)
                if pace != Pace::Waits
                    && connection.is_reused()
                    && can_be_sent_again(&error, question) =>
            {
                // It had died while it was idle. Those beside it were opened to the same
                // dispatcher.
                self.pool.clear();
                connection = self.connection_for(request).await?;
                let line = line_for(request, &connection);
                self.exchange(&mut connection, &line, pace).await
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

    async fn exchange(
        &self,
        connection: &mut Connection,
        line: &[u8],
        pace: Pace,
    ) -> Result<Bytes, Error> {
        let deadline = self.request_deadline();
        connection.send(line, deadline).await?;
        match pace {
            Pace::Short | Pace::Slow => connection.receive_until(deadline).await,
            Pace::Waits => connection.receive().await,
        }
    }

    /// A connection to a dispatcher that knows all that this request needs.
    async fn connection_for(&self, request: &Request) -> Result<Connection, Error> {
        let lacks =
            |connection: &Connection| feature::needed(request).find(|name| !connection.has(name));
        let mut connection = self.connection().await?;
        if lacks(&connection).is_some() && connection.is_taciturn() {
            // One that was just stopping, perhaps.
            if let Some(greeted) = self.greeted(self.connect_deadline()).await? {
                connection = greeted;
            }
        }
        match lacks(&connection) {
            None => Ok(connection),
            Some(name) => {
                if !connection.is_taciturn() {
                    self.give_back(connection);
                }
                Err(Error::unsupported(&self.address, name))
            }
        }
    }

    /// A new connection, persistent if the dispatcher has such.
    pub(crate) async fn new_connection(&self) -> Result<Connection, Error> {
        let deadline = self.connect_deadline();
        if self.options.token.is_some() {
            return self.identified(deadline).await;
        }
        if !self.pool.is_taciturn()
            && let Some(connection) = self.greeted(deadline).await?
        {
            return Ok(connection);
        }
        // Whether it is one that knows no `hello` or one that is just stopping shows when
        // a request is answered without.
        self.connect(deadline).await
    }

    /// A new connection to a dispatcher that has taken the token.
    async fn identified(&self, deadline: Instant) -> Result<Connection, Error> {
        let connection = match self.greeted(deadline).await? {
            Some(connection) => Some(connection),
            // One that was just stopping, perhaps.
            None => self.greeted(deadline).await?,
        };
        connection
            .filter(|connection| connection.has(feature::TOKEN))
            .ok_or_else(|| Error::unsupported(&self.address, feature::TOKEN))
    }

    /// A new connection over which `hello` was answered; `None` if the dispatcher closed it
    /// without an answer.
    async fn greeted(&self, deadline: Instant) -> Result<Option<Connection>, Error> {
        let mut line = BytesMut::new();
        let hello = Hello {
            client: self.options.client_name.clone(),
            token: self.options.token.clone(),
        };
        Request::Hello(hello).encode(&mut line);
        let (connection, answered) = self.open(Some(&line), deadline).await?;
        if answered {
            self.pool.forget_taciturn();
        }
        Ok(answered.then_some(connection))
    }

    async fn connect(&self, deadline: Instant) -> Result<Connection, Error> {
        let (connection, _) = self.open(None, deadline).await?;
        Ok(connection)
    }

    async fn open(
        &self,
        hello: Option<&[u8]>,
        deadline: Instant,
    ) -> Result<(Connection, bool), Error> {
        let (address, options) = (&self.address, &self.options);
        let opened = Connection::open(address, options, &self.answered, hello, deadline).await;
        let was_connected = match &opened {
            Ok(_) => true,
            Err(error) => error
                .broken_at()
                .is_none_or(|broken| broken.phase == Phase::Hello),
        };
        if was_connected {
            self.reached.store(true, Ordering::Relaxed);
        }
        opened
    }

    fn connect_deadline(&self) -> Instant {
        deadline::after(self.options.connect_timeout)
    }
}

/// The request's line. What only adds to the answer is left out where the dispatcher does
/// not know it.
fn line_for(request: &Request, connection: &Connection) -> BytesMut {
    let mut line = BytesMut::new();
    match request {
        Request::Call(call) if call.limits && !connection.has(feature::LIMITS) => {
            let mut call = call.clone();
            call.limits = false;
            Request::Call(call).encode(&mut line);
        }
        Request::GetStatus { job, .. } if !connection.has(feature::EVIDENCE) => {
            let (job, evidence) = (*job, false);
            Request::GetStatus { job, evidence }.encode(&mut line);
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
