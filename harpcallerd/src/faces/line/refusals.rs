//! What a client is told for each reason to refuse (client protocol, section 7).

use harp_proto::Fault;

use crate::refusal::Refusal;

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
        Refusal::TooLarge { limit } => Fault::request_too_large(limit),
        Refusal::Full(full) => Fault::overloaded(full),
        Refusal::KeyTaken => Fault::invalid_request(
            "key",
            "stands for a call to another host, of another procedure or with other arguments",
        ),
        Refusal::Closing => Fault::shutdown(),
        Refusal::CallNotRecorded { may_exist, why } => Fault::not_recorded(may_exist, why),
        Refusal::EndNotRecorded { why } => Fault::unreadable(why),
        Refusal::Storage { why } => Fault::unreadable(why),
        // Administrators alone ask for what is answered so.
        Refusal::Starting => Fault::overloaded("the dispatcher is starting"),
        Refusal::NotReloaded(why) => Fault::unreadable(why),
        Refusal::Failed { why } => Fault::unreadable(why),
    }
}
