//! Jobs of services for workers that know no claims, and for whoever submits as they do.

use std::time::Duration;

use harp_jobs::call::NewCall;
use harp_jobs::client::Client;
use harp_jobs::ledger::Ledger;
use harp_jobs::refusal::Refusal;
use harp_time::within;
use harp_values::{JobId, Json};
use tokio::time::{Instant, timeout_at};

use super::Desk;
use super::find::{Filter, Find, Name};
use super::view::View;
use super::work::{TAKEN_UP, Wanted};
use crate::services::{Service, Sign, Worker};

/// Jobs of a list.
const MOST_JOBS: usize = 1000;

/// How long a list may take.
const LIST_TIME: Duration = Duration::from_secs(5);

/// Jobs of a pool that are offered at most.
const MOST_WAITING: usize = 1000;

impl Desk {
    /// Submits a call to a service; the job as it stands then.
    ///
    /// # Errors
    ///
    /// As for [`Desk::submit`] and [`Desk::view`].
    pub async fn submit_to_service(
        &self,
        by: &Client,
        service: &Service,
        arguments: Json,
    ) -> Result<View, Refusal> {
        let call = NewCall {
            host: self.dispatcher.services().host().as_ref().to_owned(),
            procedure: service.id.to_string(),
            arguments,
            timeout: None,
            max_exec_time: None,
            queue: None,
            info: Json::NULL,
            key: None,
            unless_since: None,
            start_by: None,
            trace: None,
        };
        let accepted = self.submit(by, call).await?;
        self.view_of_own(accepted).await
    }

    /// A job of a service.
    ///
    /// # Errors
    ///
    /// As for [`Desk::view`].
    pub async fn job_of_service(&self, by: &Client, job: JobId) -> Result<View, Refusal> {
        let view = self.view(by, job).await?;
        if view.of_service {
            Ok(view)
        } else {
            Err(Refusal::NoSuchJob)
        }
    }

    /// Jobs of one service, or of all, in the order of their submission: the newest thousand
    /// of those that can be found in a few seconds.
    ///
    /// # Errors
    ///
    /// As for [`Desk::find`].
    pub async fn jobs_of_services(
        &self,
        by: &Client,
        service: Option<&Service>,
    ) -> Result<Vec<View>, Refusal> {
        let host = self.dispatcher.services().host();
        let procedure = service.map(|service| service.id.to_string());
        let mut find = Find {
            filter: Filter {
                host: Name::new(&[host.as_ref().to_owned()]),
                procedure: Name::new(procedure.as_slice()),
                ..Filter::default()
            },
            newest_first: true,
            after: None,
            limit: MOST_JOBS,
        };
        let until = Instant::now() + LIST_TIME;
        let mut jobs = Vec::new();
        loop {
            let found = self.find(by, &find).await?;
            jobs.extend(found.jobs);
            find.after = found.next;
            if found.next.is_none() || jobs.len() >= MOST_JOBS || Instant::now() >= until {
                break;
            }
        }
        jobs.truncate(MOST_JOBS);
        jobs.reverse();
        Ok(jobs)
    }

    /// The jobs of a service that workers may claim, in the order of their submission. Waits
    /// until there is one, at most until then. A worker that asks is heard of.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::NoSuchService`], [`Refusal::Storage`].
    pub async fn waiting_jobs(
        &self,
        by: &Client,
        service: &Service,
        worker: &str,
        until: Instant,
    ) -> Result<Vec<JobId>, Refusal> {
        let name = service.id.to_string();
        let services = self.dispatcher.services();
        services.heard(service.id, Worker::of(by, Some(worker)), Sign::AsksForWork);
        let mut offers = self.dispatcher.ledger().offers();
        loop {
            offers.mark_unchanged();
            self.service(by, &name).await?;
            let ledger = self.dispatcher.ledger();
            let jobs = ledger.pool(&service.id.pool(), MOST_WAITING).await;
            let mut jobs = jobs?;
            let claims = self.dispatcher.claims();
            // Somebody else is about to have the others.
            jobs.retain(|job| {
                let is_kept = claims.is_kept_from(*job, by.name(), Some(worker));
                claims.get(*job).is_none() && !is_kept
            });
            if !jobs.is_empty() || Instant::now() >= until || self.closing.is_cancelled() {
                return Ok(jobs);
            }
            tokio::select! {
                biased;
                () = self.closing.cancelled() => {}
                _ = timeout_at(until, offers.changed()) => {}
            }
        }
    }

    /// Keeps a job that waits for a worker for so long; false if it is kept for another.
    #[must_use]
    pub fn keep_for(&self, by: &Client, worker: &str, job: JobId, time: Duration) -> bool {
        self.dispatcher.claims().keep(job, by.name(), worker, time)
    }

    /// Notes that a worker was heard of, which works for the service: what it has goes on.
    ///
    /// # Errors
    ///
    /// As for [`Desk::waiting_jobs`].
    pub async fn check_in(
        &self,
        by: &Client,
        service: &Service,
        worker: &str,
    ) -> Result<(), Refusal> {
        let name = service.id.to_string();
        self.service_to_work_for(by, &name).await?;
        let services = self.dispatcher.services();
        services.heard(service.id, Worker::of(by, Some(worker)), Sign::CheckIn);
        Ok(())
    }

    /// The jobs that a worker has which names no claims, the newest first. Those from before a
    /// start are among them: it is waited for until their claims are taken up. Cancel safe.
    pub async fn jobs_of_worker(&self, by: &Client, worker: &str) -> Vec<JobId> {
        let claims = self.dispatcher.claims();
        let _ = within(Instant::now() + TAKEN_UP, claims.all_taken_up()).await;
        let its = claims.of_worker(by.name(), worker).into_iter();
        let mut jobs: Vec<JobId> = its.map(|claim| claim.job).collect();
        jobs.sort_unstable_by(|one, other| other.cmp(one));
        jobs
    }

    /// What a worker has goes on, which was heard of.
    pub fn heard_of_worker(&self, by: &Client, worker: &str, but: impl Fn(JobId) -> bool) {
        for claim in self.dispatcher.claims().of_worker(by.name(), worker) {
            if !but(claim.job) {
                claim.renew();
            }
        }
    }

    /// Claims the first job of a service with this lease, if there is one.
    ///
    /// # Errors
    ///
    /// As for [`Desk::claim`].
    pub async fn claim_for(
        &self,
        by: &Client,
        service: &Service,
        worker: &str,
        lease: u64,
        until: Option<Instant>,
    ) -> Result<Option<JobId>, Refusal> {
        let wanted = Wanted {
            worker: Some(worker.to_owned()),
            lease: Some(lease),
            until,
            key: None,
        };
        let claimed = self.claim(by, &service.id.to_string(), wanted).await?;
        Ok(claimed.map(|claimed| claimed.view.report.id))
    }

    /// Whether services with schemas that cannot be used are refused.
    #[must_use]
    pub fn takes_strict_schemas(&self) -> bool {
        self.dispatcher.services().takes_strict_schemas()
    }
}
