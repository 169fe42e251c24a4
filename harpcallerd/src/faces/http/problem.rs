//! Every answer that is an error (RFC 9457), and what each of the desk's refusals is in
//! HTTP.

use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use bytes::{BufMut, BytesMut};
use harp_jobs::refusal::{Full, Refusal, SchemaOf};
use harp_proto::{Fault, error_type};
use harp_schema::Violation;
use serde_json::{Map, Value, json};

/// What `Retry-After` says where it is not known better, in seconds.
const RETRY: u32 = 1;

/// An answer that is an error. In a box, since it is much larger than what is returned in its
/// place.
#[derive(Debug, Clone)]
pub struct Problem(Box<Told>);

#[derive(Debug, Clone)]
struct Told {
    status: StatusCode,
    name: String,
    title: &'static str,
    detail: String,
    /// Keys beside those that every problem has.
    members: Map<String, Value>,
    retry_after: Option<u32>,
    /// The methods that a path has.
    allow: Option<HeaderValue>,
    /// The connection is of no use any more.
    closes: bool,
}

impl Problem {
    fn new(status: StatusCode, name: &str, title: &'static str, detail: impl ToString) -> Problem {
        Problem(Box::new(Told {
            status,
            name: name.to_owned(),
            title,
            detail: detail.to_string(),
            members: Map::new(),
            retry_after: None,
            allow: None,
            closes: false,
        }))
    }

    /// Something is wrong with this name of a query, key of a body, or header.
    pub(super) fn field(field: &str, problem: impl std::fmt::Display) -> Problem {
        let detail = format!("{field}: {problem}");
        Problem::invalid(detail).with("field", json!(field))
    }

    /// Something is wrong with the request as a whole.
    pub(super) fn invalid(detail: impl ToString) -> Problem {
        let name = error_type::INVALID_REQUEST;
        Problem::new(StatusCode::BAD_REQUEST, name, "Invalid request", detail)
    }

    /// The body is not JSON.
    pub(super) fn not_json(why: impl std::fmt::Display) -> Problem {
        let detail = format!("cannot read the body: {why}");
        let name = error_type::PARSE_ERROR;
        Problem::new(StatusCode::BAD_REQUEST, name, "Not JSON", detail)
    }

    pub(super) fn unauthorized(detail: &str) -> Problem {
        let name = error_type::UNAUTHORIZED;
        Problem::new(StatusCode::UNAUTHORIZED, name, "Unauthorized", detail)
    }

    pub(super) fn cross_origin() -> Problem {
        let detail = "a page of another origin has asked for this (cors_origins)";
        Problem::new(
            StatusCode::FORBIDDEN,
            "cross_origin",
            "Cross-origin request",
            detail,
        )
    }

    pub(super) fn not_found() -> Problem {
        let detail = "there is nothing at this path";
        Problem::new(StatusCode::NOT_FOUND, "not_found", "Not found", detail)
    }

    /// A host of the registry that is not there.
    pub(super) fn unknown_host(host: &str) -> Problem {
        let name = error_type::UNKNOWN_HOST;
        let detail = "the hosts registry has no host of this name";
        let problem = Problem::new(StatusCode::NOT_FOUND, name, "Unknown host", detail);
        problem.with("host", json!(host))
    }

    pub(super) fn method_not_allowed() -> Problem {
        let (name, title) = ("method_not_allowed", "Method not allowed");
        let detail = "this path does not have this method";
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, name, title, detail)
    }

    pub(super) fn unsupported_media_type() -> Problem {
        let (name, title) = ("unsupported_media_type", "Unsupported media type");
        let detail = "the body must be application/json, and say so in Content-Type";
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, name, title, detail)
    }

    pub(super) fn misdirected() -> Problem {
        let detail = "this server does not go by the name that Host has (hosts)";
        Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            "Misdirected request",
            detail,
        )
    }

    pub(super) fn too_large(limit: usize) -> Problem {
        let detail =
            format!("longer than {limit} bytes; max_request_size of the dispatcher sets the limit");
        let (name, title) = (error_type::REQUEST_TOO_LARGE, "Request too large");
        let problem = Problem::new(StatusCode::PAYLOAD_TOO_LARGE, name, title, detail);
        problem.with("limit", json!(limit))
    }

    /// The head is too long, in bytes.
    pub(super) fn head_too_long(limit: usize) -> Problem {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let (name, title) = (error_type::REQUEST_TOO_LARGE, "Head too long");
        let detail = format!("the head is longer than {limit} bytes");
        let problem = Problem::new(status, name, title, detail);
        problem.with("limit", json!(limit)).and_close()
    }

    /// The body did not come in time. The connection cannot be used further.
    pub(super) fn too_slow(why: &str) -> Problem {
        let (name, title) = (error_type::PARSE_ERROR, "Request too slow");
        Problem::new(StatusCode::REQUEST_TIMEOUT, name, title, why).and_close()
    }

    pub(super) fn too_many_streams() -> Problem {
        let detail = "as many requests wait or follow as may (max_streams, max_streams_per_peer)";
        let (name, title) = ("too_many_streams", "Too many streams");
        Problem::new(StatusCode::TOO_MANY_REQUESTS, name, title, detail).retry()
    }

    /// A limit of this peer.
    pub(super) fn overloaded_peer(detail: impl ToString) -> Problem {
        let (name, title) = (error_type::OVERLOADED, "Too many requests");
        Problem::new(StatusCode::TOO_MANY_REQUESTS, name, title, detail).retry()
    }

    fn unavailable(name: &str, title: &'static str, detail: impl ToString) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, name, title, detail).retry()
    }

    /// The dispatcher is not ready.
    pub(super) fn not_ready(status: &'static str) -> Problem {
        Problem::unavailable(status, "Not ready", "the dispatcher is not ready")
    }

    fn with(mut self, key: &str, value: Value) -> Problem {
        self.0.members.insert(key.to_owned(), value);
        self
    }

    fn retry(mut self) -> Problem {
        self.0.retry_after = Some(RETRY);
        self
    }

    /// The connection is closed behind the answer.
    pub(super) fn and_close(mut self) -> Problem {
        self.0.closes = true;
        self
    }

    /// Says which methods the path has.
    pub(super) fn allowing(mut self, allow: Option<HeaderValue>) -> Problem {
        self.0.allow = allow;
        self
    }

    /// Its status, title and detail, for faces that have a form of their own.
    pub(super) fn told(self) -> (StatusCode, &'static str, String) {
        let told = *self.0;
        (told.status, told.title, told.detail)
    }

    /// The answer. `request_id` is the same as in the log.
    pub(super) fn render(self, request_id: &str) -> Response<Body> {
        let told = *self.0;
        let mut body = json!({
            "type": format!("urn:harpcaller:problem:{}", told.name),
            "title": told.title,
            "status": told.status.as_u16(),
            "detail": told.detail,
            "request_id": request_id,
        });
        if let Value::Object(keys) = &mut body {
            keys.extend(told.members);
        }
        let mut text = BytesMut::new().writer();
        // Texts and numbers, which can be written, into memory.
        let _ = serde_json::to_writer(&mut text, &body);
        let mut response = Response::new(Body::from(text.into_inner().freeze()));
        *response.status_mut() = told.status;
        let headers = response.headers_mut();
        let json = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        if let Some(seconds) = told.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = told.allow {
            headers.insert(header::ALLOW, allow);
        }
        if told.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        match refusal {
            Refusal::Stranger => Problem::unauthorized(
                "this listener wants clients to authenticate: send a token that is known, or \
                 connect with a client certificate",
            ),
            Refusal::UnknownToken => Problem::unauthorized("the token is not known"),
            Refusal::Lapsed => Problem::unauthorized(
                "what the client authenticated with is not valid any more; authenticate again",
            ),
            Refusal::Unproved => Problem::unauthorized(
                "what the client authenticated with cannot be looked at: its file system does \
                 not answer; try again later",
            ),
            Refusal::Forbidden => Problem::new(
                StatusCode::FORBIDDEN,
                error_type::FORBIDDEN,
                "Forbidden",
                "not allowed by the access rules of the dispatcher",
            ),
            Refusal::NoSuchJob => Problem::new(
                StatusCode::NOT_FOUND,
                error_type::INVALID_JOB_ID,
                "No such job",
                "no job with this ID",
            ),
            Refusal::NoSuchService => Problem::new(
                StatusCode::NOT_FOUND,
                "unknown_service",
                "Unknown service",
                "no service with this id, and not one alone with this name",
            ),
            Refusal::NoSuchClaim => Problem::new(
                StatusCode::NOT_FOUND,
                "unknown_claim",
                "Unknown claim",
                "no claim with this id, or it is another's",
            ),
            Refusal::Claimed => Problem::new(
                StatusCode::CONFLICT,
                "claimed",
                "Claimed",
                "another worker has the job, or is offered it",
            ),
            Refusal::Ended => Problem::new(
                StatusCode::CONFLICT,
                "ended",
                "Ended",
                "the job has ended: it was cancelled, a limit or its lease is over, or its \
                 outcome was told before",
            ),
            Refusal::Hole { next } => Problem::new(
                StatusCode::CONFLICT,
                "hole",
                "Hole",
                "the packets before these have not come",
            )
            .with("next", json!(next)),
            Refusal::Invalid { field, why } => Problem::field(field, why),
            Refusal::Violations { what, errors } => Problem::violations(what, &errors),
            Refusal::TooLarge { limit } => Problem::too_large(limit),
            Refusal::Full(full @ Full::ConnectionsOfPeer) => Problem::overloaded_peer(full),
            Refusal::Full(
                full @ (Full::Connections | Full::LiveJobs(_) | Full::Queue(_) | Full::Services(_)),
            ) => Problem::unavailable(error_type::OVERLOADED, "Overloaded", full),
            Refusal::KeyTaken => Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "key_reused",
                "Key reused",
                "the key stands for a call to another host, of another procedure or with other \
                 arguments",
            ),
            Refusal::Closing => Problem::unavailable(
                error_type::SHUTDOWN,
                "Stopping",
                "the dispatcher is stopping and takes no new calls; try again later",
            ),
            Refusal::Starting => Problem::unavailable(
                "starting",
                "Starting",
                "the dispatcher is starting; try again later",
            ),
            Refusal::CallNotRecorded { may_exist, why } => {
                let outcome = if may_exist { "unknown" } else { "none" };
                Problem::storage(why).with("outcome", json!(outcome))
            }
            Refusal::EndNotRecorded { why } => Problem::storage(why),
            Refusal::Storage { why } => Problem::storage(why),
            Refusal::NotReloaded(why) => Problem::own(why),
            Refusal::Failed { why } => Problem::own(why),
        }
    }
}

impl Problem {
    fn violations(what: SchemaOf, errors: &[Violation]) -> Problem {
        let (name, title) = match what {
            SchemaOf::Arguments => (error_type::INVALID_ARGUMENTS, "Invalid arguments"),
            SchemaOf::Result => ("invalid_result", "Invalid result"),
        };
        let detail = format!("{what} not what the schema wants");
        let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, name, title, detail);
        problem.with("errors", json!(errors))
    }

    fn storage(why: impl std::fmt::Display) -> Problem {
        let detail = format!("job store: {why}");
        Problem::unavailable(error_type::STORAGE_ERROR, "Storage error", detail)
    }

    /// A fault of the dispatcher, or of its system.
    fn own(why: impl ToString) -> Problem {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Problem::new(status, error_type::OS_ERROR, "Internal error", why)
    }
}

/// A body that is not what the wire's own request may be.
impl From<Fault> for Problem {
    fn from(Fault(failure): Fault) -> Problem {
        let title = match failure.error_type.as_str() {
            error_type::PARSE_ERROR => "Not JSON",
            _ => "Invalid request",
        };
        let status = StatusCode::BAD_REQUEST;
        let mut problem = Problem::new(status, &failure.error_type, title, failure.message);
        let data = failure.data.and_then(|data| data.decode().ok());
        problem.0.members = data.unwrap_or_default();
        problem
    }
}

/// The gate makes the body of it, which knows the request's id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0.status;
        response.extensions_mut().insert(self);
        response
    }
}
