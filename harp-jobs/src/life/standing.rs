//! Where a job stands that has its turn.

use std::time::Duration;

use harp_values::{Failure, Outcome};

use super::Terms;
use crate::ledger::Then;
use crate::transport::Proof;
use crate::world::Moment;

/// Where a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing has gone out.
    Starting {
        /// How far the connection has come.
        link: Link,
        /// How far the start has come.
        record: StartRecord,
    },
    /// The request is going out: something of it may be at the host.
    Committing {
        /// Since when it runs.
        run: Begun,
        /// What is done when it is known what became of the request.
        wish: Option<Wish>,
    },
    /// The call is at its host.
    Running {
        /// Since when it runs.
        run: Begun,
        /// When the host was heard last.
        heard: Moment,
        /// Whether the host is read. One that is not is not silent.
        read: bool,
        /// Whether the host can be heard.
        reach: Reach,
    },
    /// The call was given up, and its host's last words are waited for.
    Parting {
        /// How the job ends.
        outcome: Outcome,
        /// How long they are waited for.
        until: Moment,
        /// Bytes of packets that came since.
        bytes: usize,
    },
    /// The end is being recorded.
    Ending {
        /// What becomes of the job.
        then: Then,
        /// What is known of the host; `None` if it may still be busy.
        host: Option<Proof>,
    },
    /// The end is on record, and the host may still be busy.
    Settling {
        /// Whether something is owed on record.
        debt: bool,
        /// What is known of the host, once it is.
        host: Option<Proof>,
        /// Until when the places are kept; `None` if that is not known, or over.
        until: Option<Moment>,
    },
    /// Nothing more is to be done here.
    Done,
}

/// How far the connection to a host has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// It is being made.
    Opening,
    /// It has been there since.
    Ready(Moment),
    /// It could not be made; known since.
    Failed(Failure, Moment),
}

/// How far the start of a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartRecord {
    /// It is being recorded, and the limits do not count yet.
    Asked {
        /// Whether one is on record from before, of which nothing has come.
        before: bool,
    },
    /// It is on record.
    Made(Begun),
}

/// A start that is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begun {
    /// From when on the limits count.
    pub begun: Moment,
    /// When the execution has to have ended.
    pub end_by: Moment,
}

/// Whether a host can be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// It can.
    Together,
    /// It can not at present.
    Apart,
    /// It has not been attached to yet. A limit that has passed meanwhile ends the job only
    /// when it has been: by then the call may have ended by itself.
    Attaching,
    /// It is waited for, and nothing of the call has gone out; that is on record, or is being
    /// recorded.
    Unrun,
}

/// What is wanted of a job whose request is going out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It is cancelled.
    Cancel,
    /// A limit is reached.
    Limit(Limit),
    /// The dispatcher's stop waits no longer.
    Interrupt,
    /// It is left to whoever comes next.
    Leave,
}

/// The limits of an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The host was silent for too long.
    Silence,
    /// It took too long in all.
    Execution,
}

impl Begun {
    /// A start of a job that has run for `already`; the silence counts from now on.
    pub(super) fn new(terms: &Terms, already: Duration, now: Moment) -> Begun {
        Begun {
            begun: now,
            end_by: now + terms.longest.saturating_sub(already),
        }
    }
}
