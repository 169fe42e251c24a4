//! One address of the dispatcher, and how it is spoken to there.

use std::sync::Arc;

use harp_host::race::Answered;

use super::{Address, Protection};

/// One address of the dispatcher.
#[derive(Debug)]
pub(crate) struct Target {
    pub(super) address: Arc<Address>,
    pub(super) protection: Protection,
    /// Which of the addresses of its name has answered.
    pub(super) answered: Answered,
}

impl Target {
    pub(crate) fn new(address: Address, protection: Protection) -> Target {
        Target {
            address: Arc::new(address),
            protection,
            answered: Answered::default(),
        }
    }
}
