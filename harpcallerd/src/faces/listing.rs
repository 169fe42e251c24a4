//! Lists, and jobs as JSON: what is asked for and what is answered has the same names by HTTP
//! and by the client protocol.

pub mod cursor;
pub mod hosts;
pub mod job_object;
pub mod jobs;
pub mod moment;
pub mod names;
pub mod procedures;
pub mod queues;
pub mod services;
pub mod values;
