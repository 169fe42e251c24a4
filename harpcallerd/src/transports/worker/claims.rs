//! All claims: which worker has which job, and what is kept beside that.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_jobs::ledger::{Ledger, Lost, Paper};
use harp_proto::{JobId, Json};
use tokio::sync::watch;

use super::claim::{Claim, Stage};
use super::drafts::Drafts;
use super::kept::Kept;
use super::note::Note;

/// The claims of this process, by their jobs. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Claims(Arc<Table>);

#[derive(Debug, Default)]
struct Table {
    claims: Mutex<HashMap<JobId, Arc<Claim>>>,
    /// How many claims have been taken up.
    taken_up: watch::Sender<u64>,
    /// Jobs whose claims are on record from before, and are about to be taken up.
    expected: watch::Sender<BTreeSet<JobId>>,
    drafts: Drafts,
    kept: Kept,
}

/// What comes of trying to claim a job.
#[derive(Debug)]
pub enum Begun {
    /// It is about to be claimed, and nobody else tries.
    New(Arc<Claim>),
    /// Somebody has it, or is about to.
    Taken,
    /// The client has this one under the same key, or is about to.
    Before(Arc<Claim>),
}

impl Claims {
    fn all(&self) -> MutexGuard<'_, HashMap<JobId, Arc<Claim>>> {
        // A std mutex: held for a map operation.
        let claims = &self.0.claims;
        claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a job is about to be claimed, so that nobody else tries.
    #[must_use]
    pub fn begin(&self, job: JobId, note: Note) -> Begun {
        let mut all = self.all();
        let key = note.key.as_deref();
        if let Some(before) = keyed(&all, &note.client, &note.service, key) {
            return Begun::Before(before);
        }
        if all.contains_key(&job) {
            return Begun::Taken;
        }
        let claim = Arc::new(Claim::new(job, note, 0, Stage::Claiming));
        all.insert(job, Arc::clone(&claim));
        Begun::New(claim)
    }

    /// The claim that a client has under this key, if it has one.
    #[must_use]
    pub fn keyed(&self, client: &str, service: &str, key: &str) -> Option<Arc<Claim>> {
        keyed(&self.all(), client, service, Some(key))
    }

    /// Takes back what [`Claims::begin`] has noted: the job was not claimed.
    pub fn forget(&self, claim: &Arc<Claim>) {
        let mut all = self.all();
        if all
            .get(&claim.job)
            .is_some_and(|there| Arc::ptr_eq(there, claim))
        {
            all.remove(&claim.job);
        }
    }

    /// These jobs have claims on record, which are about to be taken up.
    pub fn expect(&self, jobs: BTreeSet<JobId>) {
        self.0.expected.send_replace(jobs);
    }

    /// Completes when all claims of before are taken up. Cancel safe.
    pub async fn all_taken_up(&self) {
        let mut expected = self.0.expected.subscribe();
        // The sender is in `self`, which outlives this.
        let _ = expected.wait_for(|jobs| jobs.is_empty()).await;
    }

    fn is_taken_up(&self, job: JobId) {
        self.0.expected.send_if_modified(|jobs| jobs.remove(&job));
    }

    /// The claim of a job that is on record.
    pub(super) fn held(&self, job: JobId, note: Note, packets: u64) -> Arc<Claim> {
        let claim = self.of(job, note, packets);
        claim
            .progress
            .send_modify(|progress| progress.stage = Stage::Held);
        claim
    }

    /// The claim of a job that has ended and whose worker has not answered.
    pub(super) fn ended(&self, job: JobId, note: Note) -> Arc<Claim> {
        let claim = self.of(job, note, 0);
        claim.is_over();
        claim
    }

    fn of(&self, job: JobId, note: Note, packets: u64) -> Arc<Claim> {
        let mut all = self.all();
        match all.get(&job) {
            Some(claim) if claim.note == note => Arc::clone(claim),
            _ => {
                let claim = Arc::new(Claim::new(job, note, packets, Stage::Held));
                all.insert(job, Arc::clone(&claim));
                drop(all);
                self.is_taken_up(job);
                self.0.taken_up.send_modify(|count| *count += 1);
                claim
            }
        }
    }

    /// The claim of a job that is on record, as soon as it is known. Cancel safe.
    pub async fn taken_up(&self, job: JobId) -> Arc<Claim> {
        let mut changes = self.0.taken_up.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(claim) = self.get(job) {
                return claim;
            }
            // The sender is in `self`, which outlives this.
            let _ = changes.changed().await;
        }
    }

    /// The claim of a job, if somebody has it.
    #[must_use]
    pub fn get(&self, job: JobId) -> Option<Arc<Claim>> {
        self.all().get(&job).cloned()
    }

    /// Keeps a job that waits for a worker for so long; false if it is kept for another.
    #[must_use]
    pub fn keep(&self, job: JobId, client: &str, worker: &str, time: Duration) -> bool {
        self.0.kept.keep(job, client, worker, time)
    }

    /// Whether a job that waits is kept for another than this worker.
    #[must_use]
    pub fn is_kept_from(&self, job: JobId, client: &str, worker: Option<&str>) -> bool {
        self.0.kept.is_from(job, client, worker)
    }

    /// The claims that a worker has.
    #[must_use]
    pub fn of_worker(&self, client: &str, worker: &str) -> Vec<Arc<Claim>> {
        let all = self.all();
        let is_its = |claim: &&Arc<Claim>| {
            let note = &claim.note;
            note.client == client && note.worker.as_deref() == Some(worker) && claim.is_held()
        };
        all.values().filter(is_its).cloned().collect()
    }

    /// Takes up the results that workers have said of jobs that go on.
    pub fn take_up_drafts(&self, papers: Vec<Paper>, lives: impl Fn(JobId) -> bool) {
        self.0.drafts.take_up(papers, lives);
    }

    /// The results that a worker has said so far of a job that it has.
    #[must_use]
    pub fn draft(&self, job: JobId) -> Option<Json> {
        self.0.drafts.of(job)
    }

    /// Keeps results with a job that goes on. They are on record when this returns.
    ///
    /// # Errors
    ///
    /// What the ledger says.
    pub async fn keep_draft(
        &self,
        ledger: &dyn Ledger,
        job: JobId,
        results: Json,
    ) -> Result<(), Lost> {
        self.0.drafts.keep(ledger, job, results).await
    }

    /// A job has ended.
    pub fn job_ended(&self, job: JobId) {
        self.is_taken_up(job);
        self.0.drafts.is_over(job);
    }

    /// Removes what was kept with jobs that have ended, for as long as the daemon goes on.
    pub async fn remove_drafts(&self, ledger: &dyn Ledger) {
        self.0.drafts.remove(ledger).await;
    }

    /// How many claims there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.all().len()
    }
}

/// Those whose job has ended are none.
fn keyed(
    all: &HashMap<JobId, Arc<Claim>>,
    client: &str,
    service: &str,
    key: Option<&str>,
) -> Option<Arc<Claim>> {
    let key = key?;
    let is_it = |claim: &&Arc<Claim>| {
        let note = &claim.note;
        note.key.as_deref() == Some(key)
            && note.client == client
            && note.service == service
            && claim.is_held()
    };
    all.values().find(is_it).cloned()
}
