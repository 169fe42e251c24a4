//! Hosts that are played, and the transport to them. What a host does outlives the
//! dispatcher's crashes; it counts what it ran, and when it is busy.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_jobs::batch::Batch;
use harp_jobs::ledger::{Hold, Token};
use harp_jobs::record::CallRecord;
use harp_jobs::transport::{Attempt, Commit, Heard, How, Minted, Proof, Proved, Stored, Transport};
use harp_jobs::world::{BoxFuture, Moment, World};
use harp_values::{Failure, JobId, Outcome};

use crate::executor::Played;

/// The name of a host that goes on with a call while nobody is connected.
pub const KEEPS: &str = "keeps";

/// How long a host goes on alone.
const LEASE: Duration = Duration::from_secs(60);

/// How long a place is kept for a host that says nothing; longer than a host takes.
const GRACE: Duration = Duration::from_secs(10);

/// All hosts. Clones are the same.
#[derive(Clone)]
pub struct Hosts {
    world: Played,
    calls: Arc<Mutex<BTreeMap<(JobId, u32), Call>>>,
    /// Whether nothing goes wrong any more.
    calm: Arc<std::sync::atomic::AtomicBool>,
}

/// One call, as its host sees it.
#[derive(Debug, Clone)]
pub struct Call {
    /// How often it was run.
    pub runs: u32,
    /// The queue that it came from, and how many of that may run at once.
    pub queue: Option<(String, u64)>,
    keeps: bool,
    /// How many packets there will be.
    plan: u64,
    sent: u64,
    /// How many there are with those that its procedure yields while it is being ended.
    pub last_words: Option<u64>,
    acknowledged: u64,
    /// When nothing of it is left; `None` while it goes on.
    over: Option<Moment>,
    /// When its host gives it up unless somebody is connected.
    lease: Moment,
    /// Other jobs of its queue that were busy when it came although there was no place left
    /// beside them.
    pub beside: Vec<JobId>,
}

impl Call {
    /// Whether anything of it is left.
    fn is_busy(&self, now: Moment) -> bool {
        let goes_on = !self.keeps || self.lease > now;
        goes_on && self.over.is_none_or(|over| over > now)
    }
}

impl Hosts {
    /// Hosts without calls.
    #[must_use]
    pub fn new(world: &Played) -> Hosts {
        Hosts {
            world: world.clone(),
            calls: Arc::default(),
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

    /// All calls that came to a host, by job and attempt.
    pub fn calls(&self) -> MutexGuard<'_, BTreeMap<(JobId, u32), Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a job has come to its host.
    #[must_use]
    pub fn has_come(&self, job: JobId) -> bool {
        let calls = self.calls();
        calls.range((job, 0)..=(job, u32::MAX)).next().is_some()
    }

    /// Whether a host is still busy with a job.
    #[must_use]
    pub fn is_busy(&self, job: JobId) -> bool {
        let now = self.world.now();
        let calls = self.calls();
        let of_job = calls.range((job, 0)..=(job, u32::MAX));
        of_job.into_iter().any(|(_, call)| call.is_busy(now))
    }

    /// A request has come to its host.
    fn receive(&self, hold: Hold, record: &CallRecord) {
        let plan = self.world.draw(5) as u64;
        let now = self.world.now();
        let queue = record.queue.as_ref();
        let queue = queue.map(|queue| (queue.name.to_string(), queue.concurrency));
        let mut calls = self.calls();
        let name = |queue: &Option<(String, u64)>| queue.as_ref().map(|(name, _)| name.clone());
        let others = calls.iter().filter(|((job, _), call)| {
            *job != hold.job && name(&call.queue) == name(&queue) && call.is_busy(now)
        });
        let busy: Vec<JobId> = others.map(|((job, _), _)| *job).collect();
        let is_over = queue
            .as_ref()
            .is_some_and(|(_, most)| busy.len() as u64 >= *most);
        let call = calls.entry((hold.job, hold.attempt)).or_insert(Call {
            runs: 0,
            queue,
            keeps: record.host == KEEPS,
            plan,
            sent: 0,
            last_words: None,
            acknowledged: 0,
            over: None,
            lease: now + LEASE,
            beside: Vec::new(),
        });
        call.runs += 1;
        if is_over {
            call.beside.extend(busy);
        }
    }

    /// A call is ended from outside: a moment later nothing of it is left.
    fn end(&self, hold: Hold) {
        let later = self.world.now() + Duration::from_secs(self.world.draw(6) as u64);
        if let Some(call) = self.calls().get_mut(&(hold.job, hold.attempt)) {
            // One that was to end later by itself ends now.
            call.over = Some(call.over.map_or(later, |over| over.min(later)));
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

    fn begin(&self, hold: Hold, call: Arc<CallRecord>, how: How, _: Token) -> Box<dyn Attempt> {
        Box::new(Scripted {
            hosts: self.clone(),
            hold,
            how,
            is_told: false,
            is_connected: false,
            is_acknowledged: false,
            is_let_go: false,
            was_first: false,
            call,
        })
    }
}

/// One attempt.
struct Scripted {
    hosts: Hosts,
    hold: Hold,
    call: Arc<CallRecord>,
    how: How,
    is_connected: bool,
    is_acknowledged: bool,
    is_told: bool,
    /// It is over, or its host is to go on.
    is_let_go: bool,
    was_first: bool,
}

impl Scripted {
    fn key(&self) -> (JobId, u32) {
        (self.hold.job, self.hold.attempt)
    }

    /// The call at its host, if it came there.
    fn at_host<T>(&self, look: impl FnOnce(&mut Call) -> T) -> Option<T> {
        self.hosts.calls().get_mut(&self.key()).map(look)
    }

    fn sleep(&self, milliseconds: u64) -> BoxFuture<'static, ()> {
        let world = &self.hosts.world;
        world.sleep(world.now() + Duration::from_millis(milliseconds))
    }

    fn keeps_calls(&self) -> bool {
        self.call.host == KEEPS
    }

    /// Attaches to a call. Some if there is something to be told at once.
    async fn attach(&mut self) -> Option<Heard> {
        self.sleep(5).await;
        if !self.keeps_calls() {
            return Some(ended("missing_result", true));
        }
        while self.hosts.once_in(3) {
            self.sleep(1000).await;
        }
        let now = self.hosts.world.now();
        let How::Attach { since } = self.how else {
            return Some(ended("missing_result", true));
        };
        let state = self.at_host(|call| {
            assert!(since >= call.acknowledged, "it wants what is forgotten");
            assert!(since <= call.sent, "it has what was never sent");
            call.sent = since;
            let is_given_up = call.over.is_none() && call.lease <= now;
            if is_given_up {
                call.over = Some(call.lease);
            }
            call.over
        });
        self.is_connected = true;
        match state {
            // It has never come there.
            None => {
                self.how = How::New;
                Some(Heard::NeverRan(Token("anew".into())))
            }
            Some(Some(over)) => {
                // Its end comes when nothing of it is left.
                self.hosts.world.sleep(over).await;
                Some(ended("keep_over", false))
            }
            Some(None) => Some(Heard::Back),
        }
    }

    async fn hear(&mut self, into: &mut Batch) -> Heard {
        let world = self.hosts.world.clone();
        if self.hosts.once_in(20) {
            // A long silence.
            self.at_host(|call| call.last_words = None);
            self.sleep(25_000).await;
        } else {
            self.sleep(1 + world.draw(3) as u64 * 200).await;
        }
        if self.hosts.once_in(12) {
            return self.break_off();
        }
        let now = world.now();
        let most = 1 + world.draw(3) as u64;
        let time = world.wall();
        if self.is_told {
            return self.hear_last_words(into).await;
        }
        self.is_acknowledged = true;
        let is_slow = self.hosts.once_in(4);
        let heard = self.at_host(|call| {
            call.lease = now + LEASE;
            if is_slow {
                return Heard::Sign;
            }
            if call.sent < call.plan {
                for _ in 0..most.min(call.plan - call.sent) {
                    // Each packet is its number.
                    into.push(time, call.sent.to_string().as_bytes());
                    call.sent += 1;
                }
                return Heard::Packets;
            }
            call.over.get_or_insert(now);
            let value = call.plan.to_string().parse().expect("JSON");
            Heard::End {
                outcome: Outcome::Returned(value),
                left: false,
            }
        });
        let heard = heard.unwrap_or_else(|| ended("network_error", false));
        self.is_let_go = matches!(heard, Heard::End { .. });
        heard
    }

    /// What a host says of a call that it was told to end.
    async fn hear_last_words(&mut self, into: &mut Batch) -> Heard {
        let world = self.hosts.world.clone();
        let time = world.wall();
        let state = self.at_host(|call| {
            if call.last_words.is_some_and(|words| call.sent < words) {
                into.push(time, call.sent.to_string().as_bytes());
                call.sent += 1;
                return None;
            }
            Some(call.over)
        });
        match state {
            Some(None) => Heard::Packets,
            Some(Some(Some(over))) if !self.hosts.once_in(4) => {
                world.sleep(over).await;
                self.is_let_go = true;
                ended("cancelled", false)
            }
            // It says nothing of what may be left there.
            _ => ended("cancelled", true),
        }
    }

    /// A host says nothing: by then it can have nothing left. Some wait here, others have the
    /// places kept.
    async fn nothing_known(&mut self, by: Moment) -> Proved {
        let world = self.hosts.world.clone();
        if world.once_in(2) {
            world.sleep(by).await;
        }
        let keep = by.since(world.now());
        let host = Proof::Unconfirmed;
        Proved { host, keep }
    }

    /// The connection breaks.
    fn break_off(&mut self) -> Heard {
        self.is_connected = false;
        self.at_host(|call| call.last_words = None);
        if self.keeps_calls() {
            let since = self.at_host(|call| call.sent).unwrap_or_default();
            self.how = How::Attach { since };
            return Heard::Apart;
        }
        // Its host ends it, a moment later.
        self.hosts.end(self.hold);
        ended("network_error", true)
    }
}

fn ended(error: &str, left: bool) -> Heard {
    Heard::End {
        outcome: Outcome::Error(Failure::new(error, "played")),
        left,
    }
}

impl Attempt for Scripted {
    fn ready(&mut self, by: Moment) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async move {
            let world = self.hosts.world.clone();
            if self.hosts.once_in(8) {
                world.sleep(by).await;
                return Err(Failure::new("network_error", "etimedout"));
            }
            self.sleep(2 + world.draw(3) as u64 * 500).await;
            if self.hosts.once_in(8) {
                return Err(Failure::new("network_error", "econnrefused"));
            }
            self.is_connected = true;
            Ok(())
        })
    }

    fn commit(&mut self, by: Moment) -> BoxFuture<'_, Commit> {
        Box::pin(async move {
            let world = self.hosts.world.clone();
            self.sleep(1).await;
            if !self.was_first && self.hosts.once_in(8) {
                self.was_first = true;
                return Commit::First(Token("first".into()));
            }
            let failure = Failure::new("network_error", "broken");
            if self.hosts.once_in(10) {
                let certain = true;
                return Commit::Not { failure, certain };
            }
            if self.hosts.once_in(15) {
                world.sleep(by).await;
            }
            let is_lost = self.hosts.once_in(15);
            if is_lost && world.once_in(2) {
                let certain = false;
                return Commit::Not { failure, certain };
            }
            self.hosts.receive(self.hold, &self.call);
            self.sleep(1).await;
            if is_lost {
                if !self.keeps_calls() {
                    self.hosts.end(self.hold);
                }
                let certain = false;
                return Commit::Not { failure, certain };
            }
            Commit::Done
        })
    }

    fn next<'a>(&'a mut self, into: &'a mut Batch) -> BoxFuture<'a, Heard> {
        Box::pin(async move {
            if self.is_connected {
                return self.hear(into).await;
            }
            match self.attach().await {
                Some(heard) => heard,
                None => Heard::Sign,
            }
        })
    }

    fn stored(&mut self, what: Stored) {
        if let Stored::Packets(number) = what {
            self.at_host(|call| {
                assert!(number <= call.sent, "it has what was never sent");
                call.acknowledged = call.acknowledged.max(number);
            });
        }
    }

    fn tell(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.is_told = true;
            self.sleep(1 + self.hosts.world.draw(2) as u64 * 300).await;
            if self.is_connected || !self.keeps_calls() {
                self.hosts.end(self.hold);
            }
            if self.is_connected && self.streams() {
                let more = self.hosts.world.draw(3) as u64;
                self.at_host(|call| call.last_words = Some(call.sent + more));
            }
        })
    }

    fn prove(&mut self) -> BoxFuture<'_, Proved> {
        Box::pin(async move {
            let world = self.hosts.world.clone();
            self.is_told = true;
            if self.keeps_calls() && self.hosts.once_in(3) {
                // It cannot be reached until it has given the call up by itself.
                let lease = self.at_host(|call| {
                    let lease = call.lease;
                    call.over.get_or_insert(lease);
                    lease
                });
                let by = lease.unwrap_or(world.now()) + GRACE;
                return self.nothing_known(by).await;
            }
            self.hosts.end(self.hold);
            let over = self.at_host(|call| call.over).flatten();
            let by = world.now() + GRACE;
            match over {
                None => Proved::free(Proof::Confirmed),
                Some(over) if over <= by && !self.hosts.once_in(5) => {
                    world.sleep(over).await;
                    Proved::free(Proof::Confirmed)
                }
                Some(_) => self.nothing_known(by).await,
            }
        })
    }

    fn keeps(&self) -> bool {
        self.keeps_calls()
    }

    fn streams(&self) -> bool {
        let streams = |call: &Call| call.plan > 0;
        let calls = self.hosts.calls();
        self.is_acknowledged && calls.get(&self.key()).is_some_and(streams)
    }

    fn heard(&self) -> Option<Moment> {
        None
    }

    fn debt(&self) -> Option<Token> {
        // What a host keeps may still have to be told that it is not wanted.
        let owes = self.call.queue.is_some() || self.keeps_calls();
        owes.then(|| Token("debt".into()))
    }

    fn detach(mut self: Box<Self>) {
        self.is_let_go = true;
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        // A host that does not keep calls ends them when nobody is connected.
        let is_at_work = self.how == How::New && !self.is_let_go && !self.is_told;
        if is_at_work && !self.keeps_calls() {
            self.hosts.end(self.hold);
        }
    }
}
