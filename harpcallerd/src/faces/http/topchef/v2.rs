//! The second generation, which the Java and MATLAB clients speak.

use axum::http::{Method, StatusCode};
use harp_time::clock;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::asking::{Asking, Wrong, job, until};
use super::meta;
use super::objects::{Head, Job, ServiceHead, ServiceObject, date};
use super::reply::{Envelope, Fault, allowing, at};
use crate::desk::services::ServiceChange;
use crate::faces::http::body::Sent;
use crate::faces::http::reply::{self, Answer};
use crate::peer_group::PeerGroup;
use crate::services::Service;

/// Jobs of a queue that are shown.
const QUEUE: usize = 10;

/// What is added to requests, and that no old client sends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extra {
    /// Seconds for which an empty queue is held.
    pub(super) wait: Option<u64>,
    /// The lease with which the next job is claimed.
    pub(super) lease: Option<u64>,
}

pub(super) async fn answer(
    asking: &Asking<'_>,
    verb: Method,
    sent: Option<Sent>,
    extra: Extra,
) -> Result<Answer, Fault> {
    let parts: Vec<&str> = asking.path.parts.iter().map(String::as_str).collect();
    let body = || sent.ok_or_else(Fault::not_json);
    match (verb.as_str(), parts.as_slice()) {
        ("GET", []) => Ok(asking.enveloped(about(asking), Some(json!({"schema": meta::api()})))),
        ("GET", ["services"]) => asking.services().await,
        ("POST", ["services"]) => asking.new_service(body()?).await,
        ("GET", ["services", service]) => {
            let service = asking.service(service).await?;
            asking.shown(&service).await
        }
        ("PATCH", ["services", service]) => asking.checked_in(service, body()?).await,
        ("GET", ["services", service, "jobs"]) => {
            let service = asking.service(service).await?;
            let desk = &asking.shared.desk;
            let jobs = desk
                .jobs_of_services(&asking.asked.client, Some(&service))
                .await?;
            let jobs: Vec<Job> = jobs
                .iter()
                .map(|view| Job::of(view, desk.results_of(view)))
                .collect();
            let meta = json!({"new_job_schema": meta::new_job(), "data_schema": meta::job()});
            Ok(asking.enveloped(jobs, Some(meta)))
        }
        ("POST", ["services", service, "jobs"]) => {
            let service = asking.service(service).await?;
            asking.new_job(&service, body()?).await
        }
        ("GET", ["services", service, "queue"]) => asking.queue(service, extra).await,
        ("GET", ["services", service, "jobs", "next"]) => asking.next(service, extra).await,
        ("GET", ["jobs"]) => {
            let jobs = asking
                .shared
                .desk
                .jobs_of_services(&asking.asked.client, None)
                .await?;
            let jobs: Vec<Head> = jobs.iter().map(Head::of).collect();
            Ok(asking.enveloped(jobs, Some(json!({"data_schema": meta::job_head()}))))
        }
        ("GET", ["jobs", part]) => {
            let shown = asking.job(job(part)?).await?;
            let meta = json!({
                "job_info_schema": meta::job(), "patch_request_schema": meta::job_change(),
            });
            Ok(asking.enveloped(shown, Some(meta)))
        }
        ("PATCH", ["jobs", part]) => {
            let job = job(part)?;
            let keys = asking.keys(body()?).await?;
            asking.update(job, &keys).await?;
            Ok(reply::ok(&asking.job(job).await?))
        }
        ("GET", ["validator"]) => {
            let meta = json!({"validator_schema": meta::validator()});
            Ok(asking.enveloped(json!({}), Some(meta)))
        }
        ("POST", ["validator"]) => {
            let wrong = asking.validate(body()?).await?;
            if wrong.is_empty() {
                Ok(asking.enveloped(json!({"status": "Validation was successful"}), None))
            } else {
                Err(Fault::violations(wrong.into_iter().map(|one| one.message)))
            }
        }
        (verb, parts) => other(verb, parts),
    }
}

/// A verb that a path does not have, or a path that there is not.
fn other(verb: &str, parts: &[&str]) -> Result<Answer, Fault> {
    let allow = match parts {
        ["services"] | ["services", _, "jobs"] | ["validator"] => "GET, POST, OPTIONS",
        ["services", _] | ["jobs", _] => "GET, PATCH, OPTIONS",
        [] | ["jobs"] | ["services", _, "queue"] | ["services", _, "jobs", "next"] => {
            "GET, OPTIONS"
        }
        _ => return Err(Fault::not_found()),
    };
    allowing(verb, allow)
}

fn about(asking: &Asking<'_>) -> Value {
    json!({
        "documentation_url": asking.root(),
        "maintainer_email": "",
        "maintainer_name": "",
        "source_code_repository_url": "",
        "version": env!("CARGO_PKG_VERSION"),
    })
}

impl Asking<'_> {
    fn enveloped(&self, data: impl Serialize, meta: Option<Value>) -> Answer {
        reply::ok(&Envelope {
            data,
            meta,
            links: json!({"self": self.address()}),
        })
    }

    async fn services(&self) -> Result<Answer, Fault> {
        let found = self
            .shared
            .desk
            .services(&self.asked.client, None, usize::MAX);
        let services: Vec<ServiceHead> = found.await?.iter().map(ServiceHead::of).collect();
        let meta = json!({
            "service_schema": meta::service(), "new_service_schema": meta::new_service(),
        });
        Ok(self.enveloped(services, Some(meta)))
    }

    async fn new_service(&self, sent: Sent) -> Result<Answer, Fault> {
        let service = self.register(sent).await?;
        let body = Envelope {
            data: json!({"message": "service successfully created"}),
            meta: None,
            links: json!({"self": self.address()}),
        };
        let location = format!("{}/services/{}", self.root(), service.id);
        Ok(at(reply::json(StatusCode::CREATED, &body), &location))
    }

    async fn shown(&self, service: &Service) -> Result<Answer, Fault> {
        let desk = &self.shared.desk;
        let jobs = desk
            .jobs_of_services(&self.asked.client, Some(service))
            .await?;
        let shown = ServiceObject::of(service, &jobs);
        Ok(self.enveloped(shown, Some(json!({"service_schema": meta::service()}))))
    }

    async fn checked_in(&self, part: &str, sent: Sent) -> Result<Answer, Fault> {
        let service = self.service(part).await?;
        let (desk, by) = (&self.shared.desk, &self.asked.client);
        desk.check_in(by, &service, &self.worker).await?;
        let Ok(keys) = self.keys(sent).await else {
            let meta = format!("Service checked in at {}", date(clock::now()));
            return Ok(reply::ok(&json!({ "meta": meta })));
        };
        let mut wrong = Wrong::default();
        let null = harp_proto::Json::NULL;
        let given = |key: &str| keys.get(key).filter(|value| **value != null);
        let available = given("is_available").map(|said| said.decode::<bool>());
        if matches!(available, Some(Err(_))) {
            wrong.add("is_available", "Not a valid boolean.");
        }
        let timeout = given("timeout").map(|said| said.decode::<f64>());
        let is_time = |seconds: &f64| *seconds > 0.0 && seconds.is_finite();
        let timeout = match timeout {
            Some(Ok(seconds)) if is_time(&seconds) => Some(seconds.ceil() as u64),
            Some(_) => {
                wrong.add("timeout", "Must be a number of seconds above 0.");
                None
            }
            None => None,
        };
        let change = ServiceChange {
            name: wrong.optional_text(&keys, "name"),
            description: wrong.optional_text(&keys, "description"),
            available: available.and_then(Result::ok),
            timeout,
        };
        wrong.none()?;
        let name = service.id.to_string();
        let service = desk.change_service(by, &name, change).await?;
        self.shown(&service).await
    }

    async fn new_job(&self, service: &Service, sent: Sent) -> Result<Answer, Fault> {
        let view = self.submit(service, sent).await?;
        let id = view.report.id;
        let body = json!({
            "data": Job::of(&view, None),
            "meta": format!("new job ID is {id}"),
        });
        let location = format!("{}/jobs/{id}", self.base());
        Ok(at(reply::json(StatusCode::CREATED, &body), &location))
    }

    async fn job(&self, job: harp_proto::JobId) -> Result<Job, Fault> {
        let desk = &self.shared.desk;
        let view = desk.job_of_service(&self.asked.client, job).await?;
        self.renew();
        Ok(Job::of(&view, desk.results_of(&view)))
    }

    /// The jobs that wait, but for those that are kept for others.
    async fn waiting(
        &self,
        service: &Service,
        until: Instant,
    ) -> Result<Vec<harp_proto::JobId>, Fault> {
        let (desk, by) = (&self.shared.desk, &self.asked.client);
        let jobs = desk.waiting_jobs(by, service, &self.worker, until);
        Ok(jobs.await?)
    }

    async fn queue(&self, part: &str, extra: Extra) -> Result<Answer, Fault> {
        let service = self.service(part).await?;
        let _place = extra.wait.map(|_| self.place_to_wait()).transpose()?;
        let jobs = self
            .waiting(&service, until(extra.wait.unwrap_or(0)))
            .await?;
        let mut shown = Vec::new();
        for id in jobs.into_iter().take(QUEUE) {
            match self.job(id).await {
                Ok(job) => shown.push(job),
                // It may be called, and not be read.
                Err(_) => continue,
            }
        }
        if shown.is_empty() {
            Ok(reply::empty(StatusCode::NO_CONTENT))
        } else {
            Ok(self.enveloped(shown, Some(json!({"data_schema": meta::job()}))))
        }
    }

    async fn next(&self, part: &str, extra: Extra) -> Result<Answer, Fault> {
        let service = self.service(part).await?;
        let _place = extra.wait.map(|_| self.place_to_wait()).transpose()?;
        let by_when = until(extra.wait.unwrap_or(0));
        let first = match extra.lease {
            None => self.waiting(&service, by_when).await?.first().copied(),
            Some(lease) => {
                let (desk, by) = (&self.shared.desk, &self.asked.client);
                let until = extra.wait.map(|_| by_when);
                let claimed = desk.claim_for(by, &service, &self.worker, lease, until);
                claimed.await?
            }
        };
        let Some(first) = first else {
            return Ok(reply::empty(StatusCode::NO_CONTENT));
        };
        let job = self.job(first).await?;
        Ok(self.enveloped(job, Some(json!({"job_schema": meta::job()}))))
    }

    fn place_to_wait(&self) -> Result<crate::faces::http::streams::StreamPermit, Fault> {
        let limits = *self.shared.desk.limits.borrow();
        let place = self
            .shared
            .streams
            .take(PeerGroup::of(&self.asked.client.peer), &limits);
        place.ok_or_else(|| crate::faces::http::problem::Problem::too_many_streams().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_verbs_they_have() {
        assert!(other("GET", &["nothing"]).is_err());
        let answer = other("OPTIONS", &["jobs", "x"]).unwrap();
        assert_eq!(answer.headers()["allow"], "GET, PATCH, OPTIONS");
    }
}
