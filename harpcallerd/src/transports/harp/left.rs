//! What may be left of a call at its host when its job has ended, and how that is found out.

use std::time::Duration;

use harp_host::{HostCall, HostError, Parting};
use harp_jobs::ledger::Token;
use harp_jobs::transport::Proof;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::job::ExecutionLimits;

/// The debt of a call whose host may not know that the connection is gone.
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
    /// The host has ended the call, which does not prove that nothing runs on.
    Nothing,
    /// The host may be busy, and is still connected.
    Call(Box<HostCall>),
    /// The host may be busy for so long, and nobody can ask it.
    Silent(Duration),
    /// The host may be busy, and may not know that the connection is gone.
    Lost,
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

    /// Of a call that the host has ended.
    pub(super) fn nothing() -> Left {
        Left::new(What::Nothing)
    }

    /// Of a call that is given up.
    pub(super) fn call(call: HostCall) -> Left {
        Left::new(What::Call(Box::new(call)))
    }

    /// Of a call that ran when this process began.
    pub(super) fn at_restart(limits: &ExecutionLimits) -> Left {
        Left::new(What::Silent(limits.slot_grace))
    }

    /// Of a call that had ended when this process began.
    pub(super) fn of_debt(debt: &Token, limits: &ExecutionLimits) -> Left {
        if debt.0 == LOST {
            return Left::new(What::Lost);
        }
        Left::at_restart(limits)
    }

    /// Of a call that has ended with this fault.
    pub(super) fn after(error: &HostError, call: Option<HostCall>) -> Left {
        Left::new(match call {
            _ if error.is_break() => What::Lost,
            Some(call) if error.leaves_host_busy() => What::Call(Box::new(call)),
            _ => What::Nothing,
        })
    }

    /// Whether the host may still be busy.
    pub(super) fn is_something(&self) -> bool {
        match self.what {
            What::NeverThere | What::Nothing => false,
            What::Call(_) | What::Silent(_) | What::Lost => true,
        }
    }

    /// What has to be on record while it may be.
    pub(super) fn debt(&self) -> Token {
        match self.what {
            What::Lost => Token(LOST.into()),
            _ => Token::default(),
        }
    }

    /// Tells the host that the call is no longer wanted, within `slot_grace`. Cancel safe.
    pub(super) async fn tell(&mut self, limits: &ExecutionLimits) {
        if let What::Call(call) = &mut self.what {
            let by = self.since + limits.slot_grace;
            // A host that does not take it in is found out by waiting for it.
            let _ = timeout_at(by, call.tell_cancel()).await;
        }
    }

    /// Waits until the host is done, or can have nothing left: at most `slot_grace`, or
    /// `break_grace` for a host that may not know that the connection is gone. Cancel safe.
    pub(super) async fn prove(&mut self, limits: &ExecutionLimits) -> Proof {
        let slot_grace_over = self.since + limits.slot_grace;
        let break_grace_over = self.since + limits.break_grace;
        match &mut self.what {
            What::NeverThere => return Proof::Confirmed,
            What::Nothing => return Proof::Unconfirmed,
            What::Silent(grace) => {
                sleep_until(self.since + *grace).await;
                return Proof::Unconfirmed;
            }
            What::Lost => {}
            What::Call(call) => match timeout_at(slot_grace_over, call.part()).await {
                Ok(Parting::Proved) => return Proof::Confirmed,
                Ok(Parting::Closed) => return Proof::Unconfirmed,
                Ok(Parting::Lost) => {}
                // Without an answer in time there is nothing more to wait for, if the host
                // can know that it is not wanted any more.
                Err(_) if call.is_told().await => return Proof::Unconfirmed,
                Err(_) => {}
            },
        }
        sleep_until(break_grace_over).await;
        Proof::Unconfirmed
    }
}
