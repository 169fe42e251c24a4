//! What the process of a call is given: the call's arguments, its user and its procedure.

use std::net::SocketAddr;

use harp_proto::Failure;

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

/// The call's user and procedure; the process gets them in its environment.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// `HARP_PROCEDURE`.
    pub procedure: &'a str,
    /// `HARP_USER`.
    pub user: &'a str,
    /// `HARP_PEER`: address and port.
    pub peer: SocketAddr,
}

impl Identity<'_> {
    /// The variables of the environment.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [
            ("HARP_PROCEDURE", self.procedure.to_owned()),
            ("HARP_USER", self.user.to_owned()),
            ("HARP_PEER", self.peer.to_string()),
        ]
    }
}
