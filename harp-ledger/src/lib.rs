//! The embedded ledger: what one dispatcher decides about jobs and keeps of them, in a directory
//! of its machine.
//!
//! [`Local`] is the ledger behind the core's door, over a [`store`]; [`transfer`] is all that
//! a store holds as a file and back. ARCHITECTURE.md describes the house around them.

mod local;
pub mod store;
pub mod transfer;

pub use self::local::Local;
