//! A claim: what a worker that has a job says of it, on its way to the job's attempt.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_proto::{JobId, Json, Outcome};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::claim_id::ClaimId;
use super::note::Note;

/// Bytes of packets that wait for the attempt; whoever brings more waits.
const INBOX: usize = 1024 * 1024;

/// One claim.
#[derive(Debug)]
pub struct Claim {
    /// The job.
    pub job: JobId,
    /// The worker that has it.
    pub note: Note,
    said: Mutex<Said>,
    /// To the attempt: something was said.
    told: Notify,
    pub(super) progress: watch::Sender<Progress>,
}

/// What the worker has said and the attempt has not taken.
#[derive(Debug)]
struct Said {
    packets: VecDeque<Json>,
    bytes: usize,
    /// The number of the next packet.
    next: u64,
    /// A request came under the claim.
    is_heard: bool,
    outcome: Option<Outcome>,
    lease_until: Instant,
    /// The worker has answered after the job's end.
    has_answered: bool,
}

/// How far a claim has come, for whoever waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// All packets below this number are durable.
    pub durable: u64,
    /// Whether the worker still has the job.
    pub stage: Stage,
}

/// Whether a worker has its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Being recorded: nobody has been told.
    Claiming,
    /// It has.
    Held,
    /// The job has its outcome, or this process has let go of it: the ledger knows.
    Over,
}

/// What the attempt hears of its worker.
#[derive(Debug)]
pub(super) enum Word {
    /// It is there.
    Sign,
    /// These packets.
    Packets(Vec<Json>),
    /// The job has come to this.
    End(Outcome),
}

/// Why packets were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotTaken {
    /// The ones before them, from this number on, are missing.
    Hole(u64),
    /// The worker does not have the job any more.
    Over,
}

impl Claim {
    pub(super) fn new(job: JobId, note: Note, packets: u64, stage: Stage) -> Claim {
        let lease_until = Instant::now() + Duration::from_secs(note.lease);
        let durable = packets;
        Claim {
            job,
            note,
            said: Mutex::new(Said {
                packets: VecDeque::new(),
                bytes: 0,
                next: packets,
                is_heard: false,
                outcome: None,
                lease_until,
                has_answered: false,
            }),
            told: Notify::new(),
            progress: watch::Sender::new(Progress { durable, stage }),
        }
    }

    /// The name of the claim.
    #[must_use]
    pub fn id(&self) -> ClaimId {
        ClaimId {
            job: self.job,
            secret: self.note.secret,
        }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far it has come.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Whether the worker has the job.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.progress.borrow().stage != Stage::Over
    }

    /// A request came under the claim: its lease goes on from now. One whose job has ended
    /// is not renewed.
    pub fn renew(&self) {
        if !self.is_held() {
            return;
        }
        let mut said = self.said();
        said.lease_until = Instant::now() + Duration::from_secs(self.note.lease);
        said.is_heard = true;
        drop(said);
        self.told.notify_one();
    }

    /// Packets, the first of which has this number. Those that are there already are passed
    /// over, unread. Waits for room. Cancel safe: packets that were taken stay.
    ///
    /// # Errors
    ///
    /// [`NotTaken`]; then none of them is.
    pub async fn put(&self, first: u64, packets: Vec<Json>) -> Result<u64, NotTaken> {
        let mut progress = self.progress();
        loop {
            // Marked as seen before it is looked at, so that no change is missed.
            if progress.borrow_and_update().stage == Stage::Over {
                return Err(NotTaken::Over);
            }
            {
                let mut said = self.said();
                if first > said.next {
                    return Err(NotTaken::Hole(said.next));
                }
                let known = usize::try_from(said.next - first).unwrap_or(usize::MAX);
                if known >= packets.len() {
                    return Ok(first + packets.len() as u64);
                }
                if said.bytes < INBOX {
                    for packet in packets.into_iter().skip(known) {
                        said.bytes += packet.as_bytes().len();
                        said.next += 1;
                        said.packets.push_back(packet);
                    }
                    let next = said.next;
                    drop(said);
                    self.told.notify_one();
                    return Ok(next);
                }
            }
            if progress.changed().await.is_err() {
                return Err(NotTaken::Over);
            }
        }
    }

    /// The worker says what the job has come to. False if it does not have the job any more.
    pub fn finish(&self, outcome: Outcome) -> bool {
        let mut said = self.said();
        if !self.is_held() {
            said.has_answered = true;
            drop(said);
            self.told.notify_one();
            return false;
        }
        // The first one counts; which that was, the record says.
        said.outcome.get_or_insert(outcome);
        drop(said);
        self.told.notify_one();
        true
    }

    /// What the worker says next; `None` when its lease is over. Cancel safe.
    pub(super) async fn next(&self, lease: &mut harp_time::Limit) -> Option<Word> {
        loop {
            if let Some(word) = self.take(lease) {
                return Some(word);
            }
            tokio::select! {
                biased;
                () = self.told.notified() => {}
                () = lease.passed() => {
                    let is_longer = self.said().lease_until > lease.end();
                    if !is_longer {
                        return self.take(lease);
                    }
                }
            }
        }
    }

    fn take(&self, lease: &mut harp_time::Limit) -> Option<Word> {
        let mut said = self.said();
        lease.move_to(said.lease_until);
        let is_heard = std::mem::take(&mut said.is_heard);
        if !said.packets.is_empty() {
            said.bytes = 0;
            let packets = std::mem::take(&mut said.packets);
            drop(said);
            // Whoever waits for room looks again.
            self.progress.send_modify(|_| {});
            return Some(Word::Packets(packets.into()));
        }
        match said.outcome.take() {
            Some(outcome) => Some(Word::End(outcome)),
            None => is_heard.then_some(Word::Sign),
        }
    }

    /// Packets below this number are durable.
    pub(super) fn is_durable(&self, number: u64) {
        self.progress
            .send_modify(|progress| progress.durable = number);
    }

    /// The worker does not have the job any more.
    pub(super) fn is_over(&self) {
        self.progress
            .send_modify(|progress| progress.stage = Stage::Over);
    }

    /// Completes when the worker has answered after the end of its job, or its lease is over.
    /// Cancel safe.
    pub(super) async fn answered(&self, lease: &mut harp_time::Limit) {
        loop {
            {
                let said = self.said();
                lease.move_to(said.lease_until);
                if said.has_answered {
                    return;
                }
            }
            tokio::select! {
                biased;
                () = self.told.notified() => {}
                () = lease.passed() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::transports::worker::{Begun, Claims};

    fn claim() -> Arc<Claim> {
        let note = Note {
            secret: 7,
            service: String::new(),
            client: "anonymous".to_owned(),
            worker: None,
            lease: 60,
            key: None,
        };
        let claims = Claims::default();
        let job = JobId::submitted_at(1);
        let Begun::New(claim) = claims.begin(job, note.clone()) else {
            panic!("nobody has it");
        };
        let again = claims.begin(job, note.clone());
        assert!(matches!(again, Begun::Taken), "one at a time");
        assert!(Arc::ptr_eq(&claim, &claims.held(job, note, 0)));
        claim
    }

    fn packets(count: usize) -> Vec<Json> {
        vec![Json::NULL; count]
    }

    #[tokio::test]
    async fn packets_are_taken_once_and_without_holes() {
        let claim = claim();
        assert_eq!(claim.put(0, packets(3)).await, Ok(3));
        assert_eq!(claim.put(1, packets(2)).await, Ok(3), "they are there");
        assert_eq!(claim.put(2, packets(3)).await, Ok(5));
        assert_eq!(claim.put(6, packets(1)).await, Err(NotTaken::Hole(5)));
        let mut lease = harp_time::Limit::after(Duration::from_secs(60));
        let Some(Word::Packets(taken)) = claim.next(&mut lease).await else {
            panic!("packets have come");
        };
        assert_eq!(taken.len(), 5);
        claim.is_over();
        assert_eq!(claim.put(5, packets(1)).await, Err(NotTaken::Over));
        assert!(!claim.finish(Outcome::Cancelled));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_goes_on_from_each_request() {
        let claim = claim();
        let mut lease = harp_time::Limit::after(Duration::from_secs(60));
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_secs(50)).await;
        claim.renew();
        assert!(matches!(claim.next(&mut lease).await, Some(Word::Sign)));
        assert!(claim.next(&mut lease).await.is_none());
        assert_eq!(begun.elapsed(), Duration::from_secs(110));
    }
}
