//! Removing ended jobs: which of them go, and everything that goes with them.
//!
//! A reader finds candidates, the writer decides about each and removes it, since only
//! the writer knows what has ended and how much there is. It does a bounded piece at a
//! time, so that nobody's submission waits for long. A job with more entries than that
//! disappears in the first piece, which leaves a note ([`Table::Pruned`]) by which the
//! rest is found, after a crash too.

use std::ops::ControlFlow;

use harp_proto::JobId;

use super::contents::{Contents, entry_size};
use super::error::StoreError;
use super::layout::{self, Table};
use super::passed_over::PassedOver;
use super::round::{BATCH, Done, Round, Trouble};
use super::sled::Engine;

/// Which ended jobs are kept. The oldest go first, by the time of their submission, as
/// long as any limit is exceeded. Live jobs, and those whose place in a queue is kept,
/// stay whatever the limits say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// Those submitted at this time or later, in milliseconds since 1970; older ones go.
    pub submitted_since: Option<u64>,
    /// At most so many ended jobs.
    pub jobs: Option<u64>,
    /// As many as fit: so much may the store hold ([`Contents::bytes`]).
    pub bytes: Option<u64>,
}

/// Result of one piece of pruning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pruned {
    /// So many jobs are gone.
    pub jobs: u64,
    /// There may be more to do: ask again.
    pub more: bool,
}

impl Keep {
    /// Whether the oldest job has to go for the sake of space.
    fn is_too_much(&self, contents: Contents) -> bool {
        self.jobs.is_some_and(|most| contents.ended > most)
            || self.bytes.is_some_and(|most| contents.bytes > most)
    }

    fn is_too_old(&self, id: JobId) -> bool {
        self.submitted_since
            .is_some_and(|since| submitted(id) < since)
    }
}

/// Jobs that may have to go, the oldest first: rests of pruned ones, then ended ones. At
/// most a piece's worth, without those that are passed over.
pub(crate) fn candidates(
    engine: &Engine,
    passed_over: &PassedOver,
    keep: &Keep,
    contents: Contents,
) -> Result<Vec<JobId>, StoreError> {
    let mut jobs = Vec::new();
    let mut take = |key: &[u8]| {
        jobs.extend(layout::job_of(key).filter(|id| !passed_over.contains(*id)));
        if jobs.len() < BATCH {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let (from, to) = Table::Pruned.bounds();
    engine.scan(&from, &to, |key, _| take(key))?;
    let too_much = keep.is_too_much(contents);
    if !too_much && keep.submitted_since.is_none() {
        return Ok(jobs);
    }
    let (from, to) = Table::Ends.bounds();
    engine.scan(&from, &to, |key, _| {
        let Some(id) = layout::job_of(key) else {
            return ControlFlow::Continue(());
        };
        if !too_much && !keep.is_too_old(id) {
            return ControlFlow::Break(());
        }
        match engine.contains(&Table::Places.key(id)) {
            Ok(true) => ControlFlow::Continue(()),
            // What cannot be read is told by the writer, which goes on behind it.
            Ok(false) | Err(_) => take(key),
        }
    })?;
    Ok(jobs)
}

/// Result for one candidate.
enum Fate {
    /// It is gone; so many entries were removed.
    Gone(usize),
    /// A piece of it is gone, and there is more.
    Begun,
    /// It is not to be pruned.
    Stays,
    /// It cannot be pruned, and is not to be tried again.
    PassedOver,
    /// Neither this one nor any younger one is to be pruned.
    Enough,
}

impl Round<'_> {
    /// Removes jobs out of these, as far as `keep` asks for it and one piece goes.
    pub(super) fn prune(&mut self, jobs: &[JobId], keep: &Keep) -> Result<Done, Trouble> {
        // What is looked at below has to be in the engine.
        self.apply().map_err(Trouble::Failed)?;
        let (mut pruned, mut passed_over) = (0, 0);
        let mut room = BATCH;
        for &id in jobs {
            let fate = self
                .prune_job(id, keep, room)
                .or_else(|trouble| match trouble {
                    // Nothing was changed, and those behind it can go.
                    Trouble::Refused(error) => {
                        self.pass_over(id, &error);
                        Ok(Fate::PassedOver)
                    }
                    failed => Err(failed),
                });
            match fate? {
                Fate::Gone(entries) => {
                    pruned += 1;
                    room = room.saturating_sub(entries);
                }
                Fate::Begun => room = 0,
                Fate::Stays => {}
                Fate::PassedOver => passed_over += 1,
                Fate::Enough => return Ok(Done::Pruned(pruned, false)),
            }
            if room == 0 {
                return Ok(Done::Pruned(pruned, true));
            }
        }
        let is_other = pruned + passed_over > 0;
        Ok(Done::Pruned(pruned, is_other && jobs.len() == BATCH))
    }

    /// Lets those behind this one have their turn from now on.
    fn pass_over(&mut self, id: JobId, error: &StoreError) {
        self.in_doubt |= matches!(error, StoreError::Unreadable(_));
        if self.shared.passed_over.insert(id) {
            tracing::warn!(job = %id, %error, "an ended job cannot be pruned and is passed over; check the store");
        }
    }

    fn prune_job(&mut self, id: JobId, keep: &Keep, room: usize) -> Result<Fate, Trouble> {
        let note = Table::Pruned.key(id);
        let is_rest = self.engine.contains(&note).map_err(StoreError::from)?;
        if !is_rest {
            if !keep.is_too_old(id) && !keep.is_too_much(*self.contents) {
                return Ok(Fate::Enough);
            }
            if !self.may_go(id)? {
                return Ok(Fate::Stays);
            }
            if self.contains(&Table::Live.key(id))? {
                let why = "it has an end and lives".to_owned();
                return Err(StoreError::Refused { id, why }.into());
            }
        }
        // All is read before anything is changed: the job goes or stays as a whole.
        let rest = self.entries_behind(id, room)?;
        if !is_rest {
            self.forget(id)?;
        }
        let is_all = rest.len() < room;
        // The call, the end and the note too.
        let entries = rest.len() + 3;
        for (key, size) in rest {
            self.contents.bytes = self.contents.bytes.saturating_sub(size);
            self.batch.remove(&key);
        }
        match (is_all, is_rest) {
            (false, false) => self.batch.insert(&note, b""),
            (true, true) => self.batch.remove(&note),
            _ => {}
        }
        // All of it or nothing: one batch.
        self.apply().map_err(Trouble::Failed)?;
        Ok(match (is_all, is_rest) {
            (true, _) => Fate::Gone(entries),
            (false, _) => Fate::Begun,
        })
    }

    /// Whether the job has ended and its place is free.
    fn may_go(&self, id: JobId) -> Result<bool, StoreError> {
        Ok(self.engine.contains(&Table::Ends.key(id))?
            && !self.engine.contains(&Table::Places.key(id))?)
    }

    /// Removes what makes the job known: after this there is no such job. Whatever else
    /// refers to a job by its id has to be removed here too.
    fn forget(&mut self, id: JobId) -> Result<(), StoreError> {
        let mut entries = Vec::new();
        for table in [Table::Calls, Table::Ends] {
            let key = table.key(id);
            if let Some(entry) = self.engine.get(&key)? {
                entries.push((key, entry_size(&key, entry.len())));
            }
        }
        // The last that reads, and the first that changes something.
        self.free_key(id)?;
        for (key, size) in entries {
            self.contents.bytes = self.contents.bytes.saturating_sub(size);
            self.batch.remove(&key);
        }
        self.contents.ended = self.contents.ended.saturating_sub(1);
        Ok(())
    }

    /// Packets and further pieces of a job: their keys and what they count, at most
    /// `most` of them.
    fn entries_behind(&self, id: JobId, most: usize) -> Result<Vec<(Vec<u8>, u64)>, StoreError> {
        let mut entries = Vec::new();
        for (from, to) in layout::entries_behind(id) {
            if entries.len() >= most {
                break;
            }
            self.engine.scan(&from, &to, |key, value| {
                entries.push((key.to_vec(), entry_size(key, value.len())));
                if entries.len() < most {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                }
            })?;
        }
        Ok(entries)
    }
}

/// Time of the job's submission, in milliseconds since 1970: what a UUID of version 7
/// begins with.
fn submitted(id: JobId) -> u64 {
    // The first 48 of 128 bits.
    (u128::from_be_bytes(*id.as_bytes()) >> 80) as u64
}
