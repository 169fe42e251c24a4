//! What is known of a device at a moment, and why commands cannot go out.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};

use harp_jobs::world::Moment;

use super::turn::Outgoing;
use crate::entry::Entry;
use crate::fault::{Fault, Phase};
use crate::health::{Health, Known};
use crate::inbox::Inbox;
use crate::link::shown;

/// How a socket stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// It is not connected; why, once that is known.
    Down(Option<Fault>),
    /// It is connected, and the device may not know yet what is wanted.
    Settling,
    /// It can be used.
    Up,
}

pub(super) struct State {
    pub(super) entry: Option<Entry>,
    pub(super) events: Line,
    pub(super) commands: Line,
    pub(super) health: Health,
    /// The newest message that it has published.
    pub(super) heard: Option<(Moment, u64)>,
    /// Calls in the order in which their commands go out.
    pub(super) turns: VecDeque<u64>,
    pub(super) next_turn: u64,
    pub(super) outgoing: Option<(u64, Outgoing)>,
    pub(super) in_flight: Option<InFlight>,
    /// By nonces, those who wait for a result.
    pub(super) results: HashMap<u64, Waiting>,
    pub(super) streams: Vec<Weak<Inbox>>,
    /// Calls that wait until the device can be reached.
    pub(super) wishes: usize,
    pub(super) recording: Option<Arc<Inbox>>,
    /// A job has recorded it since the start of the dispatcher.
    pub(super) has_recorder: bool,
    pub(super) last_index: Option<i128>,
    pub(super) twins: VecDeque<(Option<i64>, Option<i128>)>,
    /// The commands' connection is to be opened anew.
    pub(super) reset: bool,
}

pub(super) struct InFlight {
    pub(super) turn: u64,
    pub(super) nonce: u64,
    pub(super) inbox: Arc<Inbox>,
}

pub(super) struct Waiting {
    pub(super) command: i64,
    pub(super) inbox: Arc<Inbox>,
    /// The device has said that the result will come.
    pub(super) is_pending: bool,
}

impl State {
    /// Of a device that the registry does not have yet, and of which this is known.
    pub(super) fn new(known: Known) -> State {
        State {
            entry: None,
            events: Line::Down(None),
            commands: Line::Down(None),
            health: Health::new(known),
            heard: None,
            turns: VecDeque::new(),
            next_turn: 0,
            outgoing: None,
            in_flight: None,
            results: HashMap::new(),
            streams: Vec::new(),
            wishes: 0,
            recording: None,
            has_recorder: false,
            last_index: None,
            twins: VecDeque::new(),
            reset: false,
        }
    }

    /// Those who stream events.
    pub(super) fn streams(&mut self) -> impl Iterator<Item = Arc<Inbox>> {
        self.streams.retain(|inbox| inbox.strong_count() > 0);
        self.streams.iter().filter_map(Weak::upgrade)
    }

    pub(super) fn fail_in_flight(&mut self, fault: &Fault) {
        if let Some(in_flight) = self.in_flight.take() {
            self.turns.retain(|turn| *turn != in_flight.turn);
            in_flight
                .inbox
                .reply(Err(fault.to_failure(Phase::Acknowledge)));
        }
    }

    /// Why commands cannot go out.
    pub(super) fn fault(&self, now: Moment) -> Option<Fault> {
        if self.health.is_silent(now) {
            let what = "it has sent no heartbeat for three of its intervals";
            return Some(Fault::network(self.command_address(), "no_heartbeat", what));
        }
        for line in [&self.events, &self.commands] {
            match line {
                Line::Up => {}
                Line::Down(Some(fault)) => return Some(fault.clone()),
                Line::Down(None) | Line::Settling => {
                    let what = "it is not connected yet";
                    return Some(Fault::timed_out(self.command_address(), what));
                }
            }
        }
        None
    }

    pub(super) fn command_address(&self) -> String {
        let entry = self.entry.as_ref();
        entry.map_or_else(String::new, |entry| {
            shown(&entry.address, entry.command_port)
        })
    }
}
