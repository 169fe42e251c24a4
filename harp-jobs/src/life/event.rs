//! What can happen to a job that has its turn.

use std::sync::Arc;

use harp_values::{Failure, Outcome};

use crate::ledger::{Closed, Lost, Token};
use crate::record::EndRecord;
use crate::transport::Proved;
use crate::world::Moment;

/// What has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The attempt is ready: only the request has to go out.
    LinkReady {
        /// Whether the host goes on with the call while nobody is connected.
        keeps: bool,
    },
    /// The attempt could not be made ready. The call has certainly not been run.
    LinkFailed(Failure),
    /// The start is on record.
    Started,
    /// The job has ended before its start.
    Taken(Arc<EndRecord>),
    /// The request is at the host, or may be.
    Committed,
    /// The request has not gone out, and this has to be on record before.
    First {
        /// This.
        token: Token,
        /// Whether the host goes on with the call while nobody is connected.
        keeps: bool,
    },
    /// The request could not be sent.
    NotCommitted {
        /// Why.
        failure: Failure,
        /// Whether the call has certainly not been run.
        certain: bool,
    },
    /// The host was heard.
    Sign(Sign),
    /// The host is read from now on, or not, because its packets are not taken.
    Reading(bool),
    /// The transport wants this on record.
    Note(Token),
    /// Nobody has run the call, its host is waited for, and this is to be on record.
    Unrun(Token),
    /// The host cannot be reached; the call goes on there.
    Apart,
    /// The host can be reached again.
    Back,
    /// The host has never had the request. It may go out once this is on record.
    NeverRan {
        /// This.
        token: Token,
        /// Whether the host goes on with the call while nobody is connected.
        keeps: bool,
    },
    /// The call has ended.
    HostEnd {
        /// How.
        outcome: Outcome,
        /// Whether the host may still be busy with it.
        left: bool,
    },
    /// The call cannot go on: its packets are too many.
    Cut(Failure),
    /// Packets of the call are never kept.
    Unkept(Lost),
    /// Somebody wants the job to be cancelled.
    Cancel,
    /// [`Life::due`](super::Life::due) is over.
    Due,
    /// The dispatcher stops.
    Leave,
    /// The dispatcher's stop waits no longer.
    Interrupt,
    /// The end of the attempt is on record.
    Closed(Closed),
    /// What has been found out about a call that has ended.
    Proved(Proved),
    /// What was owed is paid.
    Settled,
    /// Somebody else holds the job.
    Fenced,
    /// The ledger is closed.
    Shut,
    /// What was to be written never can be, although the ledger works.
    Refused(Failure),
    /// The program met a fault of its own in this job; the attempt is gone.
    Fault,
}

/// A sign of life of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign {
    /// When it came.
    pub at: Moment,
    /// Bytes of packets that came with it.
    pub bytes: usize,
    /// Whether the host has last words for a call that is given up
    /// ([`Attempt::talks`](crate::transport::Attempt::talks)).
    pub talks: bool,
}
