//! A call that is none: it never reaches its device.

use harp_jobs::hold::Token;
use harp_jobs::transport::{Attempt, Batch, Commit, Heard, Proof, Proved, Stored};
use harp_jobs::world::{BoxFuture, Moment};
use harp_values::{Failure, Outcome, error_type};
use serde_json::json;

/// An attempt that fails with this.
#[derive(Debug)]
pub(crate) struct Refused(Failure);

impl Refused {
    pub(crate) fn new(failure: Failure) -> Refused {
        Refused(failure)
    }
}

/// Devices have no such procedure.
pub(crate) fn no_such_procedure(procedure: &str) -> Failure {
    let message = format!(
        "devices have no procedure {procedure:?}: there are the names of their commands in \
         lower case (get_status), command:N, custom:N and events"
    );
    let data = json!({ "procedure": procedure });
    Failure::new(error_type::NO_SUCH_PROCEDURE, message).with_data(&data)
}

/// The arguments are none that a device can be sent.
pub(crate) fn invalid_arguments(message: impl Into<String>) -> Failure {
    Failure::new(error_type::INVALID_ARGUMENT_LIST, message)
}

impl Attempt for Refused {
    fn ready(&mut self, _by: Moment) -> BoxFuture<'_, Result<(), Failure>> {
        Box::pin(async { Err(self.0.clone()) })
    }

    fn commit(&mut self, _by: Moment) -> BoxFuture<'_, Commit> {
        let failure = self.0.clone();
        Box::pin(async {
            Commit::Not {
                failure,
                certain: true,
            }
        })
    }

    fn next<'a>(&'a mut self, _into: &'a mut Batch) -> BoxFuture<'a, Heard> {
        let outcome = Outcome::Error(self.0.clone());
        Box::pin(async {
            Heard::End {
                outcome,
                left: false,
            }
        })
    }

    fn streams(&self) -> bool {
        false
    }

    fn heard(&self) -> Option<Moment> {
        None
    }

    fn stored(&mut self, _what: Stored) {}

    fn tell(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn prove(&mut self) -> BoxFuture<'_, Proved> {
        Box::pin(async { Proved::free(Proof::Confirmed) })
    }

    fn keeps(&self) -> bool {
        false
    }

    fn debt(&self) -> Option<Token> {
        None
    }

    fn detach(self: Box<Self>) {}
}
