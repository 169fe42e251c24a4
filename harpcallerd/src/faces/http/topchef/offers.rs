//! What the first generation's workers are offered. Its client reads the queue twice before
//! it claims, and once again for its results: each worker is shown a queue of its own, which
//! keeps the job that it is about to claim, and then the job that it has, in the first place.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_proto::JobId;
use tokio::time::Instant;

/// How long a job is kept for the worker that it was offered to.
const KEPT: Duration = Duration::from_secs(10);

/// Workers that are remembered; of more, those that were heard of longest ago are forgotten.
const MOST: usize = 10_000;

/// A worker: its identity and its name.
pub(super) type Key = (String, String);

/// What each worker was offered and has. One for all listeners.
#[derive(Debug, Default)]
pub(in crate::faces::http) struct Offers(Mutex<HashMap<Key, Bench>>);

/// What one worker was offered and has.
#[derive(Debug)]
struct Bench {
    heard: Instant,
    offer: Option<JobId>,
    /// The job that it has claimed.
    holds: Option<Holds>,
    /// It has posted to the validator since it has read the queue, and no job of it was known:
    /// after a start of the dispatcher that can be a moment away.
    has_validated: bool,
    /// Jobs of a former life of the worker, which it does not know any more.
    forsaken: HashSet<JobId>,
}

#[derive(Debug, Clone, Copy)]
struct Holds {
    job: JobId,
    /// It has posted to the validator since its claim, without reading the queue before: it
    /// is the one that has claimed, and not one that was started anew.
    has_validated: bool,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            heard: Instant::now(),
            offer: None,
            holds: None,
            has_validated: false,
            forsaken: HashSet::new(),
        }
    }
}

impl Offers {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, Bench>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, worker: &Key, act: impl FnOnce(&mut Bench) -> T) -> T {
        let mut all = self.all();
        if all.len() >= MOST && !all.contains_key(worker) {
            let oldest = all.iter().min_by_key(|(_, bench)| bench.heard);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                all.remove(&oldest);
            }
        }
        let bench = all.entry(worker.clone()).or_insert_with(Bench::new);
        bench.heard = Instant::now();
        act(bench)
    }

    /// The worker has claimed a job.
    pub(super) fn claimed(&self, worker: &Key, job: JobId) {
        self.with(worker, |bench| {
            bench.offer = None;
            bench.forsaken.remove(&job);
            bench.holds = Some(Holds {
                job,
                has_validated: false,
            });
        });
    }

    /// The worker has posted to the validator. `known` are the jobs that it has by the
    /// claims, for one whose bench was lost with a restart of the dispatcher.
    pub(super) fn validated(&self, worker: &Key, known: &[JobId]) {
        self.with(worker, |bench| {
            if bench.holds.is_none() {
                let known = known.iter().find(|job| !bench.forsaken.contains(job));
                bench.holds = known.map(|job| Holds {
                    job: *job,
                    has_validated: false,
                });
            }
            match &mut bench.holds {
                Some(holds) => holds.has_validated = true,
                None => bench.has_validated = true,
            }
        });
    }

    /// The worker reads a queue: the job that it has and that stands in the first place.
    /// One that has a job and reads the queue before it has posted to the validator was
    /// started anew.
    pub(super) fn held(&self, worker: &Key, known: &[JobId]) -> Option<JobId> {
        self.with(worker, |bench| {
            if std::mem::take(&mut bench.has_validated) && bench.holds.is_none() {
                let its = known.iter().find(|job| !bench.forsaken.contains(job));
                bench.holds = its.map(|job| Holds {
                    job: *job,
                    has_validated: true,
                });
            }
            match bench.holds {
                Some(holds) if holds.has_validated => Some(holds.job),
                held => {
                    bench.forsaken.retain(|job| known.contains(job));
                    bench.forsaken.extend(known);
                    bench.forsaken.extend(held.map(|holds| holds.job));
                    bench.holds = None;
                    None
                }
            }
        })
    }

    /// Whether the worker has this job in this life of it, and has posted to the validator.
    pub(super) fn has(&self, worker: &Key, job: JobId) -> Option<bool> {
        self.with(worker, |bench| {
            let holds = bench.holds.filter(|holds| holds.job == job)?;
            Some(holds.has_validated)
        })
    }

    /// Whether a job is one of a former life of the worker.
    pub(super) fn is_forsaken(&self, worker: &Key, job: JobId) -> bool {
        self.with(worker, |bench| bench.forsaken.contains(&job))
    }

    /// The worker is done with its job.
    pub(super) fn done(&self, worker: &Key, job: JobId) {
        self.with(worker, |bench| {
            bench.holds = bench.holds.filter(|holds| holds.job != job);
        });
    }

    /// These jobs, which the worker may claim, its offer first: the one that was kept for it,
    /// or the first that can be kept. `keep` says whether that is so, and keeps it.
    pub(super) fn offer(
        &self,
        worker: &Key,
        jobs: &[JobId],
        keep: impl Fn(JobId, Duration) -> bool,
    ) -> Vec<JobId> {
        self.with(worker, |bench| {
            let kept = bench.offer.filter(|job| jobs.contains(job));
            let mut tried = kept.into_iter().chain(jobs.iter().copied());
            bench.offer = tried.find(|job| keep(*job, KEPT));
            let first = bench.offer;
            let rest = jobs.iter().copied().filter(|job| Some(*job) != first);
            first.into_iter().chain(rest).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transports::worker::Claims;

    fn key(name: &str) -> Key {
        ("anonymous".to_owned(), name.to_owned())
    }

    fn jobs(count: u64) -> Vec<JobId> {
        (1..=count).map(JobId::submitted_at).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn two_workers_never_see_one_job_first() {
        let (offers, jobs) = (Offers::default(), jobs(3));
        let (one, two) = (key("one"), key("two"));
        let claims = Claims::default();
        let offer = |worker: &Key, jobs: &[JobId]| {
            let keep = |job, time| claims.keep(job, &worker.0, &worker.1, time);
            offers.offer(worker, jobs, keep)
        };
        assert_eq!(offer(&one, &jobs), jobs);
        assert_eq!(offer(&two, &jobs)[0], jobs[1]);
        // What is kept stays, whatever comes before it.
        let earlier: Vec<JobId> = [&[JobId::submitted_at(0)], &jobs[..]].concat();
        assert_eq!(offer(&one, &earlier)[0], jobs[0]);
        assert!(claims.is_kept_from(jobs[0], "anonymous", None));
        assert!(!claims.is_kept_from(jobs[0], "anonymous", Some("one")));
        tokio::time::advance(KEPT).await;
        assert_eq!(offer(&two, &jobs)[0], jobs[1], "its own first");
        assert!(!claims.is_kept_from(jobs[0], "anonymous", Some("two")));
    }

    #[test]
    fn a_worker_that_was_started_anew_has_no_job() {
        let (offers, job) = (Offers::default(), JobId::submitted_at(1));
        let worker = key("w");
        offers.claimed(&worker, job);
        offers.validated(&worker, &[job]);
        assert_eq!(offers.held(&worker, &[job]), Some(job));
        offers.done(&worker, job);
        // It reads the queue before it has posted to the validator.
        offers.claimed(&worker, job);
        assert_eq!(offers.held(&worker, &[job]), None);
        offers.validated(&worker, &[job]);
        assert_eq!(offers.held(&worker, &[job]), None, "its former life's");
        assert!(offers.is_forsaken(&worker, job));
    }

    #[test]
    fn what_a_worker_has_is_known_again_after_a_restart() {
        let (offers, job) = (Offers::default(), JobId::submitted_at(1));
        offers.validated(&key("w"), &[job]);
        assert_eq!(offers.held(&key("w"), &[job]), Some(job));
        // Its claim is taken up between the two.
        offers.validated(&key("late"), &[]);
        assert_eq!(offers.held(&key("late"), &[job]), Some(job));
        // One that reads the queue first was started anew.
        offers.validated(&key("new"), &[]);
        assert_eq!(offers.held(&key("new"), &[]), None);
        assert_eq!(offers.held(&key("new"), &[job]), None);
    }
}
