//! What the process of a call is given: the call's arguments, its user and its procedure.

use std::net::SocketAddr;

use harp_proto::{Failure, JobId, Traceparent};

use crate::answer::no_room;
use crate::stash::Stash;

/// Arguments of a call in the form that its process gets them.
#[derive(Debug)]
pub struct Invocation {
    /// The arguments as JSON text, in the form that the runner passes on.
    pub input: Stash,
}

impl Invocation {
    /// These pieces of input.
    ///
    /// # Errors
    ///
    /// `system_error` if there is no room for them.
    pub fn of_input(pieces: &[&[u8]]) -> Result<Invocation, Failure> {
        let mut input = Stash::default();
        for piece in pieces {
            input.push(piece).map_err(no_room)?;
        }
        Ok(Invocation { input })
    }
}

/// Where a call comes from, as far as its caller says so: over `harp/2`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Origin {
    /// The dispatcher's job.
    pub job: Option<JobId>,
    /// Its place in a trace.
    pub traceparent: Option<Traceparent>,
}

/// Whose call it is, and of what; the process gets that in its environment.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// `HARP_PROCEDURE`.
    pub procedure: &'a str,
    /// `HARP_USER`.
    pub user: &'a str,
    /// `HARP_PEER`: address and port.
    pub peer: SocketAddr,
    /// `HARP_JOB` and `TRACEPARENT`, if they are known.
    pub origin: Origin,
}

impl Identity<'_> {
    /// The variables of the environment.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let Origin { job, traceparent } = self.origin;
        let known = [
            ("HARP_PROCEDURE", self.procedure.to_owned()),
            ("HARP_USER", self.user.to_owned()),
            ("HARP_PEER", self.peer.to_string()),
        ];
        let job = job.map(|job| ("HARP_JOB", job.to_string()));
        let traceparent = traceparent.map(|place| ("TRACEPARENT", place.to_string()));
        known.into_iter().chain(job).chain(traceparent).collect()
    }
}
