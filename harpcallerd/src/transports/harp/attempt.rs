//! One attempt at a call: its host is reached, says what it speaks, and is sent the request.
//! What follows is the call's own: `kept.rs`, or `plain.rs` at a host that keeps no calls.

mod sending;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use harp_host::kept::{self, Opened};
use harp_host::{Connection, HostError, Limits};
use harp_jobs::failures;
use harp_jobs::ledger::{Hold, Token};
use harp_jobs::record::CallRecord;
use harp_jobs::transport::{Attempt, Batch, Commit, Heard, How, Proof, Proved, Stored};
use harp_jobs::world::{BoxFuture, Moment};
use harp_proto::host::kept::CallId;
use harp_proto::{Evidence, Failure, Outcome};
use harp_time::Limit;
use tokio::time::Instant;
use tracing::{debug, info};

use super::idle::{Line, made_by};
use super::joined::Said;
use super::kept::KeptCall;
use super::left::Left;
use super::lives::Speaks;
use super::plain::PlainCall;
use super::token::Note;
use super::{Shared, told_of};
use crate::host_attempts::{Attempts, Try};
use crate::hosts::Harpd;
use crate::rules::Rules;

/// Bits of an epoch that count; the number of the dispatcher's start stands above them.
const COUNT: u32 = 20;

/// One call at one host.
pub(super) struct HarpAttempt {
    shared: Arc<Shared>,
    waits: Attempts,
    rules: Arc<Rules>,
    call: Arc<CallRecord>,
    id: CallId,
    /// What is on record; `None` for a call that its host does not keep.
    note: Option<Note>,
    /// The highest epoch that was used.
    epoch: u64,
    /// Whoever runs the job has been told that nobody has run the call.
    is_unrun: bool,
    link: Link,
}

/// How far the attempt has come.
enum Link {
    /// The host has got nothing.
    None,
    /// It is away, has refused the call, or has not got all of the request. It is tried again.
    Refused,
    /// It can be sent the request.
    Open(Box<Reached>),
    /// It has been sent the request, and keeps no calls.
    Plain(PlainCall),
    /// It has been sent the request, or is to be attached to.
    Kept(Box<KeptCall>),
}

/// A host that can be sent the request.
struct Reached {
    made: Made,
    host: Arc<Harpd>,
    turn: Try,
    /// When the acknowledgement must have come.
    by: Instant,
}

/// A connection, as the host speaks.
enum Made {
    Plain(Box<Connection>),
    Kept(Line),
}

impl HarpAttempt {
    pub(super) fn new(
        shared: &Arc<Shared>,
        hold: Hold,
        call: Arc<CallRecord>,
        how: How,
        token: Token,
    ) -> HarpAttempt {
        let rules = Arc::clone(&shared.rules.borrow());
        let patience = rules.limits.connect_patience;
        let note = Note::read(&token);
        let id = CallId {
            job: hold.job,
            attempt: hold.attempt,
        };
        let epoch = first_epoch(hold, how, note.as_ref());
        let kept = |note: &Note| KeptCall::new(shared, &rules, &call, id, note, epoch);
        let unaware = shared.unaware_until;
        let plain = |left| Link::Plain(PlainCall::left(left, &rules));
        let link = match (how, &note) {
            (How::New, _) => Link::None,
            // A request that names no life of harpd is run by nobody.
            (How::Attach { .. }, Some(Note { boot: None, .. })) => Link::Refused,
            (How::Attach { since }, Some(note)) => {
                Link::Kept(Box::new(kept(note).at_restart(since)))
            }
            (How::Settle, Some(note)) => Link::Kept(Box::new(kept(note).owed(note))),
            // There is no other connection to a call than its own.
            (How::Attach { .. }, None) => plain(Left::at_restart(&rules.limits, unaware)),
            (How::Settle, None) => plain(Left::of_debt(&token, &rules.limits, unaware)),
        };
        let waits = shared.known.of_call(&call.host, patience);
        if call.submitted < shared.began_at {
            // Nobody knows any more whether its host had been heard of: it is waited for.
            waits.heard(shared.began);
        }
        HarpAttempt {
            shared: Arc::clone(shared),
            waits,
            rules,
            call,
            id,
            note,
            epoch,
            is_unrun: false,
            link,
        }
    }

    /// Connects as soon as the call may try its host, again and again while that is worth
    /// waiting for. Cancel safe.
    async fn reach(&mut self) -> Result<Box<Reached>, Failure> {
        loop {
            let turn = self.waits.turn().await?;
            if let Some(reached) = self.try_once(turn, None).await? {
                return Ok(reached);
            }
        }
    }

    /// Connects, until `by` if that is given; `None` if it is worth trying again. Cancel safe.
    async fn try_once(
        &mut self,
        turn: Try,
        by: Option<Instant>,
    ) -> Result<Option<Box<Reached>>, Failure> {
        // It is looked up anew for each try.
        let Some(host) = self.shared.hosts.harpd(&self.call.host) else {
            return Err(failures::unknown_host(&self.call.host));
        };
        let by = end_of_step(by, self.rules.limits.connect_timeout);
        let mut limit = Limit::until(turn.bound(by));
        match self.open(&host, &mut limit).await {
            Ok(made) => {
                let by = by.max(limit.end());
                Ok(Some(Box::new(Reached {
                    made,
                    host,
                    turn,
                    by,
                })))
            }
            Err(error) => match self.waits.failed(turn, &error) {
                None => Ok(None),
                Some(failure) => {
                    told_of(&error);
                    Err(failure)
                }
            },
        }
    }

    /// A connection that was kept, or a new one.
    async fn open(&mut self, host: &Harpd, limit: &mut Limit) -> Result<Made, HostError> {
        let (name, rules) = (&self.call.host, &self.rules);
        let limits = Limits {
            max_packet_size: rules.limits.max_packet_size,
        };
        let share = rules.memory.share(name);
        if !rules.limits.keep_calls || !host.keep {
            let opening = Connection::open_within(&host.endpoint, &rules.trust, limits, *limit);
            let mut connection = self.shared.told.opened(name, opening).await?;
            connection.set_share(share);
            return Ok(Made::Plain(Box::new(connection)));
        }
        let made_by = made_by(rules, host, limit).await?;
        let note = self.note.as_ref();
        let keep = note.map_or(rules.limits.keep_for, |note| note.keep);
        if let Some(mut line) = self.shared.idle.take(name, made_by.as_ref(), keep) {
            line.connection.set_share(share);
            return Ok(Made::Kept(line));
        }
        let opening = kept::open(&host.endpoint, &rules.trust, limits, *limit);
        match self.shared.told.opened(name, opening).await? {
            Opened::Kept(mut connection) => {
                connection.set_share(share);
                Ok(Made::Kept(Line::new(connection, made_by)))
            }
            Opened::Plain(mut connection) => {
                self.shared.lives.note(name, Speaks::Plain);
                connection.set_share(share);
                Ok(Made::Plain(connection))
            }
        }
    }

    /// What the call has come to, as a run is told it. Cancel safe.
    async fn heard(&mut self, said: Said) -> Heard {
        match said {
            Said::Heard(heard) => {
                if heard == Heard::Sign && self.call.arguments != harp_proto::Json::NULL {
                    // They are not sent again, and can be large.
                    self.call = Arc::new(self.call.without_arguments());
                }
                heard
            }
            Said::Again => {
                self.link = Link::Refused;
                self.refused().await
            }
            Said::NeverRan(note, joined) => {
                self.epoch = note.epoch;
                let token = note.token();
                self.note = Some(note);
                let (line, host) = joined.into_line();
                let by = Instant::now() + self.rules.limits.connect_timeout;
                self.link = Link::Open(Box::new(Reached {
                    made: Made::Kept(line),
                    host,
                    turn: Try::free(),
                    by,
                }));
                Heard::NeverRan(token)
            }
        }
    }

    /// Reaches the host again, which has certainly not run the call. That goes on record before
    /// the host is waited for, so that a start of the dispatcher does not end the call. Cancel
    /// safe.
    async fn refused(&mut self) -> Heard {
        if !std::mem::replace(&mut self.is_unrun, true) {
            let note = Note::new(None, self.rules.limits.keep_for, self.epoch);
            let token = note.token();
            self.note = Some(note);
            return Heard::Unrun(token);
        }
        match self.reach().await {
            Ok(reached) => {
                self.is_unrun = false;
                self.link = Link::Open(reached);
                let note = self.note.as_mut().map(|note| {
                    note.epoch = self.epoch;
                    note.token()
                });
                Heard::NeverRan(note.unwrap_or_default())
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
}

impl Attempt for HarpAttempt {
    fn ready(&mut self, by: Moment) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let by = self.shared.world.instant(by);
            let reached = match self.waits.turn().now_or_never() {
                Some(turn) => self.try_once(turn?, Some(by)).await?,
                None => None,
            };
            // One that is away is waited for by `next`: it may be for long, and has to be on
            // record.
            self.link = reached.map_or(Link::Refused, Link::Open);
            Ok(())
        })
    }

    fn commit(&mut self, by: Moment) -> BoxFuture<'_, Commit> {
        Box::pin(async move {
            let by = self.shared.world.instant(by);
            match std::mem::replace(&mut self.link, Link::Refused) {
                Link::Open(reached) => self.send(reached, by).await,
                // It is reached by `next`, which may be given up.
                _ => Commit::Done,
            }
        })
    }

    fn next<'a>(&'a mut self, into: &'a mut Batch) -> BoxFuture<'a, Heard> {
        Box::pin(async move {
            let said = match &mut self.link {
                Link::Plain(call) => call.next(&mut self.waits, into).await,
                Link::Kept(call) => call.next(&mut self.waits, into).await,
                Link::None | Link::Refused | Link::Open(_) => return self.refused().await,
            };
            self.heard(said).await
        })
    }

    fn hold_on(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Link::Kept(call) = &mut self.link {
                call.hold_on().await;
            }
            std::future::pending().await
        })
    }

    fn stored(&mut self, what: Stored) {
        match &mut self.link {
            Link::Kept(call) => call.stored(what),
            Link::Refused if self.is_unrun && what == Stored::Note => {
                debug!("it is on record that nobody has run the call, whose host is waited for");
            }
            // harp/1 acknowledges nothing.
            Link::None | Link::Refused | Link::Open(_) | Link::Plain(_) => {}
        }
    }

    fn tell(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            match &mut self.link {
                Link::Plain(call) => call.tell().await,
                Link::Kept(call) => call.tell().await,
                Link::None | Link::Refused | Link::Open(_) => {}
            }
        })
    }

    fn prove(&mut self) -> BoxFuture<'_, Proved> {
        Box::pin(async move {
            let (proved, is_lost) = match &mut self.link {
                Link::Plain(call) => {
                    let proved = call.prove().await;
                    (proved, call.is_lost())
                }
                Link::Kept(call) => (call.prove(&mut self.waits).await, true),
                Link::None | Link::Refused | Link::Open(_) => {
                    (Proved::free(Proof::Confirmed), false)
                }
            };
            if is_lost && self.call.queue.is_some() && !proved.keep.is_zero() {
                info!(
                    seconds = proved.keep.as_secs(),
                    "the host may not know of the end; the job's place in its queue is kept"
                );
            }
            proved
        })
    }

    fn keeps(&self) -> bool {
        match &self.link {
            Link::Kept(_) => true,
            Link::Open(reached) => matches!(reached.made, Made::Kept(_)),
            Link::None | Link::Refused | Link::Plain(_) => false,
        }
    }

    fn talks(&self) -> bool {
        match &self.link {
            Link::Plain(call) => call.talks(),
            Link::Kept(call) => call.talks(),
            Link::None | Link::Refused | Link::Open(_) => false,
        }
    }

    fn evidence(&mut self) -> Option<Evidence> {
        match &mut self.link {
            Link::Plain(call) => call.evidence(),
            Link::Kept(call) => call.evidence(),
            Link::None | Link::Refused | Link::Open(_) => None,
        }
    }

    fn heard(&self) -> Option<Moment> {
        let heard = match &self.link {
            Link::Plain(call) => call.heard(),
            Link::Kept(call) => call.heard(),
            Link::None | Link::Refused | Link::Open(_) => None,
        };
        heard.map(|at| self.shared.world.moment(at))
    }

    fn debt(&self) -> Option<Token> {
        match &self.link {
            // It has to be told, or has a place, or both.
            Link::Kept(call) => Some(call.debt()),
            // A call that its host does not keep owes a place, or nothing.
            Link::Plain(call) => self.call.queue.as_ref().map(|_| call.debt()),
            Link::None | Link::Refused | Link::Open(_) => {
                self.call.queue.as_ref().map(|_| Token::default())
            }
        }
    }

    fn detach(self: Box<Self>) {
        // Its host goes on with a call that it keeps, and ends another one that nobody is
        // connected to.
    }
}

impl Drop for HarpAttempt {
    fn drop(&mut self) {
        // A connection that was made ready, and not needed.
        if let Link::Open(reached) = std::mem::replace(&mut self.link, Link::None)
            && let Made::Kept(line) = reached.made
        {
            let most = self.rules.limits.max_idle_connections;
            self.shared.idle.put(&self.call.host, line, most);
        }
    }
}

/// The end of a step that begins now, takes so long at most, and was to end by then. One that
/// was to be over before it began has had none of its time, since this process stood still; it
/// has all of it.
fn end_of_step(by: Option<Instant>, longest: Duration) -> Instant {
    let now = Instant::now();
    match by {
        Some(by) if by > now => by.min(now + longest),
        _ => now + longest,
    }
}

/// The epoch before the first one of an attempt that begins now: above all that were used by
/// earlier starts of the dispatcher, and by earlier attempts of this one.
fn first_epoch(hold: Hold, how: How, note: Option<&Note>) -> u64 {
    let start = u64::from(hold.owner) << COUNT;
    // After a fault of this program what it used before is not known.
    let later = match how {
        How::New => 0,
        How::Attach { .. } => 1 << (COUNT - 1),
        How::Settle => 3 << (COUNT - 2),
    };
    note.map_or(0, |note| note.epoch).max(start + later)
}

#[cfg(test)]
mod tests {
    use harp_proto::JobId;
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_step_that_a_standstill_kept_from_beginning_has_its_time() {
        let second = Duration::from_secs(1);
        let asked = Instant::now();
        let end = |by| end_of_step(Some(by), 3 * second) - Instant::now();
        assert_eq!(end(asked + 2 * second), 2 * second);
        assert_eq!(end(asked + 9 * second), 3 * second);
        advance(4 * second).await;
        assert_eq!(end(asked + 3 * second), 3 * second);
        assert_eq!(end_of_step(None, second), Instant::now() + second);
    }

    #[test]
    fn epochs_rise_with_attempts_and_with_starts() {
        let hold = |owner| Hold {
            job: JobId::submitted_at(1),
            attempt: 1,
            owner,
        };
        let attach = How::Attach { since: 3 };
        let row = [
            first_epoch(hold(3), How::New, None),
            first_epoch(hold(3), attach, None),
            first_epoch(hold(3), How::Settle, None),
            first_epoch(hold(4), How::New, None),
        ];
        assert!(row.is_sorted() && row[0] == 3 << 20, "{row:?}");
        let note = Note::new(None, Duration::ZERO, (4 << 20) + 7);
        assert_eq!(
            first_epoch(hold(4), How::New, Some(&note)),
            (4 << 20) + 7,
            "what is on record was used"
        );
        assert!(first_epoch(hold(u32::MAX), How::Settle, None) < 1 << 53);
    }
}
