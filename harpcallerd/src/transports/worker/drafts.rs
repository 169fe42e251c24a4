//! Results that workers have said of jobs that go on. Each is a paper of the ledger for as
//! long as its job lives.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use harp_jobs::ledger::{Edited, Ledger, Lost, Paper, PaperEdit, PaperId, PaperKind};
use harp_proto::{JobId, Json};
use tokio::sync::mpsc;

/// The drafts of this process.
#[derive(Debug)]
pub(super) struct Drafts {
    kept: Mutex<HashMap<JobId, Draft>>,
    /// Jobs that have ended, whose drafts are to go.
    over: mpsc::UnboundedSender<JobId>,
    /// Until somebody removes them.
    overs: Mutex<Option<mpsc::UnboundedReceiver<JobId>>>,
}

#[derive(Debug)]
struct Draft {
    revision: u64,
    results: Json,
}

impl Default for Drafts {
    fn default() -> Drafts {
        let (over, overs) = mpsc::unbounded_channel();
        Drafts {
            kept: Mutex::default(),
            over,
            overs: Mutex::new(Some(overs)),
        }
    }
}

fn paper_id(job: JobId) -> PaperId {
    PaperId {
        kind: PaperKind::Draft,
        name: u128::from_be_bytes(*job.as_bytes()),
    }
}

impl Drafts {
    fn kept(&self) -> MutexGuard<'_, HashMap<JobId, Draft>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up the drafts that are on record; those of jobs that do not live are to go.
    pub(super) fn take_up(&self, papers: Vec<Paper>, lives: impl Fn(JobId) -> bool) {
        let mut kept = self.kept();
        for paper in papers {
            let job = JobId::from_bytes(paper.id.name.to_be_bytes());
            let results = Json::parse(&paper.text).unwrap_or(Json::NULL);
            let revision = paper.revision;
            kept.insert(job, Draft { revision, results });
            if !lives(job) {
                let _ = self.over.send(job);
            }
        }
    }

    pub(super) fn of(&self, job: JobId) -> Option<Json> {
        Some(self.kept().get(&job)?.results.clone())
    }

    /// Keeps results. They are on record when this returns.
    pub(super) async fn keep(
        &self,
        ledger: &dyn Ledger,
        job: JobId,
        results: Json,
    ) -> Result<(), Lost> {
        loop {
            let over = self.kept().get(&job).map_or(0, |draft| draft.revision);
            let edit = PaperEdit {
                id: paper_id(job),
                over,
                text: Some(results.clone().into_bytes()),
            };
            match ledger.paper(edit).await? {
                Edited::Done => {
                    let revision = over + 1;
                    self.kept().insert(job, Draft { revision, results });
                    return Ok(());
                }
                // Somebody else was first, and notes that here in a moment.
                Edited::Other(_) => tokio::task::yield_now().await,
            }
        }
    }

    /// A job has ended.
    pub(super) fn is_over(&self, job: JobId) {
        if self.kept().contains_key(&job) {
            // Whoever removes them goes with the daemon.
            let _ = self.over.send(job);
        }
    }

    /// Removes the drafts of jobs that have ended, for as long as the daemon goes on.
    pub(super) async fn remove(&self, ledger: &dyn Ledger) {
        let overs = self
            .overs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(mut overs) = overs else {
            return;
        };
        while let Some(job) = overs.recv().await {
            let Some(over) = self.kept().remove(&job).map(|draft| draft.revision) else {
                continue;
            };
            let id = paper_id(job);
            let text = None;
            // What cannot be removed now is when the dispatcher starts next.
            let _ = ledger.paper(PaperEdit { id, over, text }).await;
        }
    }
}
