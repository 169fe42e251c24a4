//! Calls that outlive their connection (`harp/2`): one connection that carries one call
//! after the other, each with a request or an attach.
//!
//! [`open`] offers `harp/2` and then `harp/1`, and gives what the host has chosen. On a
//! [`KeptConnection`] everything waits in [`KeptConnection::next`]: it sends what has been
//! said, reads while it cannot write, answers beats at once, and returns the next [`News`].
//!
//! Dropping a connection leaves its call running at the host.

mod hearing;
mod news;
mod opening;
mod pace;
mod room;
mod vouching;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use harp_budget::Share;
use harp_proto::host;
use harp_proto::host::kept::{Attach, Order, Request, Uptime};
use tokio::io::AsyncWrite;
use tokio::time::Instant;
use zeroize::Zeroize;

pub use news::News;
pub use opening::{Opened, open};

use pace::Pace;
use room::most_bytes;
use vouching::Vouching;

use crate::connection::{Connection, HostLines};
use crate::{Endpoint, HostError, Limits, Phase, Wanted};

/// A host sends a beat so often at least.
const BEAT: Duration = Duration::from_secs(10);
/// No further answer to a beat is put behind so many bytes that wait to be sent.
const MOST_UNSENT: usize = 4096;
/// A connection is broken when so many beats have not come.
const BEATS_MISSED: u32 = 3;

/// A connection of `harp/2`. Without a call it may be kept for the next one.
#[derive(Debug)]
pub struct KeptConnection {
    endpoint: Endpoint,
    limits: Limits,
    lines: HostLines,
    out: BytesMut,
    unflushed: bool,
    stage: Stage,
    /// A call was had on it: the next request or attach brings `up`.
    had_call: bool,
    /// The host was asked to go on with a call, not to begin one.
    attaches: bool,
    /// An answer to a beat waits until what was said before has gone out.
    owes_answer: bool,
    streams: bool,
    /// What may be forgotten, as it was said last.
    durable: u64,
    /// What is said of the host's clock.
    vouching: Vouching,
    /// How often a beat comes.
    beat: Duration,
    /// Whether beats come more often than that by far.
    pace: Pace,
    /// When any bytes came last, and when some came that were no beat.
    heard: Instant,
    spoke: Instant,
    /// The number of the next packet.
    packet: u64,
    /// By how much a standstill of this process has delayed its making.
    delay: Duration,
}

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// No call.
    Idle,
    /// A request or an attach is on its way.
    Asked,
    /// There is a call.
    Running,
    /// Its end has come, and is not acknowledged.
    Ended,
}

impl KeptConnection {
    fn over(connection: Connection) -> KeptConnection {
        let (endpoint, limits, lines, delay) = connection.into_parts();
        let now = Instant::now();
        KeptConnection {
            endpoint,
            limits,
            lines,
            out: BytesMut::new(),
            unflushed: false,
            stage: Stage::Idle,
            had_call: false,
            attaches: false,
            owes_answer: false,
            streams: false,
            durable: 0,
            vouching: Vouching::new(now),
            beat: BEAT,
            pace: Pace::new(now),
            heard: now,
            spoke: now,
            packet: 0,
            delay,
        }
    }

    /// How much longer than planned an answer may take on a connection that had no call:
    /// this process stood still while it was made.
    #[must_use]
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Has large messages of the host hold their bytes of a budget.
    pub fn set_share(&mut self, share: Share) {
        self.lines.set_share(share);
    }

    /// What the last message holds of the budget for large ones, if it does: to be kept as
    /// long as the message.
    pub fn take_share(&mut self) -> Option<Share> {
        self.lines.take_share()
    }

    /// The host.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// True if a request or an attach may be sent: there is no call, or the end of the last
    /// one has been acknowledged.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Idle
    }

    /// True if a call was had on it.
    #[must_use]
    pub fn had_call(&self) -> bool {
        self.had_call
    }

    /// Says the request; its `up` is set here. To be sent, and answered, by
    /// [`KeptConnection::next`].
    ///
    /// # Panics
    ///
    /// If the connection is not idle, in a debug build.
    pub fn request(&mut self, mut request: Request) {
        request.keep.up = self.up_of_request();
        self.ask(&Order::Call(request), 0);
    }

    /// Says the attach; its `up` is set here. To be sent, and answered, by
    /// [`KeptConnection::next`].
    ///
    /// # Panics
    ///
    /// If the connection is not idle, in a debug build.
    pub fn attach(&mut self, mut attach: Attach) {
        attach.up = self.up_of_request();
        let since = attach.since;
        self.ask(&Order::Attach(attach), since);
    }

    /// Says that packets below `packets` are durable. Beats are answered with this number
    /// from now on.
    pub fn acknowledge(&mut self, packets: u64) {
        self.durable = packets;
        if self.has_call() {
            self.say_durable(false);
        }
    }

    /// Says that the end is durable too, and all packets. The connection is idle then: the
    /// next request can follow at once.
    pub fn acknowledge_end(&mut self) {
        if self.stage == Stage::Ended {
            self.durable = self.packet;
            self.say_durable(true);
            self.stage = Stage::Idle;
            self.beat = BEAT;
        }
    }

    /// Says that the call is to end. Its end comes as any: a proof is
    /// [`host::Message::proves_cancel`]. May be said as soon as the request was.
    pub fn cancel(&mut self) {
        if matches!(self.stage, Stage::Asked | Stage::Running) {
            self.say(&Order::Cancel);
        }
    }

    /// True if packets may come; false before the acknowledgement.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.streams
    }

    /// The newest `up` of the host, and when it came.
    #[must_use]
    pub fn newest_up(&self) -> Option<(Uptime, Instant)> {
        self.vouching.newest()
    }

    /// When [`KeptConnection::vouch`] is due, if nothing is read until then; `None` if there
    /// is no call.
    #[must_use]
    pub fn vouches_at(&self) -> Option<Instant> {
        let due = self.vouching.due(self.beat);
        due.filter(|_| self.has_call())
    }

    /// Says that the caller is there, with the moment that the host's clock must have come to:
    /// for one that reads nothing at present. To be sent by [`KeptConnection::flush`].
    pub fn vouch(&mut self) {
        if self.has_call()
            && self.out.len() <= MOST_UNSENT
            && let Some(up) = self.vouching.estimate(Instant::now())
        {
            let packets = self.durable;
            let end = false;
            self.say(&Order::Ack { packets, up, end });
        }
    }

    /// When something came from the host last that is no beat, be it a part of a message or
    /// a sign of life between two.
    #[must_use]
    pub fn spoke(&self) -> Instant {
        self.spoke
    }

    /// When the connection is to be taken for broken if nothing comes: three beats after
    /// what came last.
    #[must_use]
    pub fn broken_at(&self) -> Instant {
        // While memory for a large line is waited for, it is not the host that is silent.
        self.heard.max(self.lines.heard()) + BEATS_MISSED * self.beat
    }

    /// True if everything that was said has been given to the system.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        !self.unflushed
    }

    /// Sends what was said, and waits for the next news. Cancel safe. Not to be called
    /// again after an error.
    ///
    /// # Errors
    ///
    /// A [`HostError`] of the phase `request` as long as the request has not been sent,
    /// `acknowledge` until it is answered, then `stream`. The connection has ended, or the
    /// host sent what is no message at this point. The call may go on.
    pub async fn next(&mut self) -> Result<News, HostError> {
        poll_fn(|context| self.poll_news(context)).await
    }

    /// The next news if it has arrived already, without waiting.
    pub fn next_buffered(&mut self) -> Option<Result<News, HostError>> {
        let mut context = Context::from_waker(Waker::noop());
        match self.poll_news(&mut context) {
            Poll::Ready(news) => Some(news),
            Poll::Pending => None,
        }
    }

    /// Sends what was said, as far as the host takes it, without reading.
    ///
    /// # Errors
    ///
    /// As [`KeptConnection::next`].
    pub async fn flush(&mut self) -> Result<(), HostError> {
        let flushed = poll_fn(|context| self.poll_flush(context)).await;
        flushed.map_err(|error| HostError::io(&self.endpoint, self.phase(), error))
    }

    /// Takes packets as [`HostCall::take_packets`](crate::HostCall::take_packets) does.
    pub fn take_packets(&mut self, mut take: impl FnMut(&[u8]) -> Wanted) {
        if !self.streams || self.stage != Stage::Running {
            return;
        }
        let limit = self.limits.max_packet_size;
        let mut wanted = Wanted::More;
        let mut taken = 0;
        self.lines.take_read(|line| {
            let packet = host::Message::plain_packet(line).filter(|data| data.len() <= limit);
            match (wanted, packet) {
                (Wanted::More, Some(data)) => {
                    wanted = take(data);
                    taken += 1;
                    true
                }
                _ => false,
            }
        });
        self.packet += taken;
        if taken > 0 {
            self.heard = Instant::now();
            self.spoke = self.heard;
        }
    }

    /// Polls for what [`KeptConnection::next`] waits for.
    ///
    /// # Errors
    ///
    /// Those of [`KeptConnection::next`].
    pub fn poll_news(&mut self, context: &mut Context<'_>) -> Poll<Result<News, HostError>> {
        // What cannot be sent is found out by reading.
        let _ = self.poll_flush(context);
        let phase = self.phase();
        let before = self.lines.heard();
        let line = self.lines.poll_next(context);
        let after = self.lines.heard();
        if after > before {
            self.heard = after;
        }
        let line = match line {
            Poll::Pending => {
                if after > before && self.lines.has_partial_line() {
                    self.spoke = after;
                    if self.vouches_at().is_some_and(|due| due <= after) {
                        self.vouch();
                        let _ = self.poll_flush(context);
                        return Poll::Ready(Ok(News::Part));
                    }
                }
                return Poll::Pending;
            }
            Poll::Ready(line) => line,
        };
        let line = line.map_err(|error| HostError::line(&self.endpoint, phase, error))?;
        let news = self.news(&line, phase)?;
        if !matches!(news, News::Beat { .. }) || line.first() == Some(&b' ') {
            self.spoke = self.heard;
        }
        // An answer to a beat goes out before anybody looks at it.
        let _ = self.poll_flush(context);
        Poll::Ready(Ok(news))
    }

    fn phase(&self) -> Phase {
        match self.stage {
            Stage::Asked if self.unflushed => Phase::Request,
            Stage::Asked => Phase::Acknowledge,
            Stage::Idle | Stage::Running | Stage::Ended => Phase::Stream,
        }
    }

    fn has_call(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Ended)
    }

    /// On a connection that has had a call a request is as new as this.
    fn up_of_request(&self) -> Option<Uptime> {
        let newest = self.vouching.newest().map(|(up, _)| up);
        newest.filter(|_| self.had_call)
    }

    fn ask(&mut self, order: &Order, since: u64) {
        debug_assert!(self.is_idle(), "one call at a time");
        self.attaches = matches!(order, Order::Attach(_));
        self.say(order);
        self.stage = Stage::Asked;
        self.streams = false;
        self.durable = since;
        self.packet = since;
        self.heard = Instant::now();
        self.spoke = self.heard;
    }

    fn say_durable(&mut self, end: bool) {
        // A host that sends beats and reads nothing is not to fill the memory with answers.
        if !end && self.out.len() > MOST_UNSENT {
            self.owes_answer = true;
            return;
        }
        let Some(up) = self.vouching.say(Instant::now()) else {
            return;
        };
        let packets = self.durable;
        self.say(&Order::Ack { packets, up, end });
    }

    fn say(&mut self, order: &Order) {
        // All of it at once: growing would leave copies of a password behind.
        self.out.reserve(most_bytes(order));
        order.encode(&mut self.out);
        self.unflushed = true;
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.unflushed {
            let stream = Pin::new(self.lines.source_mut());
            if self.out.is_empty() {
                ready!(stream.poll_flush(context))?;
                self.unflushed = false;
                if std::mem::take(&mut self.owes_answer) && self.has_call() {
                    self.say_durable(false);
                }
                continue;
            }
            match ready!(stream.poll_write(context, &self.out))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => {
                    // There may be a password in it.
                    self.out[..sent].zeroize();
                    self.out.advance(sent);
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for KeptConnection {
    fn drop(&mut self) {
        self.out.zeroize();
    }
}
