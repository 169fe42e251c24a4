//! The calls that are kept, and who may have them: each request and attach is judged here,
//! in one step with what it changes. Pure, with the clock as an argument.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use harp_proto::host::kept::{CallId, Denial, Uptime};

use super::memory::{MOST_IDS, Memory};
use super::standing::{Due, Stage, Standing};

/// Calls that are kept at once, with those whose end nobody has fetched yet. Beyond it
/// requests are refused.
pub const MOST_CALLS: usize = 2048;

/// All calls of this life of harpd. Each has a `T` beside it.
#[derive(Debug)]
pub struct Book<T> {
    boot: String,
    earlier: Vec<String>,
    calls: HashMap<CallId, Held<T>>,
    memory: Memory,
    stops: bool,
}

/// A call that is kept.
#[derive(Debug)]
pub struct Held<T> {
    /// The rest of it.
    pub call: T,
    /// Where it stands.
    pub standing: Standing,
    user: Arc<str>,
    accepted: Uptime,
    ended: Option<Uptime>,
}

/// What a request or an attach asks for.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The call.
    pub call: CallId,
    /// The user that asks; the password was right.
    pub user: Arc<str>,
    /// Number of the connection.
    pub connection: u64,
    /// How new the question is, by harpd's clock: when its connection was taken, or the
    /// `up` that it brings.
    pub newest: Uptime,
    /// Its epoch.
    pub epoch: u64,
    /// The number of the first packet that is wanted; 0 with a request.
    pub since: u64,
}

/// Answer to a request or an attach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer<T> {
    /// A call that has just been accepted, and is to run.
    New(T),
    /// A call that there is. The connection that had it before has lost it.
    Known {
        /// The call.
        call: T,
        /// True if its end is there.
        ended: bool,
        /// True if its lease has just been found over: it is to be ended with `keep_over`.
        over: bool,
    },
    /// None, for this reason.
    Refused(Denial),
    /// None: the request is older than its own lease.
    TooOld,
    /// None: harpd stops.
    Stopping,
    /// None: [`MOST_CALLS`] are kept.
    Full,
}

/// Consequence of the time that has passed, or of an acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change<T> {
    /// This call is to be ended with `keep_over`.
    End(T),
    /// Nothing of this call is needed any more.
    Forgotten(T),
}

impl<T: Clone> Book<T> {
    /// An empty one, of a life with these lives before it whose calls are gone.
    #[must_use]
    pub fn new(boot: String, earlier: Vec<String>) -> Book<T> {
        Book {
            boot,
            earlier,
            calls: HashMap::new(),
            memory: Memory::new(MOST_IDS),
            stops: false,
        }
    }

    /// The name of this life.
    #[must_use]
    pub fn boot(&self) -> &str {
        &self.boot
    }

    /// The calls that are kept.
    pub fn calls(&self) -> impl Iterator<Item = (CallId, &Held<T>)> {
        self.calls.iter().map(|(id, held)| (*id, held))
    }

    /// From now on no request is accepted.
    pub fn stop(&mut self) {
        self.stops = true;
    }

    /// Judges a request that would be kept for `keep`. If it is accepted, `make` gives the
    /// call.
    pub fn request(
        &mut self,
        now: Uptime,
        asked: &Asked,
        boot: Option<&str>,
        keep: Duration,
        make: impl FnOnce() -> T,
    ) -> Answer<T> {
        if let Some(answer) = self.look(now, asked, boot) {
            return answer;
        }
        if now.since_start() >= asked.newest.since_start() + keep {
            return Answer::TooOld;
        }
        if self.calls.len() >= MOST_CALLS {
            return Answer::Full;
        }
        let call = make();
        let held = Held {
            call: call.clone(),
            standing: Standing::accepted(asked.connection, asked.epoch, keep, asked.newest),
            user: Arc::clone(&asked.user),
            accepted: now,
            ended: None,
        };
        self.calls.insert(asked.call, held);
        Answer::New(call)
    }

    /// Judges a request without what it asks for; `None` if that is to be looked at.
    pub fn look(&mut self, now: Uptime, asked: &Asked, boot: Option<&str>) -> Option<Answer<T>> {
        if boot != Some(&self.boot) {
            let boot = self.boot.clone();
            return Some(Answer::Refused(Denial::WrongBoot {
                boot,
                takes_traceparent: true,
            }));
        }
        if let Some(answer) = self.known(now, asked) {
            return Some(answer);
        }
        if asked.epoch < self.memory.overtaken(asked.call, &asked.user) {
            return Some(Answer::Refused(Denial::StaleEpoch));
        }
        self.stops.then_some(Answer::Stopping)
    }

    /// Judges an attach.
    pub fn attach(&mut self, now: Uptime, asked: &Asked) -> Answer<T> {
        // Whoever sends attaches raises the epoch each time: an equal one is a copy's.
        let held = self.calls.get(&asked.call);
        if held.is_some_and(|held| held.user == asked.user && held.standing.epoch() == asked.epoch)
        {
            return Answer::Refused(Denial::StaleEpoch);
        }
        if let Some(answer) = self.known(now, asked) {
            return answer;
        }
        if asked.epoch < self.memory.overtaken(asked.call, &asked.user) {
            return Answer::Refused(Denial::StaleEpoch);
        }
        // A request that comes later than this is not to run.
        let Asked {
            call, user, epoch, ..
        } = asked;
        self.memory.overtake(*call, user, *epoch, now);
        self.no_such_call(self.memory.remembers(now))
    }

    /// Answers for an id that was accepted before.
    fn known(&mut self, now: Uptime, asked: &Asked) -> Option<Answer<T>> {
        // Of another's call nothing is told, and nothing may be concluded.
        let another = || {
            Answer::Refused(Denial::NoSuchCall {
                boot: None,
                earlier: Vec::new(),
                remembers: Some(0),
            })
        };
        if let Some(held) = self.calls.get_mut(&asked.call) {
            if held.user != asked.user {
                return Some(another());
            }
            let Asked {
                connection,
                epoch,
                since,
                newest,
                ..
            } = *asked;
            // A lease that is over is not made longer, however late somebody looks.
            let mut looked = held.standing.clone();
            let over = looked.tick(now) == Some(Due::End);
            let attached = looked.attach(connection, epoch, since, newest);
            return Some(match attached {
                Ok(()) => {
                    held.standing = looked;
                    Answer::Known {
                        call: held.call.clone(),
                        ended: held.standing.stage() == Stage::Ended,
                        over,
                    }
                }
                Err(denial) => Answer::Refused(denial),
            });
        }
        let done = self.memory.call(asked.call)?;
        if done.user != asked.user {
            return Some(another());
        }
        if asked.epoch < done.epoch {
            return Some(Answer::Refused(Denial::StaleEpoch));
        }
        self.memory.asked_for(asked.call, asked.epoch);
        Some(self.no_such_call(Some(0)))
    }

    fn no_such_call(&self, remembers: Option<u64>) -> Answer<T> {
        Answer::Refused(Denial::NoSuchCall {
            boot: Some(self.boot.clone()),
            earlier: self.earlier.clone(),
            remembers,
        })
    }

    /// An acknowledgement from a connection. Returns the call if it is done with.
    pub fn acknowledge(
        &mut self,
        now: Uptime,
        id: CallId,
        connection: u64,
        packets: u64,
        newest: Uptime,
        end: bool,
    ) -> Option<Change<T>> {
        let held = self.calls.get_mut(&id)?;
        // As with an attach.
        if let Some(Due::End) = held.standing.tick(now) {
            held.standing.acknowledge(connection, packets, newest, end);
            return Some(Change::End(held.call.clone()));
        }
        let done = (held.standing).acknowledge(connection, packets, newest, end);
        done.then(|| self.forget(id)).flatten()
    }

    /// A cancel from a connection. True if the call has to be ended for it.
    pub fn cancel(&mut self, id: CallId, connection: u64) -> bool {
        let held = self.calls.get_mut(&id);
        held.is_some_and(|held| held.standing.cancel(connection))
    }

    /// A connection has ended, or lets go of a call.
    pub fn left(&mut self, id: CallId, connection: u64) {
        if let Some(held) = self.calls.get_mut(&id) {
            held.standing.left(connection);
        }
    }

    /// Nothing of a call is left, and its end is there.
    pub fn ended(&mut self, now: Uptime, id: CallId) {
        if let Some(held) = self.calls.get_mut(&id) {
            held.standing.ended();
            held.ended = Some(now);
        }
    }

    /// Looks at the clock. Ids are remembered for `max_keep` after their end.
    pub fn tick(&mut self, now: Uptime, max_keep: Duration) -> Vec<Change<T>> {
        let mut changes = Vec::new();
        let mut over = Vec::new();
        for (id, held) in &mut self.calls {
            match held.standing.tick(now) {
                Some(Due::End) => changes.push(Change::End(held.call.clone())),
                Some(Due::Forget) => over.push(*id),
                None => {}
            }
        }
        changes.extend(over.into_iter().filter_map(|id| self.forget(id)));
        self.memory.tick(now, max_keep);
        changes
    }

    /// When [`Book::tick`] has something to do, as far as calls are concerned.
    #[must_use]
    pub fn due(&self) -> Option<Uptime> {
        let standings = self.calls.values().map(|held| &held.standing);
        standings.filter_map(Standing::due).min()
    }

    fn forget(&mut self, id: CallId) -> Option<Change<T>> {
        let held = self.calls.remove(&id)?;
        let ended = held.ended.unwrap_or(held.accepted);
        let epoch = held.standing.epoch();
        (self.memory).remember(id, held.user, epoch, held.accepted, ended);
        Some(Change::Forgotten(held.call))
    }
}

#[cfg(test)]
mod tests;
