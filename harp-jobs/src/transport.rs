//! The transport: how one call is made at one host. The door to it, and what passes
//! through.

mod unreached;

use std::sync::Arc;
use std::time::Duration;

use harp_values::{Evidence, Failure, Outcome};

pub use self::unreached::Unreached;
pub use crate::batch::Batch;
use crate::hold::{Hold, Token};
use crate::lineup::pool::PoolId;
use crate::record::{CallRecord, Remarks};
use crate::world::{BoxFuture, Moment};

/// A way of making calls.
pub trait Transport: Send + Sync {
    /// What goes on record with the start of a call. Waits for nothing.
    fn mint(&self, call: &CallRecord) -> Minted;

    /// Begins an attempt. Nothing goes out before [`Attempt::commit`].
    fn begin(&self, hold: Hold, call: Arc<CallRecord>, how: How, token: Token) -> Box<dyn Attempt>;

    /// What is to be on record beside this outcome of a call that has this token. The call
    /// may be without its arguments and info. Waits for nothing.
    fn remarks(&self, call: &CallRecord, token: &Token, outcome: &Outcome) -> Remarks {
        let _ = (call, token, outcome);
        Remarks::default()
    }

    /// What says on record of a call, in place of this token, that nobody has run it, so that a
    /// later start begins it. `None` if nothing does: such a call ends with this start. Waits for
    /// nothing.
    fn unrun(&self, call: &CallRecord, token: &Token) -> Option<Token> {
        let _ = (call, token);
        None
    }
}

/// What a transport gives along for the start of a call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Minted {
    /// Its note for the start record.
    pub token: Token,
    /// The pool, if workers fetch such calls.
    pub pool: Option<PoolId>,
}

/// How far a call has come when an attempt is begun for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Nothing of it has gone out.
    New,
    /// It runs at its host.
    Attach {
        /// The number of the first packet that is wanted.
        since: u64,
    },
    /// It has ended, and something is owed.
    Settle,
}

/// One call at one host, over as many connections as it takes.
///
/// One of its futures is polled at a time. All but that of [`Attempt::commit`] may be
/// dropped before they complete, and nothing is lost. Dropping the attempt gives the call
/// up without a word; a host that does not keep calls ends it then.
pub trait Attempt: Send {
    /// Makes everything ready, so that only the request has to go out.
    ///
    /// # Errors
    ///
    /// What went wrong: the call has certainly not been run.
    fn ready(&mut self, by: Moment) -> BoxFuture<'_, Result<(), Failure>>;

    /// Sends the request. Not dropped before it completes: something may have gone out.
    fn commit(&mut self, by: Moment) -> BoxFuture<'_, Commit>;

    /// Waits for something to be heard, and takes in whatever has arrived with it. Waits
    /// for nothing once something was heard.
    fn next<'a>(&'a mut self, into: &'a mut Batch) -> BoxFuture<'a, Heard>;

    /// While the host is not read, since no more of what it says can be taken: lets it know
    /// that the call is still wanted. Never completes.
    fn hold_on(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// Whether the host has last words for a call that is given up: packets, or
    /// [`Attempt::evidence`]. Not before it has acknowledged the call.
    fn talks(&self) -> bool;

    /// What a call that was given up had printed, as its host has said with its end. Given once.
    fn evidence(&mut self) -> Option<Evidence> {
        None
    }

    /// When the host was heard last, be it by a part of a message. `None` if it is by what
    /// [`Attempt::next`] says alone.
    fn heard(&self) -> Option<Moment>;

    /// Something is durable now and may be acknowledged. Waits for nothing.
    fn stored(&mut self, what: Stored);

    /// Tells the host that the call is given up. Completes in bounded time. What the host
    /// still says is heard by [`Attempt::next`]: an end with nothing left proves then that
    /// the host is done.
    fn tell(&mut self) -> BoxFuture<'_, ()>;

    /// Waits until the host is done with a call that has ended, or nothing more can be found
    /// out. Completes in bounded time.
    fn prove(&mut self) -> BoxFuture<'_, Proved>;

    /// Whether the host goes on with the call while nobody is connected. Known once it is
    /// ready, or told later by [`Heard::Note`]; always so of one that is attached to.
    fn keeps(&self) -> bool;

    /// What has to be on record with the end while the host may be busy, for whoever settles
    /// what is owed; `None` if nothing is, as of a job that has no place in a queue.
    fn debt(&self) -> Option<Token>;

    /// Lets go of a call that its host is to go on with.
    fn detach(self: Box<Self>);
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Commit {
    /// It is at the host, or may be.
    Done,
    /// It has not gone out, and this has to be on record before.
    First(Token),
    /// It could not be sent.
    Not {
        /// Why.
        failure: Failure,
        /// Whether the call has certainly not been run.
        certain: bool,
    },
}

/// What was heard of a call. Packets are in the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The host is at work: an acknowledgement.
    Sign,
    /// Packets.
    Packets,
    /// This has to be on record: the host goes on with the call while nobody is connected,
    /// and by this a later start finds it again.
    Note(Token),
    /// Nobody has run the call, and its host is waited for. This has to be on record, and by this
    /// a later start begins it. [`Heard::NeverRan`] follows, or the end.
    Unrun(Token),
    /// The host cannot be reached; the call goes on there.
    Apart,
    /// The host can be reached again, and the call goes on there. Not said of one that has
    /// ended meanwhile: its end counts, whatever limit has passed.
    Back,
    /// The host has never had the request. It may go out once this is on record.
    NeverRan(Token),
    /// The call has ended.
    End {
        /// How.
        outcome: Outcome,
        /// Whether the host may still be busy with it.
        left: bool,
    },
}

/// What is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// All packets below this number.
    Packets(u64),
    /// The newest note.
    Note,
    /// The end.
    End,
}

/// What has been found out about a call that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proved {
    /// What is known of the host.
    pub host: Proof,
    /// For how much longer the places of its job are to be kept, for a host that may still
    /// be busy.
    pub keep: Duration,
}

impl Proved {
    /// The places are free.
    #[must_use]
    pub fn free(host: Proof) -> Proved {
        let keep = Duration::ZERO;
        Proved { host, keep }
    }
}

/// What is known of a host about a call that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// Nothing of it is left there.
    Confirmed,
    /// Nothing is known.
    Unconfirmed,
}
