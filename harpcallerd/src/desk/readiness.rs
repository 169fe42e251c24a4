//! Whether the dispatcher can do its work at the moment.

use harp_jobs::ledger::Ledger as _;

use super::Desk;

/// Whether calls can be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// They can.
    Ready,
    /// The dispatcher ends when the running ones have ended, or at once.
    Draining,
    /// Nobody may wait for anything any more.
    Stopping,
    /// The store cannot be written.
    StoreOutage,
}

impl Desk {
    /// Whether calls can be accepted.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        if self.closing.is_cancelled() {
            Readiness::Stopping
        } else if self.winding_down.is_cancelled() {
            Readiness::Draining
        } else if self.dispatcher.ledger().outage().borrow().is_some() {
            Readiness::StoreOutage
        } else {
            Readiness::Ready
        }
    }
}
