//! What devices have around them.

use std::io;
use std::time::Duration;

use harp_budget::Share;
use harp_jobs::world::BoxFuture;
use harp_values::JobId;

/// What calls of devices go by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// For connecting, and for all that comes before a command goes out.
    pub connect_timeout: Duration,
    /// Bytes of one message of a device, at most.
    pub max_packet_size: usize,
    /// Packets that a job may leave behind; a recording goes on in the next one before.
    pub max_packets: u64,
}

/// What devices have around them: what their calls go by, and what is kept elsewhere.
pub trait Surroundings: Send + Sync {
    /// What calls go by now.
    fn settings(&self) -> Settings;

    /// What large messages of this device are to hold of the memory of all hosts; of nothing yet.
    fn share(&self, device: &str) -> Share;

    /// Keeps this text, in place of the one before; durable when it completes.
    fn keep(&self, text: Vec<u8>) -> BoxFuture<'static, io::Result<()>>;

    /// When the last of a job's packets came, in milliseconds since 1970; `count` is how many
    /// it has. `None` if that cannot be read.
    fn last_packet(&self, job: JobId, count: u64) -> BoxFuture<'static, Option<u64>>;

    /// When the last packet of a job that has ended came, in milliseconds since 1970, or when it
    /// ended if it has none. `None` if nothing is known of its end.
    fn last_of_ended(&self, job: JobId) -> BoxFuture<'static, Option<u64>>;
}
