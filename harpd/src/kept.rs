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
use std::time::Duration;

use calls::KeptCalls;
use clock::Clock;
use lives::HarpdLife;
use settings::KeepSettings;

use crate::keeper_notes::KeeperNotes;

/// Begins a life in which calls are kept, and in which keepers are to be noted. What the
/// life before has left is ended first, SIGKILL coming `grace` after SIGTERM.
///
/// # Errors
///
/// If `state_directory` cannot be used.
pub async fn begin(
    settings: &KeepSettings,
    grace: Duration,
) -> io::Result<(Arc<KeptCalls>, KeeperNotes)> {
    let clock = Clock::start();
    let (life, notes) = HarpdLife::begin(&settings.state_directory, grace).await?;
    Ok((KeptCalls::new(clock, life, settings.clone()), notes))
}
