//! Plays whole histories of the core from a seed.
//!
//! Everything that the core gets from outside is played: time, chance and the order of
//! tasks by the [`executor`], what is kept by the ledger in [`memory`]. A history is a list
//! of numbers (see [`chance`]), so one that fails can be played again and made small.
//! [`contract`] holds any ledger to what the core expects of one.

pub mod book;
pub mod chance;
pub mod contract;
pub mod errors;
pub mod executor;
pub mod history;
pub mod memory;
pub mod mutants;
pub mod script;
pub mod shrink;
