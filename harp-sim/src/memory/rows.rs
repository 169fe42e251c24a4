//! What stands for the disk: a row for each job, and who has a key.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use harp_jobs::ledger::*;
use harp_jobs::lineup::pool::PoolId;
use harp_jobs::record::{CallRecord, EndRecord, JobRecord, Stage};
use harp_jobs::segment::Segment;
use harp_values::{JobId, Outcome};

/// A disk that survives the ledgers that write it. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct Disk(Arc<Mutex<Rows>>);

/// What is on the disk.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// By id.
    pub jobs: BTreeMap<JobId, Row>,
    /// The job that was submitted last under a key of a client.
    keys: BTreeMap<(Option<String>, String), JobId>,
    /// What is kept beside jobs.
    papers: BTreeMap<PaperId, Paper>,
    /// The number of the newest owner.
    pub owner: u32,
}

/// One job.
#[derive(Debug, Clone)]
pub struct Row {
    /// The call.
    pub call: CallRecord,
    /// Its number in the order of all submissions.
    pub sequence: u64,
    /// The pool, if workers fetch it.
    pub pool: Option<PoolId>,
    /// Seconds after the submission by which it must have started.
    pub start_by: Option<u64>,
    /// The number of the attempt, from 1 on.
    pub attempt: u32,
    /// When it started, and the transport's note.
    pub started: Option<(u64, Token)>,
    /// From when on it may start, in milliseconds since 1970.
    pub not_before: Option<u64>,
    /// How it ended.
    pub end: Option<Arc<EndRecord>>,
    /// What is owed, and by which attempt.
    pub debt: Option<(u32, Token)>,
    /// Its packets.
    pub packets: Vec<Segment>,
}

impl Disk {
    /// What is there.
    pub fn rows(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Row {
    /// How many packets there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.packets.last().map_or(0, Segment::end)
    }
}

impl Rows {
    pub(super) fn whereabouts(&self, job: JobId) -> Whereabouts {
        match self.jobs.get(&job) {
            None => Whereabouts::Nothing,
            Some(row) if row.end.is_some() => Whereabouts::Ended,
            Some(row) if row.started.is_some() => Whereabouts::Here,
            Some(_) => Whereabouts::Waits,
        }
    }

    pub(super) fn record(&self, id: JobId) -> Option<JobRecord> {
        let row = self.jobs.get(&id)?;
        let stage = match (&row.end, &row.started) {
            (Some(end), _) => Stage::Ended {
                started: end.started,
                ended: end.ended,
            },
            (None, Some((started, _))) => Stage::Running { started: *started },
            (None, None) => Stage::Queued {
                sequence: row.sequence,
            },
        };
        Some(JobRecord {
            id,
            call: row.call.clone(),
            stage,
        })
    }

    pub(super) fn walk(&self, from: Cursor, towards: Direction, most: usize) -> Vec<JobRecord> {
        let is_behind = |id: &&JobId| match (from, towards) {
            (Cursor::Edge, _) => true,
            (Cursor::Behind(last), Direction::Newer) => **id > last,
            (Cursor::Behind(last), Direction::Older) => **id < last,
        };
        let ids = self.jobs.keys().filter(is_behind);
        let ids: Vec<&JobId> = match towards {
            Direction::Newer => ids.take(most).collect(),
            Direction::Older => ids.rev().take(most).collect(),
        };
        ids.into_iter().filter_map(|id| self.record(*id)).collect()
    }

    pub(super) fn contents(&self) -> Contents {
        let ended = self.jobs.values().filter(|row| row.end.is_some()).count() as u64;
        let bytes = self.jobs.values().flat_map(|row| &row.packets);
        Contents {
            live: self.jobs.len() as u64 - ended,
            ended,
            bytes: bytes.map(|segment| segment.len_bytes() as u64).sum(),
        }
    }

    /// The job that a call's key stands for, or that it stands for another call.
    pub(super) fn claimed(&self, job: &NewJob) -> Result<Option<JobId>, NotAccepted> {
        let Some(key) = &job.call.key else {
            return Ok(None);
        };
        let key = (job.call.client.clone(), key.clone());
        let Some((id, row)) = self
            .keys
            .get(&key)
            .and_then(|id| Some((*id, self.jobs.get(id)?)))
        else {
            return Ok(None);
        };
        if id == job.id {
            return Ok(None);
        }
        if let Some(seconds) = job.unless_since {
            let is_young = job.call.submitted < row.call.submitted + seconds * 1000;
            let has_failed = row
                .end
                .as_ref()
                .is_some_and(|end| !matches!(end.outcome, Outcome::Returned(_)));
            if !is_young || has_failed {
                return Ok(None);
            }
        }
        let (old, new) = (&row.call, &job.call);
        let is_same = old.host == new.host
            && old.procedure == new.procedure
            && old.arguments == new.arguments;
        if is_same {
            Ok(Some(id))
        } else {
            Err(NotAccepted::KeyTaken)
        }
    }

    pub(super) fn insert(&mut self, job: &NewJob, sequence: u64, started: Option<u64>) {
        if self.jobs.contains_key(&job.id) {
            return;
        }
        if let Some(key) = &job.call.key {
            let key = (job.call.client.clone(), key.clone());
            self.keys.insert(key, job.id);
        }
        let row = Row {
            call: job.call.clone(),
            sequence,
            pool: job.minted.pool.clone(),
            start_by: job.start_by,
            attempt: 1,
            started: started.map(|at| (at, job.minted.token.clone())),
            not_before: None,
            end: None,
            debt: None,
            packets: Vec::new(),
        };
        self.jobs.insert(job.id, row);
    }

    /// The row that a holder may write.
    pub(super) fn held(&mut self, hold: Hold) -> Result<&mut Row, Lost> {
        if hold.owner != self.owner {
            return Err(Lost::Fenced);
        }
        let row = self.jobs.get_mut(&hold.job);
        // It was withdrawn from whoever had its turn, and pruned.
        row.ok_or(Lost::Fenced)
    }

    pub(super) fn papers(&self, kind: PaperKind) -> Vec<Paper> {
        let papers = self.papers.values();
        papers
            .filter(|paper| paper.id.kind == kind)
            .cloned()
            .collect()
    }

    pub(super) fn edit(&mut self, edit: &PaperEdit) -> Edited {
        match edit.over(self.papers.get(&edit.id)) {
            Err(edited) => return edited,
            Ok(Some(paper)) => self.papers.insert(edit.id, paper),
            Ok(None) => self.papers.remove(&edit.id),
        };
        Edited::Done
    }

    /// Removes the oldest ended jobs that owe nothing; those removed, and what is said of it.
    /// The age of all of them is the wall clock's.
    pub(super) fn prune(&mut self, keep: Keep, now: u64) -> (Vec<JobId>, Pruned) {
        const AT_ONCE: usize = 2;
        let bytes = |row: &Row| {
            row.packets
                .iter()
                .map(|packet| packet.len_bytes() as u64)
                .sum()
        };
        let ended = self.jobs.iter().filter(|(_, row)| row.debt.is_none());
        let ended = ended.filter_map(|(id, row)| {
            Some(Old {
                job: *id,
                ended: row.end.as_ref()?.ended,
                size: bytes(row),
            })
        });
        let mut ended: Vec<Old> = ended.collect();
        ended.sort_unstable_by_key(|old| (old.ended, old.job));
        let (goes, told) = keep.choose(ended, self.contents(), now, AT_ONCE);
        let gone: Vec<JobId> = goes.iter().map(|old| old.job).collect();
        for id in &gone {
            self.jobs.remove(id);
            self.keys.retain(|_, job| job != id);
        }
        (gone, told)
    }
}
