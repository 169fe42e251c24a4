//! The TopChef faces: services and their jobs as the clients of two generations of TopChef's
//! server know them, which never speak of anything else. What is behind them are the
//! services, jobs and claims of the API.
//!
//! No object has a key that its clients do not know: some refuse those.

mod asking;
mod meta;
mod objects;
pub(super) mod offers;
pub(super) mod path;
mod reply;
mod v1;
mod v2;
mod validator;

use axum::body::Body;
use axum::extract::FromRequest;
use axum::http::{Method, Request};

use super::body::Sent;
use super::problem::Problem;
use super::query;
use super::reply::Answer;
use super::settings::Generation;
use super::shared::{Asked, Shared};
use crate::desk::update::Update;
use crate::services::Service;
use asking::{Asking, Keys, Wrong};
use path::TopchefPath;
use reply::Fault;

/// Answers a request for a TopChef face.
pub(super) async fn answer(
    shared: &Shared,
    asked: &Asked,
    at: &TopchefPath,
    request: Request<Body>,
) -> Answer {
    match through(shared, asked, at, request).await {
        Ok(answer) => answer,
        Err(fault) => fault.answer(at.generation),
    }
}

/// A problem that was met before the face was reached, in its own form.
pub(super) fn problem(problem: Problem, at: Option<&TopchefPath>) -> Answer {
    let generation = at.map_or(Generation::Second, |at| at.generation);
    Fault::from(problem).answer(generation)
}

async fn through(
    shared: &Shared,
    asked: &Asked,
    at: &TopchefPath,
    request: Request<Body>,
) -> Result<Answer, Fault> {
    if at.has_slash {
        return Err(Fault::not_found());
    }
    let verb = asking::verb(request.method(), request.headers());
    let asking = Asking::new(shared, asked, at, request.headers());
    let lease = request.headers().get("topchef-lease").cloned();
    let mut names = query::read(request.uri())?;
    let wait = names.number("wait", 0, 60).map_err(Problem::from)?;
    let sent = Sent::from_request(request, &()).await?;
    // Without a body in the place of these.
    let sent = (verb != Method::GET && verb != Method::HEAD).then_some(sent);
    match at.generation {
        Generation::First => v1::answer(&asking, verb, sent).await,
        Generation::Second => {
            let lease = lease.and_then(|lease| lease.to_str().ok()?.parse().ok());
            v2::answer(&asking, verb, sent, v2::Extra { wait, lease }).await
        }
    }
}

impl Asking<'_> {
    /// The service of a part of the path. Whoever works for it was heard of.
    async fn service(&self, part: &str) -> Result<Service, Fault> {
        let id: uuid::Uuid = uuid::Uuid::try_parse(part).map_err(|_| Fault::not_uuid(part))?;
        let id = id.hyphenated().to_string();
        let service = self.shared.desk.service(&self.asked.client, &id).await?;
        self.renew();
        Ok(service)
    }

    /// What the worker has goes on, but for what it does not know any more.
    fn renew(&self) {
        let (key, offers) = (self.key(), &self.shared.offers);
        let is_forsaken = |job| offers.is_forsaken(&key, job);
        let desk = &self.shared.desk;
        desk.heard_of_worker(&self.asked.client, &self.worker, is_forsaken);
    }

    /// Registers the service of a body.
    async fn register(&self, sent: Sent) -> Result<Service, Fault> {
        let keys = self.keys(sent).await?;
        let mut wrong = Wrong::default();
        let name = wrong.text(&keys, "name");
        let description = wrong.text(&keys, "description");
        let arguments = wrong.object(&keys, "job_registration_schema");
        let result = match self.path.generation {
            Generation::Second => wrong.object(&keys, "job_result_schema"),
            Generation::First => {
                let schema = wrong.optional_object(&keys, "job_result_schema");
                schema.unwrap_or_else(|| {
                    let text = bytes::Bytes::from_static(br#"{"type": "object"}"#);
                    harp_proto::Json::from_trusted(text)
                })
            }
        };
        wrong.none()?;
        let new = crate::desk::services::NewService {
            name,
            description: Some(description),
            arguments_schema: Some(arguments),
            result_schema: Some(result),
            dialect: harp_schema::Dialect::Draft4,
            takes_bad_schemas: !self.shared.desk.takes_strict_schemas(),
            timeout: None,
        };
        let desk = &self.shared.desk;
        Ok(desk.register_service(&self.asked.client, new).await?)
    }

    /// Submits the job of a body.
    async fn submit(
        &self,
        service: &Service,
        sent: Sent,
    ) -> Result<crate::desk::view::View, Fault> {
        let keys = self.keys(sent).await?;
        let mut wrong = Wrong::default();
        let parameters = wrong.object(&keys, "parameters");
        wrong.none()?;
        let desk = &self.shared.desk;
        let submitted = desk.submit_to_service(&self.asked.client, service, parameters);
        Ok(submitted.await?)
    }

    /// Updates a job by a body. True if it has ended.
    async fn update(&self, job: harp_proto::JobId, keys: &Keys) -> Result<(), Fault> {
        let is_first = self.path.generation == Generation::First;
        let null = harp_proto::Json::NULL;
        let mut wrong = Wrong::default();
        let given = |key: &str| keys.get(key).filter(|value| **value != null);
        let status = match given("status") {
            None => None,
            Some(said) => {
                let said: Option<String> = said.decode().ok();
                let status = said.and_then(|said| objects::status(&said));
                if status.is_none() {
                    wrong.add("status", "Not a valid choice.");
                }
                status
            }
        };
        let name = if is_first { "result" } else { "results" };
        let results = match given(name) {
            None => None,
            Some(_) => wrong.optional_object(keys, name),
        };
        wrong.none()?;
        // Its client sends that with each claim, and means none.
        let is_empty = |json: &harp_proto::Json| {
            let text = json.as_str().trim();
            let inner = text
                .strip_prefix('{')
                .and_then(|text| text.strip_suffix('}'));
            inner.is_some_and(|inner| inner.trim().is_empty())
        };
        let results = results.filter(|results| !(is_first && is_empty(results)));
        let key = self.key();
        let offers = &self.shared.offers;
        let holds = is_first.then(|| offers.has(&key, job)).flatten();
        let update = Update {
            worker: self.worker.clone(),
            is_known_again: self.is_named || holds == Some(true),
            results_claim: !is_first,
            status,
            results,
        };
        let desk = &self.shared.desk;
        let before = desk.job_of_service(&self.asked.client, job).await?;
        let is_over = before.end.is_some();
        if is_over && holds.is_some() {
            // Another answer kills the client's thread; nothing changes.
            if status == Some(crate::desk::update::Status::Completed) {
                offers.done(&key, job);
            }
            return Ok(());
        }
        let was_waiting = before.report.started.is_none();
        desk.update(&self.asked.client, job, update).await?;
        if is_first {
            let is_working = desk.jobs_of_worker(&self.asked.client, &self.worker).await;
            let is_completed = status == Some(crate::desk::update::Status::Completed);
            if is_completed || !is_working.contains(&job) {
                offers.done(&key, job);
            } else if was_waiting {
                offers.claimed(&key, job);
            }
        }
        Ok(())
    }

    /// Whether an object is what a schema wants: what is wrong.
    async fn validate(&self, sent: Sent) -> Result<Vec<harp_schema::Violation>, Fault> {
        let keys = self.keys(sent).await?;
        let mut wrong = Wrong::default();
        let object = wrong.object(&keys, "object");
        let schema = wrong.object(&keys, "schema");
        wrong.none()?;
        self.renew();
        Ok(validator::wrong(object, schema).await)
    }
}
