//! A start: the lineup comes from the rows.

use std::time::Duration;

use harp_jobs::failures;
use harp_jobs::ledger::*;
use harp_jobs::lineup::{Entrant, Lineup};
use harp_jobs::world::{Phase, World};
use harp_values::Outcome;
use std::sync::{Arc, Mutex};
use tokio::sync::{Notify, mpsc, watch};

use super::rows::{Disk, Row};
use super::write::Write;
use super::writer::Faults;
use super::{Memory, Shared, State};
use crate::executor::Played;

impl Memory {
    /// Opens the ledger on a disk. Its first news are what is owed, then what is to be
    /// attached to, then turns.
    #[must_use]
    pub fn open(world: &Played, disk: &Disk, faults: Faults) -> Memory {
        let owner = {
            let mut rows = disk.rows();
            rows.owner += 1;
            rows.owner
        };
        let (tells, news) = mpsc::unbounded_channel();
        let memory = Memory(Arc::new(Shared {
            world: world.clone(),
            disk: disk.clone(),
            faults,
            owner,
            state: Mutex::new(State {
                lineup: Lineup::default(),
                pending: Vec::new(),
                news: Some(news),
                tells: Some(tells),
                closing: Vec::new(),
                takes_nothing: false,
                waits_for_nothing: false,
                is_closed: false,
                down_since: None,
            }),
            work: Notify::new(),
            timer: Notify::new(),
            outage: watch::Sender::new(None),
            offers: watch::Sender::new(0),
        }));
        memory.recover();
        let writer = Box::pin(memory.clone().write_rounds());
        world.spawn("ledger", Phase::News, writer);
        let due = Box::pin(memory.clone().serve_the_due());
        world.spawn("ledger's timer", Phase::News, due);
        memory
    }

    fn recover(&self) {
        let mut rows: Vec<(harp_values::JobId, Row)> = {
            let rows = self.0.disk.rows();
            let jobs = rows.jobs.iter();
            let is_there = |row: &Row| row.end.is_none() || row.debt.is_some();
            jobs.filter(|(_, row)| is_there(row))
                .map(|(id, row)| (*id, row.clone()))
                .collect()
        };
        rows.sort_by_key(|(_, row)| row.sequence);
        let mut state = self.state();
        let hold = |job, attempt| Hold {
            job,
            attempt,
            owner: self.0.owner,
        };
        for (job, row) in &rows {
            let has_ended = row.end.is_some();
            if has_ended || row.started.is_some() {
                state
                    .lineup
                    .keep(*job, row.call.queue.clone(), row.sequence, has_ended);
            } else if row.debt.is_some() {
                state.lineup.keep_for_debt(*job, row.call.queue.as_ref());
            }
        }
        for (job, row) in &rows {
            if let Some((attempt, token)) = row.debt.clone() {
                self.tell_turn(&state, hold(*job, attempt), Start::Settle { token });
            }
        }
        for (job, row) in &rows {
            if row.end.is_none()
                && let Some((at, token)) = row.started.clone()
            {
                self.tell_turn(&state, hold(*job, row.attempt), Start::Attach { at, token });
            }
        }
        for (job, row) in &rows {
            if row.end.is_none() && row.started.is_none() {
                self.resume(&mut state, *job, row);
            }
        }
    }

    fn resume(&self, state: &mut State, job: harp_values::JobId, row: &Row) {
        let (now, wall) = (self.0.world.now(), self.0.world.wall());
        let moment = |at: u64| now + Duration::from_millis(at.saturating_sub(wall));
        // A time to start is for the first attempt.
        let start_by = row.start_by.filter(|_| row.attempt == 1);
        let by = start_by.map(|seconds| row.call.submitted.saturating_add(seconds * 1000));
        if let (Some(by), Some(seconds)) = (by, start_by)
            && by <= wall
        {
            let at = wall;
            let outcome = Outcome::Error(failures::not_started(seconds));
            let jobs = vec![job];
            return state.pending.push(Write::End {
                jobs,
                outcome,
                at,
                answer: None,
            });
        }
        let entrant = Entrant {
            id: job,
            queue: row.call.queue.clone(),
            start_by: by.map(moment),
            pool: row.pool.clone(),
        };
        let not_before = row.not_before.filter(|at| *at > wall).map(moment);
        let turns = state.lineup.resume(entrant, row.sequence, not_before);
        self.give_turns(state, turns);
    }
}
