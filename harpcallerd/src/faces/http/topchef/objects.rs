//! Jobs and services as the TopChef faces show them, exact to the key.

use std::time::{Duration, UNIX_EPOCH};

use harp_proto::{JobId, Json};
use harp_time::clock;
use serde::Serialize;

use crate::desk::update::Status;
use crate::desk::view::View;
use crate::services::Service;
use crate::services::service::Declared;

/// A job of the second generation.
#[derive(Debug, Serialize)]
pub(super) struct Job {
    id: JobId,
    status: &'static str,
    parameters: Json,
    results: Option<Json>,
    date_submitted: String,
}

/// A job in a list.
#[derive(Debug, Serialize)]
pub(super) struct Head {
    id: JobId,
    date_submitted: String,
    status: &'static str,
}

/// A job of the first generation.
#[derive(Debug, Serialize)]
pub(super) struct OldJob {
    id: JobId,
    date_submitted: String,
    status: &'static str,
    parameters: Json,
    result: Json,
}

/// A job of the first generation that was made just now.
#[derive(Debug, Serialize)]
pub(super) struct NewOldJob {
    id: JobId,
    date_submitted: String,
    status: &'static str,
    parameters: Json,
}

/// A service of the second generation.
#[derive(Debug, Serialize)]
pub(super) struct ServiceObject {
    id: String,
    name: String,
    description: String,
    job_registration_schema: Json,
    job_result_schema: Json,
    is_service_available: bool,
    has_timed_out: bool,
    timeout: u64,
    jobs: Vec<Head>,
}

/// A service in a list of the second generation.
#[derive(Debug, Serialize)]
pub(super) struct ServiceHead {
    id: String,
    name: String,
    description: String,
}

/// A service of the first generation.
#[derive(Debug, Serialize)]
pub(super) struct OldService {
    id: String,
    name: String,
    description: String,
    has_timed_out: bool,
    job_registration_schema: Json,
    job_result_schema: Json,
    url: String,
}

/// A service in a list of the first generation.
#[derive(Debug, Serialize)]
pub(super) struct OldServiceHead {
    id: String,
    name: String,
    has_timed_out: bool,
    url: String,
}

/// The word for a state.
pub(super) fn word(status: Status) -> &'static str {
    match status {
        Status::Registered => "REGISTERED",
        Status::Working => "WORKING",
        Status::Completed => "COMPLETED",
        Status::Error => "ERROR",
    }
}

/// The state of a word, in any case.
pub(super) fn status(word_said: &str) -> Option<Status> {
    let all = [
        Status::Registered,
        Status::Working,
        Status::Completed,
        Status::Error,
    ];
    all.into_iter()
        .find(|status| word(*status).eq_ignore_ascii_case(word_said))
}

/// A time in milliseconds since 1970, with microseconds and offset.
pub(super) fn date(milliseconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(milliseconds);
    let text = humantime::format_rfc3339_micros(time).to_string();
    format!("{}+00:00", text.trim_end_matches('Z'))
}

/// An object without keys.
pub(super) fn empty() -> Json {
    Json::from_trusted(bytes::Bytes::from_static(b"{}"))
}

impl Job {
    pub(super) fn of(view: &View, results: Option<Json>) -> Job {
        Job {
            id: view.report.id,
            status: word(Status::of(view)),
            parameters: view.report.call.arguments.clone(),
            results,
            date_submitted: date(view.report.call.submitted),
        }
    }
}

impl Head {
    pub(super) fn of(view: &View) -> Head {
        Head {
            id: view.report.id,
            date_submitted: date(view.report.call.submitted),
            status: word(Status::of(view)),
        }
    }
}

impl OldJob {
    pub(super) fn of(view: &View, results: Option<Json>) -> OldJob {
        OldJob {
            id: view.report.id,
            date_submitted: date(view.report.call.submitted),
            status: word(Status::of(view)),
            parameters: view.report.call.arguments.clone(),
            result: results.unwrap_or_else(empty),
        }
    }
}

impl NewOldJob {
    pub(super) fn of(view: &View) -> NewOldJob {
        NewOldJob {
            id: view.report.id,
            date_submitted: date(view.report.call.submitted),
            status: word(Status::of(view)),
            parameters: view.report.call.arguments.clone(),
        }
    }
}

fn has_timed_out(service: &Service) -> bool {
    let silent = clock::now().saturating_sub(service.checked_in);
    silent > service.definition.timeout.saturating_mul(1000)
}

fn text(schema: Option<&Declared>) -> Json {
    schema.map_or_else(empty, |schema| schema.text().clone())
}

impl ServiceObject {
    pub(super) fn of(service: &Service, jobs: &[View]) -> ServiceObject {
        let definition = &service.definition;
        ServiceObject {
            id: service.id.to_string(),
            name: definition.name.clone(),
            description: definition.description.clone(),
            job_registration_schema: text(definition.arguments.as_ref()),
            job_result_schema: text(definition.result.as_ref()),
            is_service_available: definition.available,
            has_timed_out: has_timed_out(service),
            timeout: definition.timeout,
            jobs: jobs.iter().map(Head::of).collect(),
        }
    }
}

impl ServiceHead {
    pub(super) fn of(service: &Service) -> ServiceHead {
        ServiceHead {
            id: service.id.to_string(),
            name: service.definition.name.clone(),
            description: service.definition.description.clone(),
        }
    }
}

impl OldService {
    pub(super) fn of(service: &Service, root: &str) -> OldService {
        let definition = &service.definition;
        OldService {
            id: service.id.to_string(),
            name: definition.name.clone(),
            description: definition.description.clone(),
            has_timed_out: has_timed_out(service),
            job_registration_schema: text(definition.arguments.as_ref()),
            job_result_schema: text(definition.result.as_ref()),
            url: format!("{root}/services/{}", service.id),
        }
    }
}

impl OldServiceHead {
    pub(super) fn of(service: &Service, root: &str) -> OldServiceHead {
        OldServiceHead {
            id: service.id.to_string(),
            name: service.definition.name.clone(),
            has_timed_out: has_timed_out(service),
            url: format!("{root}/services/{}", service.id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_microseconds_and_an_offset() {
        assert_eq!(date(1_499_351_000_123), "2017-07-06T14:23:20.123000+00:00");
    }

    #[test]
    fn states_are_read_in_any_case() {
        assert_eq!(status("working"), Some(Status::Working));
        assert_eq!(status("BUSY"), None);
    }
}
