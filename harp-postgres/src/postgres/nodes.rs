//! The nodes of the database, as they are seen with each beat of this one.
//!
//! Counters alone judge whether a node lives: a term is over whose beat has stood still for so many
//! acknowledged beats of this node. No clock of another machine is looked at, and while this
//! node cannot beat it judges nobody.

use std::collections::BTreeMap;
use std::time::Duration;

use harp_jobs::ledger::{Hold, NodeId};
use harp_jobs::world::Moment;
use tokio_postgres::Row;
use uuid::Uuid;

use super::read::job_id;

/// Beats of this node that the beat of another may stand still before its term is taken to be
/// over: three seconds.
const LEASE: u32 = 6;

/// A node, as it was seen last.
#[derive(Debug, Clone)]
struct Seen {
    name: String,
    epoch: i64,
    beat: i64,
    is_alive: bool,
    version: String,
    /// For how many beats of this node its beat has not moved.
    still: u32,
    /// When its beat was seen to move.
    moved: Moment,
}

/// A term that is to be ended, if its beat is still this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) node: i32,
    pub(super) epoch: i64,
    pub(super) beat: i64,
}

/// All nodes that there are.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    all: BTreeMap<i32, Seen>,
    /// The newest job that could be fetched.
    newest_offer: i64,
}

/// A node as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Whether its term goes on.
    pub is_alive: bool,
    /// Counts its terms.
    pub epoch: u64,
    /// How long its beat has not been seen to move.
    pub beat_age: Duration,
    /// How many jobs it runs.
    pub running: u64,
    /// The release that it runs.
    pub version: String,
}

/// What a beat has told.
#[derive(Debug, Default)]
pub(super) struct Tidings {
    nodes: Vec<(i32, Seen)>,
    /// Jobs of this node that somebody wants to be cancelled.
    pub(super) wishes: Vec<Hold>,
    newest_offer: i64,
    /// There is something that nobody sees to.
    pub(super) is_something_left: bool,
}

impl Tidings {
    pub(super) fn read(rows: &[Row], now: Moment) -> Tidings {
        let mut tidings = Tidings::default();
        for row in rows {
            match row.get(0) {
                "node" => tidings.nodes.push((
                    row.get(1),
                    Seen {
                        name: row.get(2),
                        epoch: row.get(3),
                        beat: row.get(4),
                        is_alive: row.get(5),
                        version: row.get(6),
                        still: 0,
                        moved: now,
                    },
                )),
                "wish" => tidings.wishes.push(Hold {
                    job: job_id(row.get::<_, Uuid>(7)),
                    attempt: row.get::<_, i32>(8).cast_unsigned(),
                    owner: row.get::<_, i32>(9).cast_unsigned(),
                }),
                "pool" => tidings.newest_offer = row.get(4),
                _ => tidings.is_something_left = true,
            }
        }
        tidings
    }
}

impl Nodes {
    /// Takes in what a beat of node `me` has told: the terms that have stood still for too long.
    pub(super) fn look(&mut self, tidings: &Tidings, me: i32) -> Vec<Suspect> {
        let mut suspects = Vec::new();
        let mut all = BTreeMap::new();
        for (node, seen) in &tidings.nodes {
            let mut seen = seen.clone();
            let before = self.all.get(node);
            if let Some(before) =
                before.filter(|before| (before.epoch, before.beat) == (seen.epoch, seen.beat))
            {
                (seen.still, seen.moved) = (before.still + 1, before.moved);
            }
            if seen.is_alive && *node != me && seen.still >= LEASE {
                suspects.push(Suspect {
                    node: *node,
                    epoch: seen.epoch,
                    beat: seen.beat,
                });
            }
            all.insert(*node, seen);
        }
        self.all = all;
        suspects
    }

    /// This node could not beat: nobody is judged by what it has not seen.
    pub(super) fn look_away(&mut self) {
        self.all.values_mut().for_each(|seen| seen.still = 0);
    }

    /// Whether there is a job that can be fetched and was not there before.
    pub(super) fn has_new_offer(&mut self, tidings: &Tidings) -> bool {
        let before = std::mem::replace(&mut self.newest_offer, tidings.newest_offer);
        tidings.newest_offer > before
    }

    /// Whether no other node is there.
    pub(super) fn is_alone(&self, me: i32) -> bool {
        let mut others = self.all.iter().filter(|(node, _)| **node != me);
        !others.any(|(_, seen)| seen.is_alive)
    }

    /// Whether this node is the one that removes what is old: that of the smallest number.
    pub(super) fn keeps_house(&self, me: i32) -> bool {
        let mut alive = self.all.iter().filter(|(_, seen)| seen.is_alive);
        alive.next().is_none_or(|(node, _)| *node == me)
    }

    /// The nodes, with so many jobs that run at each.
    pub(super) fn nodes(&self, running: &BTreeMap<i32, u64>, now: Moment) -> Vec<Node> {
        let node = |(node, seen): (&i32, &Seen)| Node {
            id: NodeId(node.cast_unsigned()),
            name: seen.name.clone(),
            is_alive: seen.is_alive,
            epoch: seen.epoch.cast_unsigned(),
            beat_age: now.since(seen.moved),
            running: running.get(node).copied().unwrap_or_default(),
            version: seen.version.clone(),
        };
        self.all.iter().map(node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(beats: &[(i32, i64, i64)]) -> Tidings {
        let node = |(node, epoch, beat): &(i32, i64, i64)| {
            let seen = Seen {
                name: format!("n{node}"),
                epoch: *epoch,
                beat: *beat,
                is_alive: true,
                version: String::new(),
                still: 0,
                moved: Moment::START,
            };
            (*node, seen)
        };
        Tidings {
            nodes: beats.iter().map(node).collect(),
            ..Tidings::default()
        }
    }

    #[test]
    fn a_term_is_over_whose_beat_stands_still_for_the_lease() {
        let mut nodes = Nodes::default();
        for beat in 0..i64::from(LEASE) {
            let suspects = nodes.look(&told(&[(1, 3, beat), (2, 1, 7)]), 1);
            assert_eq!(suspects, [], "after {beat} beats");
        }
        let suspects = nodes.look(&told(&[(1, 3, 90), (2, 1, 7)]), 1);
        let suspect = Suspect {
            node: 2,
            epoch: 1,
            beat: 7,
        };
        assert_eq!(suspects, [suspect]);
        // One beat, or another term, and it is there.
        assert_eq!(nodes.look(&told(&[(1, 3, 91), (2, 1, 8)]), 1), []);
        assert_eq!(nodes.look(&told(&[(1, 3, 92), (2, 2, 8)]), 1), []);
    }

    #[test]
    fn a_node_that_could_not_beat_judges_nobody() {
        let mut nodes = Nodes::default();
        for beat in 0..20 {
            if beat % i64::from(LEASE - 1) == 0 {
                nodes.look_away();
            }
            assert_eq!(nodes.look(&told(&[(1, 3, beat), (2, 1, 7)]), 1), []);
        }
    }

    #[test]
    fn the_living_node_of_the_smallest_number_keeps_house() {
        let mut nodes = Nodes::default();
        assert!(nodes.keeps_house(2) && nodes.is_alone(2));
        let mut tidings = told(&[(1, 1, 1), (2, 1, 1)]);
        _ = nodes.look(&tidings, 2);
        assert!(!nodes.keeps_house(2) && !nodes.is_alone(2));
        tidings.nodes[0].1.is_alive = false;
        _ = nodes.look(&tidings, 2);
        assert!(nodes.keeps_house(2) && nodes.is_alone(2));
    }
}
