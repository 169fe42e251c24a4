//! Hosts that are played, and the transport to them. What a host does outlives the
//! dispatcher's crashes; it counts what it ran, and when it is busy. One that keeps calls
//! gives each to whoever asks with the greatest epoch.

mod attempt;
mod call;
mod way;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_jobs::ledger::{Hold, Token};
use harp_jobs::record::CallRecord;
use harp_jobs::transport::{Attempt, How, Minted, Transport};
use harp_jobs::world::{Moment, World};
use harp_values::JobId;

use crate::executor::Played;
use attempt::Scripted;
pub use call::Call;
use call::NotGiven;
use way::{Late, Request, Said};

/// The name of a host that goes on with a call while nobody is connected.
pub const KEEPS: &str = "keeps";

/// The token of a call that nobody has run.
const UNRUN: &str = "unrun";

/// How long a host goes on alone.
const LEASE: Duration = Duration::from_secs(60);

/// How long a place is kept for a host that says nothing; longer than a host takes.
const GRACE: Duration = Duration::from_secs(10);

/// All hosts. Clones are the same.
#[derive(Clone)]
pub struct Hosts {
    world: Played,
    inner: Arc<Mutex<AtHosts>>,
    /// Whether nothing goes wrong any more.
    calm: Arc<std::sync::atomic::AtomicBool>,
}

/// What is at the hosts, and on its way there.
#[derive(Debug, Default)]
pub struct AtHosts {
    /// All calls that came to a host, by job and attempt.
    pub calls: BTreeMap<(JobId, u32), Call>,
    /// The greatest epoch with which a call was asked for that is not known.
    overtaken: BTreeMap<(JobId, u32), u64>,
    late: Vec<Late>,
    connections: u64,
}

/// What a host answers to somebody who asks for a call that it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// It has the call now.
    Given,
    /// Somebody newer has it.
    Stale,
    /// Packets that are wanted are forgotten.
    Forgotten,
    /// There was no such call.
    Unknown,
}

impl Hosts {
    /// Hosts without calls.
    #[must_use]
    pub fn new(world: &Played) -> Hosts {
        Hosts {
            world: world.clone(),
            inner: Arc::default(),
            calm: Arc::default(),
        }
    }

    /// From now on nothing goes wrong, and every call comes to its end.
    pub fn calm_down(&self) {
        self.calm.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    fn once_in(&self, times: usize) -> bool {
        !self.calm.load(std::sync::atomic::Ordering::SeqCst) && self.world.once_in(times)
    }

    /// What is at the hosts by now.
    pub fn state(&self) -> MutexGuard<'_, AtHosts> {
        let mut state = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        state.arrive(&self.world);
        state
    }

    /// Whether a job has come to its host.
    #[must_use]
    pub fn has_come(&self, job: JobId) -> bool {
        let state = self.state();
        let mut of_job = state.calls.range((job, 0)..=(job, u32::MAX));
        of_job.next().is_some()
    }

    /// Whether a host is still busy with a job.
    #[must_use]
    pub fn is_busy(&self, job: JobId) -> bool {
        let now = self.world.now();
        let state = self.state();
        let mut of_job = state.calls.range((job, 0)..=(job, u32::MAX));
        of_job.any(|(_, call)| call.is_busy(now))
    }

    /// A request of this call, as it goes out.
    fn request(&self, record: &CallRecord) -> Request {
        let queue = record.queue.as_ref();
        Request {
            queue: queue.map(|queue| (queue.name.to_string(), queue.concurrency)),
            keeps: record.host == KEEPS,
            plan: self.world.draw(5) as u64,
        }
    }

    /// A connection is made.
    fn connect(&self) -> u64 {
        let mut state = self.state();
        state.connections += 1;
        state.connections
    }

    /// What is said on a connection comes to its host later.
    fn hold_up(&self, call: (JobId, u32), connection: u64, epoch: u64, said: Vec<Said>) {
        let sent = self.world.now();
        let seconds = 1 + self.world.draw(80) as u64;
        let late = Late {
            at: sent + Duration::from_secs(seconds),
            sent,
            call,
            connection,
            epoch,
            said,
        };
        self.state().late.push(late);
    }

    /// A call is ended from outside: a moment later nothing of it is left.
    fn end(&self, call: (JobId, u32)) {
        let later = self.a_moment_later();
        if let Some(call) = self.state().calls.get_mut(&call) {
            call.end(later);
        }
    }

    /// How long a host takes to end a call.
    fn a_moment_later(&self) -> Moment {
        self.world.now() + Duration::from_secs(self.world.draw(6) as u64)
    }

    /// By when a host has given a call up to which nobody comes any more, whatever is on its
    /// way there.
    fn given_up_by(&self, of: (JobId, u32)) -> Moment {
        let state = self.state();
        let known = state.calls.get(&of).map(|call| call.lease);
        let late = state.late.iter().filter(|late| late.call == of);
        let late = late.map(|late| late.sent + LEASE);
        known
            .into_iter()
            .chain(late)
            .max()
            .unwrap_or(self.world.now())
    }
}

impl AtHosts {
    /// What was held up until now arrives.
    fn arrive(&mut self, world: &Played) {
        let now = world.now();
        while let Some(first) = self.late.iter().position(|late| late.at <= now) {
            let late = self.late.remove(first);
            for said in &late.said {
                self.hear_late(&late, said, world);
            }
        }
    }

    fn hear_late(&mut self, late: &Late, said: &Said, world: &Played) {
        let (of, now) = (late.call, late.at);
        match said {
            Said::Request(request) => {
                let is_old = late.sent + LEASE <= now;
                if !is_old {
                    let when = (late.sent, now);
                    self.receive(of, request, late.connection, late.epoch, when);
                }
            }
            Said::Attach(since) => {
                self.attach(of, late.connection, late.epoch, *since, (late.sent, now));
            }
            Said::Ack(packets) => {
                if let Some(call) = self.calls.get_mut(&of) {
                    call.acknowledge(late.connection, *packets);
                }
            }
            Said::Cancel => {
                if let Some(call) = self.calls.get_mut(&of) {
                    call.tick(now);
                    if call.cancel(late.connection, late.epoch) {
                        call.end(now + Duration::from_secs(world.draw(6) as u64));
                    }
                }
            }
        }
    }

    /// A request has come, at the later of two moments, over a connection that was made at the
    /// earlier.
    fn receive(
        &mut self,
        of: (JobId, u32),
        request: &Request,
        connection: u64,
        epoch: u64,
        (made, now): (Moment, Moment),
    ) {
        if request.keeps {
            let overtaken = self.overtaken.get(&of).copied().unwrap_or_default();
            let is_known = self.calls.contains_key(&of);
            if epoch < overtaken || is_known {
                return;
            }
        }
        let name = |queue: &Option<(String, u64)>| queue.as_ref().map(|(name, _)| name.clone());
        let others = self.calls.iter().filter(|((job, _), call)| {
            *job != of.0 && name(&call.queue) == name(&request.queue) && call.is_busy(now)
        });
        let busy: Vec<JobId> = others.map(|((job, _), _)| *job).collect();
        let queue = request.queue.clone();
        let is_over = queue
            .as_ref()
            .is_some_and(|(_, most)| busy.len() as u64 >= *most);
        let new = Call::new(queue, request.keeps, request.plan, made + LEASE);
        let call = self.calls.entry(of).or_insert(new);
        call.runs += 1;
        // One that there is not yet is given to whoever asks.
        let _ = call.ask(connection, epoch, 0, made);
        if is_over {
            call.beside.extend(busy);
        }
    }

    /// An attach has come, at the later of two moments, over a connection that was made at the
    /// earlier.
    fn attach(
        &mut self,
        of: (JobId, u32),
        connection: u64,
        epoch: u64,
        since: u64,
        (made, now): (Moment, Moment),
    ) -> Answer {
        let Some(call) = self.calls.get_mut(&of) else {
            let overtaken = self.overtaken.entry(of).or_default();
            *overtaken = epoch.max(*overtaken);
            return Answer::Unknown;
        };
        call.tick(now);
        match call.ask(connection, epoch, since, made) {
            Ok(()) => Answer::Given,
            Err(NotGiven::Stale) => Answer::Stale,
            Err(NotGiven::Forgotten) => Answer::Forgotten,
        }
    }
}

impl Transport for Hosts {
    fn mint(&self, call: &CallRecord) -> Minted {
        Minted {
            token: Token(call.host.clone().into()),
            pool: None,
        }
    }

    fn unrun(&self, _: &CallRecord, _: &Token) -> Option<Token> {
        Some(Token(UNRUN.into()))
    }

    fn begin(&self, hold: Hold, call: Arc<CallRecord>, how: How, token: Token) -> Box<dyn Attempt> {
        let is_unrun = token.0 == UNRUN;
        Box::new(Scripted::new(self, hold, call, how, is_unrun))
    }
}
