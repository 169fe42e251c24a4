//! What the process of a call is given: the call's arguments, and who calls what.

use std::ffi::OsString;
use std::net::SocketAddr;

use bytes::Bytes;

/// Arguments of a call in the form that its process gets them.
#[derive(Debug)]
pub struct Invocation {
    /// More words for the command line.
    pub words: Vec<OsString>,
    /// The arguments as JSON text, in the form that the runner passes on; empty if they
    /// are all words.
    pub input: Bytes,
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
