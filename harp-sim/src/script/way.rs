//! What is held up on its way to a host, and arrives later than what was sent after it, over
//! other connections.

use harp_jobs::world::Moment;
use harp_values::JobId;

/// What one connection has said, from its first word on or from a later one.
#[derive(Debug, Clone)]
pub(super) struct Late {
    /// When it arrives.
    pub(super) at: Moment,
    /// When it was sent.
    pub(super) sent: Moment,
    pub(super) call: (JobId, u32),
    pub(super) connection: u64,
    /// The epoch of that connection.
    pub(super) epoch: u64,
    pub(super) said: Vec<Said>,
}

/// One thing that was said.
#[derive(Debug, Clone)]
pub(super) enum Said {
    /// The request.
    Request(Request),
    /// An attach, from this packet on.
    Attach(u64),
    /// Packets below this are durable.
    Ack(u64),
    /// It is to end.
    Cancel,
}

/// What a request says of its call.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) queue: Option<(String, u64)>,
    pub(super) keeps: bool,
    /// How many packets it will have.
    pub(super) plan: u64,
}
