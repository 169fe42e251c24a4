//! Whether a host that cannot be reached is tried again, and whose turn that is.
//!
//! A call that was certainly not run fails at once if nothing was heard of its host for
//! ten minutes. Otherwise the host is away for a moment: the call waits, at most
//! `connect_patience`, while the host is tried again, by one of its calls at a time. All
//! of them go on as soon as one is acknowledged.
//!
//! `host_attempts/reach.rs` decides, without I/O and with the time as an argument; here
//! is the waiting.

mod failures;
mod reach;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_host::{HostError, HostErrorKind};
use harp_proto::Failure;
use harp_time::Limit;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use reach::{After, Next, Reach, Waiting};

/// Knowledge of the hosts that were called, by their names in the registry.
#[derive(Debug, Default)]
pub struct HostAttempts {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    hosts: HashMap<String, Arc<KnownHost>>,
    /// With so many hosts it is worth while to look for some that can be forgotten.
    sweep_at: usize,
}

#[derive(Debug)]
struct KnownHost {
    name: String,
    reach: Mutex<Reach>,
    /// Its holder may try the host while that is away.
    turn: Arc<Semaphore>,
    is_away: watch::Sender<bool>,
}

/// One call's attempts at its host.
#[derive(Debug)]
pub struct Attempts {
    host: Arc<KnownHost>,
    patience: Duration,
    /// Set from when on the call has had to wait.
    waiting: Option<Waiting>,
    /// Until when it waits; set from then on, too, so that a standstill between two attempts
    /// does not count, whatever the call does in between.
    limit: Option<Limit>,
}

/// The leave to try the host once. Dropping it gives it to the next call.
#[derive(Debug)]
pub struct Try {
    /// `None` if the host is not away.
    permit: Option<OwnedSemaphorePermit>,
    /// Time at which the call's patience is over, if it has had to wait.
    until: Option<Instant>,
}

impl HostAttempts {
    /// The attempts of a call that begins now and waits for at most `patience` in all.
    #[must_use]
    pub fn of_call(&self, host: &str, patience: Duration) -> Attempts {
        Attempts {
            host: self.known(host),
            patience,
            waiting: None,
            limit: None,
        }
    }

    fn known(&self, name: &str) -> Arc<KnownHost> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = known.hosts.get(name) {
            return Arc::clone(host);
        }
        if known.hosts.len() >= known.sweep_at {
            let now = Instant::now();
            // One that is being called is known to its calls, too.
            known
                .hosts
                .retain(|_, host| Arc::strong_count(host) > 1 || host.reach().was_heard(now));
            known.sweep_at = 2 * known.hosts.len() + 64;
        }
        let host = Arc::new(KnownHost {
            name: name.to_owned(),
            reach: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            is_away: watch::Sender::new(false),
        });
        known.hosts.insert(name.to_owned(), Arc::clone(&host));
        host
    }
}

impl KnownHost {
    fn reach(&self) -> MutexGuard<'_, Reach> {
        // A std mutex: held for a few comparisons, never across an await.
        self.reach.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn to try the host, and until that is due. `None` if it is not away
    /// any more. Cancel safe.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // Never closed, so that this always is a permit.
        let permit = Arc::clone(&self.turn).acquire_owned().await.ok();
        loop {
            let due = self.reach().due()?;
            if due <= Instant::now() {
                return permit;
            }
            sleep_until(due).await;
        }
    }
}

impl Attempts {
    /// Waits until the call may try its host: not at all unless that is away. Cancel safe.
    ///
    /// # Errors
    ///
    /// The failure of the newest attempt at the host, once the call's patience is over.
    pub async fn turn(&mut self) -> Result<Try, Failure> {
        loop {
            self.judge();
            let mut is_away = self.host.is_away.subscribe();
            let next = {
                let reach = self.host.reach();
                reach.next(&mut self.waiting, Instant::now(), self.patience)
            };
            let until = match next {
                Next::Try { until } => {
                    let permit = None;
                    return Ok(Try { permit, until });
                }
                Next::Wait { until } => until,
                Next::GiveUp(failure) => return Err(failure),
            };
            let limit = self.limit.get_or_insert_with(|| Limit::until(until));
            let permit = tokio::select! {
                biased;
                _ = is_away.wait_for(|is_away| !is_away) => None,
                permit = self.host.turn() => permit,
                () = limit.passed() => None,
            };
            // A turn that comes after a standstill is judged like the limit that passed in it.
            self.judge();
            if permit.is_some() {
                let until = self.limit.map(|limit| limit.end());
                return Ok(Try { permit, until });
            }
        }
    }

    /// Puts the end of the call's patience off if it passed while this process stood still.
    fn judge(&mut self) {
        if let (Some(limit), Some(waiting)) = (&mut self.limit, &self.waiting) {
            limit.is_reached();
            self.patience = limit.end().saturating_duration_since(waiting.since());
        }
    }

    /// Takes note that an attempt has failed, and says what the call ends with; `None` if
    /// it is to be tried again.
    pub fn failed(&mut self, turn: Try, error: &HostError) -> Option<Failure> {
        if failures::is_crowded(error) {
            self.heard(Instant::now());
        }
        self.follows(turn, error, failures::may_pass(error))
    }

    /// Judges, as [`Attempts::failed`] does, a request that may be at the host and is run by
    /// nobody there: a fault of the way there may always pass.
    pub fn not_run(&mut self, turn: Try, error: &HostError) -> Option<Failure> {
        let is_of_way = matches!(
            error.kind(),
            HostErrorKind::Network { .. } | HostErrorKind::Os { .. }
        );
        self.follows(turn, error, is_of_way)
    }

    fn follows(&mut self, turn: Try, error: &HostError, may_pass: bool) -> Option<Failure> {
        let now = Instant::now();
        let has_turn = turn.permit.is_some();
        if !may_pass {
            if matches!(error.kind(), HostErrorKind::Remote(_)) {
                self.acknowledged(turn);
            } else if has_turn {
                self.host.reach().put_off(now);
            }
            return Some(error.to_failure());
        }
        // That the patience was over while it was tried tells less than what was before.
        let is_cut_short = turn.until.is_some_and(|until| until <= now);
        let mut reach = self.host.reach();
        let was_away = reach.due().is_some();
        let attempt = reach::Failed {
            now,
            failure: error.to_failure(),
            has_turn,
            is_cut_short,
        };
        let after = reach.failed(&mut self.waiting, self.patience, attempt);
        if !was_away && reach.due().is_some() {
            let host = &self.host.name;
            if failures::is_crowded(error) {
                warn!(host, %error, "the host has no room at the moment; its calls wait");
            } else {
                warn!(host, %error, "the host cannot be reached; its calls wait");
            }
            // Under the lock, so that both always say the same.
            self.host.is_away.send_replace(true);
        }
        match after {
            After::Again => {
                let patience = self.patience;
                let until = self.waiting.map(|waiting| waiting.since() + patience);
                self.limit = self.limit.or(until.map(Limit::until));
                None
            }
            After::GiveUp(failure) => Some(failure),
        }
    }

    /// Takes note that the host has acknowledged the call, or has refused it: whoever waits
    /// for the host goes on.
    pub fn acknowledged(&mut self, turn: Try) {
        let mut reach = self.host.reach();
        if let Some(attempts) = reach.answered(Instant::now()) {
            let host = &self.host.name;
            info!(host, attempts, "the host can be reached again");
            self.host.is_away.send_replace(false);
        }
        drop(turn);
    }

    /// Takes note that something was heard of the host at this time.
    pub fn heard(&self, at: Instant) {
        self.host.reach().heard(at);
    }
}

impl Try {
    /// The leave to go on with a host that has just been heard.
    #[must_use]
    pub fn free() -> Try {
        Try {
            permit: None,
            until: None,
        }
    }

    /// The end of an attempt: at its own limit, or when the call's patience is over.
    #[must_use]
    pub fn bound(&self, limit: Instant) -> Instant {
        self.until.map_or(limit, |until| until.min(limit))
    }
}
