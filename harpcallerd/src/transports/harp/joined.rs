//! A connection over which a call is had that its host keeps, and what is said of a call.

use std::sync::Arc;

use harp_host::{HostError, Phase};
use harp_jobs::transport::Heard;
use harp_time::Limit;
use tokio::time::Instant;

use super::attach::Leave;
use super::idle::Line;
use super::token::Note;
use crate::host_attempts::Try;
use crate::hosts::Harpd;

/// What a call has come to.
pub(super) enum Said {
    /// This was heard.
    Heard(Heard),
    /// The call was certainly not run, and its host is to be tried again.
    Again,
    /// The call was certainly not run, and may run once the note is on record, over this
    /// connection.
    NeverRan(Note, Box<Joined>),
}

impl Said {
    /// Whether nothing of the call is left at the host.
    pub(super) fn leaves_nothing(&self) -> bool {
        match self {
            Said::Again | Said::NeverRan(..) => true,
            Said::Heard(heard) => {
                matches!(heard, Heard::NeverRan(_) | Heard::End { left: false, .. })
            }
        }
    }
}

/// A connection over which a call is had.
pub(super) struct Joined {
    pub(super) line: Line,
    host: Arc<Harpd>,
    pub(super) asked: Asked,
    /// Until when the host has to answer.
    by: Limit,
    /// When it has answered.
    pub(super) answered: Option<Instant>,
    pub(super) turn: Option<Try>,
    pub(super) leave: Option<Leave>,
    is_cancelled: bool,
}

/// What the host was asked for on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// To run the call.
    Request,
    /// To go on with it.
    Attach,
}

impl Joined {
    /// A connection on which this was asked, to be answered by then, or later if this process
    /// stood still while the connection was made.
    pub(super) fn new(line: Line, host: Arc<Harpd>, asked: Asked, by: Instant) -> Joined {
        let by = Limit::until(by + line.connection.delay());
        Joined {
            line,
            host,
            asked,
            by,
            answered: None,
            turn: None,
            leave: None,
            is_cancelled: false,
        }
    }

    pub(super) fn with_turn(mut self, turn: Try) -> Joined {
        self.turn = Some(turn);
        self
    }

    /// The connection, which has no call, and its host.
    pub(super) fn into_line(self) -> (Line, Arc<Harpd>) {
        (self.line, self.host)
    }

    /// When the connection is taken for broken if nothing comes.
    pub(super) fn limit(&self) -> Instant {
        match self.answered {
            Some(_) => self.line.connection.broken_at(),
            None => self.by.end(),
        }
    }

    /// Judges that limit. One for an answer is put off if it is noticed late.
    pub(super) fn is_broken(&mut self) -> bool {
        match self.answered {
            Some(_) => self.line.connection.broken_at() <= Instant::now(),
            None => self.by.is_reached(),
        }
    }

    pub(super) fn timed_out(&self) -> HostError {
        let phase = match self.answered {
            Some(_) => Phase::Stream,
            None => Phase::Acknowledge,
        };
        HostError::timed_out(self.line.connection.endpoint(), phase)
    }

    pub(super) fn cancel(&mut self) {
        if !std::mem::replace(&mut self.is_cancelled, true) {
            self.line.connection.cancel();
        }
    }
}
