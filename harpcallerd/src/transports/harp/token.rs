//! What is on record of a call that its host may keep: which life of harpd can have it, and
//! from when on its time alone counts.
//!
//! A token is a letter and numbers in network order, then the name of the life. An empty one
//! is that of a call that its host does not keep.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use harp_jobs::ledger::Token;

use harp_time::clock;

/// A start, or an attempt under way.
const START: u8 = b'K';
/// A debt: the host has to be told that the call is not wanted.
const UNWANTED: u8 = b'D';
/// A debt: the place alone; the host has the call from somebody else.
const ELSEWHERE: u8 = b'Q';

/// Bytes in front of the name of the life.
const HEAD: usize = 1 + 4 + 5 * 8;

/// What is on record of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    /// What is owed.
    pub(super) owes: Owes,
    /// The only life of harpd that can have run the call. `None`: none can have, since a
    /// request that names none is run by nobody.
    pub(super) boot: Option<Arc<str>>,
    /// How long its host goes on alone, at most.
    pub(super) keep: Duration,
    /// The highest epoch that was used, as far as that is known.
    pub(super) epoch: u64,
    /// When the note was made; of a debt, since when the host's time alone counts at the
    /// latest.
    pub(super) at: Stamp,
}

/// What is owed when the job has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owes {
    /// It has not.
    Runs,
    /// A cancel, and the place.
    Cancel,
    /// The place.
    Place,
}

/// A moment that is known after a restart too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// By the wall clock, in milliseconds since 1970.
    wall: u64,
    /// The life of the machine; 0 if that is not known.
    machine: u64,
    /// Milliseconds since the machine's start.
    since_boot: u64,
}

impl Note {
    /// A note of now.
    pub(super) fn new(boot: Option<Arc<str>>, keep: Duration, epoch: u64) -> Note {
        Note {
            owes: Owes::Runs,
            boot,
            keep,
            epoch,
            at: Stamp::now(),
        }
    }

    /// Reads a token; `None` if it is not of a call that may be kept.
    pub(super) fn read(token: &Token) -> Option<Note> {
        let (head, boot) = token.0.split_at_checked(HEAD)?;
        let owes = match head[0] {
            START => Owes::Runs,
            UNWANTED => Owes::Cancel,
            ELSEWHERE => Owes::Place,
            _ => return None,
        };
        let number = |at: usize| {
            let start = 5 + 8 * at;
            let bytes = head[start..start + 8].try_into();
            bytes.map_or(0, u64::from_be_bytes)
        };
        let keep = u32::from_be_bytes(head[1..5].try_into().ok()?);
        let boot = std::str::from_utf8(boot).ok()?;
        Some(Note {
            owes,
            boot: (!boot.is_empty()).then(|| boot.into()),
            keep: Duration::from_secs(keep.into()),
            epoch: number(0),
            at: Stamp {
                wall: number(1),
                machine: number(2),
                since_boot: number(3),
            },
        })
    }

    /// The token that says this.
    pub(super) fn token(&self) -> Token {
        let boot = self.boot.as_deref().unwrap_or_default();
        let mut token = Vec::with_capacity(HEAD + boot.len());
        token.push(match self.owes {
            Owes::Runs => START,
            Owes::Cancel => UNWANTED,
            Owes::Place => ELSEWHERE,
        });
        let keep = u32::try_from(self.keep.as_secs()).unwrap_or(u32::MAX);
        token.extend(keep.to_be_bytes());
        let Stamp {
            wall,
            machine,
            since_boot,
        } = self.at;
        // The last one is room.
        for number in [self.epoch, wall, machine, since_boot, 0] {
            token.extend(number.to_be_bytes());
        }
        token.extend(boot.as_bytes());
        Token(token.into())
    }
}

impl Stamp {
    /// Now.
    pub(super) fn now() -> Stamp {
        static MACHINE: OnceLock<u64> = OnceLock::new();
        Stamp {
            wall: clock::now(),
            machine: *MACHINE.get_or_init(|| clock::boot().unwrap_or_default()),
            since_boot: clock::since_boot(),
        }
    }

    /// So long before this.
    pub(super) fn before(self, time: Duration) -> Stamp {
        let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Stamp {
            wall: self.wall.saturating_sub(time),
            machine: self.machine,
            since_boot: self.since_boot.saturating_sub(time),
        }
    }

    /// How long ago it was, at most and at least: by the wall clock and, within one life of
    /// the machine, by the clock that nobody sets.
    pub(super) fn ago(self, now: Stamp) -> (Duration, Duration) {
        let by_wall = Duration::from_millis(now.wall.saturating_sub(self.wall));
        if self.machine == 0 || self.machine != now.machine {
            return (by_wall, by_wall);
        }
        let steady = Duration::from_millis(now.since_boot.saturating_sub(self.since_boot));
        (by_wall.max(steady), by_wall.min(steady))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_as_it_was() {
        for owes in [Owes::Runs, Owes::Cancel, Owes::Place] {
            for boot in [None, Some("0193".into())] {
                let keep = Duration::from_secs(300);
                let mut note = Note::new(boot, keep, 7 << 20);
                note.owes = owes;
                assert_eq!(Note::read(&note.token()), Some(note));
            }
        }
        assert_eq!(Note::read(&Token::default()), None);
        assert_eq!(Note::read(&Token((&b"lost12345678"[..]).into())), None);
    }

    #[test]
    fn a_clock_that_is_set_makes_nothing_look_shorter_or_longer() {
        let then = Stamp {
            wall: 1_000_000,
            machine: 5,
            since_boot: 10_000,
        };
        let at = |wall, machine, since_boot| {
            let now = Stamp {
                wall,
                machine,
                since_boot,
            };
            let (most, least) = then.ago(now);
            (most.as_secs(), least.as_secs())
        };
        assert_eq!(at(1_060_000, 5, 70_000), (60, 60));
        assert_eq!(at(900_000, 5, 70_000), (60, 0), "set back");
        assert_eq!(at(2_000_000, 5, 70_000), (1000, 60), "set forward");
        assert_eq!(at(1_060_000, 6, 3_000), (60, 60), "another life");
    }
}
