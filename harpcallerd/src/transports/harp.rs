//! Calling a host's harpd by the harp protocol over TLS.
//!
//! A host that speaks `harp/2` keeps calls: one whose connection breaks goes on, and is
//! attached to again. With one that speaks `harp/1` alone a call whose connection ends ends
//! with it, or soon after.
//!
//! A host that is away for a moment is waited for before the request goes out, and after it
//! has refused one, which it has certainly not run then.

mod acknowledging;
mod attach;
mod attempt;
mod denials;
mod gate;
mod idle;
mod joined;
mod kept;
mod left;
mod lives;
mod opening;
mod plain;
mod token;

use std::sync::Arc;

use harp_host::HostError;
use harp_jobs::ledger::{Hold, Token};
use harp_jobs::record::CallRecord;
use harp_jobs::transport::{Attempt, How, Minted, Transport};
use harp_time::clock;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tracing::{Span, debug};

use crate::host_attempts::HostAttempts;
use crate::hosts::Hosts;
use crate::rules::Rules;
use crate::world::Runtime;
use attempt::HarpAttempt;
use gate::Gates;
use idle::Idle;
use lives::{Lives, Speaks};
pub use opening::Told;
use token::Note;

/// How many calls that ran before a start are attached to at once.
const ATTACH_AT_ONCE: usize = 64;

/// What calls by the harp protocol go by.
#[derive(Debug)]
pub struct Harp(Arc<Shared>);

/// What all calls share.
#[derive(Debug)]
struct Shared {
    world: Arc<Runtime>,
    hosts: Arc<Hosts>,
    known: HostAttempts,
    told: Told,
    rules: watch::Receiver<Arc<Rules>>,
    /// If the hosts cannot know yet that this machine was started anew: until when.
    unaware_until: Option<Instant>,
    /// When this process began to call.
    began: Instant,
    /// When that was by the wall clock, in milliseconds since 1970.
    began_at: u64,
    lives: Lives,
    gates: Gates,
    idle: Arc<Idle>,
    /// Places of those that attach to calls of before.
    attaching: Arc<Semaphore>,
}

impl Harp {
    /// Calls the hosts of a registry. An attempt goes by the rules of its beginning, and
    /// attaches by those of that moment. `unaware_until` is the moment until which hosts that
    /// keep no calls may go on with those of before, because they cannot know that this
    /// machine was started anew. What becomes of connections is `told`.
    #[must_use]
    pub fn new(
        world: Arc<Runtime>,
        hosts: Arc<Hosts>,
        rules: watch::Receiver<Arc<Rules>>,
        unaware_until: Option<Instant>,
        told: Told,
    ) -> Harp {
        Harp(Arc::new(Shared {
            world,
            hosts,
            known: HostAttempts::default(),
            told,
            rules,
            unaware_until,
            began: Instant::now(),
            began_at: clock::now(),
            lives: Lives::default(),
            gates: Gates::default(),
            idle: Arc::new(Idle::default()),
            attaching: Arc::new(Semaphore::new(ATTACH_AT_ONCE)),
        }))
    }

    /// Whether a job with this token on record may go on at its host, or run now: it is not
    /// over with a start of the dispatcher.
    #[must_use]
    pub fn may_go_on(token: &Token) -> bool {
        Note::read(token).is_some()
    }
}

impl Transport for Harp {
    fn mint(&self, call: &CallRecord) -> Minted {
        let shared = &self.0;
        let rules = shared.rules.borrow();
        let may_keep =
            rules.limits.keep_calls && shared.hosts.harpd(&call.host).is_some_and(|host| host.keep);
        let boot = match shared.lives.get(&call.host) {
            _ if !may_keep => return Minted::default(),
            Some(Speaks::Plain) => return Minted::default(),
            Some(Speaks::Kept(boot)) => Some(boot),
            None => None,
        };
        let note = Note::new(boot, rules.limits.keep_for, 0);
        Minted {
            token: note.token(),
            pool: None,
        }
    }

    fn unrun(&self, _: &CallRecord, token: &Token) -> Option<Token> {
        let keep = self.0.rules.borrow().limits.keep_for;
        let epoch = Note::read(token).map_or(0, |note| note.epoch);
        Some(Note::new(None, keep, epoch).token())
    }

    fn begin(&self, hold: Hold, call: Arc<CallRecord>, how: How, token: Token) -> Box<dyn Attempt> {
        Box::new(HarpAttempt::new(&self.0, hold, call, how, token))
    }
}

fn told_of(error: &HostError) {
    // Network faults are everyday: they are told in the line about the job's end. What a
    // host says is not, it can have parts of arguments in it.
    if !matches!(error.kind(), harp_host::HostErrorKind::Remote(_)) {
        Span::current().record("error", tracing::field::display(&error));
    }
    debug!(%error, "call to the host failed");
}
