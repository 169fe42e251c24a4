//! Faults of requests, as the dispatcher answers them.

use bytes::BytesMut;
use harp_values::fields::ShapeError;

use crate::{Failure, error_type};

/// An error about a request itself, never about a job's outcome: on the wire it carries
/// the protocol's key beside `error`, and that alone tells the two apart (client
/// protocol, section 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault(pub Failure);

impl Fault {
    /// The line is empty, not JSON, or not UTF-8.
    pub fn parse_error(why: impl std::fmt::Display) -> Fault {
        Fault(Failure::new(
            error_type::PARSE_ERROR,
            format!("cannot read the request: {why}"),
        ))
    }

    /// Not an object, or not this protocol.
    #[must_use]
    pub fn invalid_protocol(message: &str) -> Fault {
        Fault(Failure::new(error_type::INVALID_PROTOCOL, message))
    }

    /// The request's shape is wrong at `field`, dotted when nested.
    pub fn invalid_request(field: &str, message: impl std::fmt::Display) -> Fault {
        Fault(
            Failure::new(error_type::INVALID_REQUEST, format!("{field}: {message}"))
                .with_data(&serde_json::json!({ "field": field })),
        )
    }

    /// The request is over the limit, in bytes.
    #[must_use]
    pub fn request_too_large(limit: usize) -> Fault {
        Fault(
            Failure::new(
                error_type::REQUEST_TOO_LARGE,
                format!("request longer than {limit} bytes; max_request_size of the dispatcher sets the limit"),
            )
            .with_data(&serde_json::json!({ "limit": limit })),
        )
    }

    /// No such job.
    #[must_use]
    pub fn invalid_job_id() -> Fault {
        Fault(Failure::new(
            error_type::INVALID_JOB_ID,
            "no job with this ID",
        ))
    }

    /// A call could not be recorded: there is certainly no job, or it may exist.
    pub fn not_recorded(may_exist: bool, why: impl std::fmt::Display) -> Fault {
        let outcome = if may_exist { "unknown" } else { "none" };
        Fault(
            Failure::new(error_type::STORAGE_ERROR, format!("job store: {why}"))
                .with_data(&serde_json::json!({ "outcome": outcome })),
        )
    }

    /// What is known of a job cannot be read, or its end cannot be written.
    pub fn unreadable(why: impl std::fmt::Display) -> Fault {
        Fault(Failure::new(
            error_type::STORAGE_ERROR,
            format!("job store: {why}"),
        ))
    }

    /// No new calls are taken.
    #[must_use]
    pub fn shutdown() -> Fault {
        Fault(Failure::new(
            error_type::SHUTDOWN,
            "the dispatcher is stopping and takes no new calls; try again later",
        ))
    }

    /// The client has to authenticate, or what it authenticates with is not known.
    #[must_use]
    pub fn unauthorized(message: &str) -> Fault {
        Fault(Failure::new(error_type::UNAUTHORIZED, message))
    }

    /// The access rules do not allow it. What exactly, is in the dispatcher's log alone.
    #[must_use]
    pub fn forbidden() -> Fault {
        Fault(Failure::new(
            error_type::FORBIDDEN,
            "not allowed by the access rules of the dispatcher",
        ))
    }

    /// A configured limit is reached.
    pub fn overloaded(what: impl std::fmt::Display) -> Fault {
        Fault(Failure::new(
            error_type::OVERLOADED,
            format!("{what}; try again later"),
        ))
    }

    /// Writes the error as a line of the client protocol.
    pub fn encode(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"{\"harpcaller\":1,\"error\":");
        self.0.write(out);
        out.extend_from_slice(b"}\n");
    }
}

impl From<ShapeError> for Fault {
    fn from(error: ShapeError) -> Fault {
        Fault::invalid_request(&error.field, error.problem)
    }
}
