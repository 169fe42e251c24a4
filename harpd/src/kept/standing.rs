//! Where a kept call stands, as a pure function of what happens to it and of the clock.
//!
//! | standing | a newer attach | `{"cancel": true}` | the lease is over | its processes are gone | the end is acknowledged | U + 2 x `keep` is over |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | running | has it now | ending: cancelled | ending: `keep_over` | ended | (no message) | |
//! | ending | has it now | | | ended | (no message) | |
//! | ended | has it now | | | | forgotten | forgotten |
//!
//! A call that is forgotten is known by its id alone ([`Memory`](super::memory::Memory)).
//! Its connection can end at any time, which changes nothing of this.

use std::time::Duration;

use harp_proto::host::kept::{Denial, Uptime};

/// A call between its acceptance and the moment when nobody needs anything of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    stage: Stage,
    /// The greatest that came with its request or an attach.
    epoch: u64,
    /// Number of the connection that has it, if any.
    holder: Option<u64>,
    /// How long it goes on alone.
    keep: Duration,
    /// The newest moment at which a caller is known to have been there (U).
    newest: Uptime,
    /// Packets below this one may be forgotten.
    acknowledged: u64,
}

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It waits for a slot, or runs.
    Running,
    /// It has been told to end, for this reason.
    Ending(Cause),
    /// Nothing of it is left, and its end waits to be acknowledged.
    Ended,
}

/// Why a call is ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Its caller has cancelled it.
    Cancelled,
    /// Nobody was there for its `keep`.
    KeepOver,
}

/// Consequence of the time that has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// The call is to be ended with `keep_over`.
    End,
    /// Its end is to be forgotten.
    Forget,
}

impl Standing {
    /// A call that is accepted now, from a connection or request of the moment `newest`.
    #[must_use]
    pub fn accepted(holder: u64, epoch: u64, keep: Duration, newest: Uptime) -> Standing {
        Standing {
            stage: Stage::Running,
            epoch,
            holder: Some(holder),
            keep,
            newest,
            acknowledged: 0,
        }
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// The connection that has it.
    #[must_use]
    pub fn holder(&self) -> Option<u64> {
        self.holder
    }

    /// Its epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How long it goes on alone.
    #[must_use]
    pub fn keep(&self) -> Duration {
        self.keep
    }

    /// Packets below this one may have been forgotten.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Gives the call to another connection, of the moment `newest`.
    ///
    /// # Errors
    ///
    /// `stale_epoch`, or `lost_packets` if some from `since` on may be gone. Nothing has
    /// changed then.
    pub fn attach(
        &mut self,
        holder: u64,
        epoch: u64,
        since: u64,
        newest: Uptime,
    ) -> Result<(), Denial> {
        if epoch < self.epoch {
            return Err(Denial::StaleEpoch);
        }
        if since < self.acknowledged {
            let first = self.acknowledged;
            return Err(Denial::LostPackets { first });
        }
        self.epoch = epoch;
        self.holder = Some(holder);
        self.newest = self.newest.max(newest);
        Ok(())
    }

    /// An acknowledgement from the connection that has it; from any other it is nothing.
    /// True if the call is done with: `end` was acknowledged.
    pub fn acknowledge(&mut self, holder: u64, packets: u64, newest: Uptime, end: bool) -> bool {
        if self.holder != Some(holder) {
            return false;
        }
        self.newest = self.newest.max(newest);
        self.acknowledged = self.acknowledged.max(packets);
        end && self.stage == Stage::Ended
    }

    /// A cancel from the connection that has it. True if the call has to be ended for it.
    pub fn cancel(&mut self, holder: u64) -> bool {
        let is_news = self.holder == Some(holder) && self.stage == Stage::Running;
        if is_news {
            self.stage = Stage::Ending(Cause::Cancelled);
        }
        is_news
    }

    /// A connection has ended.
    pub fn left(&mut self, holder: u64) {
        if self.holder == Some(holder) {
            self.holder = None;
        }
    }

    /// Nothing of the call is left, and its end is there.
    pub fn ended(&mut self) {
        self.stage = Stage::Ended;
    }

    /// When time next changes something: to be looked at with [`Standing::tick`] then, or
    /// earlier. `None`: never, as long as nothing else happens.
    #[must_use]
    pub fn due(&self) -> Option<Uptime> {
        let after = |time: Duration| Uptime::after(self.newest.since_start() + time);
        match self.stage {
            Stage::Running => Some(after(self.keep)),
            Stage::Ending(_) => None,
            Stage::Ended => Some(after(2 * self.keep)),
        }
    }

    /// Looks at the clock.
    pub fn tick(&mut self, now: Uptime) -> Option<Due> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        match self.stage {
            Stage::Running => {
                self.stage = Stage::Ending(Cause::KeepOver);
                Some(Due::End)
            }
            Stage::Ending(_) => None,
            Stage::Ended => Some(Due::Forget),
        }
    }
}
