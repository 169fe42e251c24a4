//! What may be left of a call at its host when its job has ended, and how that is found out.

use std::time::Duration;

use harp_host::{HostCall, HostError, Parting};
use harp_jobs::ledger::Token;
use harp_jobs::transport::{Proof, Proved};
use harp_time::clock;
use harp_time::within;
use tokio::time::Instant;

use crate::rules::ExecutionLimits;

/// The debt of a call whose host may not know that the connection is gone; eight bytes
/// behind it say since when, in milliseconds since 1970.
const LOST: &[u8] = b"lost";

/// What may be left of a call.
pub(super) struct Left {
    what: What,
    /// When the host was told, or the call ended.
    since: Instant,
}

enum What {
    /// The host was never asked.
    NeverThere,
    /// The host has proved that nothing is left.
    Proved,
    /// The host has ended the call, which does not prove that nothing runs on.
    Nothing,
    /// The host was told that the call is given up, and has closed the connection without a
    /// proof.
    Closed,
    /// The host may be busy, and is still connected.
    Call(Box<HostCall>),
    /// The host may be busy for so long, and nobody can ask it.
    Silent(Duration),
    /// The host may be busy, and may not know that the connection is gone.
    Lost {
        /// Since when, in milliseconds since 1970.
        at: u64,
    },
}

impl Left {
    fn new(what: What) -> Left {
        Left {
            what,
            since: Instant::now(),
        }
    }

    /// Of a call that the host does not know of.
    pub(super) fn never_there() -> Left {
        Left::new(What::NeverThere)
    }

    /// Of a call of which the host has proved that nothing is left.
    pub(super) fn proved() -> Left {
        Left::new(What::Proved)
    }

    /// Of a call that the host has ended.
    pub(super) fn nothing() -> Left {
        Left::new(What::Nothing)
    }

    /// Of a call that is given up.
    pub(super) fn call(call: HostCall) -> Left {
        Left::new(What::Call(Box::new(call)))
    }

    /// Of a call that is given up, if there is one.
    pub(super) fn of(call: Option<HostCall>) -> Left {
        call.map_or_else(Left::nothing, Left::call)
    }

    /// Of a call that ran when this process began.
    pub(super) fn at_restart(limits: &ExecutionLimits, unaware_until: Option<Instant>) -> Left {
        let unaware = unaware_until.map(|until| until.saturating_duration_since(Instant::now()));
        let grace = unaware.unwrap_or_default().max(limits.slot_grace);
        Left::new(What::Silent(grace))
    }

    /// Of a call that had ended when this process began.
    pub(super) fn of_debt(
        debt: &Token,
        limits: &ExecutionLimits,
        unaware_until: Option<Instant>,
    ) -> Left {
        let told = Left::at_restart(limits, unaware_until);
        let What::Silent(grace) = told.what else {
            return told;
        };
        let broken = match debt.0.strip_prefix(LOST) {
            Some(at) => {
                let at = at.try_into().map_or(0, u64::from_be_bytes);
                let since = Duration::from_millis(clock::now().saturating_sub(at));
                limits.break_grace.saturating_sub(since)
            }
            // The host was told, or knows by the end of the connection.
            None => Duration::ZERO,
        };
        Left::new(What::Silent(grace.max(broken)))
    }

    /// Of a call that has ended with this fault. A host that was told that it is given up, and
    /// then ends the connection, knows of it: many close without a word.
    pub(super) fn after(error: &HostError, call: Option<HostCall>, is_told: bool) -> Left {
        let is_closed = is_told && error.is_end_of_connection();
        Left::new(match call {
            _ if is_closed => What::Closed,
            _ if error.is_break() => What::Lost { at: clock::now() },
            Some(call) if error.leaves_host_busy() => What::Call(Box::new(call)),
            _ => What::Nothing,
        })
    }

    /// Whether the host may still be busy.
    pub(super) fn is_something(&self) -> bool {
        match self.what {
            What::NeverThere | What::Proved | What::Nothing => false,
            What::Closed | What::Call(_) | What::Silent(_) | What::Lost { .. } => true,
        }
    }

    /// Whether the host may not know that the connection is gone.
    pub(super) fn is_lost(&self) -> bool {
        matches!(self.what, What::Lost { .. })
    }

    /// What has to be on record while it may be.
    pub(super) fn debt(&self) -> Token {
        match self.what {
            What::Lost { at } => Token([LOST, &at.to_be_bytes()].concat().into()),
            _ => Token::default(),
        }
    }

    /// Tells the host that the call is no longer wanted, within `slot_grace`. Cancel safe.
    pub(super) async fn tell(&mut self, limits: &ExecutionLimits) {
        if let What::Call(call) = &mut self.what {
            let by = self.since + limits.slot_grace;
            // A host that does not take it in is found out by waiting for it.
            let _ = within(by, call.tell_cancel()).await;
        }
    }

    /// Waits until the host is done, at most `slot_grace`. One that may not know that the
    /// connection is gone has its place kept for `break_grace`. Cancel safe.
    pub(super) async fn prove(&mut self, limits: &ExecutionLimits) -> Proved {
        let slot_grace_over = self.since + limits.slot_grace;
        let keep = match &mut self.what {
            What::NeverThere | What::Proved => return Proved::free(Proof::Confirmed),
            What::Nothing | What::Closed => Duration::ZERO,
            What::Silent(grace) => *grace,
            What::Lost { .. } => limits.break_grace,
            What::Call(call) => match within(slot_grace_over, call.part()).await {
                Some(Parting::Proved) => return Proved::free(Proof::Confirmed),
                Some(Parting::Closed) => Duration::ZERO,
                // Without an answer in time there is nothing more to wait for, if the host
                // can know that it is not wanted any more.
                None if call.is_told().await => Duration::ZERO,
                Some(Parting::Lost) | None => {
                    self.what = What::Lost { at: clock::now() };
                    limits.break_grace
                }
            },
        };
        let keep = keep.saturating_sub(self.since.elapsed());
        let host = Proof::Unconfirmed;
        Proved { host, keep }
    }
}
