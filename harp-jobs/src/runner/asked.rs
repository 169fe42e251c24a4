//! What the ledger was asked for last, and has not answered. A new question takes the place
//! of the one before: the ledger answers one job's in their order.

use super::failures;
use crate::ledger::{Answer, Closed, Lost};
use crate::life::Event;

/// A receipt that is waited for.
#[derive(Debug, Default)]
pub(super) enum Asked {
    /// None.
    #[default]
    Nothing,
    /// Whether the start is on record.
    Start(Answer<u64, Lost>),
    /// Whether the transport's note is.
    Note(Answer<(), Lost>),
    /// Whether the end is.
    Close(Answer<Closed, Lost>),
    /// Whether that nothing is owed is.
    Settle(Answer<(), Lost>),
}

/// What the ledger has answered.
#[derive(Debug)]
pub(super) enum Reply {
    /// This has happened.
    Event(Event),
    /// The newest note is on record.
    Noted,
    /// The attempt has ended, as is on record.
    Closed(Closed),
}

impl Asked {
    /// The next answer; never if nothing was asked. Cancel safe.
    pub(super) async fn answer(&mut self) -> Reply {
        let reply = match self {
            Asked::Nothing => std::future::pending().await,
            Asked::Start(answer) => match answer.await {
                Ok(_) => Reply::Event(Event::Started),
                Err(Lost::Taken(end)) => Reply::Event(Event::Taken(end)),
                Err(lost) => Reply::Event(lost_event(lost)),
            },
            Asked::Note(answer) => match answer.await {
                Ok(()) => Reply::Noted,
                Err(lost) => Reply::Event(lost_event(lost)),
            },
            Asked::Close(answer) => match answer.await {
                Ok(closed) => Reply::Closed(closed),
                // It had ended before its start: that is its end.
                Err(Lost::Taken(end)) => Reply::Closed(Closed {
                    end: Some(end),
                    debt: false,
                }),
                Err(lost) => Reply::Event(lost_event(lost)),
            },
            Asked::Settle(answer) => match answer.await {
                Ok(()) => Reply::Event(Event::Settled),
                Err(lost) => Reply::Event(lost_event(lost)),
            },
        };
        *self = Asked::Nothing;
        reply
    }
}

/// What it means for a job that something of it is never written.
fn lost_event(lost: Lost) -> Event {
    match lost {
        Lost::Fenced | Lost::Taken(_) => Event::Fenced,
        Lost::Closed => Event::Shut,
        Lost::Refused(why) => Event::Refused(failures::storage(&why)),
    }
}
