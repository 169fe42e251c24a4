//! Calling a host's harpd by the harp protocol over TLS. It keeps no calls: a call whose
//! connection ends ends with it, or soon after.
//!
//! A host that is away for a moment is waited for before the request goes out, and after it
//! has refused one, which it has certainly not run then.

mod left;

use std::sync::Arc;

use harp_budget::Share;
use harp_host::{Connection, Event, HostCall, HostError, HostErrorKind, Limits, Wanted};
use harp_jobs::failures;
use harp_jobs::ledger::{Hold, Token};
use harp_jobs::record::CallRecord;
use harp_jobs::transport::{Attempt, Batch, Commit, Heard, How, Minted, Proved, Stored, Transport};
use harp_jobs::world::{BoxFuture, Moment};
use harp_proto::{Failure, Outcome, host};
use harp_time::within;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::{Span, debug, info};

use crate::clock;
use crate::host_attempts::{Attempts, HostAttempts, Turn};
use crate::hosts::{Host, Hosts};
use crate::rules::{ExecutionLimits, Rules};
use crate::world::Runtime;
use left::Left;

/// What calls by the harp protocol go by.
#[derive(Debug)]
pub struct Harp {
    world: Arc<Runtime>,
    hosts: Arc<Hosts>,
    known: HostAttempts,
    rules: watch::Receiver<Arc<Rules>>,
    /// If the hosts cannot know yet that this machine was started anew: until when.
    unaware_until: Option<Instant>,
}

impl Harp {
    /// Calls the hosts of a registry. An attempt goes by the rules of its beginning.
    /// `unaware_until` is the moment until which hosts may go on with calls of before,
    /// because they cannot know that this machine was started anew.
    #[must_use]
    pub fn new(
        world: Arc<Runtime>,
        hosts: Arc<Hosts>,
        rules: watch::Receiver<Arc<Rules>>,
        unaware_until: Option<Instant>,
    ) -> Harp {
        Harp {
            world,
            hosts,
            known: HostAttempts::default(),
            rules,
            unaware_until,
        }
    }
}

impl Transport for Harp {
    fn mint(&self, _: &CallRecord) -> Minted {
        Minted::default()
    }

    fn begin(&self, _: Hold, call: Arc<CallRecord>, how: How, token: Token) -> Box<dyn Attempt> {
        let rules = Arc::clone(&self.rules.borrow());
        let patience = rules.limits.connect_patience;
        let link = match how {
            How::New => Link::None,
            // There is no other connection to a call than its own.
            How::Attach { .. } => Link::Left(Left::at_restart(&rules.limits, self.unaware_until)),
            How::Settle => Link::Left(Left::of_debt(&token, &rules.limits, self.unaware_until)),
        };
        Box::new(HarpAttempt {
            world: Arc::clone(&self.world),
            hosts: Arc::clone(&self.hosts),
            waits: self.known.of_call(&call.host, patience),
            rules,
            call,
            link,
            _result: None,
        })
    }
}

/// One call at one host.
struct HarpAttempt {
    world: Arc<Runtime>,
    hosts: Arc<Hosts>,
    waits: Attempts,
    rules: Arc<Rules>,
    call: Arc<CallRecord>,
    link: Link,
    /// What a large result holds of the memory for such until its job's end is on record.
    _result: Option<Share>,
}

/// How far the attempt has come.
enum Link {
    /// The host has got nothing.
    None,
    /// It has refused the call, or has not got all of the request. It is tried again.
    Refused,
    /// It can be sent the request.
    Open(Box<Reached>),
    /// It has been sent the request.
    Sent(Box<Sent>),
    /// It is at work.
    Running(Box<Running>),
    /// The call is over, for us.
    Left(Left),
}

/// A host that can be sent the request.
struct Reached {
    connection: Connection,
    host: Arc<Host>,
    turn: Turn,
    /// When the acknowledgement must have come.
    by: Instant,
}

/// A request that is not acknowledged yet.
struct Sent {
    call: HostCall,
    turn: Turn,
    by: Instant,
}

/// A call that its host has acknowledged.
struct Running {
    call: HostCall,
    /// The host was told that it is given up.
    is_told: bool,
}

impl HarpAttempt {
    fn limits(&self) -> &ExecutionLimits {
        &self.rules.limits
    }

    /// Connects as soon as the call may try its host, again and again while that is worth
    /// waiting for. The first try ends at `by`, if that is given. Cancel safe.
    async fn reach(&mut self, mut by: Option<Instant>) -> Result<Box<Reached>, Failure> {
        let limits = Limits {
            max_packet_size: self.limits().max_packet_size,
        };
        loop {
            let turn = self.waits.turn().await?;
            // It is looked up anew for each try.
            let Some(host) = self.hosts.get(&self.call.host) else {
                return Err(failures::unknown_host(&self.call.host));
            };
            let longest = Instant::now() + self.limits().connect_timeout;
            let by = by.take().map_or(longest, |by| by.min(longest));
            let until = turn.bound(by);
            match Connection::open(&host.endpoint, &self.rules.trust, limits, until).await {
                Ok(mut connection) => {
                    connection.set_share(self.rules.memory.share(&self.call.host));
                    return Ok(Box::new(Reached {
                        connection,
                        host,
                        turn,
                        by,
                    }));
                }
                Err(error) => {
                    if let Some(failure) = self.waits.failed(turn, &error) {
                        told_of(&error);
                        return Err(failure);
                    }
                }
            }
        }
    }

    async fn send(&mut self, reached: Reached, by: Instant) -> Commit {
        let Reached {
            connection,
            host,
            turn,
            by: acknowledged_by,
        } = reached;
        let request = host::Request {
            procedure: self.call.procedure.clone(),
            arguments: self.call.arguments.clone(),
            user: host.user.clone(),
            password: host.password.clone(),
        };
        let by = by.min(acknowledged_by);
        match connection.send(&request, by).await {
            Ok(call) => {
                let by = acknowledged_by;
                self.link = Link::Sent(Box::new(Sent { call, turn, by }));
                Commit::Done
            }
            // A host that has not got all of the request does nothing.
            Err(error) => match self.waits.failed(turn, &error) {
                None => {
                    self.link = Link::Refused;
                    Commit::Done
                }
                Some(failure) => {
                    told_of(&error);
                    Commit::Not {
                        failure,
                        certain: true,
                    }
                }
            },
        }
    }

    /// Waits for the acknowledgement. Cancel safe.
    async fn acknowledged(&mut self) -> Heard {
        let Link::Sent(sent) = &mut self.link else {
            return self.nothing_more();
        };
        let acknowledged = sent.call.acknowledged(sent.by).await;
        let Link::Sent(sent) = std::mem::replace(&mut self.link, Link::Refused) else {
            return self.nothing_more();
        };
        let Sent { call, turn, .. } = *sent;
        let Err(error) = acknowledged else {
            self.waits.acknowledged(turn);
            // They are not sent again, and can be large.
            self.call = Arc::new(self.call.without_arguments());
            let is_told = false;
            self.link = Link::Running(Box::new(Running { call, is_told }));
            return Heard::Sign;
        };
        match self.waits.failed(turn, &error) {
            Some(_) => self.ended_by(&error, Some(call)),
            None => self.refused().await,
        }
    }

    /// Reaches the host again, which has certainly not run the call. Cancel safe.
    async fn refused(&mut self) -> Heard {
        match self.reach(None).await {
            Ok(reached) => {
                self.link = Link::Open(reached);
                Heard::NeverRan(Token::default())
            }
            Err(failure) => {
                self.link = Link::None;
                Heard::End {
                    outcome: Outcome::Error(failure),
                    left: false,
                }
            }
        }
    }

    /// Takes in what has arrived. Cancel safe.
    async fn listen(&mut self, into: &mut Batch) -> Heard {
        let Link::Running(running) = &mut self.link else {
            return self.nothing_more();
        };
        let Running { call, is_told } = &mut **running;
        let mut event = call.next().await;
        if event.is_ok() {
            self.waits.heard(Instant::now());
        }
        let now = clock::now();
        loop {
            match event {
                Ok(Event::Packet(data)) => into.push(now, data.as_bytes()),
                Ok(Event::End(outcome)) => {
                    self._result = call.take_share();
                    let is_told = *is_told;
                    let left = match is_told {
                        false => Left::nothing(),
                        true if proves_cancel(&outcome) => Left::proved(),
                        // The proof may follow.
                        true => Left::of(self.take_call()),
                    };
                    let is_left = left.is_something();
                    self.link = Link::Left(left);
                    return Heard::End {
                        outcome,
                        left: is_left,
                    };
                }
                Err(error) => {
                    let call = self.take_call();
                    return self.ended_by(&error, call);
                }
            }
            if !into.is_full() {
                call.take_packets(|data| {
                    into.push(now, data);
                    match into.is_full() {
                        true => Wanted::Enough,
                        false => Wanted::More,
                    }
                });
            }
            if into.is_full() {
                return Heard::Packets;
            }
            match call.next_buffered() {
                Some(next) => event = next,
                None => return Heard::Packets,
            }
        }
    }

    /// Takes a call that is at work.
    fn take_call(&mut self) -> Option<HostCall> {
        match std::mem::replace(&mut self.link, Link::None) {
            Link::Running(running) => Some(running.call),
            _ => None,
        }
    }

    /// The call has ended with a fault. What it leaves behind depends on that.
    fn ended_by(&mut self, error: &HostError, call: Option<HostCall>) -> Heard {
        told_of(error);
        let left = Left::after(error, call);
        let is_left = left.is_something();
        self.link = Link::Left(left);
        Heard::End {
            outcome: Outcome::Error(error.to_failure()),
            left: is_left,
        }
    }

    /// A call that cannot be attached to.
    fn nothing_more(&self) -> Heard {
        Heard::End {
            outcome: Outcome::Error(failures::missing_result()),
            left: true,
        }
    }

    /// Gives the call up: what may be left of it at its host.
    fn leave(&mut self) -> &mut Left {
        if !matches!(self.link, Link::Left(_)) {
            let left = match std::mem::replace(&mut self.link, Link::None) {
                Link::None | Link::Refused | Link::Open(_) => Left::never_there(),
                Link::Sent(sent) => Left::call(sent.call),
                Link::Running(running) => Left::call(running.call),
                Link::Left(left) => left,
            };
            self.link = Link::Left(left);
        }
        match &mut self.link {
            Link::Left(left) => left,
            // Made just now.
            _ => unreachable!("a call that was given up"),
        }
    }
}

impl Attempt for HarpAttempt {
    fn ready(&mut self, by: Moment) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let by = self.world.instant(by);
            let reached = self.reach(Some(by)).await?;
            self.link = Link::Open(reached);
            Ok(())
        })
    }

    fn commit(&mut self, by: Moment) -> BoxFuture<'_, Commit> {
        Box::pin(async move {
            let by = self.world.instant(by);
            match std::mem::replace(&mut self.link, Link::Refused) {
                Link::Open(reached) => self.send(*reached, by).await,
                // It is reached by `next`, which may be given up.
                _ => Commit::Done,
            }
        })
    }

    fn next<'a>(&'a mut self, into: &'a mut Batch) -> BoxFuture<'a, Heard> {
        Box::pin(async move {
            match self.link {
                Link::Sent(_) => self.acknowledged().await,
                Link::Running(_) => self.listen(into).await,
                Link::None | Link::Refused | Link::Open(_) => self.refused().await,
                Link::Left(_) => self.nothing_more(),
            }
        })
    }

    fn stored(&mut self, _: Stored) {
        // harp/1 acknowledges nothing.
    }

    fn tell(&mut self) -> BoxFuture<'_, ()> {
        let limits = Arc::clone(&self.rules);
        Box::pin(async move {
            if let Link::Running(running) = &mut self.link {
                running.is_told = true;
                let by = Instant::now() + limits.limits.slot_grace;
                // A host that does not take it in is found out by waiting for it.
                let _ = within(by, running.call.tell_cancel()).await;
            } else {
                self.leave().tell(&limits.limits).await;
            }
        })
    }

    fn prove(&mut self) -> BoxFuture<'_, Proved> {
        let limits = Arc::clone(&self.rules);
        Box::pin(async move {
            let left = self.leave();
            let proved = left.prove(&limits.limits).await;
            if left.is_lost() && self.call.queue.is_some() && !proved.keep.is_zero() {
                info!(
                    seconds = proved.keep.as_secs(),
                    "the host may not know of the end; the job's place in its queue is kept"
                );
            }
            proved
        })
    }

    fn keeps(&self) -> bool {
        false
    }

    fn streams(&self) -> bool {
        matches!(&self.link, Link::Running(running) if running.call.streams())
    }

    fn heard(&self) -> Option<Moment> {
        match &self.link {
            Link::Running(running) => Some(self.world.moment(running.call.heard())),
            _ => None,
        }
    }

    fn debt(&self) -> Option<Token> {
        // A call that its host does not keep owes a place, or nothing.
        self.call.queue.as_ref()?;
        Some(match &self.link {
            Link::Left(left) => left.debt(),
            _ => Token::default(),
        })
    }

    fn detach(self: Box<Self>) {
        // Its host ends a call that nobody is connected to.
    }
}

/// Whether the end of a call that was given up proves that nothing of it is left.
fn proves_cancel(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Error(failure) => host::Message::Error(failure.clone()).proves_cancel(),
        _ => false,
    }
}

fn told_of(error: &HostError) {
    // Network faults are everyday: they are told in the line about the job's end. What a
    // host says is not, it can have parts of arguments in it.
    if !matches!(error.kind(), HostErrorKind::Remote(_)) {
        Span::current().record("error", tracing::field::display(&error));
    }
    debug!(%error, "call to the host failed");
}
