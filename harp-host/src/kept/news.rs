//! What a host says on a connection of `harp/2`.

use harp_proto::host::kept::Acknowledgement;
use harp_proto::{Failure, Json, Outcome};

/// News from the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The request or the attach is accepted. Comes before all other news of a call.
    Acknowledged(Acknowledgement),
    /// It is not, and over with that: the connection may have the next one. What
    /// [`Denial::of_failure`](harp_proto::host::kept::Denial::of_failure) knows is an answer of `harp/2`.
    Refused(Failure),
    /// The next packet.
    Packet(Json),
    /// The call's end, to be acknowledged by [`acknowledge_end`](super::KeptConnection::acknowledge_end).
    End(Outcome),
    /// The host is there. Answered already, if there is a call.
    Beat {
        /// True if the call waits until fewer run there.
        waits: bool,
    },
    /// A part of a message that takes longer than beats do, so that none can come. The host
    /// has been told that the caller is there.
    Part,
}
