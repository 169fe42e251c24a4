//! What the ledger has decided, as it is written: each deed makes a change once, and made
//! again, after an outage for instance, it changes nothing and comes to the same.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use harp_jobs::failures;
use harp_jobs::hold::{Hold, Token};
use harp_jobs::ledger::{Closed, Edited, Lost, PaperEdit};
use harp_jobs::record::{EndRecord, LiveRecord, Remarks};
use harp_jobs::segment::Segment;
use harp_values::{JobId, Json, Outcome};

use super::keys::Claim;
use super::{Done, Round, Trouble, encode_live};
use crate::store::codec::{self, EndFields};
use crate::store::error::StoreError;
use crate::store::layout::{self, Table};
use crate::store::read::{self, Long};

/// A decision of the ledger. Times are milliseconds since 1970.
pub(crate) enum Deed {
    /// Jobs are taken in: all of them, or none.
    Accept(Vec<Entry>),
    /// A job starts, or starts anew with another token.
    Start { hold: Hold, token: Token, at: u64 },
    /// A job that runs has another token.
    Note { hold: Hold, token: Token },
    /// A job has more packets.
    Append { hold: Hold, segments: Vec<Segment> },
    /// An attempt ends.
    Close {
        hold: Hold,
        outcome: Outcome,
        /// The outcome as text.
        text: Json,
        /// How many packets the job has.
        packets: u64,
        /// How long the job waits for another attempt; `None` if it has ended.
        again: Option<Duration>,
        /// What is still owed.
        debt: Option<Token>,
        remarks: Remarks,
        at: u64,
    },
    /// What an attempt owed is paid.
    Settle { hold: Hold },
    /// A paper is written, replaced or removed.
    Paper(PaperEdit),
    /// Jobs end that have not started.
    Withdraw { jobs: Vec<JobId>, how: How, at: u64 },
}

/// A job that is taken in.
pub(crate) struct Entry {
    pub(crate) id: JobId,
    /// Its call, encoded.
    pub(crate) call: Bytes,
    pub(crate) live: LiveRecord,
    pub(crate) claim: Option<Claim>,
    /// It was handed in before.
    pub(crate) is_known: bool,
}

/// How jobs end that have not started.
pub(crate) enum How {
    /// With this, which is the text.
    With(Outcome, Json),
    /// Their time to start is over.
    Late,
}

/// What a deed has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Made {
    /// What has become of each job.
    Accepted(Vec<Verdict>),
    /// None of them is taken in: a key stands for another call.
    KeyTaken,
    /// When the job started, and whether that is new.
    Started(Result<(u64, bool), Lost>),
    /// It is written.
    Written(Result<(), Lost>),
    Closed(Result<Closed, Lost>),
    /// Whether anything was owed.
    Settled(Result<bool, Lost>),
    /// What a change of a paper has come to.
    Edited(Edited),
    /// The ends.
    Withdrawn(Vec<(JobId, Arc<EndRecord>)>),
}

/// What has become of a job that was to be taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is new.
    New,
    /// It was there before.
    Known,
    /// It is not made: this one has its key.
    Before(JobId),
}

/// Whether a job is to be written.
enum Terms {
    New,
    Already(Verdict),
    KeyTaken,
}

impl Round<'_> {
    pub(super) fn deed(&mut self, deed: &Deed) -> Result<Made, Trouble> {
        Ok(match deed {
            Deed::Accept(jobs) => self.accept(jobs)?,
            Deed::Start { hold, token, at } => {
                Made::Started(self.start_attempt(*hold, token, *at)?)
            }
            Deed::Note { hold, token } => Made::Written(self.note(*hold, token)?),
            Deed::Append { hold, segments } => Made::Written(self.append_held(hold.job, segments)?),
            Deed::Close {
                hold,
                outcome,
                text,
                packets,
                again,
                debt,
                remarks,
                at,
            } => {
                let fields = EndFields {
                    started: None,
                    ended: *at,
                    packets: *packets,
                    remarks: remarks.clone(),
                };
                let end = (outcome, text);
                Made::Closed(self.close(*hold, end, fields, *again, debt.as_ref())?)
            }
            Deed::Settle { hold } => Made::Settled(self.settle(*hold)?),
            Deed::Paper(edit) => Made::Edited(self.edit_paper(edit)?),
            Deed::Withdraw { jobs, how, at } => Made::Withdrawn(self.withdraw(jobs, how, *at)?),
        })
    }

    fn accept(&mut self, jobs: &[Entry]) -> Result<Made, Trouble> {
        let mut verdicts = Vec::with_capacity(jobs.len());
        // Whether they are taken in is known before anything is written.
        let mut new = Vec::with_capacity(jobs.len());
        for job in jobs {
            verdicts.push(match self.verdict(job)? {
                Terms::New => {
                    new.push(job);
                    Verdict::New
                }
                Terms::Already(verdict) => verdict,
                Terms::KeyTaken => return Ok(Made::KeyTaken),
            });
        }
        let mut entries = Vec::with_capacity(new.len());
        for job in new {
            let state = encode_live(job.id, &job.live)?;
            self.shared.unsynced.state_changes(job.id);
            let call = self.pieces(&Table::Calls.key(job.id), &job.call)?;
            entries.push((job, call, state));
        }
        // In one batch.
        for (job, call, state) in entries {
            self.needs_newest(&job.live);
            self.record(job.id, &call, &state, &job.live, job.claim.as_ref());
        }
        self.apply_if_full()?;
        Ok(Made::Accepted(verdicts))
    }

    /// What becomes of a job that is to be taken in.
    fn verdict(&mut self, job: &Entry) -> Result<Terms, Trouble> {
        let id = job.id;
        if self.states.contains_key(&id) || self.contains(&Table::Calls.key(id))? {
            // No two have the same number: this one was written by the same deed before.
            let live = self.live(id).ok().flatten();
            let is_it = live.is_some_and(|live| live.sequence == job.live.sequence);
            return Ok(Terms::Already(if is_it && !job.is_known {
                Verdict::New
            } else {
                Verdict::Known
            }));
        }
        if job.is_known {
            let why = "the job that it was handed in as before was not taken in".to_owned();
            return Err(StoreError::Refused { id, why }.into());
        }
        let Some(claim) = &job.claim else {
            return Ok(Terms::New);
        };
        Ok(match self.instead(claim, &job.call)? {
            None => Terms::New,
            Some(Done::Existing(before)) => Terms::Already(Verdict::Before(before)),
            Some(_) => Terms::KeyTaken,
        })
    }

    fn start_attempt(
        &mut self,
        hold: Hold,
        token: &Token,
        at: u64,
    ) -> Result<Result<(u64, bool), Lost>, Trouble> {
        let id = hold.job;
        let Some(mut live) = self.live(id)? else {
            return Ok(Err(match self.end_of(id)? {
                Some(end) => Lost::Taken(end),
                None => Lost::Fenced,
            }));
        };
        if live.attempt != hold.attempt {
            return Ok(Err(Lost::Fenced));
        }
        if let Some(first) = live.started
            && live.token == *token
        {
            return Ok(Ok((first, false)));
        }
        let had_started = live.started.is_some();
        let at = at.max(live.submitted);
        (live.started, live.not_before) = (Some(at), None);
        live.token.clone_from(token);
        self.count_live(|sum| {
            sum.remove(id, had_started);
            sum.add(id, true);
        });
        self.put_live(id, live)?;
        Ok(Ok((at, true)))
    }

    fn note(&mut self, hold: Hold, token: &Token) -> Result<Result<(), Lost>, Trouble> {
        let id = hold.job;
        let Some(mut live) = self.live(id)? else {
            return Ok(self.is_ended(id)?.then_some(()).ok_or(Lost::Fenced));
        };
        if live.attempt == hold.attempt && live.started.is_some() && live.token != *token {
            live.token.clone_from(token);
            self.put_live(id, live)?;
        }
        Ok(Ok(()))
    }

    fn append_held(
        &mut self,
        id: JobId,
        segments: &[Segment],
    ) -> Result<Result<(), Lost>, Trouble> {
        match self.append(id, segments) {
            Ok(_) => Ok(Ok(())),
            Err(Trouble::Refused(StoreError::NotLive(_))) => Ok(match self.end_of(id)? {
                None => Err(Lost::Fenced),
                Some(end) if segments.iter().all(|packets| packets.end() <= end.packets) => Ok(()),
                Some(_) => Err(Lost::Refused("these packets come after the end".into())),
            }),
            Err(trouble) => Err(trouble),
        }
    }

    fn close(
        &mut self,
        hold: Hold,
        (outcome, text): (&Outcome, &Json),
        mut fields: EndFields,
        again: Option<Duration>,
        debt: Option<&Token>,
    ) -> Result<Result<Closed, Lost>, Trouble> {
        let id = hold.job;
        let Some(mut live) = self.live_or_damaged(id)? else {
            let Some(end) = self.end_of(id)? else {
                return Ok(Err(Lost::Fenced));
            };
            let debt = self.debt_of(hold)? == Some(true);
            return Ok(Ok(Closed {
                end: Some(end),
                debt,
            }));
        };
        if live.attempt > hold.attempt {
            let debt = self.debt_of(hold)? == Some(true);
            return Ok(Ok(Closed { end: None, debt }));
        }
        self.check_packets(id, fields.packets)?;
        // Without a place and without a token there is nothing to keep.
        let debt = debt.filter(|token| live.queue.is_some() || !token.0.is_empty());
        let kept = debt.map(|token| LiveRecord {
            token: token.clone(),
            ..live.clone()
        });
        if let Some(kept) = &kept {
            self.needs_newest(kept);
        }
        let debt = kept.is_some();
        let kept = kept.map(|kept| encode_live(id, &kept)).transpose()?;
        if let Some(after) = again {
            let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            self.count_live(|sum| {
                sum.remove(id, live.started.is_some());
                sum.add(id, false);
            });
            live.attempt = live.attempt.saturating_add(1);
            live.not_before = Some(fields.ended.saturating_add(after));
            (live.started, live.token) = (None, Token::default());
            if let Some(kept) = kept {
                self.batch.insert(&Table::Places.key(id), &kept);
            }
            self.put_live(id, live)?;
            return Ok(Ok(Closed { end: None, debt }));
        }
        fields.started = live.started;
        fields.ended = fields.ended.max(live.started.unwrap_or(live.submitted));
        let end = encode_end(id, &fields, text)?;
        self.end(id, &live, &end, kept)?;
        let end = EndRecord {
            started: fields.started,
            ended: fields.ended,
            outcome: outcome.clone(),
            packets: fields.packets,
            remarks: fields.remarks,
        };
        Ok(Ok(Closed {
            end: Some(Arc::new(end)),
            debt,
        }))
    }

    fn settle(&mut self, hold: Hold) -> Result<Result<bool, Lost>, Trouble> {
        let id = hold.job;
        if let Some(owing) = self.debt_of(hold)? {
            if owing {
                self.batch.remove(&Table::Places.key(id));
                self.apply_if_full()?;
            }
            return Ok(Ok(owing));
        }
        let is_there = self.contains(&Table::Live.key(id))? || self.is_ended(id)?;
        Ok(is_there.then_some(false).ok_or(Lost::Fenced))
    }

    /// Whether this attempt owes something; `None` if no attempt of the job does. One that
    /// cannot be read counts as this one's.
    fn debt_of(&mut self, hold: Hold) -> Result<Option<bool>, Trouble> {
        self.apply().map_err(Trouble::Failed)?;
        let place = self.engine.get(&Table::Places.key(hold.job));
        Ok(match place.map_err(StoreError::from) {
            Ok(None) => None,
            Ok(Some(place)) => Some(
                read::decode_live(hold.job, &place)
                    .map_or(true, |place| place.attempt == hold.attempt),
            ),
            Err(StoreError::Corrupt { .. }) => Some(true),
            Err(error) => return Err(error.into()),
        })
    }

    fn withdraw(
        &mut self,
        jobs: &[JobId],
        how: &How,
        at: u64,
    ) -> Result<Vec<(JobId, Arc<EndRecord>)>, Trouble> {
        let mut ends = Vec::with_capacity(jobs.len());
        for id in jobs {
            let Some(live) = self.live_or_damaged(*id)? else {
                // As this one was asked to end before.
                if let Some(end) = self.end_of(*id)? {
                    ends.push((*id, end));
                }
                continue;
            };
            let (outcome, text) = match how {
                How::With(outcome, text) => (outcome.clone(), text.clone()),
                How::Late => {
                    let seconds = live.start_by.unwrap_or_default();
                    let outcome = Outcome::Error(failures::not_started(seconds));
                    let text = outcome.to_json();
                    (outcome, text)
                }
            };
            // Only attempts before can have left packets.
            let packets = match live.attempt {
                1 => 0,
                _ => read::packets_end(self.engine, *id)?,
            };
            let fields = EndFields {
                started: None,
                ended: at.max(live.submitted),
                packets,
                remarks: Remarks::default(),
            };
            let end = encode_end(*id, &fields, &text)?;
            self.end(*id, &live, &end, None)?;
            let end = EndRecord {
                started: None,
                ended: fields.ended,
                outcome,
                packets,
                remarks: fields.remarks,
            };
            ends.push((*id, Arc::new(end)));
        }
        Ok(ends)
    }

    fn put_live(&mut self, id: JobId, live: LiveRecord) -> Result<(), Trouble> {
        self.needs_newest(&live);
        let state = encode_live(id, &live)?;
        self.shared.unsynced.state_changes(id);
        self.batch.insert(&Table::Live.key(id), &state);
        self.states.insert(id, Some(live));
        self.apply_if_full()
    }

    /// Makes the store one that an older release refuses, in the batch that needs it.
    fn needs_newest(&mut self, live: &LiveRecord) {
        let is_plain = live.attempt == 1 && live.pool.is_none() && live.token.0.is_empty();
        if !is_plain {
            self.becomes_newest();
        }
    }

    /// Makes the store one of the newest layout, in the batch that needs it.
    pub(super) fn becomes_newest(&mut self) {
        if self.shared.layout() >= layout::NEWEST {
            return;
        }
        let (version, owner) = (layout::NEWEST.to_string(), self.shared.owner().to_string());
        self.batch.insert(layout::VERSION_KEY, version.as_bytes());
        self.batch.insert(layout::STARTS_KEY, owner.as_bytes());
        // What is written behind this does not come to the disk without it.
        self.shared.set_layout(layout::NEWEST);
    }

    fn is_ended(&self, id: JobId) -> Result<bool, StoreError> {
        let is_ending = matches!(self.states.get(&id), Some(None));
        Ok(is_ending || self.contains(&Table::Ends.key(id))?)
    }

    /// How a job has ended, the batch included.
    fn end_of(&mut self, id: JobId) -> Result<Option<Arc<EndRecord>>, Trouble> {
        self.apply().map_err(Trouble::Failed)?;
        match Long::read(self.engine, Table::Ends, id)? {
            Some(end) => Ok(Some(Arc::new(read::end(self.engine, end)?))),
            None => Ok(None),
        }
    }
}

fn encode_end(id: JobId, fields: &EndFields, text: &Json) -> Result<Vec<u8>, StoreError> {
    codec::encode_end_of(fields, text).map_err(|error| StoreError::Refused {
        id,
        why: error.to_string(),
    })
}
