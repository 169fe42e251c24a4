//! ZMTP 3.0, the protocol of ZeroMQ on a TCP connection, as far as one who connects needs it:
//! a SUB socket at somebody's PUB, a DEALER at somebody's REP or ROUTER, without encryption or
//! authentication (the mechanism NULL).
//!
//! There is one connection and no more: no queue, no background task, no new connection by
//! itself. [`Decoder`] is pure; [`Connection`] puts it on a stream. Nothing is allocated
//! because a peer has said how much will come: memory grows with what has come.

mod command;
mod connection;
mod decoder;
mod greeting;
mod message;
mod violation;

pub use command::{Command, Ready};
pub use connection::{Connection, Error};
pub use decoder::{Decoder, Item, MAX_COMMAND};
pub use greeting::{GREETING, Greeting};
pub use message::{write_command, write_message};
pub use violation::{MAX_PARTS, Violation};

/// What a socket is for, as it is named in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketType {
    /// Takes what a PUB publishes.
    Sub,
    /// Sends requests and takes replies, in any order.
    Dealer,
}

impl SocketType {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SocketType::Sub => "SUB",
            SocketType::Dealer => "DEALER",
        }
    }

    /// Whether a peer's socket of this type is one to talk to.
    #[must_use]
    pub fn fits(self, peer: &[u8]) -> bool {
        let fitting: &[&[u8]] = match self {
            SocketType::Sub => &[b"PUB", b"XPUB"],
            SocketType::Dealer => &[b"REP", b"ROUTER", b"DEALER"],
        };
        fitting.contains(&peer)
    }
}
