//! The first generation, which the Python client speaks.

use axum::http::{Method, StatusCode};
use harp_proto::JobId;
use serde_json::json;

use super::asking::{Asking, job, until};
use super::meta;
use super::objects::{Head, NewOldJob, OldJob, OldService, OldServiceHead};
use super::reply::{Fault, allowing, at};
use crate::faces::http::body::Sent;
use crate::faces::http::reply::{self, Answer};
use crate::services::Service;

/// Seconds for which an empty queue is held: its client asks again at once.
const HELD: u64 = 1;

pub(super) async fn answer(
    asking: &Asking<'_>,
    verb: Method,
    sent: Option<Sent>,
) -> Result<Answer, Fault> {
    let parts: Vec<&str> = asking.path.parts.iter().map(String::as_str).collect();
    let body = || sent.ok_or_else(Fault::not_json);
    match (verb.as_str(), parts.as_slice()) {
        ("GET", []) => {
            asking.renew();
            let version = env!("CARGO_PKG_VERSION");
            Ok(reply::ok(
                &json!({"meta": {"version": version, "base_url": asking.root()}}),
            ))
        }
        ("GET", ["services"]) => asking.old_services().await,
        ("POST", ["services"]) => asking.new_old_service(body()?).await,
        ("GET", ["services", service]) => {
            let service = asking.service(service).await?;
            Ok(reply::ok(
                &json!({"data": OldService::of(&service, &asking.root())}),
            ))
        }
        ("PATCH", ["services", service]) => {
            let service = asking.service(service).await?;
            let (desk, by) = (&asking.shared.desk, &asking.asked.client);
            desk.check_in(by, &service, &asking.worker).await?;
            Ok(reply::ok(
                &json!({"data": {"message": "service has checked in"}}),
            ))
        }
        ("GET", ["services", service, "jobs"]) => {
            let service = asking.service(service).await?;
            let desk = &asking.shared.desk;
            let jobs = desk
                .jobs_of_services(&asking.asked.client, Some(&service))
                .await?;
            let jobs: Vec<OldJob> = jobs
                .iter()
                .map(|view| OldJob::of(view, desk.results_of(view)))
                .collect();
            Ok(reply::ok(&json!({ "data": jobs })))
        }
        ("POST", ["services", service, "jobs"]) => {
            let service = asking.service(service).await?;
            let view = asking.submit(&service, body()?).await?;
            let body = json!({"data": {
                "message": "job successfully created", "job_details": NewOldJob::of(&view),
            }});
            let location = format!("{}/jobs/{}", asking.root(), view.report.id);
            Ok(at(reply::json(StatusCode::CREATED, &body), &location))
        }
        ("GET", ["services", service, "jobs", "next"]) => {
            let service = asking.service(service).await?;
            asking.next_of(&service, None).await
        }
        ("GET", ["services", service, "queue"]) => {
            let service = asking.service(service).await?;
            asking.old_queue(&service).await
        }
        ("GET", ["jobs", part]) => {
            let data = asking.old_job(job(part)?).await?;
            Ok(reply::ok(&json!({ "data": data })))
        }
        ("PUT", ["jobs", part] | ["services", _, "jobs", part]) => {
            let job = job(part)?;
            let keys = asking.keys(body()?).await?;
            asking.update(job, &keys).await?;
            let shown = asking.old_job(job).await?;
            Ok(reply::ok(&json!({"data": {
                "message": "job successfully updated", "job_schema": shown,
            }})))
        }
        ("GET", ["jobs", part, "next"]) => asking.next_behind(job(part)?).await,
        ("POST", ["validator"]) => {
            let wrong = asking.validate(body()?).await?;
            let (desk, by) = (&asking.shared.desk, &asking.asked.client);
            let known = desk.jobs_of_worker(by, &asking.worker).await;
            asking.shared.offers.validated(&asking.key(), &known);
            match wrong.first() {
                None => Ok(reply::ok(&json!({"data": {}}))),
                Some(first) => Ok(reply::json(
                    StatusCode::BAD_REQUEST,
                    &json!({"errors": {"message": first.message, "context": []}}),
                )),
            }
        }
        ("POST", ["echo"]) => {
            let keys = asking.keys(body()?).await?;
            Ok(reply::ok(&json!({ "data": keys })))
        }
        (verb, parts) => other(verb, parts),
    }
}

/// A verb that a path does not have, or a path that there is not.
fn other(verb: &str, parts: &[&str]) -> Result<Answer, Fault> {
    let allow = match parts {
        ["services"] | ["services", _, "jobs"] => "GET, POST, OPTIONS",
        ["services", _] => "GET, PATCH, OPTIONS",
        ["jobs", _] => "GET, PUT, OPTIONS",
        ["services", _, "jobs", "next"] | ["jobs", _, "next"] | [] => "GET, OPTIONS",
        ["services", _, "queue"] => "GET, OPTIONS",
        ["services", _, "jobs", _] => "PUT, OPTIONS",
        ["validator"] | ["echo"] => "POST, OPTIONS",
        _ => return Err(Fault::not_found()),
    };
    allowing(verb, allow)
}

impl Asking<'_> {
    async fn old_services(&self) -> Result<Answer, Fault> {
        let found = self
            .shared
            .desk
            .services(&self.asked.client, None, usize::MAX);
        let root = self.root();
        let services = found.await?;
        let services = services
            .iter()
            .map(|service| OldServiceHead::of(service, &root));
        let services: Vec<_> = services.collect();
        Ok(reply::ok(&json!({
            "data": services, "meta": {"POST_schema": meta::new_service()},
        })))
    }

    async fn new_old_service(&self, sent: Sent) -> Result<Answer, Fault> {
        let service = self.register(sent).await?;
        let shown = OldService::of(&service, &self.root());
        let body = json!({"data": {
            "message": "Service successfully registered", "service_details": shown,
        }});
        let location = format!("{}/services/{}", self.root(), service.id);
        Ok(at(reply::json(StatusCode::CREATED, &body), &location))
    }

    async fn old_job(&self, job: JobId) -> Result<OldJob, Fault> {
        let desk = &self.shared.desk;
        let view = desk.job_of_service(&self.asked.client, job).await?;
        self.renew();
        Ok(OldJob::of(&view, desk.results_of(&view)))
    }

    /// The queue as this worker is to see it: the job that it has, or its offer, first.
    async fn old_queue(&self, service: &Service) -> Result<Answer, Fault> {
        let (desk, by) = (&self.shared.desk, &self.asked.client);
        let (offers, key) = (&self.shared.offers, self.key());
        let known = desk.jobs_of_worker(by, &self.worker).await;
        let held = offers.held(&key, &known);
        // One that has a job is answered at once.
        let until = if held.is_some() {
            until(0)
        } else {
            until(HELD)
        };
        let waiting = desk.waiting_jobs(by, service, &self.worker, until).await?;
        let offered: Vec<JobId> = match held {
            Some(held) => std::iter::once(held).chain(waiting).collect(),
            None => {
                let keep = |job, time| desk.keep_for(by, &self.worker, job, time);
                offers.offer(&key, &waiting, keep)
            }
        };
        let mut shown = Vec::new();
        for job in offered {
            if let Ok(view) = desk.job_of_service(by, job).await {
                shown.push(Head::of(&view));
            }
        }
        Ok(reply::ok(&json!({ "data": shown })))
    }

    /// The newest job of a service that waits, older than this one.
    async fn next_of(&self, service: &Service, than: Option<JobId>) -> Result<Answer, Fault> {
        let (desk, by) = (&self.shared.desk, &self.asked.client);
        let waiting = desk
            .waiting_jobs(by, service, &self.worker, until(0))
            .await?;
        let older = waiting.into_iter().rev();
        let mut older = older.filter(|job| than.is_none_or(|than| *job < than));
        let Some(next) = older.next() else {
            return Ok(reply::empty(StatusCode::NO_CONTENT));
        };
        if than.is_some() {
            let location = format!("{}/jobs/{next}", self.root());
            return Ok(at(reply::empty(StatusCode::FOUND), &location));
        }
        let data = self.old_job(next).await?;
        Ok(reply::ok(&json!({ "data": data })))
    }

    async fn next_behind(&self, job: JobId) -> Result<Answer, Fault> {
        let (desk, by) = (&self.shared.desk, &self.asked.client);
        let view = desk.job_of_service(by, job).await?;
        let service = desk.service(by, &view.report.call.procedure).await?;
        self.next_of(&service, Some(job)).await
    }
}
