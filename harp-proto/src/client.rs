//! The client protocol: between a client and the dispatcher `harpcallerd`.
//!
//! A [`Request`] a line. Each kind of request has its kind of reply, and [`Fault`] may
//! come in the place of any: [`reply::decode`] tells the two apart.
//!
//! [`Fault`]: crate::Fault

pub mod body;
pub mod feature;
mod listed;
mod packet_lines;
pub mod reply;
mod request;
pub mod work;

pub use listed::{List, Listed};
pub use packet_lines::PacketLines;
pub use reply::{
    CallReply, CancelReply, HelloReply, JobTimes, JobsReply, Packet, Reply, ReplyError,
    ResultReply, Snapshot, StatusReply, StreamReply, TimeLimits,
};
pub use request::{Call, Hello, Queue, Request, StreamStart};
