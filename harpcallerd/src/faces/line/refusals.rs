//! What a client is told for each reason to refuse (client protocol, section 7).

use harp_jobs::refusal::Refusal;
use harp_proto::{Failure, Fault, error_type};
use serde_json::json;

/// What a client is told that has to authenticate first.
const AUTHENTICATE: &str = "this listener wants clients to authenticate: send hello with a token that is known, \
     or connect with a client certificate";

/// The error line.
pub(super) fn fault(refusal: Refusal) -> Fault {
    match refusal {
        Refusal::Stranger => Fault::unauthorized(AUTHENTICATE),
        Refusal::UnknownToken => Fault::unauthorized("the token is not known"),
        Refusal::Lapsed => Fault::unauthorized(
            "what the client authenticated with is not valid any more; authenticate again",
        ),
        Refusal::Unproved => Fault::unauthorized(
            "the file that proves who the client is cannot be read at present: \
             the dispatcher's file system does not answer; try again later",
        ),
        Refusal::Forbidden => Fault::forbidden(),
        Refusal::NoSuchJob => Fault::invalid_job_id(),
        Refusal::Violations { errors, .. } => Fault(
            Failure::new(
                error_type::INVALID_ARGUMENTS,
                "the arguments are not what the procedure's schema wants",
            )
            .with_data(&json!({ "errors": errors })),
        ),
        Refusal::Invalid { field, why } => Fault::invalid_request(field, why),
        Refusal::TooLarge { limit } => Fault::request_too_large(limit),
        Refusal::Full(full) => Fault::overloaded(full),
        Refusal::KeyTaken => {
            let Fault(failure) = Fault::invalid_request(
                "key",
                "stands for a call to another host, of another procedure or with other arguments",
            );
            // What else can be wrong with a key is a fault of the program's.
            Fault(failure.with_data(&json!({ "field": "key", "key_taken": true })))
        }
        Refusal::Closing => Fault::shutdown(),
        Refusal::CallNotRecorded { may_exist, why } => Fault::not_recorded(may_exist, why),
        Refusal::EndNotRecorded { why } => Fault::unreadable(why),
        Refusal::Storage { why } => Fault::unreadable(why),
        // Administrators and workers alone ask for what is answered so.
        Refusal::Starting => Fault::overloaded("the dispatcher is starting"),
        refusal @ (Refusal::NoSuchService
        | Refusal::NoSuchClaim
        | Refusal::Claimed
        | Refusal::Ended
        | Refusal::Hole { .. }) => Fault::unreadable(refusal),
        Refusal::NotReloaded(why) => Fault::unreadable(why),
        Refusal::Failed { why } => Fault::unreadable(why),
    }
}
