//! What the ledger tells by itself, to one listener.

use std::sync::Arc;

use harp_values::JobId;

use super::{Answer, Hold, Token, Unreadable};
use crate::record::{CallRecord, EndRecord};

/// What the ledger tells.
#[derive(Debug)]
pub enum News {
    /// A job has its turn, and is to be run here.
    Turn(Turn),
    /// Somebody elsewhere wants a job to be cancelled that is held here.
    Wish(Hold),
    /// Something has become durable.
    Change(Change),
    /// All that is held here is held by others now.
    Fenced,
}

/// A job that has its turn. Whoever gets this is the only one to write the job.
#[derive(Debug)]
pub struct Turn {
    /// The right to write it.
    pub hold: Hold,
    /// How far it has come.
    pub start: Start,
    /// How many packets are kept of it, those of earlier attempts included.
    pub packets: u64,
    /// Its call, being read if it is not at hand; `None` if its record is gone.
    pub call: Answer<Option<Box<CallRecord>>, Unreadable>,
}

/// How far a job has come that gets its turn. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// It waited; its start is recorded while its host is connected to.
    ToRecord,
    /// Its start is recorded, and nothing has gone out.
    Recorded {
        /// When it started.
        at: u64,
        /// What the transport gave along.
        token: Token,
    },
    /// It runs at its host, which is to be attached to.
    Attach {
        /// When it started.
        at: u64,
        /// What the transport noted last.
        token: Token,
    },
    /// It has ended, and something is still owed.
    Settle {
        /// What the transport noted of that.
        token: Token,
    },
}

/// A change that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The job.
    pub job: JobId,
    /// What has changed.
    pub what: What,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// What has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It was taken in.
    Submitted {
        /// Whoever handed it in was told that it may exist, or not.
        is_late: bool,
    },
    /// It has started.
    Started,
    /// It has ended.
    Ended(Arc<EndRecord>),
    /// It waits for another attempt.
    BackToWait,
    /// Its places are free.
    Released,
    /// It is gone.
    Pruned,
}
