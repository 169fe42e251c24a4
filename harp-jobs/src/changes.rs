//! What has become durable of jobs, for whoever wants to hear of it. The newest changes are
//! kept for readers that come back; nobody who tells of one waits for a reader.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use harp_values::{JobId, Outcome};
use tokio::sync::watch;

use crate::ledger;
use crate::limits::DeskLimits;

/// A minute in milliseconds, and a day in minutes.
const MINUTE: u64 = 60_000;
const DAY: usize = 24 * 60;

/// The changes of this life of the dispatcher. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Changes(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    backlog: Mutex<Backlog>,
    /// The number of the newest change.
    newest: watch::Sender<u64>,
    limits: OnceLock<watch::Receiver<DeskLimits>>,
}

/// The newest changes, the oldest of them first.
#[derive(Debug, Default)]
struct Backlog {
    changes: VecDeque<Change>,
    /// How many changes there have been.
    count: u64,
    totals: Totals,
    /// What has happened in each minute of the last day in which anything has.
    minutes: VecDeque<(u64, Totals)>,
}

/// How often what has happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Jobs that were taken in.
    pub submitted: u64,
    /// Jobs whose procedure returned.
    pub returned: u64,
    /// Jobs that ended with an exception of the procedure.
    pub exception: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// Jobs that ended with an error.
    pub error: u64,
}

/// A change that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Its number: the first one has 1.
    pub number: u64,
    /// The job.
    pub job: JobId,
    /// What has happened to it.
    pub what: What,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// What has happened to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was taken in.
    Submitted,
    /// It has started.
    Started,
    /// It has ended.
    Ended,
    /// Its place in its queue is free.
    Released,
    /// It is gone.
    Pruned,
}

/// Changes are not kept any more that a reader has not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed;

impl Changes {
    /// Keeps as many changes as these limits say; before, as many as their default does.
    pub fn go_by(&self, limits: watch::Receiver<DeskLimits>) {
        // Once is enough: the limits themselves change.
        let _ = self.0.limits.set(limits);
    }

    /// Notes what the ledger tells. What is of no concern to readers is passed over.
    pub fn note(&self, change: &ledger::Change) {
        let (what, count): (What, fn(&mut Totals)) = match &change.what {
            ledger::What::Submitted { .. } => (What::Submitted, |totals| totals.submitted += 1),
            ledger::What::Started => (What::Started, |_| {}),
            ledger::What::Released => (What::Released, |_| {}),
            ledger::What::Ended(end) => (
                What::Ended,
                match &end.outcome {
                    Outcome::Returned(_) => |totals| totals.returned += 1,
                    Outcome::Exception(_) => |totals| totals.exception += 1,
                    Outcome::Cancelled => |totals| totals.cancelled += 1,
                    Outcome::Error(_) => |totals| totals.error += 1,
                },
            ),
            ledger::What::Pruned => (What::Pruned, |_| {}),
            ledger::What::BackToWait => return,
        };
        self.keep(change.job, what, change.at, count);
    }

    /// What has happened since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.backlog().totals
    }

    /// What has happened in the last so many minutes before `now`, a day of them at most, as
    /// far as that was after the start. `now` is in milliseconds since 1970.
    #[must_use]
    pub fn recent(&self, minutes: u64, now: u64) -> Totals {
        let from = (now / MINUTE).saturating_sub(minutes);
        let backlog = self.backlog();
        let recent = backlog.minutes.iter().filter(|(minute, _)| *minute > from);
        recent.fold(Totals::default(), |sum, (_, one)| sum.and(one))
    }

    /// The number of the newest change, to be waited on.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    /// The changes behind the one of this number, at most so many.
    ///
    /// # Errors
    ///
    /// [`Missed`] if some of them are not kept any more, or there never was that number.
    pub fn behind(&self, number: u64, most: usize) -> Result<Vec<Change>, Missed> {
        let backlog = self.backlog();
        let unseen = backlog.count.checked_sub(number).ok_or(Missed)?;
        let unseen = usize::try_from(unseen).map_err(|_| Missed)?;
        let first = backlog.changes.len().checked_sub(unseen).ok_or(Missed)?;
        let changes = backlog.changes.range(first..);
        Ok(changes.take(most).copied().collect())
    }

    fn keep(&self, job: JobId, what: What, at: u64, count: fn(&mut Totals)) {
        let limits = self.0.limits.get();
        let most = limits.map_or(DeskLimits::default().max_event_backlog, |limits| {
            limits.borrow().max_event_backlog
        });
        let mut backlog = self.backlog();
        count(&mut backlog.totals);
        let minute = at / MINUTE;
        match backlog.minutes.back_mut() {
            Some((last, totals)) if *last == minute => count(totals),
            _ => {
                let mut totals = Totals::default();
                count(&mut totals);
                backlog.minutes.push_back((minute, totals));
            }
        }
        while backlog.minutes.len() > DAY {
            backlog.minutes.pop_front();
        }
        backlog.count += 1;
        let number = backlog.count;
        backlog.changes.push_back(Change {
            number,
            job,
            what,
            at,
        });
        while backlog.changes.len() > most {
            backlog.changes.pop_front();
        }
        // Under the lock, so that numbers only grow.
        self.0.newest.send_replace(number);
    }

    fn backlog(&self) -> std::sync::MutexGuard<'_, Backlog> {
        // A std mutex: held for a few moves, never across an await.
        self.0
            .backlog
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Totals {
    fn and(self, other: &Totals) -> Totals {
        Totals {
            submitted: self.submitted + other.submitted,
            returned: self.returned + other.returned,
            exception: self.exception + other.exception,
            cancelled: self.cancelled + other.cancelled,
            error: self.error + other.error,
        }
    }
}

impl What {
    /// The word of the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            What::Submitted => "submitted",
            What::Started => "started",
            What::Ended => "ended",
            What::Released => "released",
            What::Pruned => "pruned",
        }
    }
}

#[cfg(test)]
mod tests {
    use harp_values::{Failure, Json};

    use super::*;
    use crate::record::EndRecord;

    #[test]
    fn the_newest_are_kept_and_who_misses_some_is_told() {
        let changes = Changes::default();
        let limits = watch::Sender::new(DeskLimits {
            max_event_backlog: 3,
            ..DeskLimits::default()
        });
        changes.go_by(limits.subscribe());
        assert_eq!(changes.behind(0, 9), Ok(Vec::new()));
        assert_eq!(changes.behind(1, 9), Err(Missed), "there was none");
        let job = JobId::submitted_at(1);
        let note = |what| {
            let at = 5 * MINUTE;
            changes.note(&ledger::Change { job, what, at });
        };
        note(ledger::What::Submitted { is_late: false });
        note(ledger::What::Started);
        note(ledger::What::BackToWait);
        let failure = Failure::new("network_error", "x");
        let null = Json::NULL;
        for outcome in [
            Outcome::Returned(null),
            Outcome::Error(failure),
            Outcome::Cancelled,
        ] {
            note(ledger::What::Ended(Arc::new(EndRecord {
                started: None,
                ended: 0,
                outcome,
                packets: 0,
                remarks: Default::default(),
            })));
        }
        let numbers = |number, most| {
            let changes = changes.behind(number, most);
            changes.map(|changes| {
                changes
                    .iter()
                    .map(|change| change.number)
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(numbers(1, 9), Err(Missed));
        assert_eq!(numbers(2, 9), Ok(vec![3, 4, 5]));
        assert_eq!(numbers(2, 1), Ok(vec![3]));
        assert_eq!(numbers(5, 9), Ok(Vec::new()));
        assert_eq!(*changes.newest().borrow(), 5);
        let totals = changes.totals();
        assert_eq!((totals.submitted, totals.returned, totals.error), (1, 1, 1));
        assert_eq!(changes.recent(60, 6 * MINUTE), totals);
        assert_eq!(changes.recent(1, 6 * MINUTE), Totals::default());
    }
}
