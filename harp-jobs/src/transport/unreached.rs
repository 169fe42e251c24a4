//! A call that reaches no host: it fails before anything runs.

use harp_values::{Failure, Outcome};

use super::{Attempt, Batch, Commit, Heard, Proof, Proved, Stored};
use crate::hold::Token;
use crate::world::{BoxFuture, Moment};

/// An attempt that fails with this.
#[derive(Debug)]
pub struct Unreached(Failure);

impl Unreached {
    /// Fails with `failure`.
    #[must_use]
    pub fn new(failure: Failure) -> Unreached {
        Unreached(failure)
    }
}

impl Attempt for Unreached {
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

    fn talks(&self) -> bool {
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
