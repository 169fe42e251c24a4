//! Calling a host's `harpd` (host protocol): what the dispatcher does for every job, and
//! a client without a dispatcher.
//!
//! A [`Connection`] is opened under a deadline, carries one [`Request`], and becomes a
//! [`HostCall`], which gives the packets and the end. Whatever goes wrong is a
//! [`HostError`], with the [`Phase`] it went wrong in. `harp_client::direct` has an
//! example.
//!
//! What a client's connection to a dispatcher is made of as well is public here, for
//! `harp-client`: [`socket`], [`line_reader`], [`read_ahead`] and [`tls`].
//!
//! [`Request`]: harp_proto::host::Request

mod call;
mod connection;
mod endpoint;
mod error;
mod fingerprint;
mod io_code;
pub mod kept;
pub mod line_reader;
mod names;
pub mod race;
pub mod read_ahead;
pub mod socket;
pub mod tls;
mod told;

pub use call::{Cancel, Event, HostCall, Parting, Wanted};
pub use connection::Connection;
pub use endpoint::Endpoint;
pub use error::{HostError, HostErrorKind, Phase};
pub use io_code::{IoCode, is_own_fault};

/// Bounds of the messages that a host may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Greatest size of one packet or result, in bytes of its JSON text. The line around
    /// it may be [`harp_proto::LINE_ALLOWANCE`] longer.
    pub max_packet_size: usize,
}

impl Default for Limits {
    /// 16 MiB.
    fn default() -> Limits {
        Limits {
            max_packet_size: 16 * 1024 * 1024,
        }
    }
}
