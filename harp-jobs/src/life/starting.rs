//! A job that has its turn: its host is being reached while its start goes on record, and
//! nothing of the call has gone out.

use std::time::Duration;

use harp_values::Outcome;

use super::standing::{Begun, Link, StartRecord};
use super::{Event, Life, Order, Orders, Standing, Unexpected, limits};
use crate::failures;
use crate::transport::Proof;
use crate::world::Moment;

impl Life {
    pub(super) fn on_starting(&mut self, event: Event, now: Moment) -> Result<Orders, Unexpected> {
        let Standing::Starting { link, record } = &mut self.standing else {
            return Ok(Orders::none());
        };
        let (is_opening, record) = (*link == Link::Opening, *record);
        // Nothing can be put on record that says that nobody has run the call.
        let unsaid = self.terms.unrun.is_none();
        let orders = match event {
            Event::LinkReady { keeps } if is_opening => {
                self.keeps = keeps;
                match record {
                    _ if keeps && self.leaving && unsaid => self.done([Order::Drop]),
                    StartRecord::Asked { .. } => {
                        *link = Link::Ready(now);
                        Orders::none()
                    }
                    StartRecord::Made(run) => self.commit(run),
                }
            }
            Event::LinkFailed(failure) if is_opening => match record {
                StartRecord::Asked { .. } => {
                    *link = Link::Failed(failure, now);
                    Orders::none()
                }
                StartRecord::Made(_) => {
                    self.end(Outcome::Error(failure), Some(Proof::Confirmed), now)
                }
            },
            Event::Started if matches!(record, StartRecord::Asked { .. }) => self.on_started(now),
            Event::Taken(end) if record == (StartRecord::Asked { before: false }) => self.done([
                Order::Drop,
                Order::ShowEnd(end),
                Order::ShowHost(Proof::Confirmed),
            ]),
            Event::Cancel => self.drop_and_end(Outcome::Cancelled, Proof::Confirmed, now),
            Event::Due => match self.limit_reached(now)? {
                Some(limit) => {
                    let outcome = self.outcome_of(limit);
                    self.drop_and_end(outcome, Proof::Confirmed, now)
                }
                None => Orders::none(),
            },
            Event::Leave => match self.left_unrun(record) {
                Some(orders) => orders,
                None if self.keeps && unsaid => self.done([Order::Drop]),
                None => {
                    self.leaving = true;
                    Orders::none()
                }
            },
            Event::Interrupt => match (self.left_unrun(record), record) {
                (Some(orders), _) => orders,
                // The start may be on record, and is once it is answered.
                (None, StartRecord::Asked { before: false }) if !unsaid => {
                    self.leaving = true;
                    Orders::none()
                }
                // It goes on waiting, for the next start.
                (None, StartRecord::Asked { before: false }) => self.done([Order::Drop]),
                (None, _) => self.drop_and_end(limits::interrupted(), Proof::Confirmed, now),
            },
            Event::Fenced | Event::Shut => self.done([Order::Drop]),
            Event::Refused(failure) => {
                self.drop_and_end(Outcome::Error(failure), Proof::Confirmed, now)
            }
            Event::Fault => {
                let outcome = Outcome::Error(failures::internal());
                self.drop_and_end(outcome, Proof::Confirmed, now)
            }
            event => return Err(self.unexpected(&event)),
        };
        Ok(orders)
    }

    fn on_started(&mut self, now: Moment) -> Orders {
        let run = Begun::new(&self.terms, Duration::ZERO, now);
        if self.leaving
            && let Some(orders) = self.left_unrun(StartRecord::Made(run))
        {
            return orders;
        }
        let Standing::Starting { link, record } = &mut self.standing else {
            return Orders::none();
        };
        match link {
            Link::Opening => {
                *record = StartRecord::Made(run);
                Orders::none()
            }
            // The host may have closed it meanwhile, or be there by now.
            Link::Ready(since) | Link::Failed(_, since)
                if now.since(*since) >= self.terms.connect =>
            {
                *link = Link::Opening;
                *record = StartRecord::Made(run);
                [Order::Drop, Order::Begin].into()
            }
            Link::Ready(_) => self.commit(run),
            Link::Failed(failure, _) => {
                let outcome = Outcome::Error(failure.clone());
                self.end(outcome, Some(Proof::Confirmed), now)
            }
        }
    }

    /// Leaves a call of which a start is on record, and nothing has gone out, to the next start.
    fn left_unrun(&mut self, record: StartRecord) -> Option<Orders> {
        let is_on_record = record != StartRecord::Asked { before: false };
        let unrun = self.terms.unrun.clone().filter(|_| is_on_record)?;
        Some(self.done([Order::Note(unrun), Order::Drop]))
    }
}
