//! The ledger of this daemon: who waits, who has its turn, and what is kept of jobs, in the
//! store of this machine.

mod held;
mod local;

pub use local::Local;
