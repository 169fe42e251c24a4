//! What follows the end of a job whose host may still be busy: the wait for its proof, and
//! for the moment when its places are free.

use super::{Event, Life, Order, Orders, Standing, Unexpected};
use crate::transport::Proved;
use crate::world::Moment;

impl Life {
    pub(super) fn on_settling(&mut self, event: Event, now: Moment) -> Result<Orders, Unexpected> {
        let Standing::Settling { host, until, .. } = &self.standing else {
            return Ok(Orders::none());
        };
        let (is_proved, is_kept) = (host.is_some(), until.is_some());
        let orders = match event {
            Event::Proved(proved) if !is_proved => self.on_proved(proved, now),
            Event::Due => {
                if self.is_over(now)? {
                    self.settle()
                } else {
                    Orders::none()
                }
            }
            Event::Settled if is_proved && !is_kept => self.done([]),
            // What is owed is on record, for the next start.
            Event::Leave | Event::Interrupt if is_kept => self.done([]),
            Event::Leave if self.keeps => self.done([Order::Detach]),
            Event::Leave => {
                self.leaving = true;
                Orders::none()
            }
            Event::Cancel | Event::Interrupt => Orders::none(),
            Event::Fenced | Event::Shut | Event::Refused(_) => self.done([Order::Detach]),
            Event::Fault if is_kept => [Order::Drop].into(),
            Event::Fault if is_proved => [Order::Drop, Order::Settle].into(),
            Event::Fault => [Order::Drop, Order::Prove].into(),
            event => return Err(self.unexpected(&event)),
        };
        Ok(orders)
    }

    fn on_proved(&mut self, proved: Proved, now: Moment) -> Orders {
        let show = Order::ShowHost(proved.host);
        let Standing::Settling { debt, host, until } = &mut self.standing else {
            return Orders::none();
        };
        *host = Some(proved.host);
        match (*debt, proved.keep.is_zero()) {
            (false, _) => self.done([show]),
            (true, true) => [show, Order::Settle].into(),
            (true, false) if self.leaving => self.done([show]),
            (true, false) => {
                *until = Some(now + proved.keep);
                [show, Order::Drop].into()
            }
        }
    }

    /// The places are free now.
    fn settle(&mut self) -> Orders {
        if let Standing::Settling { until, .. } = &mut self.standing {
            *until = None;
        }
        [Order::Settle].into()
    }
}
