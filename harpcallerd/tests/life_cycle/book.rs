//! What was done to each call, what clients were told of it, and whether its end fits.

use std::sync::{Mutex, MutexGuard, PoisonError};

use harp_jobs::record::EndRecord;
use harp_proto::{JobId, Outcome};

/// All calls; the number of one is its place.
#[derive(Debug, Default)]
pub(crate) struct Book {
    entries: Mutex<Vec<Entry>>,
}

/// One call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Entry {
    pub(crate) queue: Option<usize>,
    pub(crate) start_by: Option<u64>,
    pub(crate) key: Option<String>,
    /// The job, as soon as the client was told.
    pub(crate) id: Option<JobId>,
    /// The dispatcher went away before it had answered: there may be a job.
    pub(crate) is_unanswered: bool,
    /// Somebody has asked for its cancel.
    pub(crate) cancel_asked: bool,
    /// Somebody was told that it is cancelled.
    pub(crate) cancel_told: bool,
    pub(crate) finish_ordered: bool,
    pub(crate) break_ordered: bool,
    /// The dispatcher stopped or died before anybody saw it end.
    pub(crate) was_interrupted: bool,
    /// By what second of this life it has to have started.
    pub(crate) due: Option<u64>,
    /// How it ended, as somebody was shown.
    pub(crate) shown: Option<Outcome>,
}

impl Book {
    /// Enters a call and returns its number.
    pub(crate) fn enter(&self, entry: Entry) -> u64 {
        let mut entries = self.entries();
        entries.push(entry);
        entries.len() as u64 - 1
    }

    pub(crate) fn change(&self, tag: u64, change: impl FnOnce(&mut Entry)) {
        change(&mut self.entries()[tag as usize]);
    }

    pub(crate) fn all(&self) -> Vec<Entry> {
        self.entries().clone()
    }

    pub(crate) fn count(&self) -> u64 {
        self.entries().len() as u64
    }

    /// The call whose job this is.
    pub(crate) fn tag_of(&self, id: JobId) -> Option<u64> {
        let entries = self.entries();
        let place = entries.iter().position(|entry| entry.id == Some(id))?;
        Some(place as u64)
    }

    /// Somebody was shown an end. It never changes.
    pub(crate) fn shown(&self, tag: u64, outcome: &Outcome) -> Result<(), String> {
        let mut entries = self.entries();
        let shown = &mut entries[tag as usize].shown;
        match shown {
            Some(before) if before != outcome => Err(format!(
                "call {tag} had ended with {before:?}, now with {outcome:?}"
            )),
            _ => {
                *shown = Some(outcome.clone());
                Ok(())
            }
        }
    }

    /// Whatever runs now is interrupted.
    pub(crate) fn interrupted(&self) {
        for entry in self.entries().iter_mut() {
            entry.was_interrupted |= entry.shown.is_none();
        }
    }

    /// The dispatcher has gone.
    pub(crate) fn crashed(&self) {
        self.interrupted();
        for entry in self.entries().iter_mut() {
            entry.is_unanswered |= entry.id.is_none();
            // What is left of its time counts from the next start.
            entry.due = entry.start_by;
        }
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Whether the job of this call may have ended like that, having been run so often.
    pub(crate) fn check_end(&self, end: &EndRecord, runs: u32) -> Result<(), String> {
        let is_possible = match &end.outcome {
            Outcome::Returned(_) => self.finish_ordered && runs == 1,
            Outcome::Cancelled => self.cancel_asked,
            Outcome::Exception(_) => false,
            Outcome::Error(failure) => match failure.error_type.as_str() {
                "network_error" => self.break_ordered && runs == 1,
                "timeout" => self.start_by.is_some() && runs == 0,
                "missing_result" => self.was_interrupted,
                _ => false,
            },
        };
        if !is_possible {
            return Err(format!("it ended with {:?} after {runs} runs", end.outcome));
        }
        if self.cancel_told && end.outcome != Outcome::Cancelled {
            return Err(format!(
                "its cancel was told, and it ended with {:?}",
                end.outcome
            ));
        }
        if end.started.is_none() && runs > 0 {
            return Err("it has run, and never started".to_owned());
        }
        if self
            .shown
            .as_ref()
            .is_some_and(|shown| *shown != end.outcome)
        {
            return Err(format!("its end is another: {:?}", end.outcome));
        }
        Ok(())
    }
}
