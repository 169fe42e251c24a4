//! A job's life from its turn to the moment when nothing of it is left at its host: where
//! it stands, and what is to be done when something happens. Pure: no clock, no lock, no
//! I/O.
//!
//! [`Life::on`] takes an event and returns orders; whoever runs the job carries them out
//! and decides nothing. Its table is in ARCHITECTURE.md and, as data, in `life/table.rs`,
//! and `life/walk.rs` holds this code to it for every pair that can come.

mod event;
mod limits;
mod order;
mod parting;
mod retry;
mod settling;
mod standing;
mod starting;
#[cfg(test)]
mod table;
mod terms;
#[cfg(test)]
mod walk;

use std::time::Duration;

use harp_values::Outcome;

pub use self::event::{Event, Sign};
pub use self::order::{Order, Orders};
pub use self::retry::Retry;
pub use self::standing::{Begun, Limit, Link, Reach, Standing, StartRecord, Wish};
pub use self::terms::Terms;
use crate::failures;
use crate::ledger::{Closed, Lost, Start, Then, Token};
use crate::transport::Proof;
use crate::world::Moment;
use limits::PutOff;

/// One job's life.
#[derive(Debug, Clone)]
pub struct Life {
    standing: Standing,
    terms: Terms,
    /// Whether a later start can take the call up: it goes on there, or nobody has run it.
    keeps: bool,
    /// Whether the host has last words for a call that is given up: known once it has
    /// acknowledged the call.
    talks: bool,
    /// What is due at present, if that was noticed late.
    put_off: PutOff,
    /// Bytes of packets that came since a limit was due: what had arrived counts before it.
    beyond: usize,
    /// The dispatcher stops: a request that has not gone out, to a host that keeps calls,
    /// goes out no more, and a call that its host turns out to keep is let go of.
    leaving: bool,
}

impl Life {
    /// The life of a job that has its turn, and what is to be done first.
    #[must_use]
    pub fn new(start: &Start, terms: Terms, now: Moment) -> (Life, Orders) {
        let mut keeps = false;
        let (standing, orders) = match start {
            Start::ToRecord => (
                Standing::Starting {
                    link: Link::Opening,
                    record: StartRecord::Asked { before: false },
                },
                [Order::Begin, Order::Start(None)].into(),
            ),
            Start::Recorded { .. } => (
                Standing::Starting {
                    link: Link::Opening,
                    record: StartRecord::Made(Begun::new(&terms, Duration::ZERO, now)),
                },
                [Order::Begin].into(),
            ),
            Start::Attach { .. } => {
                keeps = true;
                let run = Begun::new(&terms, terms.already, now);
                let standing = Standing::Running {
                    run,
                    heard: now,
                    read: true,
                    reach: Reach::Attaching,
                };
                (standing, [Order::Listen].into())
            }
            Start::Settle { .. } => {
                keeps = true;
                let standing = Standing::Settling {
                    debt: true,
                    host: None,
                    until: None,
                };
                (standing, [Order::Prove].into())
            }
        };
        let life = Life {
            standing,
            terms,
            keeps,
            talks: false,
            put_off: PutOff::default(),
            beyond: 0,
            leaving: false,
        };
        (life, orders)
    }

    /// Where the job stands.
    #[must_use]
    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Whether the life is over.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.standing == Standing::Done
    }

    /// Something has happened: where the job stands changes, and what is returned has to be
    /// done, in this order. In [`Standing::Done`] nothing happens any more.
    ///
    /// # Errors
    ///
    /// [`Unexpected`] for an event that cannot come where the job stands: a fault of this
    /// program. Nothing has changed then.
    pub fn on(&mut self, event: Event, now: Moment) -> Result<Orders, Unexpected> {
        match self.standing {
            Standing::Starting { .. } => self.on_starting(event, now),
            Standing::Committing { .. } => self.on_committing(event, now),
            Standing::Running { .. } => self.on_running(event, now),
            Standing::Parting { .. } => self.on_parting(event, now),
            Standing::Ending { .. } => self.on_ending(event),
            Standing::Settling { .. } => self.on_settling(event, now),
            Standing::Done => Ok(Orders::none()),
        }
    }

    fn on_committing(&mut self, event: Event, now: Moment) -> Result<Orders, Unexpected> {
        let Standing::Committing { run, wish: wished } = self.standing else {
            return Ok(Orders::none());
        };
        let orders = match event {
            Event::Committed => match wished {
                None => {
                    self.standing = Standing::Running {
                        run,
                        heard: run.begun,
                        read: true,
                        reach: Reach::Together,
                    };
                    [Order::Listen].into()
                }
                Some(Wish::Leave) => self.done([Order::Detach]),
                Some(wish) => self.tell_and_end(self.wanted(wish), now),
            },
            Event::First { token, keeps } => match wished {
                None => self.start_anew(token, keeps, now),
                Some(Wish::Leave) => self.done([Order::Drop]),
                Some(wish) => self.drop_and_end(self.wanted(wish), Proof::Confirmed, now),
            },
            Event::NotCommitted { failure, certain } => {
                let outcome = match wished {
                    None => Outcome::Error(failure),
                    Some(Wish::Leave) => return Ok(self.done([Order::Drop])),
                    Some(wish) => self.wanted(wish),
                };
                if certain {
                    self.drop_and_end(outcome, Proof::Confirmed, now)
                } else {
                    // All of it may have come to the host all the same.
                    self.tell_and_end(outcome, now)
                }
            }
            Event::Cancel => self.wish(Wish::Cancel),
            Event::Due => match self.limit_reached(now)? {
                Some(limit) => self.wish(Wish::Limit(limit)),
                None => Orders::none(),
            },
            Event::Leave if self.keeps => self.wish(Wish::Leave),
            Event::Leave => Orders::none(),
            Event::Interrupt => self.wish(Wish::Interrupt),
            // Nothing can be recorded any more, whatever else was wanted.
            Event::Fenced | Event::Shut => {
                let wish = Some(Wish::Leave);
                self.standing = Standing::Committing { run, wish };
                Orders::none()
            }
            Event::Fault => self.give_up(),
            event => return Err(self.unexpected(&event)),
        };
        Ok(orders)
    }

    fn on_running(&mut self, event: Event, now: Moment) -> Result<Orders, Unexpected> {
        let Standing::Running {
            run,
            heard,
            read,
            reach,
        } = &mut self.standing
        else {
            return Ok(Orders::none());
        };
        let orders = match event {
            Event::Sign(sign) => {
                *heard = sign.at.max(*heard);
                self.talks = sign.talks;
                self.heard_more(sign.bytes, now)?
            }
            Event::Back => {
                (*heard, *reach) = (now, Reach::Together);
                Orders::none()
            }
            Event::Apart => {
                if *reach == Reach::Together {
                    *reach = Reach::Apart;
                }
                Orders::none()
            }
            Event::Reading(reads) => {
                (*heard, *read) = (now, reads);
                Orders::none()
            }
            Event::Note(token) => self.on_note(token),
            Event::Unrun(token) => {
                if *reach == Reach::Attaching {
                    // What has passed since was nobody's time.
                    *run = Begun::new(&self.terms, Duration::ZERO, now);
                }
                (*heard, *reach) = (now.max(*heard), Reach::Unrun);
                self.on_note(token)
            }
            Event::NeverRan { token, keeps } => self.start_anew(token, keeps, now),
            Event::HostEnd { outcome, left } if left => self.tell_and_end(outcome, now),
            Event::HostEnd { outcome, .. } => self.end(outcome, Some(Proof::Unconfirmed), now),
            Event::Cut(failure) | Event::Refused(failure) => {
                self.tell_and_end(Outcome::Error(failure), now)
            }
            Event::Unkept(Lost::Refused(why)) => {
                self.tell_and_end(Outcome::Error(failures::storage(&why)), now)
            }
            Event::Cancel => self.part(Outcome::Cancelled, now),
            Event::Due => self.judge(now)?,
            Event::Leave if self.keeps => self.done([Order::Detach]),
            Event::Leave => {
                self.leaving = true;
                Orders::none()
            }
            Event::Interrupt if *reach == Reach::Unrun => self.done([Order::Detach]),
            Event::Interrupt => self.tell_and_end(limits::interrupted(), now),
            Event::Fenced | Event::Shut | Event::Unkept(_) => self.done([Order::Detach]),
            Event::Fault => self.give_up(),
            event => return Err(self.unexpected(&event)),
        };
        Ok(orders)
    }

    /// What is on record so, a later start takes up.
    fn on_note(&mut self, token: Token) -> Orders {
        self.keeps = true;
        if self.leaving {
            self.done([Order::Note(token), Order::Detach])
        } else {
            [Order::Note(token)].into()
        }
    }

    fn on_ending(&mut self, event: Event) -> Result<Orders, Unexpected> {
        let Standing::Ending { then, host } = &self.standing else {
            return Ok(Orders::none());
        };
        let orders = match event {
            Event::Closed(closed) => self.on_closed(closed),
            // One that waits for another attempt is withdrawn by whoever cancels it. Of packets
            // the answer to the end says more.
            Event::Cancel | Event::Leave | Event::Interrupt | Event::Unkept(_) => Orders::none(),
            // Nobody may be told of an end that is not on record.
            Event::Fenced | Event::Shut | Event::Refused(_) => self.done([Order::Detach]),
            Event::Fault => {
                let again = close(then, *host);
                [Order::Drop, again].into()
            }
            event => return Err(self.unexpected(&event)),
        };
        Ok(orders)
    }

    fn on_closed(&mut self, closed: Closed) -> Orders {
        let Standing::Ending { host, .. } = self.standing else {
            return Orders::none();
        };
        let show = closed.end.map(Order::ShowEnd);
        match host {
            None => {
                self.standing = Standing::Settling {
                    debt: closed.debt,
                    host: None,
                    until: None,
                };
                show.into_iter().chain([Order::Prove]).collect()
            }
            Some(proof) => {
                self.standing = Standing::Done;
                let show = show.into_iter();
                show.chain([Order::ShowHost(proof)]).collect()
            }
        }
    }

    fn commit(&mut self, run: Begun) -> Orders {
        self.standing = Standing::Committing { run, wish: None };
        [Order::Commit].into()
    }

    /// Nothing has run yet, and the start is recorded once more.
    fn start_anew(&mut self, token: Token, keeps: bool, now: Moment) -> Orders {
        self.keeps = keeps;
        self.standing = Standing::Starting {
            link: Link::Ready(now),
            record: StartRecord::Asked { before: true },
        };
        [Order::Start(Some(token))].into()
    }

    fn wish(&mut self, wanted: Wish) -> Orders {
        if let Standing::Committing { wish, .. } = &mut self.standing {
            wish.get_or_insert(wanted);
        }
        Orders::none()
    }

    fn done<const N: usize>(&mut self, orders: [Order; N]) -> Orders {
        self.standing = Standing::Done;
        orders.into()
    }

    /// Ends the attempt; `None` if the host may still be busy.
    fn end(&mut self, outcome: Outcome, host: Option<Proof>, now: Moment) -> Orders {
        let retry = self.terms.retry.as_ref();
        let then = match retry.and_then(|retry| retry.after(&outcome, now)) {
            Some(after) => Then::Again { outcome, after },
            None => Then::End(outcome),
        };
        let orders = [close(&then, host)].into();
        self.standing = Standing::Ending { then, host };
        orders
    }

    fn drop_and_end(&mut self, outcome: Outcome, host: Proof, now: Moment) -> Orders {
        let end = self.end(outcome, Some(host), now);
        std::iter::once(Order::Drop).chain(end).collect()
    }

    fn tell_and_end(&mut self, outcome: Outcome, now: Moment) -> Orders {
        let end = self.end(outcome, None, now);
        std::iter::once(Order::Tell).chain(end).collect()
    }

    /// A fault of this program while the host may be at work. What is left of the attempt
    /// tells nothing any more, so another one proves that nothing is left.
    fn give_up(&mut self) -> Orders {
        self.drop_and_close(Then::End(Outcome::Error(failures::internal())))
    }

    /// Ends the attempt, which is gone, without asking whether another one follows.
    fn drop_and_close(&mut self, then: Then) -> Orders {
        let close = close(&then, None);
        self.standing = Standing::Ending { then, host: None };
        [Order::Drop, close].into()
    }

    fn unexpected(&self, event: &Event) -> Unexpected {
        Unexpected {
            event: format!("{event:?}"),
            standing: format!("{:?}", self.standing),
        }
    }
}

/// An event that cannot come where the job stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} cannot come in {standing}")]
pub struct Unexpected {
    event: String,
    standing: String,
}

fn close(then: &Then, host: Option<Proof>) -> Order {
    Order::Close {
        then: then.clone(),
        is_left: host.is_none(),
    }
}
