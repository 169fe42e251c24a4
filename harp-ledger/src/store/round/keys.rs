//! Keys of submissions: a key names one job of one client (client protocol, section 8).
//!
//! Whether a submission makes a job is decided by the one writer, and the key's entry is
//! written in the batch that records the job. So there are never two jobs, however many
//! submissions come at once and wherever a crash falls.
//!
//! An entry names the job that was submitted last under its key, and the moment of that by
//! the order of lives that `store/ends.rs` keeps, so that its age is right whatever the wall
//! clock does. It counts for nothing once that job is gone; the code that removes a job
//! removes its entry with [`Round::free_key`], so that nothing is left behind. A second entry
//! ([`keyed`](crate::store::keyed)) says of every job which key it has, whoever submitted it.

use std::time::Duration;

use bytes::Bytes;
use harp_jobs::record::{CallRecord, Stage};
use harp_values::{JobId, Outcome};
use ring::digest::{Context, SHA256};

use super::{Done, Round, Trouble};
use crate::store::codec;
use crate::store::ends::Moment;
use crate::store::error::StoreError;
use crate::store::keyed;
use crate::store::layout::{self, Key, Table};
use crate::store::read::{self, Long};

/// Terms of a submission with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Key of the entry that names the job.
    pub(crate) key: Key,
    /// Half the digest of the client's key alone.
    half: [u8; 16],
    /// Only a job submitted less than this many seconds before stands in the way.
    unless_since: Option<u64>,
}

impl Claim {
    /// The claim of a call; `None` if it has no key.
    pub(crate) fn of(call: &CallRecord, unless_since: Option<u64>) -> Option<Claim> {
        let key = call.key.as_deref()?;
        Some(Claim {
            key: entry_key(call.client.as_deref(), key),
            half: keyed::half(key),
            unless_since,
        })
    }
}

/// What an entry says.
struct Holder {
    job: JobId,
    /// When it was submitted; releases before did not note it.
    submitted: Option<Moment>,
}

impl Holder {
    fn encode(&self) -> Vec<u8> {
        let mut entry = self.job.as_bytes().to_vec();
        entry.extend(self.submitted.iter().flat_map(|moment| moment.encode()));
        entry
    }

    fn decode(entry: &[u8]) -> Option<Holder> {
        let (job, moment) = entry.split_first_chunk()?;
        let submitted = match moment {
            [] => None,
            moment => Some(Moment::decode(moment)?),
        };
        let job = JobId::from_bytes(*job);
        Some(Holder { job, submitted })
    }
}

/// The job that an entry names; `None` if it is not readable.
pub(in crate::store) fn holder_of(entry: &[u8]) -> Option<JobId> {
    Holder::decode(entry).map(|holder| holder.job)
}

/// Makes the key of the entry for a client's key. A digest, because a key may be longer than an
/// entry of the engine.
fn entry_key(client: Option<&str>, key: &str) -> Key {
    let mut digest = Context::new(&SHA256);
    match client {
        None => digest.update(b"-"),
        Some(client) => {
            digest.update(b"+");
            // The length tells where the client ends and the key begins.
            digest.update(&(client.len() as u64).to_be_bytes());
            digest.update(client.as_bytes());
        }
    }
    digest.update(key.as_bytes());
    let digest = digest.finish();
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    layout::claim_key(&bytes)
}

impl Round<'_> {
    /// Answers in place of recording a new job: with nothing done, if there is a job under
    /// that key. `None` if the new one is to be recorded.
    pub(super) fn instead(&mut self, claim: &Claim, call: &Bytes) -> Result<Option<Done>, Trouble> {
        if !self.claimed.contains(&claim.key)
            && !self.engine.contains(&claim.key).map_err(StoreError::from)?
        {
            return Ok(None);
        }
        // Whatever this round has done to the key and its job has to be seen here.
        self.apply().map_err(Trouble::Failed)?;
        Ok(self.holder(claim, call)?)
    }

    /// Gives a claim's key to a job that is being recorded.
    pub(super) fn claim(&mut self, claim: &Claim, job: JobId) {
        let submitted = Some(self.shared.ends.now());
        let entry = Holder { job, submitted }.encode();
        self.batch.insert(&claim.key, &entry);
        self.claimed.insert(claim.key);
        self.note_keyed(claim, job);
    }

    /// Notes that a job that is being recorded has a claim's key, whoever else has it too.
    pub(super) fn note_keyed(&mut self, claim: &Claim, job: JobId) {
        let key = layout::keyed_key(&claim.half, job);
        self.batch.insert(&key, job.as_bytes());
    }

    fn holder(&self, claim: &Claim, call: &Bytes) -> Result<Option<Done>, StoreError> {
        let Some(entry) = self.engine.get(&claim.key)? else {
            return Ok(None);
        };
        let Some(Holder { job, submitted }) = Holder::decode(&entry) else {
            let why = "the job of a submission's key is not readable".to_owned();
            return Err(StoreError::Unreadable(why));
        };
        let (Some(stage), Some(earlier)) = (
            read::stage(self.engine, job)?,
            Long::read(self.engine, Table::Calls, job)?,
        ) else {
            return Ok(None);
        };
        let earlier = read::job(self.engine, job, stage, earlier)?.call;
        let call = codec::decode_call(call).map_err(|why| StoreError::Refused {
            id: job,
            why: why.to_string(),
        })?;
        if (&earlier.host, &earlier.procedure, &earlier.arguments)
            != (&call.host, &call.procedure, &call.arguments)
        {
            return Ok(Some(Done::KeyTaken));
        }
        let counts = match (claim.unless_since, stage) {
            (None, _) | (_, Stage::Queued { .. } | Stage::Running { .. }) => true,
            (Some(seconds), Stage::Ended { .. }) => {
                let submitted = submitted.unwrap_or(Moment::elsewhere(earlier.submitted));
                let age = self.shared.ends.age_of(submitted).age;
                age < Duration::from_secs(seconds) && self.has_returned(job)?
            }
        };
        Ok(counts.then_some(Done::Existing(job)))
    }

    fn has_returned(&self, job: JobId) -> Result<bool, StoreError> {
        let Some(end) = Long::read(self.engine, Table::Ends, job)? else {
            return Ok(false);
        };
        let outcome = read::end(self.engine, end)?.outcome;
        Ok(matches!(outcome, Outcome::Returned(_)))
    }

    /// Removes the key of a job that is being removed, unless a later job has it. To be
    /// called while the job's call is still in the engine, in the batch that removes it.
    /// The key of a damaged call stays behind; it is free without its job.
    pub(super) fn free_key(&mut self, job: JobId) -> Result<(), StoreError> {
        let claim = match self.claim_of(job) {
            Ok(Some(claim)) => claim,
            Ok(None) | Err(StoreError::Corrupt { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let holder = self.engine.get(&claim.key)?;
        if holder.as_deref().and_then(holder_of) == Some(job) {
            self.batch.remove(&claim.key);
        }
        self.batch.remove(&layout::keyed_key(&claim.half, job));
        Ok(())
    }

    fn claim_of(&self, job: JobId) -> Result<Option<Claim>, StoreError> {
        let Some(call) = Long::read(self.engine, Table::Calls, job)? else {
            return Ok(None);
        };
        let known = match codec::key_of_call(call.beginning()) {
            // The names and the key are longer than one entry.
            Err(codec::Malformed::Section) => codec::key_of_call(&call.join(self.engine)?),
            known => known,
        };
        // What cannot be read has no key that could be found.
        let known = known.ok().flatten();
        Ok(known.map(|(client, key)| Claim {
            key: entry_key(client.as_deref(), &key),
            half: keyed::half(&key),
            unless_since: None,
        }))
    }
}
