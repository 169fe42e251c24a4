//! How long ended jobs are kept (daemon specification, keys `max_age`, `max_jobs`,
//! `max_store_size`). The ledger is asked to prune a bounded piece at a time, so that
//! calls go on in between.
//!
//! Jobs go in the order in which they ended, and are as old as their ends, so a wall clock
//! that is wrong takes nothing along: see [`clock_steps`](harp_jobs::clock_steps) and [`SHARE`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_jobs::clock_steps::{Pause, Steps};
use harp_jobs::ledger::{Keep, Ledger, Lost, Pruned};
use harp_ledger::store::Ahead;
use harp_service::settings::Table;
use harp_time::clock;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

/// Between two looks at what is too old or too much.
const EVERY: Duration = Duration::from_secs(60);

/// One of so many ended jobs goes by age in an [`Allowance::HOUR`] at most, of those whose
/// age only the wall clock says, since the machine was started after their ends.
const SHARE: u64 = 4;

/// Which ended jobs are kept; without any limit, all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Those that ended not longer ago than this.
    pub max_age: Option<Duration>,
    /// At most so many.
    pub max_jobs: Option<u64>,
    /// As many as fit into so many bytes of calls, packets and results.
    pub max_store_size: Option<u64>,
}

impl Retention {
    /// Takes the keys out of the configuration.
    pub(crate) fn take(table: &Table<'_>) -> Retention {
        // A hundred years of 365 days.
        let hours = table.integer("max_age", 1..=876_000);
        Retention {
            max_age: hours.map(|hours| Duration::from_secs(hours * 3600)),
            max_jobs: table.integer("max_jobs", 0..=u64::MAX),
            max_store_size: table.size("max_store_size"),
        }
    }
}

/// Why ended jobs could not be removed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotPruned(String);

impl From<Lost> for NotPruned {
    fn from(lost: Lost) -> NotPruned {
        NotPruned(match lost {
            Lost::Refused(why) => why.as_ref().to_owned(),
            Lost::Closed | Lost::Fenced | Lost::Taken(_) => "the job store is closed".to_owned(),
        })
    }
}

/// Removes what is not to be kept.
pub struct Pruner {
    ledger: Arc<dyn Ledger>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    steps: Steps,
    allowance: Allowance,
}

/// How many jobs may still go whose age is the wall clock's.
#[derive(Debug, Clone, Copy)]
struct Allowance {
    begun: Instant,
    left: u64,
    /// There are more of them.
    is_used_up: bool,
}

impl Allowance {
    const HOUR: Duration = Duration::from_secs(3600);

    fn new(ended: u64) -> Allowance {
        Allowance {
            begun: Instant::now(),
            left: (ended / SHARE).max(1),
            is_used_up: false,
        }
    }
}

impl std::fmt::Debug for Pruner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the pruner")
    }
}

impl Pruner {
    /// For a ledger that has just been opened, at a time that the wall clock is so far ahead
    /// of what it showed when the ledger was closed.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, ahead: Ahead) -> Arc<Pruner> {
        let Ahead { by, is_certain } = ahead;
        let steps = Steps::begin(clock::boot_began(), clock::since_boot(), by, is_certain);
        let allowance = Allowance::new(ledger.contents().ended);
        let state = Mutex::new(State { steps, allowance });
        let pruner = Pruner { ledger, state };
        let paused = pruner.state().steps.paused(clock::since_boot());
        if let Some(why) = paused {
            tell(why);
        }
        Arc::new(pruner)
    }

    /// Keeps what there is within the limits of the moment, looking once a minute and when they
    /// change, as long as it is this dispatcher that `keeps_house`. Ends when nobody can change
    /// them any more.
    pub async fn keep(
        self: Arc<Self>,
        mut limits: watch::Receiver<Retention>,
        keeps_house: impl Fn() -> bool + Send,
    ) {
        loop {
            let now = *limits.borrow_and_update();
            if keeps_house()
                && let Err(error) = self.prune_to(now).await
            {
                warn!(%error, "ended jobs cannot be pruned at present");
            }
            if let Ok(Err(_)) = timeout(EVERY, limits.changed()).await {
                return;
            }
        }
    }

    async fn prune_to(&self, limits: Retention) -> Result<(), NotPruned> {
        let is_paused = self.look().is_some();
        if limits == Retention::default() {
            return Ok(());
        }
        let by_wall_clock = self.allowed();
        let keep = Keep {
            max_age: limits.max_age.filter(|_| !is_paused),
            by_wall_clock,
            jobs: limits.max_jobs,
            bytes: limits.max_store_size,
        };
        let gone = self.prune(keep).await?;
        let mut state = self.state();
        state.allowance.left = by_wall_clock.saturating_sub(gone.by_wall_clock);
        let is_used_up = gone.withheld;
        if is_used_up && !state.allowance.is_used_up {
            warn!(
                jobs = gone.by_wall_clock,
                "more jobs are older than max_age by the wall clock than are pruned in an hour, a \
                 quarter of all: the others follow; \"harpcallerd prune-jobs\" removes them now"
            );
        }
        state.allowance.is_used_up = is_used_up;
        Ok(())
    }

    /// Prunes the ended jobs that ended longer ago than this, all at once, since somebody
    /// has asked for it. After the wall clock was set forward those stay whose age is that
    /// clock's, unless all are to go.
    ///
    /// # Errors
    ///
    /// If the store cannot be read or written; what has been pruned by then stays so, and the
    /// piece that was asked for last may follow when an outage is over.
    pub async fn prune_older(&self, age: Duration) -> Result<Pruned, NotPruned> {
        let trusted = self.look().is_none() || age.is_zero();
        let keep = Keep {
            max_age: Some(age),
            by_wall_clock: if trusted { u64::MAX } else { 0 },
            ..Keep::default()
        };
        self.prune(keep).await
    }

    /// What is not as it should be, a sentence each.
    #[must_use]
    pub fn attention(&self) -> Vec<String> {
        let state = self.state();
        let paused = state.steps.paused(clock::since_boot());
        let paused = paused.filter(|why| why.is_certain).map(|why| {
            format!(
                "the wall clock was set forward by {} seconds: for an hour no job is pruned by age",
                why.by.as_secs()
            )
        });
        let more = state.allowance.is_used_up.then(|| {
            "jobs that are older than max_age by the wall clock are pruned little by little: \
             \"harpcallerd prune-jobs\" removes them now"
                .to_owned()
        });
        paused.into_iter().chain(more).collect()
    }

    /// Looks at the clocks. Why nothing is to go by age for now, if so.
    fn look(&self) -> Option<Pause> {
        let since_boot = clock::since_boot();
        let mut state = self.state();
        let is_set = state.steps.look(clock::boot_began(), since_boot);
        let paused = state.steps.paused(since_boot);
        drop(state);
        if let (true, Some(why)) = (is_set, paused) {
            tell(why);
        }
        paused
    }

    fn allowed(&self) -> u64 {
        let mut state = self.state();
        if state.allowance.begun.elapsed() >= Allowance::HOUR {
            state.allowance = Allowance::new(self.ledger.contents().ended);
        }
        state.allowance.left
    }

    async fn prune(&self, mut keep: Keep) -> Result<Pruned, NotPruned> {
        let mut all = Pruned::default();
        loop {
            let piece = self.prune_piece(keep).await?;
            all.jobs += piece.jobs;
            all.by_wall_clock += piece.by_wall_clock;
            all.withheld |= piece.withheld;
            keep.by_wall_clock = keep.by_wall_clock.saturating_sub(piece.by_wall_clock);
            if !piece.more {
                break;
            }
        }
        if all.jobs > 0 {
            info!(jobs = all.jobs, "ended jobs pruned");
        }
        Ok(all)
    }

    /// The ledger waits for the end of an outage; whoever asks for this does not.
    async fn prune_piece(&self, keep: Keep) -> Result<Pruned, NotPruned> {
        let mut outage = self.ledger.outage();
        tokio::select! {
            biased;
            Ok(why) = outage.wait_for(Option::is_some) => {
                Err(NotPruned(why.as_deref().unwrap_or_default().to_owned()))
            }
            pruned = self.ledger.prune(keep) => pruned.map_err(NotPruned::from),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(why: Pause) {
    let seconds = why.by.as_secs();
    if why.is_certain {
        warn!(
            seconds,
            "the wall clock has been set forward: for an hour no job is pruned by age"
        );
    } else {
        info!(
            seconds,
            "the machine has been started since the last job ended: for an hour no job is pruned \
             by age, should the wall clock not be right yet"
        );
    }
}
