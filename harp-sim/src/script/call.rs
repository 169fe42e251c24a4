//! One call, as its host sees it: what of it is kept, whom it is given to, when it is over. A
//! host that keeps calls judges requests, attaches, acknowledgements and cancels by epoch and
//! connection.

use harp_jobs::world::Moment;
use harp_values::JobId;

use super::LEASE;

/// Packets that a host keeps at most; behind them its procedure waits.
const ROOM: u64 = 2;

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    /// How often it was run.
    pub runs: u32,
    /// The queue that it came from, and how many of that may run at once.
    pub queue: Option<(String, u64)>,
    /// Whether it goes on while nobody is connected.
    pub(super) keeps: bool,
    /// How many packets there are without last words; its result is that number.
    pub plan: u64,
    /// The number of the next packet for the connection that has it.
    pub sent: u64,
    /// How many there are with those that its procedure yields while it is being ended.
    pub last_words: Option<u64>,
    /// Packets below this are forgotten.
    pub(super) acknowledged: u64,
    /// When nothing of it is left; `None` while it goes on.
    pub(super) over: Option<Moment>,
    /// It has come to its own end.
    pub(super) has_returned: bool,
    /// When its host gives it up unless somebody is connected.
    pub(super) lease: Moment,
    /// The connection that has it, and the epoch of each that had it, in their order.
    holder: Option<u64>,
    /// The epochs with which it was asked for and given, in their order.
    pub given: Vec<u64>,
    /// Somebody has ended it who had this epoch, when the newest that was given was greater.
    pub ended_by_older: Option<u64>,
    /// How often in a row somebody who listens was told nothing, since too much is not
    /// acknowledged.
    pub waits: u32,
    /// Other jobs of its queue that were busy when it came although there was no place left
    /// beside them.
    pub beside: Vec<JobId>,
}

/// Why somebody does not get a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotGiven {
    /// Somebody newer has it.
    Stale,
    /// What is wanted is forgotten.
    Forgotten,
}

impl Call {
    /// A call that has not been run yet.
    pub(super) fn new(queue: Option<(String, u64)>, keeps: bool, plan: u64, lease: Moment) -> Call {
        Call {
            runs: 0,
            queue,
            keeps,
            plan,
            sent: 0,
            last_words: None,
            acknowledged: 0,
            over: None,
            has_returned: false,
            lease,
            holder: None,
            given: Vec::new(),
            ended_by_older: None,
            waits: 0,
            beside: Vec::new(),
        }
    }

    /// Whether anything of it is left.
    pub(super) fn is_busy(&self, now: Moment) -> bool {
        let goes_on = !self.keeps || self.lease > now;
        goes_on && self.over.is_none_or(|over| over > now)
    }

    /// A lease that is over is not made longer, however late somebody looks.
    pub(super) fn tick(&mut self, now: Moment) {
        if self.keeps && self.over.is_none() && self.lease <= now {
            self.over = Some(self.lease);
        }
    }

    /// A connection asks for it, which was made at the moment `made`.
    pub(super) fn ask(
        &mut self,
        connection: u64,
        epoch: u64,
        since: u64,
        made: Moment,
    ) -> Result<(), NotGiven> {
        let newest = self.given.last().copied().unwrap_or_default();
        if epoch < newest {
            return Err(NotGiven::Stale);
        }
        if since < self.acknowledged {
            return Err(NotGiven::Forgotten);
        }
        self.given.push(epoch);
        self.holder = Some(connection);
        self.sent = since;
        self.lease = self.lease.max(made + LEASE);
        Ok(())
    }

    /// Whether a connection has it.
    pub(super) fn is_held_by(&self, connection: u64) -> bool {
        self.holder == Some(connection)
    }

    /// Packets below this are durable, says a connection.
    pub(super) fn acknowledge(&mut self, connection: u64, packets: u64) {
        if self.is_held_by(connection) {
            self.acknowledged = self.acknowledged.max(packets);
        }
    }

    /// A connection, which was given it with this epoch, cancels it. True if it is to end.
    pub(super) fn cancel(&mut self, connection: u64, epoch: u64) -> bool {
        if !self.is_held_by(connection) {
            return false;
        }
        if self.over.is_none() && self.given.last().is_some_and(|newest| epoch < *newest) {
            self.ended_by_older = Some(epoch);
        }
        true
    }

    /// Ends it: nothing is left at the moment `later`, unless that is so earlier already.
    pub(super) fn end(&mut self, later: Moment) {
        self.over = Some(self.over.map_or(later, |over| over.min(later)));
    }

    /// Whether its procedure waits, since so much is not acknowledged.
    pub(super) fn is_full(&mut self) -> bool {
        let is_full = self.keeps && self.sent >= self.acknowledged + ROOM;
        self.waits = if is_full { self.waits + 1 } else { 0 };
        is_full
    }
}
