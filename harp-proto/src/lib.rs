//! The wire of HarpCaller, without I/O.
//!
//! Two line protocols meet in this project, and both are here as types:
//!
//! - [`client`]: between a client and the dispatcher `harpcallerd`, plain TCP;
//! - [`host`]: between the dispatcher (or a direct client) and a host's `harpd`, TLS.
//!
//! Both send one JSON object a line. [`LineBuffer`] cuts lines out of whatever a
//! socket delivers and bounds their length; the `decode` and `encode` of each message
//! do the rest. Nothing here reads a socket, looks at a clock or blocks.
//!
//! Text that belongs to a user (arguments, info, packets, results, the data of an
//! exception) is never interpreted: it is a [`Json`], valid text that is copied byte
//! for byte from one line into another.
//!
//! ```
//! use bytes::{Bytes, BytesMut};
//! use harp_proto::client::Request;
//!
//! let line = Bytes::from_static(br#"{"harpcaller": 1, "host": "web01", "procedure": "uptime", "arguments": []}"#);
//! let Ok(Request::Call(call)) = Request::decode(&line) else { panic!("not a call") };
//! assert_eq!(call.host, "web01");
//!
//! let mut wire = BytesMut::new();
//! Request::Call(call).encode(&mut wire);
//! assert!(wire.ends_with(b"\n"));
//! ```

pub mod client;
mod fault;
pub mod host;
mod host_port;
mod line;

pub use fault::Fault;
pub use harp_values::{
    Evidence, Failure, JobId, Json, JsonError, MAX_DEPTH, MAX_QUEUE_NAME, NotAJobId, NotAQueueName,
    NotReturned, Outcome, OutcomeKind, Password, QueueName, Traceparent, error_type, standstill,
};
pub use host_port::host_and_port;
pub use line::{LineBuffer, LineTooLong};

/// TCP port on which `harpcallerd` listens for clients unless told otherwise
/// (client protocol, section 1).
pub const CLIENT_PORT: u16 = 3502;

/// TCP port on which `harpd` listens unless told otherwise (host protocol).
pub const HOST_PORT: u16 = 4306;

/// How much longer than its user's JSON text a line may be: room for the keys around it
/// (daemon configuration, `max_request_size`).
pub const LINE_ALLOWANCE: usize = 64 * 1024;
