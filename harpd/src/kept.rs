//! Calls that outlive their connections (`harp/2`).
//!
//! A call runs in a task of its own ([`run`]) and puts what it says into a [`backlog`],
//! from which whatever connection has it at the moment ([`conversation`]) takes it. Which
//! connection has it, how long it goes on alone and what is remembered of it is decided by one pure
//! [`book`] with the [`clock`] as an argument; [`calls`] is that with the I/O around it.

pub mod backlog;
pub mod book;
pub mod call;
pub mod calls;
pub mod clock;
pub mod conversation;
pub mod link;
pub mod lives;
pub mod memory;
pub mod run;
pub mod settings;
pub mod spool;
pub mod standing;

use std::io;
use std::sync::Arc;

use calls::KeptCalls;
use clock::Clock;
use settings::KeepSettings;

/// Begins a life in which calls are kept. Blocks.
///
/// # Errors
///
/// If `state_directory` cannot be used.
pub fn begin(settings: &KeepSettings) -> io::Result<Arc<KeptCalls>> {
    let clock = Clock::start();
    harp_service::private_file::create_directory(&settings.state_directory)?;
    let boot = lives::new_name()?;
    Ok(KeptCalls::new(clock, boot, Vec::new(), settings.clone()))
}
