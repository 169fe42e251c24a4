//! The changes of one round of writing, turned into batches for the engine.

mod adopt;
mod deeds;
mod keys;
mod papers;
mod prune;

use std::collections::{HashMap, HashSet};

#[cfg(any(test, feature = "bare"))]
use bytes::Bytes;
use harp_jobs::ledger::{Keep, Pruned};
use harp_jobs::record::LiveRecord;
use harp_jobs::segment::Segment;
use harp_values::JobId;

pub use self::adopt::Adopted;
pub(crate) use self::adopt::AdoptedBytes;
pub(crate) use self::deeds::{Deed, Entry, How, Made, Verdict};
pub(crate) use self::keys::Claim;
pub(super) use self::keys::holder_of;
pub(crate) use self::prune::{Candidate, Candidates, candidates};
use super::codec;
use super::contents::{Contents, entry_size};
use super::error::StoreError;
use super::layout::{self, Key, Table};
use super::live_sum::LiveSum;
use super::read;
use super::shared::Shared;
use super::sled::{Batch, Engine, EngineError};

/// How many writes a batch has before the next one is begun. Reads wait while the engine
/// applies a batch.
pub(super) const BATCH: usize = 256;

/// A change. Records are encoded already.
pub(crate) enum Change {
    /// What the ledger has decided.
    Deed(Deed),
    /// Of benchmarks and tests: what is accepted is a deed.
    #[cfg(any(test, feature = "bare"))]
    Submit {
        call: Bytes,
        live: LiveRecord,
        claim: Option<Claim>,
    },
    /// Of tests: a start is a deed.
    #[cfg(test)]
    Start {
        at: u64,
    },
    /// Of benchmarks and tests: packets are a deed.
    #[cfg(any(test, feature = "bare"))]
    Append {
        segments: Vec<Segment>,
    },
    /// `packets` is how many the end counts.
    Finish {
        end: Vec<u8>,
        packets: u64,
        place: PlaceAfter,
    },
    /// Of tests: that a place is free is a deed.
    #[cfg(test)]
    ReleasePlace,
    AdoptPackets {
        segments: Vec<Segment>,
    },
    Adopt {
        call: Vec<u8>,
        claim: Option<Claim>,
        state: AdoptedBytes,
    },
    Prune {
        jobs: Vec<Candidate>,
        keep: Keep,
    },
    /// Holds no job any more.
    ReleaseHeld,
    /// A dispatcher has been started on the store.
    Started,
    /// The mark alone, to see whether anything can be written.
    Mark,
}

/// Change of an ended job's place in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceAfter {
    /// It is free: the host is done with the job.
    Free,
    /// It is kept until that is recorded too, over a crash: the host may still be busy.
    /// Nothing for a job without a queue.
    Kept,
}

/// Answer to a change that is on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// What has come of the ledger's decision.
    Made(Made),
    /// The number of this start.
    Starts(u32),
    /// The change.
    Recorded,
    /// The change, as the same one was asked for before.
    Already,
    /// All packets below this number.
    PacketsUpTo(u64),
    /// So much is gone, these jobs among it.
    Pruned(Pruned, Vec<JobId>),
    /// Not this job, but the one that has its key.
    Existing(JobId),
    /// Not this job: its key stands for another call.
    KeyTaken,
}

/// Why a change was not made.
pub(crate) enum Trouble {
    /// It makes no sense, or what it depends on cannot be read. Others can go on.
    Refused(StoreError),
    /// The engine failed to write.
    Failed(EngineError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::Refused(error)
    }
}

/// The changes of one round on their way into the engine.
pub(crate) struct Round<'a> {
    pub(super) engine: &'a Engine,
    pub(super) shared: &'a Shared,
    next_packet: &'a mut HashMap<JobId, u64>,
    /// Totals including this batch.
    pub(super) contents: &'a mut Contents,
    /// Totals as the engine has them when the batch is applied.
    noted: Contents,
    pub(super) batch: Batch,
    /// States of jobs as the batch leaves them; the engine does not show them yet.
    states: HashMap<JobId, Option<LiveRecord>>,
    /// The keys that the batch gives to jobs; the same holds.
    pub(super) claimed: HashSet<Key>,
    /// Whether the engine works is to be found out by raising the mark: something could
    /// not be read.
    pub(super) in_doubt: bool,
    /// New packets, and their bytes.
    packets: (u64, u64),
}

impl<'a> Round<'a> {
    /// `mark` is the one that will cover these changes.
    pub(crate) fn new(
        engine: &'a Engine,
        shared: &'a Shared,
        next_packet: &'a mut HashMap<JobId, u64>,
        contents: &'a mut Contents,
        mark: u64,
    ) -> Round<'a> {
        Round {
            engine,
            shared,
            next_packet,
            noted: *contents,
            contents,
            batch: Batch::new(mark),
            states: HashMap::new(),
            claimed: HashSet::new(),
            in_doubt: false,
            packets: (0, 0),
        }
    }

    /// Makes one change, in full or not at all.
    pub(crate) fn write(&mut self, id: JobId, change: &Change) -> Result<Done, Trouble> {
        match change {
            Change::Deed(deed) => self.deed(deed).map(Done::Made),
            #[cfg(any(test, feature = "bare"))]
            Change::Submit { call, live, claim } => self.submit(id, call, live, claim.as_ref()),
            #[cfg(test)]
            Change::Start { at } => self.start(id, *at),
            #[cfg(any(test, feature = "bare"))]
            Change::Append { segments } => self.append(id, segments),
            Change::Finish {
                end,
                packets,
                place,
            } => self.finish(id, end, *packets, *place),
            #[cfg(test)]
            Change::ReleasePlace => {
                self.batch.remove(&Table::Places.key(id));
                self.apply_if_full()?;
                Ok(Done::Recorded)
            }
            Change::AdoptPackets { segments } => self.adopt_packets(id, segments),
            Change::Adopt { call, claim, state } => self.adopt(id, call, claim.as_ref(), state),
            Change::Prune { jobs, keep } => self.prune(jobs, keep),
            Change::ReleaseHeld => self.release_held(),
            Change::Started => self.dispatcher_started(),
            Change::Mark => {
                self.in_doubt = true;
                Ok(Done::Recorded)
            }
        }
    }

    /// How many packets are new, and their bytes.
    pub(crate) fn packets(&self) -> (u64, u64) {
        self.packets
    }

    pub(crate) fn mark(&mut self, mark: u64) {
        self.batch
            .insert(layout::MARK_KEY, mark.to_string().as_bytes());
    }

    /// Hands the batch to the engine.
    pub(crate) fn apply(&mut self) -> Result<(), EngineError> {
        self.states.clear();
        if self.noted != *self.contents {
            self.noted = *self.contents;
            self.batch
                .insert(layout::CONTENTS_KEY, self.noted.encode().as_bytes());
        }
        self.claimed.clear();
        let batch = self.batch.take();
        if batch.len() == 0 {
            return Ok(());
        }
        self.engine.apply(batch)
    }

    #[cfg(any(test, feature = "bare"))]
    fn submit(
        &mut self,
        id: JobId,
        call: &Bytes,
        live: &LiveRecord,
        claim: Option<&Claim>,
    ) -> Result<Done, Trouble> {
        if self.states.contains_key(&id) || self.contains(&Table::Calls.key(id))? {
            return Ok(Done::Already);
        }
        if let Some(claim) = claim
            && let Some(instead) = self.instead(claim, call)?
        {
            return Ok(instead);
        }
        let state = encode_live(id, live)?;
        self.shared.unsynced.state_changes(id);
        let entry = self.pieces(&Table::Calls.key(id), call)?;
        self.record(id, &entry, &state, live, claim);
        self.apply_if_full()?;
        Ok(Done::Recorded)
    }

    /// Makes a job known whose call's further pieces are written.
    fn record(
        &mut self,
        id: JobId,
        call: &[u8],
        state: &[u8],
        live: &LiveRecord,
        claim: Option<&Claim>,
    ) {
        self.insert(&Table::Calls.key(id), call);
        self.batch.insert(&Table::Live.key(id), state);
        self.count_live(|sum| sum.add(id, live.started.is_some()));
        self.states.insert(id, Some(live.clone()));
        if let Some(claim) = claim {
            self.claim(claim, id);
        }
    }

    #[cfg(test)]
    fn start(&mut self, id: JobId, at: u64) -> Result<Done, Trouble> {
        let mut live = self.live(id)?.ok_or(StoreError::NotLive(id))?;
        if live.started.is_some() {
            return Ok(Done::Already);
        }
        live.started = Some(at);
        let state = encode_live(id, &live)?;
        self.shared.unsynced.state_changes(id);
        self.batch.insert(&Table::Live.key(id), &state);
        self.count_live(|sum| {
            sum.remove(id, false);
            sum.add(id, true);
        });
        self.states.insert(id, Some(live));
        self.apply_if_full()?;
        Ok(Done::Recorded)
    }

    fn append(&mut self, id: JobId, segments: &[Segment]) -> Result<Done, Trouble> {
        let mut next = match self.next_packet.get(&id) {
            Some(next) => *next,
            None if self.live(id)?.is_none() => return Err(StoreError::NotLive(id).into()),
            None => read::packets_end(self.engine, id)?,
        };
        let mut expected = next;
        for segment in segments {
            if segment.first() > expected {
                let why = format!(
                    "packet {} follows, but packet {expected} is missing",
                    segment.first()
                );
                return Err(StoreError::Refused { id, why }.into());
            }
            expected = expected.max(segment.end());
        }
        for segment in segments {
            let segment = segment.between(next, u64::MAX);
            if segment.is_empty() {
                continue;
            }
            self.shared.unsynced.packets_change(id, next);
            let key = layout::packets_key(id, segment.first());
            let entry = self.pieces(&key, segment.as_bytes())?;
            self.insert(&key, &entry);
            self.packets.0 += segment.end() - segment.first();
            self.packets.1 += segment.as_bytes().len() as u64;
            next = segment.end();
            self.apply_if_full()?;
        }
        self.next_packet.insert(id, next);
        Ok(Done::PacketsUpTo(next))
    }

    fn finish(
        &mut self,
        id: JobId,
        end: &[u8],
        packets: u64,
        place: PlaceAfter,
    ) -> Result<Done, Trouble> {
        let Some(live) = self.live_or_damaged(id)? else {
            // Ended in the batch that is not applied yet, or earlier.
            let ended = self.states.contains_key(&id) || self.contains(&Table::Ends.key(id))?;
            return if ended {
                Ok(Done::Already)
            } else {
                Err(StoreError::NotLive(id).into())
            };
        };
        self.check_packets(id, packets)?;
        let kept = match place {
            PlaceAfter::Kept if live.queue.is_some() => Some(encode_live(id, &live)?),
            _ => None,
        };
        self.end(id, &live, end, kept)?;
        Ok(Done::Recorded)
    }

    /// The state of a live job, the batch included. Where that is not known it can still end.
    fn live_or_damaged(&mut self, id: JobId) -> Result<Option<LiveRecord>, StoreError> {
        match self.live(id) {
            Err(StoreError::Corrupt { .. }) => {
                self.contents.live = None;
                Ok(Some(LiveRecord::UNKNOWN))
            }
            live => live,
        }
    }

    /// Refuses an end that counts packets which are not stored.
    fn check_packets(&self, id: JobId, packets: u64) -> Result<(), StoreError> {
        if packets == 0 {
            return Ok(());
        }
        let stored = match self.next_packet.get(&id) {
            Some(next) => *next,
            None => match read::packets_end(self.engine, id) {
                // They are there, but cannot be counted.
                Err(StoreError::Corrupt { .. }) => packets,
                stored => stored?,
            },
        };
        if packets > stored {
            let why = format!("its end counts {packets} packets, {stored} are stored");
            return Err(StoreError::Refused { id, why });
        }
        Ok(())
    }

    /// Ends a live job. `kept` is where it stood, if something is still owed.
    fn end(
        &mut self,
        id: JobId,
        live: &LiveRecord,
        end: &[u8],
        kept: Option<Vec<u8>>,
    ) -> Result<(), Trouble> {
        self.shared.unsynced.state_changes(id);
        let entry = self.pieces(&Table::Ends.key(id), end)?;
        self.insert(&Table::Ends.key(id), &entry);
        let (order, moment) = self.shared.ends.next(id);
        self.batch.insert(&order, &moment);
        self.contents.ended += 1;
        self.batch.remove(&Table::Live.key(id));
        self.count_live(|sum| sum.remove(id, live.started.is_some()));
        if self.shared.holds_some() {
            self.batch.remove(&Table::Held.key(id));
        }
        if let Some(kept) = kept {
            self.batch.insert(&Table::Places.key(id), &kept);
        }
        self.states.insert(id, None);
        self.next_packet.remove(&id);
        self.apply_if_full()
    }

    fn dispatcher_started(&mut self) -> Result<Done, Trouble> {
        let before = self.engine.get(layout::STARTS_KEY);
        let before = before.map_err(StoreError::from)?;
        let before = before.and_then(|number| std::str::from_utf8(&number).ok()?.parse().ok());
        let number = before.unwrap_or(0_u32).saturating_add(1);
        // A store of layout 2 has nobody who could tell two starts apart.
        if self.shared.layout() >= layout::NEWEST {
            let number = number.to_string();
            self.batch.insert(layout::STARTS_KEY, number.as_bytes());
        }
        Ok(Done::Starts(number))
    }

    fn release_held(&mut self) -> Result<Done, Trouble> {
        self.apply().map_err(Trouble::Failed)?;
        for id in read::held(self.engine)? {
            self.batch.remove(&Table::Held.key(id));
            self.apply_if_full()?;
        }
        Ok(Done::Recorded)
    }

    /// Writes the further pieces of a long value and returns the entry that makes them
    /// known.
    pub(super) fn pieces(&mut self, key: &Key, value: &[u8]) -> Result<Vec<u8>, Trouble> {
        let (entry, pieces) = layout::cut(value);
        for (n, piece) in (0..).zip(pieces) {
            self.insert(&layout::piece_key(key, n), piece);
            self.apply_if_full()?;
        }
        Ok(entry)
    }

    /// Adds an entry of a table that counts as content.
    pub(super) fn insert(&mut self, key: &[u8], value: &[u8]) {
        self.contents.bytes += entry_size(key, value.len());
        self.batch.insert(key, value);
    }

    /// Changes the sum over the live jobs, in the batch that changes their states.
    pub(super) fn count_live(&mut self, change: impl FnOnce(&mut LiveSum)) {
        if let Some(sum) = &mut self.contents.live {
            change(sum);
        }
    }

    pub(super) fn apply_if_full(&mut self) -> Result<(), Trouble> {
        if self.batch.len() >= BATCH {
            self.apply().map_err(Trouble::Failed)?;
        }
        Ok(())
    }

    /// Reads the state of a live job, the batch included.
    fn live(&self, id: JobId) -> Result<Option<LiveRecord>, StoreError> {
        if let Some(state) = self.states.get(&id) {
            return Ok(state.clone());
        }
        match self.engine.get(&Table::Live.key(id))? {
            Some(record) => read::decode_live(id, &record).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn contains(&self, key: &Key) -> Result<bool, StoreError> {
        Ok(self.engine.contains(key)?)
    }
}

fn encode_live(id: JobId, live: &LiveRecord) -> Result<Vec<u8>, StoreError> {
    codec::encode_live(live).map_err(|error| StoreError::Refused {
        id,
        why: error.to_string(),
    })
}
