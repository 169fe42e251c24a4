//! The HarpCaller dispatcher, as a library for its own command, benchmarks and fuzzing.
//!
//! ARCHITECTURE.md at the top of the repository describes the house and one call's path
//! through it.

pub mod access;
pub mod admin;
pub mod audit;
pub mod client;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod dispatcher;
pub mod host_attempts;
pub mod hosts;
pub mod identity;
pub mod job;
pub mod jobs;
pub mod limits;
pub mod listener;
pub mod packet_lines;
pub mod recovery;
pub mod reload;
pub mod retention;
pub mod session;
pub mod store;
pub mod transfer;

// The forms of what is kept, and the queues, are the core's.
pub use harp_jobs::lineup::queue;
pub use harp_jobs::{record, segment};
