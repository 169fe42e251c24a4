//! Taking in jobs of another store, as an import does.
//!
//! A job's packets come first, while there is no such job: should the import break off,
//! they are passed over when it is made again. Then the job appears in one step, with its
//! end if it has one; so a job that has ended is never taken for one to be run. One that
//! waits is held ([`Store::held`](crate::store::Store::held)): where it comes from it may have run.

use harp_jobs::record::{EndRecord, LiveRecord};
use harp_jobs::segment::Segment;
use harp_values::JobId;

use super::keys::Claim;
use super::{Done, Round, Trouble};
use crate::store::codec;
use crate::store::ends::Moment;
use crate::store::error::StoreError;
use crate::store::layout::{self, Table};

/// State of a job in the store that it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Adopted {
    /// It has not ended.
    Live(LiveRecord),
    /// It has.
    Ended {
        /// How.
        end: EndRecord,
        /// The live record that it had, if its place in its queue is kept.
        place: Option<LiveRecord>,
    },
}

/// A job's state as it is written.
pub(crate) enum AdoptedBytes {
    /// The state, and whether the job has started.
    Live(Vec<u8>, bool),
    Ended {
        end: Vec<u8>,
        /// When that was, in milliseconds since 1970.
        ended: u64,
        place: Option<Vec<u8>>,
    },
}

impl AdoptedBytes {
    pub(crate) fn encode(state: &Adopted) -> Result<AdoptedBytes, serde_json::Error> {
        Ok(match state {
            Adopted::Live(live) => {
                AdoptedBytes::Live(codec::encode_live(live)?, live.started.is_some())
            }
            Adopted::Ended { end, place } => AdoptedBytes::Ended {
                end: codec::encode_end(end)?,
                ended: end.ended,
                place: place.as_ref().map(codec::encode_live).transpose()?,
            },
        })
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            AdoptedBytes::Live(state, _) => state.len(),
            AdoptedBytes::Ended { end, .. } => end.len(),
        }
    }
}

impl Round<'_> {
    pub(super) fn adopt_packets(
        &mut self,
        id: JobId,
        segments: &[Segment],
    ) -> Result<Done, Trouble> {
        if self.contains(&Table::Calls.key(id))? {
            return Ok(Done::Already);
        }
        for segment in segments {
            let key = layout::packets_key(id, segment.first());
            if !self.contains(&key)? {
                let entry = self.pieces(&key, segment.as_bytes())?;
                self.insert(&key, &entry);
                self.apply_if_full()?;
            }
        }
        Ok(Done::Recorded)
    }

    pub(super) fn adopt(
        &mut self,
        id: JobId,
        call: &[u8],
        claim: Option<&Claim>,
        state: &AdoptedBytes,
    ) -> Result<Done, Trouble> {
        // So that the engine shows what came before.
        self.apply().map_err(Trouble::Failed)?;
        if self.contains(&Table::Calls.key(id))? {
            return Ok(Done::Already);
        }
        self.shared.unsynced.state_changes(id);
        let entry = self.pieces(&Table::Calls.key(id), call)?;
        let end = match state {
            AdoptedBytes::Live(..) => Vec::new(),
            AdoptedBytes::Ended { end, .. } => self.pieces(&Table::Ends.key(id), end)?,
        };
        self.insert(&Table::Calls.key(id), &entry);
        match state {
            AdoptedBytes::Live(state, has_started) => {
                self.batch.insert(&Table::Live.key(id), state);
                self.count_live(|sum| sum.add(id, *has_started));
                if !has_started {
                    self.batch.insert(&Table::Held.key(id), b"");
                    self.shared.may_hold();
                }
            }
            AdoptedBytes::Ended { ended, place, .. } => {
                self.insert(&Table::Ends.key(id), &end);
                let moment = Moment::elsewhere(*ended).encode();
                self.batch.insert(&layout::order_key(*ended, id), &moment);
                self.contents.ended += 1;
                if let Some(place) = place {
                    self.batch.insert(&Table::Places.key(id), place);
                }
            }
        }
        if let Some(claim) = claim {
            let holder = self.engine.get(&claim.key).map_err(StoreError::from)?;
            // A key names the job that was submitted last.
            if holder.is_none_or(|holder| holder[..] < id.as_bytes()[..]) {
                self.batch.insert(&claim.key, id.as_bytes());
            }
            self.note_keyed(claim, id);
        }
        Ok(Done::Recorded)
    }
}
