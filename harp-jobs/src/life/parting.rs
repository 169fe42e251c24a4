//! What a host still says of a call that was given up: the packets that its procedure
//! yields while it is being ended, and what it had printed, come before the job's end.

use harp_values::Outcome;

use super::{Event, Life, Order, Orders, Reach, Standing, Unexpected};
use crate::ledger::{Lost, Then};
use crate::transport::Proof;
use crate::world::Moment;

/// Packets that are taken in all, in bytes as a batch counts them. A host that sends without
/// end is not to keep its job from ending.
pub(super) const MOST: usize = 1024 * 1024;

impl Life {
    /// Gives up a call that a cancel or a limit ends. Where its host has last words they
    /// are waited for, otherwise the end is recorded at once, as it is of a call that nobody has run.
    pub(super) fn part(&mut self, outcome: Outcome, now: Moment) -> Orders {
        let reach = match &self.standing {
            Standing::Running { reach, .. } => Some(*reach),
            _ => None,
        };
        if reach == Some(Reach::Unrun) {
            return self.drop_and_end(outcome, Proof::Confirmed, now);
        }
        let is_heard = reach == Some(Reach::Together);
        if !is_heard || !self.talks || self.terms.last_words.is_zero() {
            return self.tell_and_end(outcome, now);
        }
        self.standing = Standing::Parting {
            outcome,
            until: now + self.terms.last_words,
            bytes: 0,
        };
        [Order::Tell, Order::Listen].into()
    }

    pub(super) fn on_parting(&mut self, event: Event, now: Moment) -> Result<Orders, Unexpected> {
        let Standing::Parting { outcome, bytes, .. } = &mut self.standing else {
            return Ok(Orders::none());
        };
        let outcome = outcome.clone();
        let host = match event {
            Event::Sign(sign) => {
                *bytes += sign.bytes;
                if *bytes <= MOST {
                    return Ok(Orders::none());
                }
                None
            }
            Event::Due => {
                if self.is_over(now)? {
                    None
                } else {
                    return Ok(Orders::none());
                }
            }
            Event::Note(token) | Event::Unrun(token) => return Ok([Order::Note(token)].into()),
            // It was given up already.
            Event::Reading(_) | Event::Back | Event::Cancel | Event::Leave => {
                return Ok(Orders::none());
            }
            // Nothing of it is left: of a call that was given up this is what its end says.
            Event::HostEnd { left: false, .. } => Some(Proof::Confirmed),
            Event::NeverRan { .. } => {
                return Ok(self.drop_and_end(outcome, Proof::Confirmed, now));
            }
            Event::HostEnd { left: true, .. } | Event::Apart => None,
            Event::Cut(_)
            | Event::Interrupt
            | Event::Refused(_)
            | Event::Unkept(Lost::Refused(_)) => None,
            Event::Fenced | Event::Shut | Event::Unkept(_) => {
                return Ok(self.done([Order::Detach]));
            }
            Event::Fault => {
                return Ok(self.drop_and_close(Then::End(outcome)));
            }
            event => return Err(self.unexpected(&event)),
        };
        Ok(self.end(outcome, host, now))
    }
}
