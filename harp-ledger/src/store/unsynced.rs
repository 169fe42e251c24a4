//! Changes that the writer has applied but not yet brought to the disk.
//!
//! Readers see what is applied at once. Nobody may be shown what a power cut could still
//! take back, so a reader looks here after reading: packets are shown up to the number
//! that is on disk, and for a change of a job's state the reader waits until its round
//! of writing is over.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use harp_values::JobId;
use tokio::sync::watch;

/// The jobs changed in the present round of writing.
#[derive(Debug)]
pub(crate) struct Unsynced {
    jobs: Mutex<HashMap<JobId, Changed>>,
    rounds: watch::Sender<Rounds>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Rounds {
    /// How many have come to an end.
    ended: u64,
    /// How many have failed.
    failures: u64,
    /// Whether the last one failed: there is none until the engine is opened anew.
    failed: bool,
}

/// Part of a job that is not on disk.
#[derive(Debug, Default, Clone, Copy)]
struct Changed {
    /// Its state: submitted, started, or ended.
    state: bool,
    /// Packets with this number and above.
    packets_from: Option<u64>,
}

/// A round of writing failed; what it wrote may be on disk or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NeverSynced;

impl Unsynced {
    pub(crate) fn new() -> Unsynced {
        Unsynced {
            jobs: Mutex::new(HashMap::new()),
            rounds: watch::Sender::new(Rounds::default()),
        }
    }

    /// Before a change of a job's state is applied.
    pub(crate) fn state_changes(&self, id: JobId) {
        self.jobs().entry(id).or_default().state = true;
    }

    /// Before packets from this number on are applied.
    pub(crate) fn packets_change(&self, id: JobId, from: u64) {
        self.jobs()
            .entry(id)
            .or_default()
            .packets_from
            .get_or_insert(from);
    }

    /// All that has been applied is on disk.
    pub(crate) fn round_done(&self) {
        self.jobs().clear();
        self.rounds.send_modify(|rounds| rounds.ended += 1);
    }

    /// The round failed: what it changed stays unshown.
    pub(crate) fn round_failed(&self) {
        self.rounds.send_modify(|rounds| {
            rounds.ended += 1;
            rounds.failures += 1;
            rounds.failed = true;
        });
    }

    /// The engine has been opened anew, and what it shows is on disk.
    pub(crate) fn forget_failure(&self) {
        self.jobs().clear();
        self.rounds.send_modify(|rounds| rounds.failed = false);
    }

    /// The number up to which packets that have been read may be shown.
    pub(crate) fn packets_limit(&self, id: JobId) -> u64 {
        let changed = self.jobs().get(&id).and_then(|job| job.packets_from);
        changed.unwrap_or(u64::MAX)
    }

    /// Waits until the state of the job that has just been read is on disk.
    pub(crate) async fn state_settled(&self, id: JobId) -> Result<(), NeverSynced> {
        if !self.state_is_changing(id) {
            return Ok(());
        }
        let mut rounds = self.rounds.subscribe();
        let before = *rounds.borrow();
        // Looked at again, because the round may have ended before it was counted.
        if !self.state_is_changing(id) {
            return Ok(());
        }
        if before.failed {
            return Err(NeverSynced);
        }
        // What was read was applied in the round that ends next, or before it.
        let after = rounds
            .wait_for(|rounds| rounds.ended > before.ended)
            .await
            .map_err(|_| NeverSynced)?;
        if after.failures > before.failures {
            Err(NeverSynced)
        } else {
            Ok(())
        }
    }

    fn state_is_changing(&self, id: JobId) -> bool {
        self.jobs().get(&id).is_some_and(|job| job.state)
    }

    fn jobs(&self) -> MutexGuard<'_, HashMap<JobId, Changed>> {
        // Nothing in here panics with the map half changed.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_changed_state_is_shown_after_its_round() {
        let unsynced = Arc::new(Unsynced::new());
        let (changed, other) = (JobId::submitted_at(1), JobId::submitted_at(2));
        unsynced.state_changes(changed);
        assert_eq!(unsynced.state_settled(other).await, Ok(()));
        let reader = tokio::spawn({
            let unsynced = unsynced.clone();
            async move { unsynced.state_settled(changed).await }
        });
        while unsynced.rounds.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        unsynced.round_done();
        // The next round does not keep it waiting.
        unsynced.state_changes(changed);
        assert_eq!(reader.await.unwrap(), Ok(()));
        unsynced.round_failed();
        assert_eq!(unsynced.state_settled(changed).await, Err(NeverSynced));
        assert_eq!(unsynced.state_settled(other).await, Ok(()));

        unsynced.forget_failure();
        assert_eq!(unsynced.state_settled(changed).await, Ok(()));
    }

    #[tokio::test]
    async fn a_reader_that_waits_hears_of_a_failure_that_is_over() {
        let unsynced = Arc::new(Unsynced::new());
        let job = JobId::submitted_at(1);
        unsynced.state_changes(job);
        let reader = tokio::spawn({
            let unsynced = unsynced.clone();
            async move { unsynced.state_settled(job).await }
        });
        while unsynced.rounds.receiver_count() == 0 {
            tokio::task::yield_now().await;
        }
        unsynced.round_failed();
        unsynced.forget_failure();
        assert_eq!(reader.await.unwrap(), Err(NeverSynced));
    }

    #[test]
    fn packets_are_shown_up_to_what_is_on_disk() {
        let unsynced = Unsynced::new();
        let job = JobId::submitted_at(1);
        unsynced.packets_change(job, 5);
        unsynced.packets_change(job, 9);
        assert_eq!(unsynced.packets_limit(job), 5);
        unsynced.round_done();
        assert_eq!(unsynced.packets_limit(job), u64::MAX);
        unsynced.packets_change(job, 12);
        unsynced.round_failed();
        assert_eq!(unsynced.packets_limit(job), 12);
    }
}
