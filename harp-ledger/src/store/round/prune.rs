//! Removing ended jobs: which of them go, and everything that goes with them.
//!
//! A reader finds candidates, the writer decides about each and removes it, since only
//! the writer knows what has ended and how much there is. It does a bounded piece at a
//! time, so that nobody's submission waits for long. A job with more entries than that
//! disappears in the first piece, which leaves a note ([`Table::Pruned`]) by which the
//! rest is found, after a crash too.

use std::cell::Cell;
use std::ops::ControlFlow;

use harp_jobs::ledger::{Keep, Pruned};
use harp_values::JobId;

use super::{BATCH, Done, Round, Trouble};
use crate::store::contents::{Contents, entry_size};
use crate::store::ends::Age;
use crate::store::error::StoreError;
use crate::store::layout::{self, Table};
use crate::store::shared::Shared;
use crate::store::sled::Engine;

/// Whether the first job has to go for the sake of space.
fn is_too_much(keep: &Keep, contents: Contents) -> bool {
    keep.jobs.is_some_and(|most| contents.ended > most)
        || keep.bytes.is_some_and(|most| contents.bytes > most)
}

/// Jobs that may have to go.
#[derive(Debug)]
pub(crate) struct Candidates {
    pub(crate) jobs: Vec<Candidate>,
    /// Others stay because of [`Keep::by_wall_clock`].
    pub(crate) is_withheld: bool,
}

/// A job that may have to go.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) id: JobId,
    /// Its place in the order of ends; `None` for the rest of one that is gone.
    order: Option<Vec<u8>>,
    /// It goes by age, and whether that is by the wall clock.
    too_old: Option<IsByWallClock>,
}

type IsByWallClock = bool;

/// How many jobs that are young enough end the search for those that are too old. Any can
/// be out of order only where the clocks of several lives of the machine were wrong.
const YOUNG: usize = 1000;

/// Jobs that may have to go, in the order of their ends: rests of pruned ones, then ended
/// ones. At most a piece's worth, without those that are passed over.
pub(crate) fn candidates(
    engine: &Engine,
    shared: &Shared,
    keep: &Keep,
    contents: Contents,
) -> Result<Candidates, StoreError> {
    let mut jobs = Vec::new();
    let mut take = |id, order: Option<&[u8]>, too_old| {
        if !shared.passed_over.contains(id) {
            jobs.push(Candidate {
                id,
                order: order.map(<[u8]>::to_vec),
                too_old,
            });
        }
        if jobs.len() < BATCH {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let (from, to) = Table::Pruned.bounds();
    engine.scan(&from, &to, |key, _| match layout::job_of(key) {
        Some(id) => take(id, None, None),
        None => ControlFlow::Continue(()),
    })?;
    let too_much = is_too_much(keep, contents);
    if !too_much && keep.max_age.is_none() {
        return Ok(Candidates {
            jobs,
            is_withheld: false,
        });
    }
    let (mut left, mut young, withheld) = (keep.by_wall_clock, 0, Cell::new(false));
    let mut visit = |key: &[u8], value: &[u8], pass_withheld: bool| {
        let Some((_, id)) = layout::order_of(key) else {
            return ControlFlow::Continue(());
        };
        let Age {
            age,
            is_by_wall_clock,
        } = shared.ends.age(value);
        let mut too_old = keep.max_age.is_some_and(|most| age >= most);
        let mut goes_on = true;
        if !too_old {
            young += 1;
            goes_on = young < YOUNG;
        } else if is_by_wall_clock && left == 0 {
            withheld.set(true);
            (too_old, goes_on) = (false, pass_withheld);
        }
        if !too_old && !too_much {
            return if goes_on {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            };
        }
        match engine.contains(&Table::Places.key(id)) {
            Ok(true) => ControlFlow::Continue(()),
            // What cannot be read is told by the writer, which goes on behind it.
            Ok(false) | Err(_) => {
                left -= u64::from(too_old && is_by_wall_clock);
                take(id, Some(key), too_old.then_some(is_by_wall_clock))
            }
        }
    };
    let (from, to) = Table::Order.bounds();
    engine.scan(&from, &to, |key, value| visit(key, value, false))?;
    if withheld.get() && !too_much {
        // Behind those that stay are the ones whose age is certain.
        let from = shared.ends.first_of_this_life();
        engine.scan(&from, &to, |key, value| visit(key, value, true))?;
    }
    let is_withheld = withheld.get();
    Ok(Candidates { jobs, is_withheld })
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
}

impl Round<'_> {
    /// Removes jobs out of these, as far as `keep` asks for it and one piece goes.
    pub(super) fn prune(&mut self, jobs: &[Candidate], keep: &Keep) -> Result<Done, Trouble> {
        // What is looked at below has to be in the engine.
        self.apply().map_err(Trouble::Failed)?;
        let (mut pruned, mut passed_over) = (Pruned::default(), 0);
        let mut gone = Vec::new();
        let mut room = BATCH;
        for job in jobs {
            let fate = self
                .prune_job(job, keep, room)
                .or_else(|trouble| match trouble {
                    // Nothing was changed, and those behind it can go.
                    Trouble::Refused(error) => {
                        self.pass_over(job.id, &error);
                        Ok(Fate::PassedOver)
                    }
                    failed => Err(failed),
                });
            let fate = fate?;
            // The rest of one that is not all gone is told of no more.
            if matches!(fate, Fate::Gone(_) | Fate::Begun) && job.order.is_some() {
                gone.push(job.id);
            }
            match fate {
                Fate::Gone(entries) => {
                    pruned.jobs += 1;
                    pruned.by_wall_clock += u64::from(job.too_old == Some(true));
                    room = room.saturating_sub(entries);
                }
                Fate::Begun => {
                    pruned.by_wall_clock += u64::from(job.too_old == Some(true));
                    room = 0;
                }
                Fate::Stays => {}
                Fate::PassedOver => passed_over += 1,
            }
            if room == 0 {
                pruned.more = true;
                return Ok(Done::Pruned(pruned, gone));
            }
        }
        pruned.more = pruned.jobs + passed_over > 0 && jobs.len() == BATCH;
        Ok(Done::Pruned(pruned, gone))
    }

    /// Lets those behind this one have their turn from now on.
    fn pass_over(&mut self, id: JobId, error: &StoreError) {
        self.in_doubt |= matches!(error, StoreError::Unreadable(_));
        if self.shared.passed_over.insert(id) {
            tracing::warn!(job = %id, %error, "an ended job cannot be pruned and is passed over; check the store");
        }
    }

    fn prune_job(&mut self, job: &Candidate, keep: &Keep, room: usize) -> Result<Fate, Trouble> {
        let id = job.id;
        let note = Table::Pruned.key(id);
        let is_rest = self.engine.contains(&note).map_err(StoreError::from)?;
        if !is_rest {
            if job.too_old.is_none() && !is_too_much(keep, *self.contents) {
                return Ok(Fate::Stays);
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
            if let Some(order) = &job.order {
                self.batch.remove(order);
            }
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
