//! Which line holds how much, which wait, and which is next; pure, with the time as an argument.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::task::Waker;

use tokio::time::Instant;

use crate::{OVERTAKEN, PROGRESS, UNDISTURBED, UNHURRIED};

#[derive(Debug)]
pub(crate) struct State {
    limit: usize,
    held: usize,
    next: u64,
    lines: BTreeMap<u64, Line>,
    peers: HashMap<u64, Peer>,
    /// Those who wait, in the order of asking.
    waiting: BTreeMap<u64, Waiting>,
    /// The line that may go beyond the limit.
    ahead: Option<u64>,
}

#[derive(Debug)]
struct Line {
    peer: u64,
    bytes: usize,
    stage: Stage,
    /// When its peer began to be asked for its bytes.
    since: Instant,
    /// What has been moved since `marked`.
    moved: usize,
    marked: Instant,
    told: Option<Waker>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Its bytes are coming or going.
    Moving,
    /// It waits in this place.
    Waiting(u64),
    Whole,
    GaveWay,
}

/// A peer with at least one line.
#[derive(Debug, Default)]
struct Peer {
    bytes: usize,
    lines: usize,
}

#[derive(Debug)]
struct Waiting {
    line: u64,
    /// What it is to hold in all.
    total: usize,
    since: Instant,
    waker: Waker,
}

pub(crate) enum Asked {
    Granted,
    Waits,
    GaveWay,
}

impl State {
    pub(crate) fn new(limit: usize) -> State {
        State {
            limit,
            held: 0,
            next: 0,
            lines: BTreeMap::new(),
            peers: HashMap::new(),
            waiting: BTreeMap::new(),
            ahead: None,
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn set_limit(&mut self, limit: usize, now: Instant) {
        self.limit = limit;
        self.serve(now);
    }

    /// A new line, which holds nothing.
    pub(crate) fn enter(&mut self, peer: u64, now: Instant) -> u64 {
        self.peers.entry(peer).or_default().lines += 1;
        let number = self.number();
        let line = Line {
            peer,
            bytes: 0,
            stage: Stage::Moving,
            since: now,
            moved: 0,
            marked: now,
            told: None,
        };
        self.lines.insert(number, line);
        number
    }

    /// Gives a line what it asks for, or a place among those who wait.
    pub(crate) fn ask(&mut self, number: u64, total: usize, now: Instant, waker: &Waker) -> Asked {
        let Some(line) = self.lines.get_mut(&number) else {
            return Asked::GaveWay;
        };
        match line.stage {
            Stage::GaveWay => return Asked::GaveWay,
            Stage::Waiting(place) => {
                if let Some(waiting) = self.waiting.get_mut(&place) {
                    waiting.total = total;
                    waiting.waker.clone_from(waker);
                }
            }
            Stage::Moving | Stage::Whole if line.bytes >= total => return Asked::Granted,
            Stage::Moving | Stage::Whole => {
                let place = self.number();
                let waiting = Waiting {
                    line: number,
                    total,
                    since: now,
                    waker: waker.clone(),
                };
                self.waiting.insert(place, waiting);
                if let Some(line) = self.lines.get_mut(&number) {
                    line.stage = Stage::Waiting(place);
                }
            }
        }
        self.serve(now);
        let Some(line) = self.lines.get_mut(&number) else {
            return Asked::GaveWay;
        };
        if let Stage::Waiting(_) = line.stage {
            return Asked::Waits;
        }
        // Nobody has been asked for bytes while it waited.
        (line.marked, line.moved) = (now, 0);
        Asked::Granted
    }

    pub(crate) fn moved(&mut self, number: u64, bytes: usize, now: Instant) {
        if let Some(line) = self.lines.get_mut(&number) {
            line.moved += bytes;
            if line.moved >= PROGRESS {
                (line.marked, line.moved) = (now, 0);
            }
        }
    }

    pub(crate) fn settle(&mut self, number: u64) {
        if let Some(line) = self.lines.get_mut(&number)
            && line.stage == Stage::Moving
        {
            line.stage = Stage::Whole;
        }
    }

    /// True if the line has to give way; otherwise it is told when it has to.
    pub(crate) fn gave_way(&mut self, number: u64, waker: &Waker) -> bool {
        let Some(line) = self.lines.get_mut(&number) else {
            return false;
        };
        line.told = Some(waker.clone());
        line.stage == Stage::GaveWay
    }

    /// The line is gone, with all that it held.
    pub(crate) fn leave(&mut self, number: u64, now: Instant) {
        let Some(line) = self.lines.remove(&number) else {
            return;
        };
        if let Stage::Waiting(place) = line.stage {
            self.waiting.remove(&place);
        }
        self.held -= line.bytes;
        if let Some(peer) = self.peers.get_mut(&line.peer) {
            peer.bytes -= line.bytes;
            peer.lines -= 1;
            if peer.lines == 0 {
                self.peers.remove(&line.peer);
            }
        }
        if self.ahead == Some(number) {
            self.ahead = None;
        }
        self.serve(now);
    }

    /// Gives bytes to those who wait, as long as there are any.
    fn serve(&mut self, now: Instant) {
        if self.waiting.is_empty() && self.held <= self.limit {
            self.ahead = None;
        }
        // A line that goes beyond the limit is not kept waiting by others.
        if let Some(Stage::Waiting(place)) = self.ahead.map(|number| self.lines[&number].stage) {
            self.grant(place, now);
        }
        while let Some(place) = self.head(now) {
            let waiting = &self.waiting[&place];
            let wanted = waiting.total - self.lines[&waiting.line].bytes;
            let is_too_much = self.held + wanted > self.limit;
            if is_too_much && self.ahead.is_some() {
                return;
            }
            // Where others wait too, a line that has begun goes on to the end, and does not wait for
            // each of its steps.
            if self.ahead.is_none() && (is_too_much || self.waiting.len() > 1) {
                self.ahead = Some(waiting.line);
            }
            self.grant(place, now);
        }
    }

    /// The next line: of the peer that holds the fewest bytes, the one that asks for the
    /// fewest, or the first of those that have waited for [`OVERTAKEN`].
    fn head(&self, now: Instant) -> Option<u64> {
        let of_peer = |waiting: &Waiting| self.peers[&self.lines[&waiting.line].peer].bytes;
        let first = self.waiting.iter().min_by_key(|(place, waiting)| {
            let is_late = now - waiting.since >= OVERTAKEN;
            let size = if is_late { 0 } else { waiting.total };
            (of_peer(waiting), size, **place)
        });
        first.map(|(place, _)| *place)
    }

    /// Nobody was asked for the line's bytes while it waited; whoever waits for them may be
    /// busy with something else until it knows.
    fn grant(&mut self, place: u64, now: Instant) {
        let Some(waiting) = self.waiting.remove(&place) else {
            return;
        };
        if let Some(line) = self.lines.get_mut(&waiting.line) {
            let more = waiting.total - line.bytes;
            line.bytes = waiting.total;
            line.stage = Stage::Moving;
            (line.marked, line.moved) = (now, 0);
            self.held += more;
            if let Some(peer) = self.peers.get_mut(&line.peer) {
                peer.bytes += more;
            }
        }
        waiting.waker.wake();
    }

    /// Has lines give way to the next that waits, as many as it takes and may be asked to.
    pub(crate) fn make_room(&mut self, now: Instant) {
        let Some(place) = self.head(now) else {
            return;
        };
        let waiting = &self.waiting[&place];
        let line = &self.lines[&waiting.line];
        let (peer, wanted) = (line.peer, waiting.total - line.bytes);
        let given_way = self.lines.values();
        let given_way = given_way.filter(|line| line.stage == Stage::GaveWay);
        let to_come: usize = given_way.map(|line| line.bytes).sum();
        let mut missing = (self.held + wanted).saturating_sub(self.limit + to_come);
        while missing > 0
            && let Some(number) = self.to_give_way(peer, wanted, now)
            && let Some(line) = self.lines.get_mut(&number)
        {
            missing = missing.saturating_sub(line.bytes);
            line.stage = Stage::GaveWay;
            if let Some(told) = line.told.take() {
                told.wake();
            }
        }
    }

    /// The line that is to give way to one of `peer` that wants so much: of the peer that
    /// holds the most, the oldest that may be asked to.
    fn to_give_way(&self, peer: u64, wanted: usize, now: Instant) -> Option<u64> {
        let part = self.limit / self.peers.len();
        let has_little = self.peers[&peer].bytes + wanted <= part;
        let may_be_asked = |line: &Line| {
            if line.stage != Stage::Moving || line.bytes == 0 {
                return false;
            }
            let is_stalled = now - line.marked >= UNDISTURBED;
            let takes_much = self.peers[&line.peer].bytes > part;
            is_stalled || has_little && takes_much && now - line.since >= UNHURRIED
        };
        let lines = self.lines.iter().filter(|(_, line)| may_be_asked(line));
        let line =
            lines.max_by_key(|(number, line)| (self.peers[&line.peer].bytes, Reverse(**number)));
        line.map(|(number, _)| *number)
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
