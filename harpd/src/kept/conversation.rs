//! One connection of `harp/2`: a call at a time, each with a request or an attach, then
//! acknowledgements (keeping, sections 2 and 5).
//!
//! The connection has nothing of the call but a place in its lines: whatever ends it, the
//! call goes on, but for a cancel.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use harp_budget::{Budget, Share};
use harp_proto::host;
use harp_proto::host::kept::{Message, Order, Uptime};
use harp_proto::{Failure, LINE_ALLOWANCE, error_type};
use harp_service::accept::keep_unsent_below;
use harp_time::Limit;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

mod large;
mod request;
mod sending;

use super::backlog::Cursor;
use super::call::KeptCall;
use super::calls::KeptCalls;
use super::link::{Link, LinkEvent};
use crate::admission::crowded_out;
use crate::caller::Caller;
use crate::connections::ConnectionPermit;
use crate::reaper::Reaper;
use crate::slots::Slots;
use crate::state::State;
use large::Large;

/// From the first byte of a request to its line's end.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// A connection without a call is closed after this time.
const IDLE_TIME: Duration = Duration::from_secs(75);
/// A beat comes so often at least.
const BEAT: Duration = Duration::from_secs(10);
/// The caller of a call that waits for its slots is told so after this time.
const WAITS_TOLD: Duration = Duration::from_secs(1);
/// A connection is broken after so many beats without a line.
const BEATS_UNANSWERED: u32 = 3;
/// Greatest length of a line while there is a call, in bytes: those are short.
const ORDER_LIMIT: usize = 4096;
/// Greatest length of a request's JSON text, in bytes.
const MAX_REQUEST: usize = 16 << 20;
/// So many bytes wait in the system to be sent at most. Over a way that takes a megabyte in a
/// minute, a beat behind the megabytes that it would keep otherwise would come too late.
const UNSENT: u32 = 256 << 10;
/// Copied, or read from a file, at once, in bytes.
const CHUNK: usize = 32 << 10;

/// What conversations share.
#[derive(Debug, Clone)]
pub struct House {
    /// The kept calls.
    pub calls: Arc<KeptCalls>,
    /// The configuration in use.
    pub state: watch::Receiver<Arc<State>>,
    /// Memory for large requests of strangers.
    pub large_requests: Budget,
    /// Starts the commands.
    pub reaper: Reaper,
    /// Slots of all procedures together.
    pub slots: Arc<Slots>,
    /// Cancelled when harpd stops and calls have to end.
    pub stopping: CancellationToken,
    /// Cancelled when connections have to end too.
    pub closing: CancellationToken,
    /// The tasks of calls.
    pub runs: TaskTracker,
}

/// The conversation.
struct Conversation {
    house: House,
    link: Link<TlsStream<TcpStream>>,
    peer: SocketAddr,
    /// The number of the connection.
    number: u64,
    permit: ConnectionPermit,
    has_authenticated: bool,
    /// When harpd took the connection.
    taken: Uptime,
    /// A request or an attach has been judged on it.
    had_request: bool,
    /// A call has been had on it.
    had_call: bool,
    holding: Option<Holding>,
    /// Without a call: when the next line has to be there, or the connection is closed.
    deadline: Limit,
    /// Without a call: a part of a line has come.
    is_reading: bool,
    /// What the connection holds of the strangers' memory until it has authenticated.
    place: Share,
    large: Large,
    beat_at: Instant,
    /// A beat waits for the end of a line.
    beat_pending: bool,
    unanswered: u32,
    /// When a line came last.
    heard_at: Instant,
    /// What to say last.
    last_words: Option<Failure>,
}

/// A call that the connection has.
struct Holding {
    call: Arc<KeptCall>,
    cursor: Cursor,
    changes: watch::Receiver<u64>,
    /// Bytes that are being read from the disk, and whether they are of packets.
    reading: Option<(JoinHandle<io::Result<Bytes>>, bool)>,
    /// Signs of life that were passed on.
    signs: u64,
    /// The caller was told that the call waits for its slots.
    told_waits: bool,
}

/// What happens next.
enum Step {
    Link(LinkEvent),
    Read(io::Result<Bytes>),
    Changed,
    Beat,
    Late,
    /// There is memory for more of a request, or it has to give way.
    Room(Result<(), harp_budget::GaveWay>),
    Dropped,
    Closing,
}

/// Whether the conversation goes on.
enum Flow {
    On,
    /// The connection is to be closed.
    Over,
}

/// Serves a connection on which `harp/2` was agreed, and which harpd took at the moment
/// `taken`, to its end. Its first line has to be there in time. Until it has authenticated it
/// holds its `place` in the strangers' memory.
pub async fn serve(
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    taken: Uptime,
    deadline: Limit,
    permit: ConnectionPermit,
    place: Share,
    house: House,
) {
    keep_unsent_below(stream.get_ref().0, UNSENT);
    let conversation = Conversation {
        link: Link::new(stream, MAX_REQUEST + LINE_ALLOWANCE),
        peer,
        number: house.calls.number_connection(),
        permit,
        has_authenticated: false,
        taken,
        had_request: false,
        had_call: false,
        holding: None,
        deadline,
        is_reading: false,
        place,
        large: Large::new(&house.large_requests, peer.ip()),
        beat_at: Instant::now() + BEAT,
        beat_pending: false,
        unanswered: 0,
        heard_at: Instant::now(),
        last_words: None,
        house,
    };
    conversation.run().await;
}

impl Conversation {
    async fn run(mut self) {
        loop {
            if self.is_displaced() {
                debug!(peer = %self.peer, "somebody newer has the call");
                break;
            }
            self.fill();
            let is_inside = self
                .holding
                .as_ref()
                .is_some_and(|held| held.cursor.is_inside());
            if self.last_words.is_some() && !is_inside {
                break;
            }
            let step = self.step().await;
            if let Flow::Over = self.take(step).await {
                break;
            }
        }
        self.part().await;
    }

    async fn step(&mut self) -> Step {
        let Conversation {
            link,
            holding,
            deadline,
            place,
            large,
            permit,
            house,
            ..
        } = self;
        let is_idle = holding.is_none();
        let wanted = match holding {
            Some(_) => None,
            None => large.wanted(link.partial_length()),
        };
        let waits = wanted.is_some();
        // Without a call there is nothing to be heard by a caller that does not listen.
        let owes_answers = is_idle && link.unsent() >= CHUNK;
        let (reading, changes) = match holding {
            Some(held) => (held.reading.as_mut(), Some(&mut held.changes)),
            None => (None, None),
        };
        tokio::select! {
            event = link.event(!waits && !owes_answers) => Step::Link(event),
            read = read(reading) => Step::Read(read),
            () = changed(changes) => Step::Changed,
            () = tokio::time::sleep_until(self.beat_at) => Step::Beat,
            () = deadline.passed(), if is_idle && !waits => Step::Late,
            room = large.room(wanted) => Step::Room(room),
            () = permit.dropped(), if !self.has_authenticated => Step::Dropped,
            () = place.gave_way() => Step::Dropped,
            () = house.closing.cancelled() => Step::Closing,
        }
    }

    async fn take(&mut self, step: Step) -> Flow {
        match step {
            Step::Link(LinkEvent::Line(line)) => return self.heard(line).await,
            Step::Link(LinkEvent::TooLong(error)) => {
                return self.close_for(invalid(format!("the line is a {error}")));
            }
            Step::Link(LinkEvent::Part) => {
                self.large.has_read(self.link.partial_length());
                if self.holding.is_none() && !self.is_reading && self.had_request {
                    self.deadline = Limit::after(REQUEST_TIME);
                }
                self.is_reading = true;
            }
            Step::Link(LinkEvent::Closed) => return Flow::Over,
            Step::Read(Ok(bytes)) => self.has_read(&bytes),
            Step::Read(Err(error)) => {
                // An attach finds what is there then.
                warn!(peer = %self.peer, %error, "cannot read from a file of state_directory");
                return Flow::Over;
            }
            Step::Beat => return self.beat(),
            Step::Late if self.is_reading || !self.had_request => {
                return self.close_for(invalid(format!(
                    "no whole request came within {} s",
                    REQUEST_TIME.as_secs()
                )));
            }
            Step::Late => return Flow::Over,
            Step::Room(Ok(())) => self.large.has_waited(&mut self.deadline),
            Step::Room(Err(_)) => return self.close_for(crowded_out()),
            Step::Dropped | Step::Closing => return Flow::Over,
            Step::Link(LinkEvent::Sent) | Step::Changed => {}
        }
        Flow::On
    }

    /// True if the call has gone to another connection.
    fn is_displaced(&self) -> bool {
        let held = self.holding.as_ref();
        held.is_some_and(|held| !held.call.is_held_by(self.number))
    }

    /// A line has come.
    async fn heard(&mut self, line: Bytes) -> Flow {
        self.unanswered = 0;
        self.heard_at = Instant::now();
        self.is_reading = false;
        let large = self.large.whole();
        let order = match Order::decode(&line) {
            Ok(order) => order,
            // Of a call that goes on only this type is no end.
            Err(mut failure) if self.holding.is_some() => {
                failure.error_type = error_type::INVALID_REQUEST.to_owned();
                return self.close_for(failure);
            }
            Err(failure) => return self.close_for(failure),
        };
        drop(line);
        match (order, self.holding.is_some()) {
            (Order::Ack { packets, up, end }, true) => self.acknowledged(packets, up, end),
            (Order::Cancel, true) => {
                if let Some(held) = &self.holding {
                    self.house.calls.cancel(&held.call, self.number);
                }
                Flow::On
            }
            // It has crossed a denial.
            (Order::Ack { .. } | Order::Cancel, false) if self.had_request => Flow::On,
            (Order::Ack { .. } | Order::Cancel, false) => {
                self.close_for(invalid("there is no call on this connection".to_owned()))
            }
            (Order::Call(_) | Order::Attach(_), true) => self.close_for(invalid(
                "the end of the call on this connection has not been acknowledged".to_owned(),
            )),
            (Order::Call(request), false) => self.request(request, large).await,
            (Order::Attach(attach), false) => self.attach(attach).await,
        }
    }

    fn acknowledged(&mut self, packets: u64, up: Uptime, end: bool) -> Flow {
        let Some(held) = &self.holding else {
            return Flow::On;
        };
        let calls = &self.house.calls;
        if up > calls.now() {
            return self.close_for(invalid_field("up", "is not an up that came from here"));
        }
        if packets > held.cursor.packets() {
            return self.close_for(invalid_field("ack", "so many packets have not been sent"));
        }
        if end && !held.cursor.is_at_end() {
            return self.close_for(invalid_field("end", "the end has not been sent"));
        }
        calls.acknowledge(&held.call, self.number, packets, up, end);
        if end {
            self.holding = None;
            self.become_idle();
        }
        Flow::On
    }

    fn become_idle(&mut self) {
        self.deadline = Limit::after(IDLE_TIME);
        self.link.set_line_limit(MAX_REQUEST + LINE_ALLOWANCE);
        self.beat_at = Instant::now() + BEAT;
        self.unanswered = 0;
    }

    /// Answers a request that is over with that.
    fn refuse(&mut self, failure: Failure) -> Flow {
        info!(peer = %self.peer, r#type = failure.error_type, "request refused");
        self.link
            .send(&Message::Plain(host::Message::Error(failure)));
        self.deadline = Limit::after(IDLE_TIME);
        Flow::On
    }

    /// Has the connection closed for a fault of the other end, once that has been said.
    fn close_for(&mut self, failure: Failure) -> Flow {
        info!(peer = %self.peer, r#type = failure.error_type, "connection refused");
        self.last_words = Some(failure);
        Flow::On
    }

    /// Lets go of the call, says the last words, and closes.
    async fn part(mut self) {
        if let Some(held) = self.holding.take() {
            self.house.calls.left(&held.call, self.number);
        }
        if let Some(failure) = self.last_words.take() {
            self.link
                .send(&Message::Plain(host::Message::Error(failure)));
        }
        let closing = self.house.closing.clone();
        let (stream, unsent) = self.link.into_parts();
        let patience = IDLE_TIME;
        let caller = Caller::with_unsent(stream, unsent, patience);
        tokio::select! {
            () = caller.finish(&closing) => {}
            () = self.permit.dropped(), if !self.has_authenticated => {}
        }
    }
}

async fn read(reading: Option<&mut (JoinHandle<io::Result<Bytes>>, bool)>) -> io::Result<Bytes> {
    match reading {
        Some((reading, _)) => reading
            .await
            .unwrap_or_else(|error| Err(io::Error::other(error))),
        None => std::future::pending().await,
    }
}

async fn changed(changes: Option<&mut watch::Receiver<u64>>) {
    if let Some(changes) = changes
        && changes.changed().await.is_ok()
    {
        return;
    }
    // Without a call; an error would mean that the call is gone, which is held here.
    std::future::pending().await
}

fn invalid(message: String) -> Failure {
    Failure::new(error_type::INVALID_REQUEST, message)
}

fn invalid_field(field: &str, problem: &str) -> Failure {
    invalid(format!("{field}: {problem}")).with_data(&serde_json::json!({ "field": field }))
}
