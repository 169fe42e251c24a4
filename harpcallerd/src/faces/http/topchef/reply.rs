//! Answers of the TopChef faces, and their errors.

use axum::http::StatusCode;
use axum::http::header::{self, HeaderValue};
use harp_jobs::refusal::{Refusal, SchemaOf};
use serde::Serialize;
use serde_json::{Value, json};

use crate::faces::http::problem::Problem;
use crate::faces::http::reply::{self, Answer};
use crate::faces::http::settings::Generation;

/// An answer that is an error.
#[derive(Debug)]
pub(in crate::faces::http) struct Fault {
    status: StatusCode,
    title: String,
    details: Vec<String>,
    allow: Option<&'static str>,
}

impl Fault {
    /// One error.
    pub(super) fn new(status: StatusCode, title: &str, detail: impl ToString) -> Fault {
        Fault {
            status,
            title: title.to_owned(),
            details: vec![detail.to_string()],
            allow: None,
        }
    }

    /// The body is not JSON, or does not say so.
    pub(super) fn not_json() -> Fault {
        let detail = "the request's body must be JSON, with Content-Type application/json";
        Fault::new(StatusCode::BAD_REQUEST, "Request Not JSON", detail)
    }

    /// Keys of a body are missing or wrong: each with what is wrong.
    pub(super) fn keys(wrong: &[(&str, &str)]) -> Fault {
        let details = wrong.iter();
        // As the servers wrote it that had this interface first.
        let details =
            details.map(|(key, why)| format!("Valdation of key '{key}' threw error '['{why}']'."));
        Fault {
            status: StatusCode::BAD_REQUEST,
            title: "Deserialization Error From Client Data".to_owned(),
            details: details.collect(),
            allow: None,
        }
    }

    /// Something is not what a schema wants: what is wrong at each place.
    pub(super) fn violations(messages: impl Iterator<Item = String>) -> Fault {
        let details = messages.map(|why| format!("Validation of schema [] threw error {why}"));
        Fault {
            status: StatusCode::BAD_REQUEST,
            title: "JSONSchema Validation Error".to_owned(),
            details: details.collect(),
            allow: None,
        }
    }

    pub(super) fn no_such_service() -> Fault {
        let detail = "there is no service with this id";
        Fault::new(StatusCode::NOT_FOUND, "Service Not Found", detail)
    }

    pub(super) fn no_such_job() -> Fault {
        let detail = "there is no job with this id";
        Fault::new(StatusCode::NOT_FOUND, "Job Not Found", detail)
    }

    pub(super) fn not_uuid(text: &str) -> Fault {
        let detail = format!("{text} is not a UUID");
        Fault::new(StatusCode::NOT_FOUND, "Not UUID Error", detail)
    }

    pub(super) fn not_found() -> Fault {
        let detail = "there is nothing at this path";
        Fault::new(StatusCode::NOT_FOUND, "Not Found", detail)
    }

    /// The path does not have the verb; it has these.
    pub(super) fn not_allowed(allow: &'static str) -> Fault {
        let detail = "this path does not have this method";
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let fault = Fault::new(status, "Method Not Implemented", detail);
        Fault {
            allow: Some(allow),
            ..fault
        }
    }

    /// The answer.
    pub(in crate::faces::http) fn answer(&self, generation: Generation) -> Answer {
        let status = self.status.as_u16();
        let body = match generation {
            Generation::Second => {
                let errors = self.details.iter();
                let errors = errors.map(
                    |detail| json!({"status_code": status, "title": self.title, "detail": detail}),
                );
                json!({ "errors": errors.collect::<Vec<_>>() })
            }
            Generation::First => json!({ "errors": self.details.join("; ") }),
        };
        let mut answer = reply::json(self.status, &body);
        if let Some(allow) = self.allow {
            let allow = HeaderValue::from_static(allow);
            answer.headers_mut().insert(header::ALLOW, allow);
        }
        answer
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Fault {
        match refusal {
            Refusal::NoSuchJob => Fault::no_such_job(),
            Refusal::NoSuchService => Fault::no_such_service(),
            Refusal::Claimed | Refusal::Ended => {
                Fault::new(StatusCode::CONFLICT, "Conflict", refusal)
            }
            Refusal::Violations {
                errors,
                what: SchemaOf::Arguments | SchemaOf::Result,
            } => Fault::violations(errors.into_iter().map(|error| error.message)),
            Refusal::Invalid { field, why } => Fault::keys(&[(own_name(field), &why)]),
            Refusal::Storage { .. } | Refusal::CallNotRecorded { .. } => {
                Fault::new(StatusCode::SERVICE_UNAVAILABLE, "Database Error", refusal)
            }
            refusal => Problem::from(refusal).into(),
        }
    }
}

/// What the desk's word for a key is here.
fn own_name(field: &'static str) -> &'static str {
    match field {
        "arguments_schema" => "job_registration_schema",
        "result_schema" => "job_result_schema",
        field => field,
    }
}

impl From<Problem> for Fault {
    fn from(problem: Problem) -> Fault {
        let (status, title, detail) = problem.told();
        Fault::new(status, title, detail)
    }
}

/// An answer of the second generation.
#[derive(Debug, Serialize)]
pub(super) struct Envelope<T> {
    pub(super) data: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meta: Option<Value>,
    pub(super) links: Value,
}

/// An answer that says where something is.
pub(super) fn at(mut answer: Answer, location: &str) -> Answer {
    if let Ok(location) = HeaderValue::from_str(location) {
        answer.headers_mut().insert(header::LOCATION, location);
    }
    answer
}

/// The answer to a verb that a path does not have: which it has.
pub(super) fn allowing(verb: &str, allow: &'static str) -> Result<Answer, Fault> {
    if verb != "OPTIONS" {
        return Err(Fault::not_allowed(allow));
    }
    let mut answer = reply::empty(StatusCode::OK);
    let allow = HeaderValue::from_static(allow);
    answer.headers_mut().insert(header::ALLOW, allow);
    Ok(answer)
}
