//! The writes, and what each does to the rows.

use std::sync::Arc;

use harp_jobs::ledger::*;
use harp_jobs::record::{EndRecord, Remarks};
use harp_jobs::segment::Segment;
use harp_values::{JobId, Outcome};
use tokio::sync::oneshot;

use super::rows::Rows;

pub(super) type Receipt<T, E = Lost> = oneshot::Sender<Result<T, E>>;

/// A job that has entered the lineup.
#[derive(Debug)]
pub(super) struct Submission {
    pub(super) sequence: u64,
    pub(super) has_turn: bool,
    /// It was handed in before.
    pub(super) is_known: bool,
    pub(super) at: u64,
    pub(super) job: NewJob,
}

impl Submission {
    /// When it starts with its record, if it does.
    pub(super) fn started(&self) -> Option<u64> {
        let is_pushed = self.has_turn && self.job.minted.pool.is_none();
        is_pushed.then_some(self.at)
    }
}

/// A write.
#[derive(Debug)]
pub(super) enum Write {
    Submit {
        jobs: Vec<Submission>,
        /// `None` once it was answered that they may exist.
        answer: Option<Receipt<Vec<Accepted>, NotAccepted>>,
    },
    Start {
        hold: Hold,
        token: Token,
        at: u64,
        answer: Receipt<u64>,
    },
    Claim {
        job: JobId,
        token: Token,
        at: u64,
        answer: Receipt<Option<JobId>>,
    },
    Note {
        hold: Hold,
        token: Token,
        answer: Receipt<()>,
    },
    Append {
        hold: Hold,
        packets: Vec<Segment>,
        answer: Receipt<()>,
    },
    Close {
        hold: Hold,
        end: End,
        at: u64,
        answer: Receipt<Closed>,
    },
    Settle {
        hold: Hold,
        answer: Receipt<()>,
    },
    End {
        jobs: Vec<JobId>,
        outcome: Outcome,
        at: u64,
        answer: Option<Receipt<Vec<JobId>>>,
    },
    Paper {
        edit: PaperEdit,
        answer: Receipt<Edited>,
    },
    Prune {
        keep: Keep,
        at: u64,
        answer: Receipt<Pruned>,
    },
}

/// What a write has come to.
pub(super) enum Done {
    Submitted(Result<Vec<Accepted>, NotAccepted>),
    Started(Result<u64, Lost>),
    Written(Result<(), Lost>),
    Closed(Result<Closed, Lost>),
    Ended(Vec<(JobId, Arc<EndRecord>)>),
    Edited(Edited),
    Pruned(Vec<JobId>, Pruned),
}

impl Write {
    /// Makes the write; made again it changes nothing and comes to the same.
    pub(super) fn apply(&self, rows: &mut Rows) -> Done {
        match self {
            Write::Submit { jobs, .. } => Done::Submitted(submit(rows, jobs)),
            Write::Start {
                hold, token, at, ..
            } => Done::Started(start(rows, *hold, token, *at)),
            Write::Claim { job, token, at, .. } => {
                let hold = rows.jobs.get(job).map(|row| Hold {
                    job: *job,
                    attempt: row.attempt,
                    owner: rows.owner,
                });
                Done::Started(match hold {
                    Some(hold) => start(rows, hold, token, *at),
                    None => Err(Lost::Refused("there is no such job".into())),
                })
            }
            Write::Note { hold, token, .. } => Done::Written(rows.held(*hold).map(|row| {
                if let Some((_, noted)) = &mut row.started {
                    noted.clone_from(token);
                }
            })),
            Write::Append { hold, packets, .. } => Done::Written(append(rows, *hold, packets)),
            Write::Close { hold, end, at, .. } => Done::Closed(close(rows, *hold, end, *at)),
            Write::Settle { hold, .. } => Done::Written(rows.held(*hold).map(|row| {
                row.debt.take_if(|(attempt, _)| *attempt == hold.attempt);
            })),
            Write::End {
                jobs, outcome, at, ..
            } => Done::Ended(
                jobs.iter()
                    .filter_map(|job| withdraw(rows, *job, outcome, *at))
                    .collect(),
            ),
            Write::Paper { edit, .. } => Done::Edited(rows.edit(edit)),
            Write::Prune { keep, at, .. } => {
                let (gone, told) = rows.prune(*keep, *at);
                Done::Pruned(gone, told)
            }
        }
    }
}

fn submit(rows: &mut Rows, jobs: &[Submission]) -> Result<Vec<Accepted>, NotAccepted> {
    let claims: Vec<Option<JobId>> = jobs
        .iter()
        .map(|entered| rows.claimed(&entered.job))
        .collect::<Result<_, _>>()?;
    let accepted = jobs.iter().zip(claims).map(|(entered, claim)| match claim {
        Some(before) => Accepted::Before(before),
        None => {
            rows.insert(&entered.job, entered.sequence, entered.started());
            Accepted::New(entered.job.id)
        }
    });
    Ok(accepted.collect())
}

fn start(rows: &mut Rows, hold: Hold, token: &Token, at: u64) -> Result<u64, Lost> {
    let row = rows.held(hold)?;
    if let Some(end) = &row.end {
        return Err(Lost::Taken(Arc::clone(end)));
    }
    match &row.started {
        Some((first, noted)) if noted == token => Ok(*first),
        _ => {
            let at = at.max(row.call.submitted);
            row.started = Some((at, token.clone()));
            row.not_before = None;
            Ok(at)
        }
    }
}

fn append(rows: &mut Rows, hold: Hold, packets: &[Segment]) -> Result<(), Lost> {
    let row = rows.held(hold)?;
    for segment in packets {
        let count = row.count();
        if segment.end() <= count {
            continue;
        }
        if row.end.is_some() || segment.first() > count {
            return Err(Lost::Refused("these packets do not follow".into()));
        }
        row.packets.push(segment.between(count, u64::MAX));
    }
    Ok(())
}

fn close(rows: &mut Rows, hold: Hold, end: &End, at: u64) -> Result<Closed, Lost> {
    let row = rows.held(hold)?;
    let debt = row
        .debt
        .as_ref()
        .is_some_and(|(attempt, _)| *attempt == hold.attempt);
    if row.end.is_some() || hold.attempt < row.attempt {
        let end = row.end.clone();
        return Ok(Closed { end, debt });
    }
    if row.count() != end.packets {
        let why = format!("an end of {} packets after {}", end.packets, row.count());
        return Err(Lost::Refused(why.into()));
    }
    let started = row.started.as_ref().map(|(at, _)| *at);
    row.debt = end.debt.clone().map(|token| (hold.attempt, token));
    match &end.then {
        Then::End(outcome) => {
            row.end = Some(Arc::new(EndRecord {
                started,
                ended: at.max(started.unwrap_or(row.call.submitted)),
                outcome: outcome.clone(),
                packets: end.packets,
                remarks: end.remarks.clone(),
            }));
        }
        Then::Again { after, .. } => {
            row.started = None;
            row.attempt += 1;
            row.not_before = Some(at + after.as_millis() as u64);
        }
    }
    Ok(Closed {
        end: row.end.clone(),
        debt: row.debt.is_some(),
    })
}

fn withdraw(
    rows: &mut Rows,
    job: JobId,
    outcome: &Outcome,
    at: u64,
) -> Option<(JobId, Arc<EndRecord>)> {
    let row = rows.jobs.get_mut(&job)?;
    let packets = row.count();
    let end = row.end.get_or_insert_with(|| {
        Arc::new(EndRecord {
            started: None,
            ended: at.max(row.call.submitted),
            outcome: outcome.clone(),
            packets,
            remarks: Remarks::default(),
        })
    });
    Some((job, Arc::clone(end)))
}
