//! The packets of a job, as a stream.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use harp_proto::client::reply::StreamReply;
use harp_proto::client::{Packet as Sent, Request, StreamStart};
use harp_proto::{JobId, Outcome};
use harp_time::Limit;
use tokio::time::Instant;

use crate::dispatcher::{Connection, Dispatcher, Reconnect, feature};
use crate::error::Phase;
use crate::{Error, Packet};

/// Packets asked for at a time where the dispatcher counts them.
const PAGE: u64 = 1000;

/// The packets of a job, in order, each exactly once: made by
/// [`RemoteCall::follow`](crate::RemoteCall::follow) and
/// [`RemoteCall::stream`](crate::RemoteCall::stream).
///
/// A [`Stream`], or without one's traits a thing with a [`next`](Packets::next). Nothing
/// is sent before it is first polled or
/// [opened](Packets::open). A connection that breaks is replaced, and the
/// packets go on with the next number; an error is the last item. What has been collected
/// has to come within the request time-out from line to line, counted while it is waited
/// for; the next packet of a job that is followed may take its time. After the end
/// [`outcome`](Packets::outcome) has what became of the job.
///
/// Memory is bounded by one packet and one read, however slow the consumer is. Dropping
/// it at any time closes its connection and leaves nothing behind; the job goes on. A stream
/// that has come to its end has given its connection back.
///
/// ```no_run
/// # async fn example(job: harp_client::RemoteCall) -> Result<(), harp_client::Error> {
/// let mut packets = job.follow().since(0);
/// while let Some(packet) = packets.next().await {
///     let packet = packet?;
///     println!("{} {}", packet.number, packet.data);
/// }
/// println!("{:?}", packets.outcome());
/// # Ok(())
/// # }
/// ```
#[must_use = "streams do nothing unless polled"]
pub struct Packets {
    cursor: Cursor,
    state: State,
    reconnect: Reconnect,
    /// A packet that came before anybody asked for it.
    early: Option<Packet>,
    outcome: Option<Outcome>,
}

/// State of the stream: the next packet, and the next request.
#[derive(Clone)]
struct Cursor {
    dispatcher: Dispatcher,
    job: JobId,
    kind: Kind,
    timestamps: bool,
    start: Start,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Follow,
    Collected,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// The number of the next packet.
    At(u64),
    /// So many before the end of those collected so far, whose numbers are not known yet.
    Recent(u64),
}

enum State {
    /// Waits, connects and asks.
    Opening(Opening),
    Reading(Box<Reading>),
    Done,
}

/// In a mutex that is never locked, which makes it `Sync`.
type Opening = Mutex<Pin<Box<dyn Future<Output = Result<Reading, Error>> + Send>>>;

/// A reply on its way.
struct Reading {
    connection: Connection,
    /// The request that was sent.
    asked: Asked,
    /// Packets that have come in this reply.
    received: u64,
    /// Runs while a line is waited for that has to come at once.
    silence: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Follow,
    /// `read_stream`, as much as there is.
    All,
    /// `read_stream` with a limit.
    Page,
    /// One packet, to learn its number; it is not for the consumer.
    Number,
}

impl Packets {
    pub(crate) fn follow(dispatcher: Dispatcher, job: JobId) -> Packets {
        Packets::new(dispatcher, job, Kind::Follow, Start::Recent(0))
    }

    pub(crate) fn collected(dispatcher: Dispatcher, job: JobId) -> Packets {
        Packets::new(dispatcher, job, Kind::Collected, Start::At(0))
    }

    fn new(dispatcher: Dispatcher, job: JobId, kind: Kind, start: Start) -> Packets {
        let reconnect = dispatcher.reconnect();
        let cursor = Cursor {
            dispatcher,
            job,
            kind,
            timestamps: false,
            start,
        };
        Packets {
            state: State::Opening(cursor.clone().open(Duration::ZERO, None)),
            cursor,
            reconnect,
            early: None,
            outcome: None,
        }
    }

    /// Begins with the packet of this number. A number beyond the end is waited for by
    /// `follow`, and ends `stream` at once. Only before the first packet.
    pub fn since(self, number: u64) -> Packets {
        self.starting(Start::At(number))
    }

    /// Begins behind the packet of this number: the next one for a reader that has seen it.
    /// Only before the first packet.
    pub fn after(self, number: u64) -> Packets {
        self.since(number.saturating_add(1))
    }

    /// Begins this many before the end of the packets collected so far. Only before the
    /// first packet.
    pub fn recent(self, packets: u64) -> Packets {
        self.starting(Start::Recent(packets))
    }

    /// Has the dispatcher say when it received each packet, if it has that extension:
    /// [`Packet::time`]. Only before the first packet.
    pub fn timestamps(mut self) -> Packets {
        self.cursor.timestamps = true;
        let start = self.cursor.start;
        self.starting(start)
    }

    fn starting(mut self, start: Start) -> Packets {
        self.cursor.start = start;
        self.state = State::Opening(self.cursor.clone().open(Duration::ZERO, None));
        self
    }

    /// Asks the dispatcher now, and not when the first packet is wanted: what a job that is
    /// followed says from here on is not missed. Waits until the request is on its way. Cancel
    /// safe.
    ///
    /// # Errors
    ///
    /// Those of [`next`](Packets::next).
    pub async fn open(&mut self) -> Result<(), Error> {
        poll_fn(|context| self.poll_open(context)).await
    }

    /// The next packet, `None` after the last. Cancel safe.
    ///
    /// # Errors
    ///
    /// As an item, and then it is the last. Of the kinds
    /// [`ErrorKind::Communication`](crate::ErrorKind::Communication) if the dispatcher
    /// could not be reached in the first place or not again,
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) and the
    /// [refusals](crate::ErrorKind::is_refusal). The job's own errors are its outcome.
    pub async fn next(&mut self) -> Option<Result<Packet, Error>> {
        poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// How the job ended, once the stream has. `None` before, and after a
    /// [`stream`](crate::RemoteCall::stream) of a job that has not ended.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// The number of the next packet: where a later stream would continue. `None` as long
    /// as it is not known.
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        match (&self.early, self.cursor.start) {
            (Some(packet), _) => Some(packet.number),
            (None, Start::At(number)) => Some(number),
            (None, Start::Recent(_)) => None,
        }
    }

    fn poll_open(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.early.is_some() || self.is_asked() {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut *self).poll_next(context) {
            Poll::Ready(Some(Ok(packet))) => self.early = Some(packet),
            Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(error)),
            Poll::Ready(None) => {}
            Poll::Pending if self.is_asked() => {}
            Poll::Pending => return Poll::Pending,
        }
        Poll::Ready(Ok(()))
    }

    /// True if the request for the packets that the consumer is to have is on its way.
    fn is_asked(&self) -> bool {
        matches!(&self.state, State::Reading(reading) if reading.asked != Asked::Number)
    }

    /// Takes a line of the reply; the packet in it if it is one for the consumer.
    fn take(&mut self, line: &Bytes, mut reading: Box<Reading>) -> Result<Option<Packet>, Error> {
        let reply = reading.connection.reply(line)?;
        self.reconnect.heard();
        match reply {
            StreamReply::Packet(packet) => {
                reading.received += 1;
                let wanted = reading.asked != Asked::Number && self.cursor.passes(&packet)?;
                if reading.asked == Asked::Number {
                    self.cursor.start = Start::At(packet.number.saturating_add(1));
                }
                self.state = State::Reading(reading);
                wanted.then(|| Packet::of(packet)).transpose()
            }
            StreamReply::Ended(outcome) => {
                self.cursor.dispatcher.give_back(reading.connection);
                self.outcome = Some(outcome);
                Ok(None)
            }
            StreamReply::Continue => {
                if reading.asked == Asked::Follow {
                    return Err(Error::protocol(
                        "the dispatcher ended the packets of a job before its end",
                    ));
                }
                let full = reading.asked == Asked::Page && reading.received >= PAGE;
                self.cursor.dispatcher.give_back(reading.connection);
                let follows = self.cursor.kind == Kind::Follow;
                if follows && matches!(self.cursor.start, Start::Recent(_)) {
                    // There are no packets yet.
                    self.cursor.start = Start::At(0);
                }
                if full || follows {
                    self.state = State::Opening(self.cursor.clone().open(Duration::ZERO, None));
                }
                Ok(None)
            }
        }
    }

    /// Goes on with another connection, or reports the error.
    fn recover(&mut self, error: Error) -> Result<(), Error> {
        let wait = self.reconnect.after(error.of_a_question())?;
        self.cursor.dispatcher.count_reconnect();
        let until = self.reconnect.until();
        self.state = State::Opening(self.cursor.clone().open(wait, until));
        Ok(())
    }
}

impl Cursor {
    /// Waits, then asks for what is next, by a deadline if there is one.
    fn open(self, wait: Duration, until: Option<Instant>) -> Opening {
        Mutex::new(Box::pin(async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            let deadline = self.dispatcher.request_deadline();
            let deadline = until.map_or(deadline, |until| until.min(deadline));
            let mut connection = self.dispatcher.connection(deadline).await?;
            loop {
                let (request, asked) = self.request(&connection);
                let mut line = BytesMut::new();
                request.encode(&mut line);
                match connection.send(&line, deadline).await {
                    Ok(()) => {
                        return Ok(Reading {
                            connection,
                            asked,
                            received: 0,
                            silence: None,
                        });
                    }
                    Err(_) if connection.is_reused() => {
                        connection = self.dispatcher.new_connection(deadline).await?;
                    }
                    Err(error) => return Err(error),
                }
            }
        }))
    }

    fn request(&self, connection: &Connection) -> (Request, Asked) {
        let (start, asked) = match (self.kind, self.start) {
            (Kind::Follow, Start::At(number)) => (StreamStart::Since(number), Asked::Follow),
            // Following `recent` could not be continued if it broke before the first
            // packet: nobody would know its number. So that is found out first.
            (Kind::Follow, Start::Recent(0)) => (StreamStart::Recent(1), Asked::Number),
            (Kind::Follow, Start::Recent(packets)) => (StreamStart::Recent(packets), Asked::All),
            (Kind::Collected, start) => {
                let asked = if connection.has(feature::LIMIT) {
                    Asked::Page
                } else {
                    Asked::All
                };
                match start {
                    Start::At(number) => (StreamStart::Since(number), asked),
                    Start::Recent(packets) => (StreamStart::Recent(packets), asked),
                }
            }
        };
        let timestamps = self.timestamps && connection.has(feature::TIMESTAMPS);
        let request = match asked {
            Asked::Follow => Request::FollowStream {
                job: self.job,
                start,
                timestamps,
            },
            _ => Request::ReadStream {
                job: self.job,
                start,
                timestamps,
                limit: (asked == Asked::Page).then_some(PAGE),
            },
        };
        (request, asked)
    }

    /// True if this packet is the next, false if it was there before.
    fn passes(&mut self, packet: &Sent) -> Result<bool, Error> {
        match self.start {
            Start::At(next) if packet.number > next => Err(Error::protocol(format!(
                "the dispatcher sent packet {} of the job where {next} was next",
                packet.number
            ))),
            Start::At(next) if packet.number < next => Ok(false),
            _ => {
                self.start = Start::At(packet.number.saturating_add(1));
                Ok(true)
            }
        }
    }
}

fn poll_opening(opening: &mut Opening, context: &mut Context<'_>) -> Poll<Result<Reading, Error>> {
    let opening = opening.get_mut().unwrap_or_else(PoisonError::into_inner);
    opening.as_mut().poll(context)
}

impl Reading {
    /// The next line or the break of the connection. Fails if it has to come at once and
    /// does not.
    fn poll_line(
        &mut self,
        context: &mut Context<'_>,
        deadline: impl FnOnce() -> Instant,
    ) -> Poll<Result<Result<Bytes, Error>, Error>> {
        if let Poll::Ready(line) = self.connection.poll_receive(context) {
            self.silence = None;
            return Poll::Ready(Ok(line));
        }
        if self.asked == Asked::Follow {
            return Poll::Pending;
        }
        let silence = self.silence.get_or_insert_with(|| {
            let mut limit = Limit::until(deadline());
            Box::pin(async move { limit.passed().await })
        });
        ready!(silence.as_mut().poll(context));
        Poll::Ready(Err(self.connection.timed_out(Phase::Reply).of_a_question()))
    }
}

impl Stream for Packets {
    type Item = Result<Packet, Error>;

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Packet, Error>>> {
        let this = self.get_mut();
        if let Some(packet) = this.early.take() {
            return Poll::Ready(Some(Ok(packet)));
        }
        loop {
            let result = match &mut this.state {
                State::Done => return Poll::Ready(None),
                State::Opening(opening) => match ready!(poll_opening(opening, context)) {
                    Ok(reading) => {
                        this.reconnect.opened(Instant::now());
                        this.state = State::Reading(Box::new(reading));
                        continue;
                    }
                    Err(error) => Err(error),
                },
                State::Reading(reading) => {
                    let deadline = || this.cursor.dispatcher.request_deadline();
                    match ready!(reading.poll_line(context, deadline)) {
                        Ok(line) => line,
                        Err(silent) => {
                            // The dispatcher is there and says nothing: to ask once more
                            // would make that no better.
                            this.state = State::Done;
                            return Poll::Ready(Some(Err(silent)));
                        }
                    }
                }
            };
            // What comes next is put in its place below; after an error that is nothing.
            let state = std::mem::replace(&mut this.state, State::Done);
            let taken = match (result, state) {
                (Ok(line), State::Reading(reading)) => this.take(&line, reading),
                (Ok(_), _) => Ok(None),
                (Err(error), _) => Err(error),
            };
            let taken = taken.or_else(|error| this.recover(error).map(|()| None));
            match taken {
                Ok(None) => {}
                Ok(Some(packet)) => return Poll::Ready(Some(Ok(packet))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}

impl fmt::Debug for Packets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packets")
            .field("job", &self.cursor.job)
            .field("kind", &self.cursor.kind)
            .field("start", &self.cursor.start)
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}
