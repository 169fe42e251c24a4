//! How calls ended, as `harp._outcomes` reads it.

use harp_client::{Failure, Outcome};

/// How it ended, then type, message and data of a failure, or the result in the place of the
/// data; both are JSON text.
pub(crate) type Ended = (&'static str, String, String, Option<String>);

pub(crate) fn ended(outcome: Outcome) -> Ended {
    let without = |how, data| (how, String::new(), String::new(), data);
    match outcome {
        Outcome::Returned(result) => without("returned", Some(result.to_string())),
        Outcome::Exception(failure) => failed("exception", failure),
        Outcome::Error(failure) => failed("error", failure),
        Outcome::Cancelled => without("cancelled", None),
    }
}

fn failed(how: &'static str, failure: Failure) -> Ended {
    let data = failure.data.map(|data| data.to_string());
    (how, failure.error_type, failure.message, data)
}
