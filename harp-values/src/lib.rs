//! The values that every part of HarpCaller shares: ids of jobs, names of queues, outcomes
//! and errors, passwords, and a user's data.
//!
//! Both wire protocols are written with them, and so is whatever keeps or decides
//! something and knows no protocol. Text that belongs to a user is a [`Json`]: checked
//! once, then copied byte for byte.

pub mod error_type;
mod evidence;
mod failure;
pub mod fields;
mod job_id;
mod json;
mod outcome;
mod password;
mod queue_name;
pub mod standstill;
pub mod traceparent;
mod violation;
pub mod write;

pub use evidence::Evidence;
pub use failure::Failure;
pub use job_id::{JobId, NotAJobId};
pub use json::{Json, JsonError, MAX_DEPTH};
pub use outcome::{NotReturned, Outcome, OutcomeKind};
pub use password::Password;
pub use queue_name::{MAX_QUEUE_NAME, NotAQueueName, QueueName};
pub use traceparent::Traceparent;
pub use violation::Violation;
