//! The packets of a job, as an iterator.

use std::sync::Arc;

use super::driver::Driver;
use crate::{Error, JobEvent, Outcome, Packet};

/// The packets of a job, in order, each exactly once: [`crate::Packets`]. An error is the
/// last item.
#[derive(Debug)]
#[must_use = "iterators do nothing unless they are asked"]
pub struct Packets {
    packets: crate::Packets,
    driver: Arc<Driver>,
    /// True once an error was given that the packets do not know of.
    failed: bool,
}

/// The packets of a job, and behind the last of them its end: [`crate::Events`]. An error is
/// the last item.
#[derive(Debug)]
#[must_use = "iterators do nothing unless they are asked"]
pub struct Events {
    events: crate::Events,
    driver: Arc<Driver>,
    /// True once an error was given that the events do not know of.
    failed: bool,
}

impl Packets {
    pub(super) fn new(packets: crate::Packets, driver: Arc<Driver>) -> Packets {
        Packets {
            packets,
            driver,
            failed: false,
        }
    }

    /// [`crate::Packets::since`].
    pub fn since(self, number: u64) -> Packets {
        Packets::new(self.packets.since(number), self.driver)
    }

    /// [`crate::Packets::after`].
    pub fn after(self, number: u64) -> Packets {
        Packets::new(self.packets.after(number), self.driver)
    }

    /// [`crate::Packets::recent`].
    pub fn recent(self, packets: u64) -> Packets {
        Packets::new(self.packets.recent(packets), self.driver)
    }

    /// [`crate::Packets::timestamps`].
    pub fn timestamps(self) -> Packets {
        Packets::new(self.packets.timestamps(), self.driver)
    }

    /// [`crate::Packets::open`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::Packets::open`].
    pub fn open(&mut self) -> Result<(), Error> {
        self.driver.run(self.packets.open())
    }

    /// [`crate::Packets::events`], as an iterator.
    pub fn events(self) -> Events {
        Events {
            events: self.packets.events(),
            driver: self.driver,
            failed: self.failed,
        }
    }

    /// [`crate::Packets::outcome`].
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.packets.outcome()
    }

    /// [`crate::Packets::position`].
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        self.packets.position()
    }
}

impl Iterator for Packets {
    type Item = Result<Packet, Error>;

    fn next(&mut self) -> Option<Result<Packet, Error>> {
        if self.failed {
            return None;
        }
        let packets = &mut self.packets;
        let next = self.driver.run(async { packets.next().await.transpose() });
        self.failed = next.is_err();
        next.transpose()
    }
}

impl Iterator for Events {
    type Item = Result<JobEvent, Error>;

    fn next(&mut self) -> Option<Result<JobEvent, Error>> {
        if self.failed {
            return None;
        }
        let events = &mut self.events;
        let next = self.driver.run(async { events.next().await.transpose() });
        self.failed = next.is_err();
        next.transpose()
    }
}
