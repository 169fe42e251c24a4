//! `harp/2`: calls that outlive their connection (keeping, section 2).
//!
//! Both ends agree on it by TLS ALPN. A caller's first line on a connection is an
//! [`Order::Call`] or an [`Order::Attach`]; acknowledgements and a cancel follow. The host
//! answers with [`Message`]s: an acknowledgement, beats, and the messages of `harp/1`.

mod call_id;
mod denial;
mod message;
mod order;
#[cfg(test)]
mod tests;
mod uptime;

pub use call_id::{CallId, NotACallId};
pub use denial::Denial;
pub use message::{Acknowledgement, Attached, Message};
pub use order::{Attach, Keep, Order, Request};
pub use uptime::Uptime;

/// The name of this protocol in TLS ALPN.
pub const ALPN: &[u8] = b"harp/2";

/// The name of the protocol of one call a connection, which a caller offers behind
/// [`ALPN`].
pub const ALPN_PLAIN: &[u8] = b"harp/1";

/// Every number of an epoch is below this: what any JSON reader keeps exactly.
pub const EPOCH_LIMIT: u64 = 1 << 53;

/// Greatest length of the name of a harpd's life, in bytes. Ours are UUIDs.
pub const MAX_BOOT: usize = 64;

/// Greatest number of seconds that a caller can ask a call to be kept: a year. What harpd
/// allows is less (`max_keep`).
pub const MAX_KEEP: u64 = 365 * 86400;
