//! A job of a service as a worker updates it that knows no claims: by the state that the job
//! is to have, and its results.

use std::sync::Arc;

use harp_jobs::client::Client;
use harp_jobs::lineup::pool::Pick;
use harp_jobs::refusal::{Refusal, SchemaOf};
use harp_values::{Failure, JobId, Json, Outcome};
use serde_json::Value;

use super::view::{State, View};
use super::work::Wanted;
use super::{Desk, permission};
use crate::services::Service;
use crate::transports::worker::claim::Claim;

/// The type of the exception that a worker's ERROR makes.
pub const WORKER_ERROR: &str = "topchef_error";

/// The state that a job has or is to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It waits for a worker.
    Registered,
    /// A worker has it.
    Working,
    /// It has its result.
    Completed,
    /// It has ended otherwise.
    Error,
}

/// What a worker wants to be different of a job.
#[derive(Debug, Clone)]
pub struct Update {
    /// The worker's name, or where it connects from.
    pub worker: String,
    /// That it says again that it works on the job is a sign of life, and no second worker.
    pub is_known_again: bool,
    /// Results alone claim a job that waits.
    pub results_claim: bool,
    /// The state.
    pub status: Option<Status>,
    /// Its results; `None` leaves them as they are.
    pub results: Option<Json>,
}

impl Status {
    /// How a job stands.
    #[must_use]
    pub fn of(view: &View) -> Status {
        match (view.state(), &view.end) {
            (State::Queued, _) => Status::Registered,
            (State::Running, _) => Status::Working,
            (State::Ended, Some(end)) if matches!(end.outcome, Outcome::Returned(_)) => {
                Status::Completed
            }
            (State::Ended, _) => Status::Error,
        }
    }
}

impl Desk {
    /// The results of a job, as far as there are any: those that its worker has said so far,
    /// its result, or what an error of its worker has along.
    #[must_use]
    pub fn results_of(&self, view: &View) -> Option<Json> {
        let results = match &view.end {
            None => self.dispatcher.claims().draft(view.report.id),
            Some(end) => match &end.outcome {
                Outcome::Returned(result) => Some(result.clone()),
                Outcome::Exception(failure) if failure.error_type == WORKER_ERROR => {
                    failure.data.clone()
                }
                _ => None,
            },
        };
        results.filter(|results| *results != Json::NULL)
    }

    /// Updates a job of a service. What is changed is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::NoSuchJob`], [`Refusal::NoSuchService`], [`Refusal::Claimed`],
    /// [`Refusal::Ended`], [`Refusal::Violations`], [`Refusal::Storage`]; nothing has changed
    /// then.
    pub async fn update(&self, by: &Client, job: JobId, update: Update) -> Result<(), Refusal> {
        permission::identified(by).await?;
        let view = self.look(job).await?;
        let view = view
            .filter(|view| view.of_service)
            .ok_or(Refusal::NoSuchJob)?;
        if view.state() == State::Ended {
            return self.repeats(&view, &update);
        }
        let service = self
            .service_to_work_for(by, &view.report.call.procedure)
            .await;
        let is_cancel =
            update.status == Some(Status::Error) && !self.is_holder(by, job, &update.worker);
        if is_cancel {
            return self.cancel(by, job, false).await.map(drop);
        }
        let service = service?;
        if let Some(results) = &update.results {
            check_result(&service, results)
                .inspect_err(|_| self.meters.violated(SchemaOf::Result))?;
        }
        match view.state() {
            State::Queued => self.update_waiting(by, job, &service, update).await,
            State::Running | State::Ended => self.update_claimed(by, job, update).await,
        }
    }

    fn is_holder(&self, by: &Client, job: JobId, worker: &str) -> bool {
        let claim = self.dispatcher.claims().get(job);
        claim.is_some_and(|claim| is_of(&claim, by, worker))
    }

    async fn update_waiting(
        &self,
        by: &Client,
        job: JobId,
        service: &Service,
        update: Update,
    ) -> Result<(), Refusal> {
        match (update.status, &update.results) {
            (None | Some(Status::Registered), None) => return Ok(()),
            (None | Some(Status::Registered), Some(_)) if !update.results_claim => {
                return Err(Refusal::Claimed);
            }
            _ => {}
        }
        let wanted = Wanted {
            worker: Some(update.worker.clone()),
            ..Wanted::default()
        };
        let claim = self
            .claim_next(by, service, &wanted, Pick::Job(job))
            .await?;
        let claim = claim.ok_or(Refusal::Claimed)?;
        match update.status {
            Some(Status::Completed) => {
                let result = update.results.unwrap_or(Json::NULL);
                self.finish_claim(&claim, Outcome::Returned(result)).await
            }
            _ => self.keep_draft(&claim, update.results).await,
        }
    }

    async fn update_claimed(&self, by: &Client, job: JobId, update: Update) -> Result<(), Refusal> {
        let claim = self.dispatcher.claims().get(job).ok_or(Refusal::Claimed)?;
        if !is_of(&claim, by, &update.worker) {
            return Err(Refusal::Claimed);
        }
        claim.renew();
        let results = || {
            let claims = self.dispatcher.claims();
            update.results.clone().or_else(|| claims.draft(job))
        };
        match update.status {
            Some(Status::Completed) => {
                let result = results().unwrap_or(Json::NULL);
                self.finish_claim(&claim, Outcome::Returned(result)).await
            }
            Some(Status::Error) => {
                let mut failure = Failure::new(WORKER_ERROR, "the worker reports an error");
                failure.data = results();
                self.finish_claim(&claim, Outcome::Exception(failure)).await
            }
            Some(Status::Registered) => Err(Refusal::Claimed),
            Some(Status::Working) if update.results.is_none() && !update.is_known_again => {
                Err(Refusal::Claimed)
            }
            Some(Status::Working) | None => self.keep_draft(&claim, update.results).await,
        }
    }

    /// Keeps results with a job that goes on.
    async fn keep_draft(&self, claim: &Arc<Claim>, results: Option<Json>) -> Result<(), Refusal> {
        let Some(results) = results else {
            return Ok(());
        };
        let limit = self.dispatcher.max_packet_size();
        if results.as_bytes().len() > limit {
            return Err(Refusal::TooLarge { limit });
        }
        let (dispatcher, job) = (Arc::clone(&self.dispatcher), claim.job);
        self.act(async move {
            let claims = dispatcher.claims();
            let kept = claims.keep_draft(dispatcher.ledger(), job, results).await;
            kept.map_err(Refusal::from)
        })
        .await
    }

    /// An update of a job that has ended is one that says how it stands.
    fn repeats(&self, view: &View, update: &Update) -> Result<(), Refusal> {
        let is_state = update
            .status
            .is_none_or(|status| status == Status::of(view));
        let value = |json: &Json| json.decode::<Value>().ok();
        let are_results = update.results.as_ref().is_none_or(|results| {
            let there = self.results_of(view);
            there.is_some_and(|there| value(&there) == value(results))
        });
        if is_state && are_results {
            Ok(())
        } else {
            Err(Refusal::Ended)
        }
    }
}

fn is_of(claim: &Claim, by: &Client, worker: &str) -> bool {
    claim.note.client == by.name() && claim.note.worker.as_deref() == Some(worker)
}

fn check_result(service: &Service, result: &Json) -> Result<(), Refusal> {
    let Some(schema) = &service.definition.result else {
        return Ok(());
    };
    let errors = schema.violations(result);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Refusal::Violations {
            what: SchemaOf::Result,
            errors,
        })
    }
}
