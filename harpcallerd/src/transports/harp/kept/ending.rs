//! A call that was given up, or has ended: its host is told, and says when nothing is left.

use harp_jobs::ledger::Token;
use harp_jobs::transport::{Batch, Heard, Proof, Proved};
use harp_time::within;
use tokio::time::Instant;

use super::super::joined::Said;
use super::super::token::{Owes, Stamp};
use super::{KeptCall, Side};
use crate::host_attempts::Attempts;

impl KeptCall {
    /// Tells the host that the call is given up, if it is connected. One that is not is told
    /// by [`KeptCall::prove`].
    pub(in super::super) async fn tell(&mut self) {
        self.is_told = true;
        if let Side::Joined(joined) = &mut self.side
            && self.owes == Owes::Cancel
        {
            joined.cancel();
            let by = Instant::now() + self.rules.limits.slot_grace;
            // A host that does not take it in is found out by waiting for it.
            let _ = within(by, joined.line.connection.flush()).await;
        }
    }

    /// Waits until the host says that nothing of the call is left, or can have given it up by
    /// itself. Cancel safe.
    pub(in super::super) async fn prove(&mut self, waits: &mut Attempts) -> Proved {
        self.is_told = true;
        if self.owes == Owes::Place {
            return self.kept_place();
        }
        if let Side::Joined(joined) = &mut self.side {
            joined.cancel();
        }
        self.acknowledging.wants_nothing();
        // It may have said so in the moment when it was given up.
        while !self.is_done {
            let mut unwanted = Batch::new(self.received);
            if let Said::Heard(Heard::End { left: true, .. }) =
                self.next(waits, &mut unwanted).await
            {
                return self.kept_place();
            }
        }
        self.end_is_stored();
        Proved::free(Proof::Confirmed)
    }

    /// The place is kept until the host can have nothing left.
    fn kept_place(&self) -> Proved {
        let until = self.kept_until() + self.rules.limits.slot_grace;
        Proved {
            host: Proof::Unconfirmed,
            keep: until.saturating_duration_since(Instant::now()),
        }
    }

    /// What has to be on record with the end while the host may be busy.
    pub(in super::super) fn debt(&self) -> Token {
        let mut note = self.note.clone();
        note.owes = self.owes;
        note.keep = self.keep;
        note.epoch = self.epoch;
        note.at = Stamp::now().before(self.renewed.elapsed());
        note.token()
    }
}
