//! The core of HarpCaller: what is true of jobs, whoever asks for them, wherever they run
//! and however they are kept.
//!
//! It has three doors, and everything else is an adapter at one of them: a face at the
//! front, the [`Transport`](transport::Transport) to the hosts at the back, the
//! [`Ledger`](ledger::Ledger), which decides and keeps, below. Two pieces are pure, that is
//! without clock, lock and I/O: the [`lineup`] of all jobs that wait, and the [`life`] of
//! one job from its turn on.

pub mod access;
pub mod audit;
pub mod batch;
pub mod call;
pub mod changes;
pub mod client;
pub mod clock_steps;
pub mod failures;
pub mod hold;
pub mod jobs;
pub mod ledger;
pub mod life;
pub mod limits;
pub mod lineup;
pub mod live;
pub mod output;
mod pump;
pub mod record;
pub mod refusal;
pub mod runner;
pub mod segment;
pub mod transport;
pub mod varint;
pub mod world;
