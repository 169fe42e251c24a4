//! What the registry says of a device.

/// A device of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it is: a name or an IP address.
    pub address: String,
    /// The port at which it publishes.
    pub event_port: u16,
    /// The port at which it takes commands.
    pub command_port: u16,
    /// Whether arguments that the device would change are refused.
    pub strict: bool,
    /// Whether its events are recorded for as long as the entry is there.
    pub record: bool,
}

impl Entry {
    /// The port at which devices publish unless they are told otherwise.
    pub const EVENT_PORT: u16 = 5556;
    /// The port at which they take commands unless they are told otherwise.
    pub const COMMAND_PORT: u16 = 5557;

    /// Whether another entry is that of the same two sockets.
    pub(crate) fn is_at(&self, other: &Entry) -> bool {
        (&self.address, self.event_port, self.command_port)
            == (&other.address, other.event_port, other.command_port)
    }
}
