//! Workers: claiming a job of a service, and what is said of it under the claim.

use std::sync::Arc;
use std::time::Duration;

use harp_jobs::client::Client;
use harp_jobs::ledger::{Ledger, Lost, Whereabouts};
use harp_jobs::lineup::pool::Pick;
use harp_jobs::record::EndRecord;
use harp_jobs::refusal::{Refusal, SchemaOf};
use harp_time::within;
use harp_values::{JobId, Json, Outcome};
use tokio::time::Instant;
use tracing::info;

use super::view::View;
use super::{Desk, permission};
use crate::services::service::LONGEST_TIMEOUT;
use crate::services::{Service, Sign, Worker};
use crate::transports::worker::claim::{Claim, NotTaken, Stage};
use crate::transports::worker::{Begun, ClaimId, Claims, Note};
use harp_time::clock;

/// Jobs of a pool that are looked at first, for one that nobody is about to claim.
const FIRST_LOOK: usize = 16;

/// How long a claim that is on record may take to be known again after a start.
pub(super) const TAKEN_UP: Duration = Duration::from_secs(10);

/// How long a claim may take to be on record before that is answered as not known.
const RECORDED: Duration = Duration::from_secs(10);

/// How often a worker that waits looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Characters of a worker's name, or of the key of a claim.
const LONGEST_NAME: usize = 256;

/// What a worker wants.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// The name that the worker gives itself.
    pub worker: Option<String>,
    /// Its lease in seconds; without it twice the service's `timeout`.
    pub lease: Option<u64>,
    /// Until when it waits for a job; `None`: not at all.
    pub until: Option<Instant>,
    /// Its name for this claim: said again, it comes to the same job as long as that goes on.
    pub key: Option<String>,
}

/// A job that a worker has.
#[derive(Debug)]
pub struct Claimed {
    /// The name of the claim.
    pub claim: ClaimId,
    /// When its lease ends unless it is renewed, in milliseconds since 1970.
    pub expires: u64,
    /// The job.
    pub view: View,
}

/// A lease as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// When it ends unless it is renewed, in milliseconds since 1970.
    pub expires: u64,
    /// The job has ended otherwise.
    pub cancelled: bool,
}

impl Worker {
    /// A client that works under this name.
    #[must_use]
    pub fn of(by: &Client, name: Option<&str>) -> Worker {
        Worker {
            client: by.name().to_owned(),
            name: name.map(str::to_owned),
        }
    }
}

impl Desk {
    /// The next job of a service, which starts with that: it is on record, and nobody else
    /// gets it. `None` if there is none until then, or no calls are run any more. Cancel safe
    /// in this sense: a job that is being claimed is claimed; its lease ends when nobody
    /// renews it.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::NoSuchService`], [`Refusal::Invalid`], [`Refusal::Storage`],
    /// [`Refusal::CallNotRecorded`].
    pub async fn claim(
        &self,
        by: &Client,
        name: &str,
        wanted: Wanted,
    ) -> Result<Option<Claimed>, Refusal> {
        check(&wanted)?;
        let service = self.service_to_work_for(by, name).await?;
        let worker = Worker::of(by, wanted.worker.as_deref());
        if let Some(claim) = self.claimed_before(by, &service, &wanted).await {
            self.asks_for_work(&service, &worker);
            claim.renew();
            return self.claimed(&claim).await.map(Some);
        }
        let mut offers = self.dispatcher.ledger().offers();
        loop {
            offers.mark_unchanged();
            self.asks_for_work(&service, &worker);
            if self.winding_down.is_cancelled() {
                return Ok(None);
            }
            if let Some(claim) = self.claim_next(by, &service, &wanted, Pick::First).await? {
                return self.claimed(&claim).await.map(Some);
            }
            let Some(until) = wanted.until else {
                return Ok(None);
            };
            tokio::select! {
                biased;
                () = self.winding_down.cancelled() => {}
                () = self.closing.cancelled() => {}
                // Jobs that were kept for another worker become free without a word.
                _ = within(until.min(Instant::now() + LOOK_AGAIN), offers.changed()) => {
                    if until <= Instant::now() {
                        return Ok(None);
                    }
                    // What it may do can have changed meanwhile.
                    self.service_to_work_for(by, &service.id.to_string()).await?;
                }
            }
        }
    }

    fn asks_for_work(&self, service: &Service, worker: &Worker) {
        let services = self.dispatcher.services();
        services.heard(service.id, worker.clone(), Sign::AsksForWork);
    }

    /// The claim that the client has under its key, once it is on record. Those of before a
    /// start are waited for until they are taken up.
    async fn claimed_before(
        &self,
        by: &Client,
        service: &Service,
        wanted: &Wanted,
    ) -> Option<Arc<Claim>> {
        let key = wanted.key.as_deref()?;
        let claims = self.dispatcher.claims();
        let _ = within(Instant::now() + TAKEN_UP, claims.all_taken_up()).await;
        let claim = claims.keyed(by.name(), &service.id.to_string(), key)?;
        is_recorded(&claim).await.then_some(claim)
    }

    async fn claimed(&self, claim: &Claim) -> Result<Claimed, Refusal> {
        let view = self.look(claim.job).await?;
        Ok(Claimed {
            claim: claim.id(),
            expires: expires(claim),
            view: view.ok_or(Refusal::NoSuchJob)?,
        })
    }

    /// Claims a job of a service that nobody is about to claim, if there is one.
    pub(super) async fn claim_next(
        &self,
        by: &Client,
        service: &Service,
        wanted: &Wanted,
        pick: Pick,
    ) -> Result<Option<Arc<Claim>>, Refusal> {
        let ledger = self.dispatcher.ledger();
        if let Some(why) = ledger.outage().borrow().as_ref() {
            return Err(Refusal::storage(why));
        }
        let pool = service.id.pool();
        let lease = wanted.lease.unwrap_or(2 * service.definition.timeout);
        let mut most = FIRST_LOOK;
        loop {
            let jobs = match pick {
                Pick::First => {
                    let jobs = ledger.pool(&pool, most).await;
                    jobs?
                }
                Pick::Job(job) => vec![job],
            };
            for job in &jobs {
                let claims = self.dispatcher.claims();
                if claims.is_kept_from(*job, by.name(), wanted.worker.as_deref()) {
                    continue;
                }
                let note = Note {
                    secret: self.dispatcher.chance() as u64,
                    service: service.id.to_string(),
                    client: by.name().to_owned(),
                    worker: wanted.worker.clone(),
                    lease,
                    key: wanted.key.clone(),
                };
                let claim = match claims.begin(*job, note) {
                    Begun::New(claim) => claim,
                    Begun::Taken => continue,
                    Begun::Before(claim) if is_recorded(&claim).await => return Ok(Some(claim)),
                    Begun::Before(_) => continue,
                };
                if self.claim_job(by, service, &claim).await? {
                    return Ok(Some(claim));
                }
            }
            if jobs.len() < most {
                return Ok(None);
            }
            most *= 4;
        }
    }

    /// Claims one job; false if it is not there any more.
    async fn claim_job(
        &self,
        by: &Client,
        service: &Service,
        claim: &Arc<Claim>,
    ) -> Result<bool, Refusal> {
        let (ledger, claims) = (
            self.dispatcher.ledger().clone(),
            self.dispatcher.claims().clone(),
        );
        let (audit, by, pool) = (self.audit.clone(), by.clone(), service.id.pool());
        let claim = Arc::clone(claim);
        let act = self.act(async move {
            let (job, token) = (claim.job, claim.note.token());
            let claimed = ledger.claim(pool.clone(), Pick::Job(job), token).await;
            match &claimed {
                Ok(Some(job)) => {
                    let worker = claim.note.worker.as_deref();
                    info!(%job, service = %pool.0, client = by.name(), worker, "job claimed");
                    audit.of_service(&by, "claimed", &pool.0, Some(*job));
                }
                Ok(None) | Err(_) => claims.forget(&claim),
            }
            match claimed {
                Ok(claimed) => Ok(claimed.is_some()),
                Err(Lost::Taken(_) | Lost::Fenced) => Ok(false),
                Err(lost) => Err(lost.into()),
            }
        });
        match within(Instant::now() + RECORDED, act).await {
            Some(claimed) => claimed,
            None => Err(Refusal::CallNotRecorded {
                may_exist: true,
                why: "the claim is not on record yet".to_owned(),
            }),
        }
    }

    /// The claim of this name that the client has.
    async fn claim_of(&self, by: &Client, id: ClaimId) -> Result<Arc<Claim>, Refusal> {
        permission::identified(by).await?;
        let claim = match self.dispatcher.claims().get(id.job) {
            Some(claim) => claim,
            None => self.claim_taken_up(id.job).await?,
        };
        if claim.note.secret != id.secret || claim.note.client != by.name() {
            return Err(Refusal::NoSuchClaim);
        }
        self.heard_under(by, &claim).await?;
        Ok(claim)
    }

    /// A request came under a claim.
    async fn heard_under(&self, by: &Client, claim: &Claim) -> Result<(), Refusal> {
        match self.service_to_work_for(by, &claim.note.service).await {
            Ok(service) => {
                let worker = Worker::of(by, claim.note.worker.as_deref());
                let services = self.dispatcher.services();
                services.heard(service.id, worker, Sign::CheckIn);
            }
            // It goes on with what it has.
            Err(Refusal::NoSuchService) => {}
            Err(refusal) => return Err(refusal),
        }
        claim.renew();
        Ok(())
    }

    /// The claim of a job that runs, and is being taken up after a start.
    async fn claim_taken_up(&self, job: JobId) -> Result<Arc<Claim>, Refusal> {
        let found = self.dispatcher.ledger().whereabouts(&[job]).await;
        match found?.first() {
            Some(Whereabouts::Here) => {}
            Some(Whereabouts::Ended) => return Err(Refusal::Ended),
            _ => return Err(Refusal::NoSuchClaim),
        }
        if self.winding_down.is_cancelled() {
            // It was left to the next start.
            return Err(Refusal::Closing);
        }
        let claims: &Claims = self.dispatcher.claims();
        let taken_up = within(Instant::now() + TAKEN_UP, claims.taken_up(job)).await;
        taken_up.ok_or(Refusal::Starting)
    }

    /// The name that the worker has given itself which has a job, if somebody has it.
    #[must_use]
    pub fn worker_of(&self, job: JobId) -> Option<String> {
        self.dispatcher.claims().get(job)?.note.worker.clone()
    }

    /// A worker goes on with its job.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::NoSuchClaim`], [`Refusal::Ended`] after its own end, [`Refusal::Storage`].
    pub async fn renew_claim(&self, by: &Client, id: ClaimId) -> Result<Lease, Refusal> {
        let expires = match self.claim_of(by, id).await {
            Ok(claim) if claim.is_held() => {
                return Ok(Lease {
                    expires: expires(&claim),
                    cancelled: false,
                });
            }
            Ok(_) | Err(Refusal::Ended) => clock::now(),
            Err(refusal) => return Err(refusal),
        };
        let end = self.end_of(id.job).await?;
        match end.outcome {
            // It has said so itself.
            Outcome::Returned(_) | Outcome::Exception(_) => Err(Refusal::Ended),
            Outcome::Error(_) | Outcome::Cancelled => Ok(Lease {
                expires,
                cancelled: true,
            }),
        }
    }

    /// Packets of a worker's job, the first of which has this number; those that are there
    /// already are passed over, unread. The number of the next packet: all before it are on
    /// disk. Cancel safe: packets that were taken stay.
    ///
    /// # Errors
    ///
    /// As for [`Desk::renew_claim`]; [`Refusal::Ended`], [`Refusal::Hole`], [`Refusal::TooLarge`].
    pub async fn put_packets(
        &self,
        by: &Client,
        id: ClaimId,
        first: u64,
        packets: Vec<Json>,
    ) -> Result<u64, Refusal> {
        let limit = self.dispatcher.max_packet_size();
        if packets.iter().any(|packet| packet.as_bytes().len() > limit) {
            return Err(Refusal::TooLarge { limit });
        }
        let claim = self.claim_of(by, id).await?;
        let mut progress = claim.progress();
        let next = match claim.put(first, packets).await {
            Ok(next) => next,
            Err(NotTaken::Hole(next)) => return Err(Refusal::Hole { next }),
            Err(NotTaken::Over) => return Err(self.ended(id.job).await),
        };
        let come = progress.wait_for(|now| now.durable >= next || now.stage == Stage::Over);
        let is_durable = come.await.is_ok_and(|now| now.durable >= next);
        if is_durable {
            Ok(next)
        } else {
            Err(self.ended(id.job).await)
        }
    }

    /// A worker says what its job has come to: its result, or an exception. It is on disk when
    /// this returns. Said again, it comes to the same. Cancel safe: once begun it goes on.
    ///
    /// # Errors
    ///
    /// As for [`Desk::renew_claim`]; [`Refusal::Violations`], and nothing changes;
    /// [`Refusal::Ended`] if the job has ended otherwise; [`Refusal::TooLarge`].
    pub async fn finish(&self, by: &Client, id: ClaimId, outcome: Outcome) -> Result<(), Refusal> {
        let limit = self.dispatcher.max_packet_size();
        if outcome.to_json().as_bytes().len() > limit {
            return Err(Refusal::TooLarge { limit });
        }
        match self.claim_of(by, id).await {
            Ok(claim) => self.finish_claim(&claim, outcome).await,
            // It may have been said before.
            Err(Refusal::Ended) => self.has_ended_with(id.job, &outcome).await,
            Err(refusal) => Err(refusal),
        }
    }

    pub(super) async fn finish_claim(
        &self,
        claim: &Claim,
        outcome: Outcome,
    ) -> Result<(), Refusal> {
        if let Outcome::Returned(result) = &outcome
            && let Some(service) = self.dispatcher.services().named(&claim.note.service)
            && let Some(schema) = &service.definition.result
        {
            let errors = schema.violations(result);
            if !errors.is_empty() {
                let what = SchemaOf::Result;
                self.meters.violated(what);
                return Err(Refusal::Violations { what, errors });
            }
        }
        claim.finish(outcome.clone());
        let mut progress = claim.progress();
        // An error says that nobody will tell any more.
        let _ = progress.wait_for(|now| now.stage == Stage::Over).await;
        self.has_ended_with(claim.job, &outcome).await
    }

    /// # Errors
    ///
    /// [`Refusal::Ended`] if the job has ended with something else.
    async fn has_ended_with(&self, job: JobId, outcome: &Outcome) -> Result<(), Refusal> {
        let end = self.end_of(job).await?;
        if end.outcome == *outcome {
            Ok(())
        } else {
            Err(Refusal::Ended)
        }
    }

    /// The end of a job that has ended or is about to.
    pub(super) async fn end_of(&self, job: JobId) -> Result<Arc<EndRecord>, Refusal> {
        match self.dispatcher.jobs().wait(job).await {
            Ok(Some(end)) => Ok(end),
            Ok(None) => Err(Refusal::NoSuchClaim),
            Err(error) => Err(error.into()),
        }
    }

    /// What a worker is told whose job it does not have any more.
    async fn ended(&self, job: JobId) -> Refusal {
        match self.end_of(job).await {
            Ok(_) => Refusal::Ended,
            Err(refusal) => refusal,
        }
    }
}

fn check(wanted: &Wanted) -> Result<(), Refusal> {
    for (field, name) in [("worker", &wanted.worker), ("Idempotency-Key", &wanted.key)] {
        if let Some(name) = name
            && !(1..=LONGEST_NAME).contains(&name.chars().count())
        {
            return Err(Refusal::Invalid {
                field,
                why: format!("must have 1 to {LONGEST_NAME} characters"),
            });
        }
    }
    if let Some(lease) = wanted.lease
        && !(1..=LONGEST_TIMEOUT).contains(&lease)
    {
        return Err(Refusal::Invalid {
            field: "lease",
            why: format!("must be seconds from 1 to {LONGEST_TIMEOUT}"),
        });
    }
    Ok(())
}

/// Whether a claim that was begun is on record, once that is known. One that is not known within
/// the time for that counts as none.
async fn is_recorded(claim: &Claim) -> bool {
    let mut progress = claim.progress();
    let known = progress.wait_for(|now| now.stage != Stage::Claiming);
    match within(Instant::now() + RECORDED, known).await {
        Some(Ok(now)) => now.stage == Stage::Held,
        Some(Err(_)) | None => false,
    }
}

fn expires(claim: &Claim) -> u64 {
    clock::now().saturating_add(claim.note.lease.saturating_mul(1000))
}
