//! The ids that harpd has known: what has run once never runs again, and what was
//! overtaken by an attach never runs at all. Pure.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use harp_proto::host::kept::{CallId, Uptime};

/// The most ids that are remembered.
pub const MOST_IDS: usize = 100_000;

/// Ids of calls that are done with, and epochs that attaches have left behind.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    calls: HashMap<CallId, Done>,
    /// By user too: what one asks for in vain is of no matter to another.
    overtaken: HashMap<(CallId, Arc<str>), Overtaken>,
    /// All of them, oldest first. The numbers keep those of one moment apart.
    order: BTreeMap<(Uptime, u64), Key>,
    next: u64,
    /// The newest moment at which an id was accepted that is forgotten by now.
    forgotten: Option<Uptime>,
}

/// A call of which nothing is kept but this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// Its user.
    pub user: Arc<str>,
    /// The greatest epoch that it was asked for with.
    pub epoch: u64,
    accepted: Uptime,
}

#[derive(Debug)]
struct Overtaken {
    epoch: u64,
    at: (Uptime, u64),
}

#[derive(Debug)]
enum Key {
    Call(CallId),
    Overtaken(CallId, Arc<str>),
}

impl Memory {
    /// Nothing yet, and `limit` ids at most.
    #[must_use]
    pub fn new(limit: usize) -> Memory {
        Memory {
            limit,
            calls: HashMap::new(),
            overtaken: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
            forgotten: None,
        }
    }

    /// What is remembered of a call.
    #[must_use]
    pub fn call(&self, id: CallId) -> Option<&Done> {
        self.calls.get(&id)
    }

    /// Notes that a newer one has asked for a call that is done with.
    pub fn asked_for(&mut self, id: CallId, epoch: u64) {
        if let Some(done) = self.calls.get_mut(&id) {
            done.epoch = done.epoch.max(epoch);
        }
    }

    /// The epoch that a user's attach to an unknown id has left, 0 without one.
    #[must_use]
    pub fn overtaken(&self, id: CallId, user: &Arc<str>) -> u64 {
        let known = self.overtaken.get(&(id, Arc::clone(user)));
        known.map_or(0, |overtaken| overtaken.epoch)
    }

    /// Remembers a call that was accepted, and has ended, at these moments.
    pub fn remember(
        &mut self,
        id: CallId,
        user: Arc<str>,
        epoch: u64,
        accepted: Uptime,
        ended: Uptime,
    ) {
        let done = Done {
            user,
            epoch,
            accepted,
        };
        // An id is accepted once as long as it is remembered.
        self.calls.insert(id, done);
        let place = self.place(ended);
        self.order.insert(place, Key::Call(id));
    }

    /// Remembers that a user has asked for an unknown id now.
    pub fn overtake(&mut self, id: CallId, user: &Arc<str>, epoch: u64, now: Uptime) {
        let at = self.place(now);
        let key = (id, Arc::clone(user));
        let epoch = epoch.max(self.overtaken(id, user));
        if let Some(before) = self.overtaken.insert(key, Overtaken { epoch, at }) {
            self.order.remove(&before.at);
        }
        let key = Key::Overtaken(id, Arc::clone(user));
        self.order.insert(at, key);
    }

    /// Forgets what is older than `max_keep`, and the oldest of too many.
    pub fn tick(&mut self, now: Uptime, max_keep: Duration) {
        while let Some(oldest) = self.order.first_entry() {
            let until = oldest.key().0.since_start() + max_keep;
            if now.since_start() < until && self.calls.len() + self.overtaken.len() <= self.limit {
                return;
            }
            match oldest.remove() {
                Key::Call(id) => {
                    let done = self.calls.remove(&id);
                    self.forgotten = self.forgotten.max(done.map(|done| done.accepted));
                }
                Key::Overtaken(id, user) => {
                    self.overtaken.remove(&(id, user));
                }
            }
        }
    }

    /// For so many seconds back each id that was accepted is known; `None`: each that ever
    /// was.
    #[must_use]
    pub fn remembers(&self, now: Uptime) -> Option<u64> {
        let forgotten = self.forgotten?.since_start();
        Some(now.since_start().saturating_sub(forgotten).as_secs())
    }

    fn place(&mut self, at: Uptime) -> (Uptime, u64) {
        self.next += 1;
        (at, self.next)
    }
}
