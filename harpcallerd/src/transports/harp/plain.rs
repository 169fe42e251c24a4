//! One call at a host that keeps none (`harp/1`): over one connection, with which it ends.

use std::sync::Arc;

use harp_budget::Share;
use harp_host::{Event, HostCall, HostError, Wanted};
use harp_jobs::failures;
use harp_jobs::ledger::Token;
use harp_jobs::transport::{Batch, Heard, Proved};
use harp_proto::{Evidence, Outcome, host};
use harp_time::clock;
use harp_time::within;
use tokio::time::Instant;

use super::joined::Said;
use super::left::Left;
use super::told_of;
use crate::host_attempts::{Attempts, Try};
use crate::rules::Rules;

/// One call over one connection.
pub(super) struct PlainCall {
    rules: Arc<Rules>,
    link: Link,
    /// What a large result holds of the memory for such until its job's end is on record.
    _result: Option<Share>,
    /// What the call had printed, as its host has said when it was given up.
    evidence: Option<Evidence>,
}

/// How far the call has come.
enum Link {
    /// It has been sent the request.
    Sent(Box<Sent>),
    /// It is at work.
    Running(Box<Running>),
    /// The call is over, for us.
    Left(Left),
}

/// A request that is not acknowledged yet.
struct Sent {
    call: HostCall,
    turn: Try,
    by: Instant,
}

/// A call that its host has acknowledged.
struct Running {
    call: HostCall,
    /// The host was told that it is given up.
    is_told: bool,
}

impl PlainCall {
    /// A call whose request was sent; its acknowledgement must come by then.
    pub(super) fn sent(call: HostCall, turn: Try, by: Instant, rules: &Arc<Rules>) -> PlainCall {
        PlainCall::at(Link::Sent(Box::new(Sent { call, turn, by })), rules)
    }

    /// A call that cannot be attached to.
    pub(super) fn left(left: Left, rules: &Arc<Rules>) -> PlainCall {
        PlainCall::at(Link::Left(left), rules)
    }

    fn at(link: Link, rules: &Arc<Rules>) -> PlainCall {
        PlainCall {
            rules: Arc::clone(rules),
            link,
            _result: None,
            evidence: None,
        }
    }

    /// Waits for what the host says. Cancel safe.
    pub(super) async fn next(&mut self, waits: &mut Attempts, into: &mut Batch) -> Said {
        match self.link {
            Link::Sent(_) => self.acknowledged(waits).await,
            Link::Running(_) => Said::Heard(self.listen(waits, into).await),
            Link::Left(_) => Said::Heard(nothing_more()),
        }
    }

    /// Waits for the acknowledgement. Cancel safe.
    async fn acknowledged(&mut self, waits: &mut Attempts) -> Said {
        let Link::Sent(sent) = &mut self.link else {
            return Said::Heard(nothing_more());
        };
        let acknowledged = sent.call.acknowledged(sent.by).await;
        let gone = Link::Left(Left::never_there());
        let Link::Sent(sent) = std::mem::replace(&mut self.link, gone) else {
            return Said::Heard(nothing_more());
        };
        let Sent { call, turn, .. } = *sent;
        let Err(error) = acknowledged else {
            waits.acknowledged(turn);
            let is_told = false;
            self.link = Link::Running(Box::new(Running { call, is_told }));
            return Said::Heard(Heard::Sign);
        };
        match waits.failed(turn, &error) {
            Some(_) => Said::Heard(self.ended_by(&error, Some(call), false)),
            None => Said::Again,
        }
    }

    /// Takes in what has arrived. Cancel safe.
    async fn listen(&mut self, waits: &Attempts, into: &mut Batch) -> Heard {
        let Link::Running(running) = &mut self.link else {
            return nothing_more();
        };
        let Running { call, is_told } = &mut **running;
        let mut event = call.next().await;
        if event.is_ok() {
            waits.heard(Instant::now());
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
                        true if proves_cancel(&outcome) => {
                            self.evidence = evidence_of(&outcome);
                            Left::proved()
                        }
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
                    let is_told = *is_told;
                    let call = self.take_call();
                    return self.ended_by(&error, call, is_told);
                }
            }
            if !into.is_full() {
                call.take_packets(|data| {
                    into.push(now, data);
                    if into.is_full() {
                        Wanted::Enough
                    } else {
                        Wanted::More
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
        match std::mem::replace(&mut self.link, Link::Left(Left::never_there())) {
            Link::Running(running) => Some(running.call),
            _ => None,
        }
    }

    /// The call has ended with a fault. What it leaves behind depends on that.
    fn ended_by(&mut self, error: &HostError, call: Option<HostCall>, is_told: bool) -> Heard {
        told_of(error);
        let left = Left::after(error, call, is_told);
        let is_left = left.is_something();
        self.link = Link::Left(left);
        Heard::End {
            outcome: Outcome::Error(error.to_failure()),
            left: is_left,
        }
    }

    /// Gives the call up: what may be left of it at its host.
    fn leave(&mut self) -> &mut Left {
        if !matches!(self.link, Link::Left(_)) {
            let left = match std::mem::replace(&mut self.link, Link::Left(Left::never_there())) {
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

    /// Tells the host that the call is given up, within `slot_grace`.
    pub(super) async fn tell(&mut self) {
        let rules = Arc::clone(&self.rules);
        if let Link::Running(running) = &mut self.link {
            running.is_told = true;
            let by = Instant::now() + rules.limits.slot_grace;
            // A host that does not take it in is found out by waiting for it.
            let _ = within(by, running.call.tell_cancel()).await;
        } else {
            self.leave().tell(&rules.limits).await;
        }
    }

    /// Waits until the host is done, as [`Left::prove`] does.
    pub(super) async fn prove(&mut self) -> Proved {
        let rules = Arc::clone(&self.rules);
        self.leave().prove(&rules.limits).await
    }

    /// Whether the host may not know that the connection is gone.
    pub(super) fn is_lost(&self) -> bool {
        matches!(&self.link, Link::Left(left) if left.is_lost())
    }

    /// Whether the host has last words for a call that is given up. Whoever is not our harpd
    /// may say nothing for as long as the procedure runs on.
    pub(super) fn talks(&self) -> bool {
        match &self.link {
            Link::Running(running) => running.call.streams() || running.call.proves_cancels(),
            _ => false,
        }
    }

    /// What the call had printed, if its host has said it when the call was given up.
    pub(super) fn evidence(&mut self) -> Option<Evidence> {
        self.evidence.take()
    }

    /// When the host was heard last, once it has acknowledged the call.
    pub(super) fn heard(&self) -> Option<Instant> {
        match &self.link {
            Link::Running(running) => Some(running.call.heard()),
            _ => None,
        }
    }

    /// What has to be on record while the host may be busy.
    pub(super) fn debt(&self) -> Token {
        match &self.link {
            Link::Left(left) => left.debt(),
            _ => Token::default(),
        }
    }
}

/// A call that cannot be attached to.
fn nothing_more() -> Heard {
    Heard::End {
        outcome: Outcome::Error(failures::missing_result()),
        left: true,
    }
}

/// Whether the end of a call that was given up proves that nothing of it is left.
fn proves_cancel(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Error(failure) => host::Message::Error(failure.clone()).proves_cancel(),
        _ => false,
    }
}

/// What a call had printed, as it stands in the end of one that was given up.
pub(super) fn evidence_of(outcome: &Outcome) -> Option<Evidence> {
    match outcome {
        Outcome::Error(failure) => Evidence::of(failure),
        _ => None,
    }
}
