//! What is asked of the database: the ledger's verbs, with whoever waits for their answers.

use std::time::Duration;

use harp_jobs::ledger::room::Taken;
use harp_jobs::ledger::*;
use harp_jobs::lineup::pool::{Pick, PoolId};
use harp_jobs::segment::Segment;
use harp_jobs::world::Moment;
use harp_values::{JobId, Outcome};
use tokio::sync::oneshot;

use crate::columns::{Columns, Element};
use crate::digest::Digest;
use crate::record::{encode_call, encode_outcome, encode_remarks};

pub(crate) type Receipt<T, E = Lost> = oneshot::Sender<Result<T, E>>;

/// A request. Its number, `id`, makes it known again after an answer that was lost; `at` is the
/// time by the wall clock when it was made.
#[derive(Debug)]
pub(crate) enum Act {
    Accept {
        id: u128,
        at: u64,
        now: Moment,
        jobs: Vec<NewJob>,
        /// `None` once it was answered that they may exist.
        answer: Option<Receipt<Vec<Accepted>, NotAccepted>>,
    },
    Started {
        hold: Hold,
        token: Token,
        at: u64,
        answer: Receipt<u64>,
    },
    Note {
        hold: Hold,
        token: Token,
        answer: Receipt<()>,
    },
    Append {
        hold: Hold,
        packets: Vec<Segment>,
        /// Memory that they take.
        _taken: Taken,
        answer: Receipt<()>,
    },
    Close {
        id: u128,
        hold: Hold,
        end: End,
        at: u64,
        answer: Receipt<Closed>,
    },
    Settle {
        hold: Hold,
        answer: Receipt<()>,
    },
    Ready {
        job: JobId,
        /// The time that it has waited for, in milliseconds since 1970.
        not_before: u64,
    },
    Withdraw {
        id: u128,
        which: Which,
        /// Those alone that have never started.
        is_first: bool,
        outcome: Outcome,
        at: u64,
        answer: Option<Receipt<Vec<JobId>>>,
    },
    Claim {
        id: u128,
        pool: PoolId,
        pick: Pick,
        token: Token,
        at: u64,
        answer: Receipt<Option<JobId>>,
    },
    Wish {
        job: JobId,
        answer: Receipt<bool>,
    },
    Paper {
        edit: PaperEdit,
        answer: Receipt<Edited>,
    },
    Prune {
        /// With the bytes that each has.
        jobs: Vec<(JobId, u64)>,
        answer: Receipt<Vec<JobId>>,
    },
}

impl Act {
    /// What it is written with, if by a hold.
    pub(crate) fn hold(&self) -> Option<Hold> {
        match self {
            Act::Started { hold, .. }
            | Act::Note { hold, .. }
            | Act::Append { hold, .. }
            | Act::Close { hold, .. }
            | Act::Settle { hold, .. } => Some(*hold),
            _ => None,
        }
    }

    /// How many calls it hands in.
    pub(crate) fn calls(&self) -> usize {
        match self {
            Act::Accept { jobs, .. } => jobs.len(),
            _ => 0,
        }
    }

    /// How many elements it has in a round.
    pub(crate) fn elements(&self) -> usize {
        match self {
            Act::Accept { jobs, .. } => jobs.len(),
            Act::Append { packets, .. } => packets.len(),
            Act::Prune { jobs, .. } => jobs.len(),
            Act::Withdraw {
                which: Which::Jobs(jobs),
                ..
            } => jobs.len(),
            _ => 1,
        }
    }

    /// About how many bytes it has.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Act::Accept { jobs, .. } => {
                let size = |job: &NewJob| job.call.arguments.as_str().len() + 256;
                jobs.iter().map(size).sum()
            }
            Act::Append { packets, .. } => packets.iter().map(Segment::len_bytes).sum(),
            _ => 256,
        }
    }

    /// It is not carried out and never will be.
    pub(crate) fn give_up(self, lost: Lost) {
        // Whoever asked may be gone.
        match self {
            Act::Accept { answer, .. } => {
                let why = match lost {
                    Lost::Refused(why) => NotAccepted::Storage {
                        may_exist: false,
                        why,
                    },
                    _ => NotAccepted::Closed,
                };
                let _ = answer.map(|answer| answer.send(Err(why)));
            }
            Act::Started { answer, .. } => drop(answer.send(Err(lost))),
            Act::Note { answer, .. } | Act::Append { answer, .. } | Act::Settle { answer, .. } => {
                drop(answer.send(Err(lost)));
            }
            Act::Close { answer, .. } => drop(answer.send(Err(lost))),
            Act::Ready { .. } => {}
            Act::Withdraw { answer, .. } => {
                let _ = answer.map(|answer| answer.send(Err(lost)));
            }
            Act::Prune { answer, .. } => drop(answer.send(Err(lost))),
            Act::Claim { answer, .. } => drop(answer.send(Err(lost))),
            Act::Wish { answer, .. } => drop(answer.send(Err(lost))),
            Act::Paper { answer, .. } => drop(answer.send(Err(lost))),
        }
    }

    /// Adds its elements to those of a round; `again` if it may have been carried out before.
    pub(crate) fn enter(&self, columns: &mut Columns, again: bool) {
        match self {
            Act::Accept { id, at, jobs, .. } => {
                for (place, job) in jobs.iter().enumerate() {
                    let mut element = accept(*id, *at, job);
                    if place == 0 {
                        (element.kind, element.count) = ("accept", jobs.len() as u64);
                    }
                    columns.push(element);
                }
            }
            Act::Started {
                hold, token, at, ..
            } => columns.push(Element {
                at: *at,
                token: Some(token.0.to_vec()),
                ..held("started", *hold)
            }),
            Act::Note { hold, token, .. } => columns.push(Element {
                token: Some(token.0.to_vec()),
                ..held("note", *hold)
            }),
            Act::Append { hold, packets, .. } => {
                for segment in packets {
                    columns.push(Element {
                        amount: segment.first(),
                        count: segment.end() - segment.first(),
                        data: Some(segment.as_bytes().to_vec()),
                        ..held("append", *hold)
                    });
                }
            }
            Act::Close {
                id, hold, end, at, ..
            } => {
                let (outcome, again) = match &end.then {
                    Then::End(outcome) => (outcome, None),
                    Then::Again { outcome, after } => (outcome, Some(until(*at, *after))),
                };
                columns.push(Element {
                    act: *id,
                    at: *at,
                    amount: end.packets,
                    token: end.debt.as_ref().map(|token| token.0.to_vec()),
                    again,
                    remarks: encode_remarks(&end.remarks),
                    ..ended(outcome, held("close", *hold))
                });
            }
            Act::Settle { hold, .. } => columns.push(held("settle", *hold)),
            Act::Ready { job, not_before } => columns.push(Element {
                kind: "ready",
                job: Some(*job),
                amount: *not_before,
                ..Element::default()
            }),
            Act::Withdraw {
                id,
                which,
                is_first,
                outcome,
                at,
                ..
            } => {
                let element = Element {
                    act: *id,
                    attempt: u32::from(*is_first),
                    at: *at,
                    count: u64::from(again),
                    ..ended(outcome, Element::default())
                };
                withdraw(which, element, columns);
            }
            Act::Claim {
                id,
                pool,
                pick,
                token,
                at,
                ..
            } => columns.push(Element {
                kind: "claim",
                act: *id,
                at: *at,
                job: match pick {
                    Pick::First => None,
                    Pick::Job(job) => Some(*job),
                },
                pool: Some(pool.0.as_bytes().to_vec()),
                token: Some(token.0.to_vec()),
                ..Element::default()
            }),
            Act::Wish { job, .. } => columns.push(Element {
                kind: "wish",
                job: Some(*job),
                ..Element::default()
            }),
            Act::Paper { edit, .. } => columns.push(Element {
                kind: "paper",
                job: Some(JobId::from_bytes(edit.id.name.to_be_bytes())),
                count: edit.id.kind as u64,
                amount: edit.over,
                data: edit.text.as_ref().map(|text| text.to_vec()),
                ..Element::default()
            }),
            Act::Prune { jobs, .. } => {
                for (job, _) in jobs {
                    columns.push(Element {
                        kind: "prune",
                        job: Some(*job),
                        ..Element::default()
                    });
                }
            }
        }
    }
}

/// So long behind a time by the wall clock, in milliseconds since 1970.
pub(crate) fn until(at: u64, after: Duration) -> u64 {
    at.saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
}

fn accept(id: u128, at: u64, job: &NewJob) -> Element {
    let call = &job.call;
    let queue = call.queue.as_ref();
    Element {
        kind: "with",
        job: Some(job.id),
        act: id,
        at: call.submitted,
        again: Some(at),
        // A call is fields and JSON, of which nothing can fail to be written.
        data: Some(encode_call(call).unwrap_or_default()),
        token: Some(job.minted.token.0.to_vec()),
        queue: queue.map(|queue| Digest::of_queue(&queue.name)),
        name: queue.map(|queue| queue.name.as_str().to_owned()),
        amount: queue.map_or(0, |queue| queue.concurrency),
        longest: job.room.queue_length as u64,
        pool: job
            .minted
            .pool
            .as_ref()
            .map(|pool| pool.0.as_bytes().to_vec()),
        key: Digest::of_key(call),
        same: Some(Digest::of_call(call)),
        start_by: job.start_by,
        unless_since: job.unless_since,
        ..Element::default()
    }
}

fn held(kind: &'static str, hold: Hold) -> Element {
    Element {
        kind,
        job: Some(hold.job),
        attempt: hold.attempt,
        owner: hold.owner,
        ..Element::default()
    }
}

fn ended(outcome: &Outcome, element: Element) -> Element {
    Element {
        data: Some(encode_outcome(outcome)),
        failed: !matches!(outcome, Outcome::Returned(_)),
        ..element
    }
}

fn withdraw(which: &Which, element: Element, columns: &mut Columns) {
    let kind = "withdraw";
    match which {
        Which::Jobs(jobs) => {
            for job in jobs {
                columns.push(Element {
                    kind,
                    job: Some(*job),
                    ..element.clone()
                });
            }
        }
        Which::Queue(name) => columns.push(Element {
            kind,
            queue: Some(Digest::of_queue(name)),
            ..element
        }),
        Which::Pool(pool) => columns.push(Element {
            kind,
            pool: Some(pool.0.as_bytes().to_vec()),
            ..element
        }),
    }
}
