//! What a device has said that concerns one call, until its run takes it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use harp_jobs::transport::Batch;
use harp_values::{Failure, Outcome};
use tokio::sync::Notify;

use crate::published::{Event, Topic};
use crate::reply::Answer;
use crate::room::Room;

/// Bytes of packets that wait for their run, at most. Beyond them, or where the [`Room`] of all
/// is full, as in a long outage of the store, events are missed, which a packet tells.
const MOST: usize = 16 * 1024 * 1024;

/// What a packet counts beside its data.
const PACKET_COST: usize = 64;

/// Which events are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Those among all events.
    pub(crate) events: bool,
    /// Those among emergencies.
    pub(crate) emergencies: bool,
    /// Those of these kinds; `None` for all.
    pub(crate) kinds: Option<Vec<i64>>,
}

impl Wanted {
    /// All events.
    pub(crate) const ALL: Wanted = Wanted {
        events: true,
        emergencies: true,
        kinds: None,
    };

    /// Whether this one is wanted. `is_second`: it has come under the other topic before.
    fn has(&self, event: &Event, is_second: bool) -> bool {
        let (its, other) = match event.topic {
            Topic::Event => (self.events, self.emergencies),
            Topic::Emergency => (self.emergencies, self.events),
        };
        let kinds = self.kinds.as_ref();
        its && !(is_second && other)
            && kinds.is_none_or(|kinds| event.kind.is_some_and(|kind| kinds.contains(&kind)))
    }
}

/// How a call has ended otherwise than by its reply.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ended {
    /// The device has published its result.
    Result(Outcome),
    /// The device was started anew.
    Restarted,
    /// The registry does not have the device any more.
    Gone,
    /// It is not to be recorded any more.
    Unwanted,
}

/// What has come for one call.
#[derive(Debug)]
pub(crate) struct Inbox {
    wanted: Wanted,
    room: Arc<Room>,
    state: Mutex<State>,
    rung: Notify,
}

/// A packet that waits.
#[derive(Debug)]
struct Held {
    /// When it came, in milliseconds since 1970.
    time: u64,
    data: Bytes,
    /// What it takes of the room; nothing if it tells of a gap.
    cost: usize,
}

#[derive(Debug, Default)]
struct State {
    packets: VecDeque<Held>,
    /// What they count.
    bytes: usize,
    /// The times of the first and the last event that there was no room for.
    dropped: Option<(u64, u64)>,
    /// Since when events are missed, because nobody listens to the device.
    missing_since: Option<u64>,
    is_apart: bool,
    reply: Option<Result<Answer, Failure>>,
    end: Option<Ended>,
}

/// What comes next for a stream.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// Packets, which are in the batch.
    Packets,
    /// The device is not listened to any more.
    Apart,
    /// It is again.
    Back,
    /// The end.
    End(Ended),
}

impl Inbox {
    /// Takes events of these.
    pub(crate) fn new(wanted: Wanted, room: &Arc<Room>) -> Inbox {
        Inbox {
            wanted,
            room: Arc::clone(room),
            state: Mutex::default(),
            rung: Notify::new(),
        }
    }

    /// An event has come, at this time.
    pub(crate) fn event(&self, event: &Event, is_second: bool, time: u64) {
        if !self.wanted.has(event, is_second) {
            return;
        }
        let mut state = self.state();
        if state.end.is_some() {
            return;
        }
        let data = event.packet.clone();
        let cost = data.len() + PACKET_COST;
        if let Some((_, last)) = &mut state.dropped {
            *last = time;
        } else if state.bytes + cost > MOST || !self.room.take(cost) {
            state.dropped = Some((time, time));
        } else {
            state.bytes += cost;
            state.packets.push_back(Held { time, data, cost });
        }
        drop(state);
        self.rung.notify_one();
    }

    /// Nobody listens to the device any more; it was heard last at this time.
    pub(crate) fn lost(&self, since: u64) {
        let mut state = self.state();
        state.missing_since.get_or_insert(since);
        state.is_apart = true;
        drop(state);
        self.rung.notify_one();
    }

    /// The device is listened to from now on.
    pub(crate) fn found(&self, now: u64) {
        let mut state = self.state();
        state.is_apart = false;
        if let Some(since) = state.missing_since.take() {
            state.packets.push_back(gap(since, now));
        }
        drop(state);
        self.rung.notify_one();
    }

    /// Events were missed before all that has come: between these times.
    pub(crate) fn missed(&self, since: u64, until: u64) {
        let mut state = self.state();
        match &mut state.missing_since {
            Some(missing) if *missing == until => *missing = since.min(until),
            _ => state.packets.push_front(gap(since, until)),
        }
        drop(state);
        self.rung.notify_one();
    }

    /// A reply, or why there is none.
    pub(crate) fn reply(&self, reply: Result<Answer, Failure>) {
        self.state().reply = Some(reply);
        self.rung.notify_one();
    }

    /// The call has ended; the first end counts, and no event comes behind it.
    pub(crate) fn end(&self, end: Ended) {
        self.state().end.get_or_insert(end);
        self.rung.notify_one();
    }

    /// Waits for the reply. Cancel safe.
    pub(crate) async fn replied(&self) -> Result<Answer, Failure> {
        loop {
            if let Some(reply) = self.state().reply.take() {
                return reply;
            }
            self.rung.notified().await;
        }
    }

    /// Waits for what comes next; `was_apart` says what was told last. Packets go into the
    /// batch, `most` of them. Cancel safe.
    pub(crate) async fn next(&self, was_apart: bool, into: &mut Batch, most: u64) -> Next {
        loop {
            if let Some(next) = self.take(was_apart, into, most) {
                return next;
            }
            self.rung.notified().await;
        }
    }

    fn take(&self, was_apart: bool, into: &mut Batch, most: u64) -> Option<Next> {
        let mut state = self.state();
        let first = into.next();
        let last = first.saturating_add(most);
        while !into.is_full() && into.next() < last {
            let Some(packet) = state.packets.pop_front() else {
                break;
            };
            state.bytes -= packet.cost;
            self.room.give(packet.cost);
            into.push(packet.time, &packet.data);
        }
        if state.packets.is_empty()
            && into.next() < last
            && let Some((first, until)) = state.dropped.take()
        {
            let gap = gap(first, until);
            into.push(gap.time, &gap.data);
        }
        if into.next() > first {
            return Some(Next::Packets);
        }
        if state.packets.is_empty()
            && let Some(end) = &state.end
        {
            return Some(Next::End(end.clone()));
        }
        match (was_apart, state.is_apart) {
            (false, true) => Some(Next::Apart),
            (true, false) => Some(Next::Back),
            _ => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        let bytes = self.state().bytes;
        self.room.give(bytes);
    }
}

/// What tells that events were missed, between two times in milliseconds since 1970.
fn gap(since: u64, until: u64) -> Held {
    let until = until.max(since);
    let data = format!("{{\"topic\":\"gap\",\"since\":{since},\"until\":{until}}}");
    Held {
        time: until,
        data: data.into(),
        cost: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::room;

    fn event(topic: Topic, kind: i64, size: usize) -> Event {
        Event {
            topic,
            kind: Some(kind),
            index: Some(1),
            packet: vec![b'1'; size].into(),
        }
    }

    fn taken(inbox: &Inbox, most: u64) -> (Option<Next>, Vec<String>) {
        let mut batch = Batch::new(0);
        let next = inbox.take(false, &mut batch, most);
        let segments = batch.finish();
        let packets = segments.iter().flat_map(|segment| segment.iter_from(0));
        let packets = packets.map(|(_, _, data)| String::from_utf8(data.to_vec()).unwrap());
        (next, packets.collect())
    }

    #[test]
    fn those_that_are_wanted_come_once() {
        let (event_101, emergency_101) =
            (event(Topic::Event, 101, 1), event(Topic::Emergency, 101, 2));
        let count = |wanted: Wanted| {
            let inbox = Inbox::new(wanted, &Arc::default());
            inbox.event(&emergency_101, false, 1);
            inbox.event(&event_101, true, 1);
            inbox.event(&event(Topic::Event, 7, 3), false, 1);
            taken(&inbox, 100).1
        };
        let some = |events, emergencies, kinds| Wanted {
            events,
            emergencies,
            kinds,
        };
        assert_eq!(count(Wanted::ALL), ["11", "111"]);
        assert_eq!(count(some(true, false, None)), ["1", "111"]);
        assert_eq!(count(some(false, true, None)), ["11"]);
        assert_eq!(count(some(true, true, Some(vec![7, 8]))), ["111"]);
    }

    #[test]
    fn what_there_was_no_room_for_is_told_in_its_place() {
        let inbox = Inbox::new(Wanted::ALL, &Arc::default());
        for time in 0..20 {
            inbox.event(&event(Topic::Event, 1, 1024 * 1024), false, time);
        }
        let mut all = Vec::new();
        while let (Some(Next::Packets), packets) = taken(&inbox, 100) {
            all.extend(packets);
        }
        assert_eq!(all.len(), 16);
        assert_eq!(all[15], r#"{"topic":"gap","since":15,"until":19}"#);
        inbox.event(&event(Topic::Event, 1, 1), false, 20);
        assert_eq!(taken(&inbox, 100).1, ["1"]);
    }

    #[test]
    fn all_together_have_no_more_room_than_that() {
        let room = Arc::default();
        let mut inboxes: Vec<_> = (0..6).map(|_| Inbox::new(Wanted::ALL, &room)).collect();
        let fill = |inbox: &Inbox| {
            let large = event(Topic::Event, 1, 1024 * 1024);
            (0..15).for_each(|time| inbox.event(&large, false, time));
        };
        inboxes.iter().for_each(fill);
        let count = |inbox: &Inbox| {
            let mut all = Vec::new();
            while let (Some(Next::Packets), packets) = taken(inbox, 100) {
                all.extend(packets);
            }
            all.len()
        };
        assert_eq!(count(&inboxes[5]), 1, "no room is left, which is told");
        // What has been taken of one, or given up, is another's.
        assert_eq!(count(&inboxes[1]), 15);
        inboxes.swap_remove(0);
        fill(&inboxes[0]);
        assert_eq!(count(&inboxes[0]), 15);
        inboxes.clear();
        assert!(room.take(room::MOST) && !room.take(1));
    }

    #[test]
    fn a_gap_is_told_when_the_device_is_heard_again() {
        let inbox = Inbox::new(Wanted::ALL, &Arc::default());
        inbox.found(1);
        assert_eq!(taken(&inbox, 100), (None, vec![]), "nothing was missed");
        inbox.lost(5);
        inbox.lost(7);
        assert_eq!(taken(&inbox, 100), (Some(Next::Apart), vec![]));
        inbox.found(9);
        inbox.event(&event(Topic::Event, 1, 1), false, 9);
        let gap = r#"{"topic":"gap","since":5,"until":9}"#.to_owned();
        assert_eq!(taken(&inbox, 1).1, [gap], "no more than are wanted");
        inbox.end(Ended::Gone);
        inbox.end(Ended::Restarted);
        inbox.event(&event(Topic::Event, 1, 3), false, 9);
        assert_eq!(
            taken(&inbox, 100),
            (Some(Next::Packets), vec!["1".to_owned()])
        );
        assert_eq!(taken(&inbox, 100), (Some(Next::End(Ended::Gone)), vec![]));
    }

    #[test]
    fn what_was_missed_before_comes_first() {
        let inbox = Inbox::new(Wanted::ALL, &Arc::default());
        inbox.event(&event(Topic::Event, 1, 1), false, 9);
        inbox.missed(3, 8);
        let gap = |since, until| format!(r#"{{"topic":"gap","since":{since},"until":{until}}}"#);
        assert_eq!(taken(&inbox, 100).1, [gap(3, 8), "1".to_owned()]);
        // One that goes on is one.
        inbox.lost(20);
        inbox.missed(10, 20);
        inbox.found(30);
        assert_eq!(taken(&inbox, 100).1, [gap(10, 30)]);
    }
}
