//! In which order jobs ended, and when, by clocks that nobody sets.
//!
//! Ids sort by the wall clock of the submission, which can have been ahead for a moment,
//! or be set. What is destroyed goes by this instead: each end has an entry in
//! [`Table::Order`] whose key counts up, and whose value is the [`Moment`] of the end, by
//! the time since the machine's start.
//!
//! How far two lives of the machine are apart only the wall clock can say, so the store
//! keeps of each what that clock showed at its beginning ([`Table::Boots`]). It is corrected
//! when the clock is, so ages within one life of the machine are exact whatever the clock
//! does, and others are as right as the clocks of today and of the last moment of then.
//!
//! An end that was recorded elsewhere (an import, a release without this order) has the wall
//! clock's time alone: it counts as of life 0, which began in 1970.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use harp_time::clock;
use harp_values::JobId;
use serde::{Deserialize, Serialize};

use super::layout::{self, Key, Table};
use super::sled::{Batch, Engine, EngineError};
use super::varint;

/// By how much the wall clock may drift before what it says is noted anew, in milliseconds.
const DRIFT: u64 = 10_000;

/// Ends that are given their places in one step.
const AT_ONCE: usize = 1000;

/// When a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Number of the machine's life, as this store counts them.
    boot: u64,
    /// Milliseconds since its beginning.
    at: u64,
}

/// How long ago a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Age {
    pub(super) age: Duration,
    /// It is as right as the wall clock: the machine has been started since.
    pub(super) is_by_wall_clock: bool,
}

/// The order of ends, as far as it is kept in memory.
#[derive(Debug)]
pub(crate) struct Ends {
    /// The greatest number that is taken.
    last: AtomicU64,
    boots: RwLock<Boots>,
    /// What was noted of the present life before this opening, if anything was.
    before: Option<i64>,
    /// How far the wall clock seems to have been set forward since the store was open.
    ahead: Duration,
}

/// The lives of the machine that the store has seen.
#[derive(Debug, Clone)]
struct Boots {
    /// What the wall clock showed at the beginning of each, in milliseconds since 1970; it
    /// can seem to be before that.
    began: BTreeMap<u64, i64>,
    present: u64,
    /// The number of the last end before the present life.
    before: u64,
}

/// A life of the machine, as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct Boot {
    /// Which one, if the system says so.
    id: Option<u64>,
    began: i64,
    /// The number of the last end before it.
    before: u64,
}

impl Moment {
    /// That of an end of which only the wall clock's time is known.
    pub(super) fn elsewhere(wall: u64) -> Moment {
        Moment { boot: 0, at: wall }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let mut value = Vec::with_capacity(2 + varint::MAX_LEN);
        varint::put(&mut value, self.boot);
        varint::put(&mut value, self.at);
        value
    }

    /// What [`Moment::encode`] has written; `None` for anything else.
    pub(super) fn decode(mut value: &[u8]) -> Option<Moment> {
        let boot = varint::take(&mut value)?;
        let at = varint::take(&mut value)?;
        value.is_empty().then_some(Moment { boot, at })
    }
}

impl Boots {
    fn age(&self, moment: Moment, now: Moment, began: i64) -> Age {
        let is_by_wall_clock = moment.boot != now.boot;
        let age = if is_by_wall_clock {
            let began_then = self.began.get(&moment.boot).copied().unwrap_or_default();
            let then = began_then.saturating_add_unsigned(moment.at);
            let age = began.saturating_add_unsigned(now.at).saturating_sub(then);
            u64::try_from(age).unwrap_or_default()
        } else {
            now.at.saturating_sub(moment.at)
        };
        Age {
            age: Duration::from_millis(age),
            is_by_wall_clock,
        }
    }
}

impl Ends {
    /// Reads what a store knows, and notes the present life of the machine in it. Ends that
    /// have no place in the order get one, once.
    pub(super) fn open(engine: &Engine, boot: Option<u64>, mark: u64) -> Result<Ends, EngineError> {
        let (mut known, mut numbers) = (BTreeMap::new(), BTreeSet::new());
        let (from, to) = Table::Boots.bounds();
        engine.scan(&from, &to, |key, value| {
            let number = key.get(1..).and_then(|number| number.try_into().ok());
            let number = number.map(u64::from_be_bytes);
            numbers.extend(number);
            // One that is damaged is as good as none.
            if let (Some(number), Ok(life)) = (number, serde_json::from_slice::<Boot>(value))
                && value.damage().is_none()
            {
                known.insert(number, life);
            }
            ControlFlow::Continue(())
        })?;
        if !numbers.contains(&0) {
            order_all(engine, mark)?;
        }
        let began = clock::boot_began();
        let latest = known.last_key_value();
        let same =
            latest.filter(|(number, life)| **number > 0 && boot.is_some() && life.id == boot);
        let before = same.map(|(_, life)| life.began);
        let present = match same {
            Some((number, _)) => *number,
            None => numbers.last().map_or(1, |number| number + 1),
        };
        let mut began_at: BTreeMap<u64, i64> = known
            .iter()
            .map(|(number, life)| (*number, life.began))
            .collect();
        began_at.insert(0, 0);
        let last = last(engine)?;
        let number = last.map_or(0, |(number, _)| number);
        let before_life = same.map_or(number, |(_, life)| life.before);
        let ahead = match (before, last) {
            (Some(before), _) => began.saturating_sub(before),
            (None, Some((_, Some(moment)))) => {
                let began_then = began_at.get(&moment.boot).copied().unwrap_or_default();
                let then = began_then.saturating_add_unsigned(moment.at);
                clock::now().cast_signed().saturating_sub(then)
            }
            (None, _) => 0,
        };
        began_at.insert(present, began);
        let mut batch = Batch::new(mark);
        batch.insert(&layout::boot_key(0), &encoded(None, 0, 0));
        batch.insert(
            &layout::boot_key(present),
            &encoded(boot, began, before_life),
        );
        engine.apply(batch)?;
        engine.sync()?;
        Ok(Ends {
            last: AtomicU64::new(number),
            boots: RwLock::new(Boots {
                began: began_at,
                present,
                before: before_life,
            }),
            before,
            ahead: Duration::from_millis(u64::try_from(ahead).unwrap_or_default()),
        })
    }

    /// The entry of a job that ends now: behind all others.
    pub(super) fn next(&self, id: JobId) -> (Key, Vec<u8>) {
        // Only the writer counts. Beginning with the time puts imported ends where they
        // belong.
        let last = self.last.load(Ordering::Relaxed);
        let number = clock::now().max(last.saturating_add(1));
        self.last.store(number, Ordering::Relaxed);
        (layout::order_key(number, id), self.now().encode())
    }

    /// What has to be noted because the wall clock has been set: nothing as a rule.
    pub(super) fn correction(&self, boot: Option<u64>) -> Option<(Key, Vec<u8>)> {
        let began = clock::boot_began();
        let mut boots = self.boots.write().unwrap_or_else(PoisonError::into_inner);
        let present = boots.present;
        let noted = boots.began.insert(present, began)?;
        if noted.abs_diff(began) < DRIFT {
            boots.began.insert(present, noted);
            return None;
        }
        let life = encoded(boot, began, boots.before);
        Some((layout::boot_key(present), life))
    }

    /// How old the end is that this entry is of, now. One that cannot be read is new.
    pub(super) fn age(&self, entry: &[u8]) -> Age {
        let Some(moment) = Moment::decode(entry) else {
            return Age {
                age: Duration::ZERO,
                is_by_wall_clock: false,
            };
        };
        self.age_of(moment)
    }

    /// How long ago this moment is.
    pub(super) fn age_of(&self, moment: Moment) -> Age {
        let now = self.now();
        self.boots().age(moment, now, clock::boot_began())
    }

    /// The present moment.
    pub(super) fn now(&self) -> Moment {
        Moment {
            boot: self.boots().present,
            at: clock::since_boot(),
        }
    }

    /// Where the ends of the present life of the machine begin in the order of all.
    pub(super) fn first_of_this_life(&self) -> Key {
        layout::order_key(self.boots().before.saturating_add(1), JobId::NONE)
    }

    /// How long ago that was by the wall clock of an earlier life of the dispatcher, in
    /// milliseconds since 1970: if the machine has not been started since, by that clock
    /// and not by what it shows now, should it be ahead.
    pub(super) fn elapsed_since(&self, wall: u64) -> Duration {
        let now = clock::now();
        let now = match self.before {
            Some(before) => {
                let then = before.saturating_add_unsigned(clock::since_boot());
                now.min(u64::try_from(then).unwrap_or_default())
            }
            None => now,
        };
        Duration::from_millis(now.saturating_sub(wall))
    }

    /// How far the wall clock seems to have been set forward since the store was open
    /// before. If the machine has been started since, or it is not known when, that is the
    /// time that it was off as well.
    pub(super) fn ahead(&self) -> Ahead {
        Ahead {
            by: self.ahead,
            is_certain: self.before.is_some(),
        }
    }

    fn boots(&self) -> std::sync::RwLockReadGuard<'_, Boots> {
        self.boots.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How far the wall clock is ahead of what it was when the store was last open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// By so much.
    pub by: Duration,
    /// It was set; otherwise the machine may have been off for so long.
    pub is_certain: bool,
}

fn encoded(id: Option<u64>, began: i64, before: u64) -> Vec<u8> {
    // Numbers alone, which cannot fail.
    serde_json::to_vec(&Boot { id, began, before }).unwrap_or_default()
}

/// Number and moment of the last end; of a damaged one, the moment is not known.
fn last(engine: &Engine) -> Result<Option<(u64, Option<Moment>)>, EngineError> {
    let (from, to) = Table::Order.bounds();
    let (key, moment) = match engine.last(&from, &to) {
        Ok(None) => return Ok(None),
        Ok(Some((key, value))) => (key.to_vec(), Moment::decode(&value)),
        Err(EngineError::Value { key, .. }) => (key, None),
        Err(error) => return Err(error),
    };
    Ok(layout::order_of(&key).map(|(number, _)| (number, moment)))
}

/// Gives all ends their places by the time of the submission, as was the order before.
fn order_all(engine: &Engine, mark: u64) -> Result<(), EngineError> {
    let (from, to) = Table::Ends.bounds();
    let mut ended = Vec::new();
    engine.scan(&from, &to, |key, _| {
        ended.extend(layout::job_of(key));
        ControlFlow::Continue(())
    })?;
    for jobs in ended.chunks(AT_ONCE) {
        let mut batch = Batch::new(mark);
        for id in jobs {
            let submitted = layout::submitted(*id);
            let moment = Moment::elsewhere(submitted).encode();
            batch.insert(&layout::order_key(submitted, *id), &moment);
        }
        engine.apply(batch)?;
    }
    if !ended.is_empty() {
        tracing::info!(
            jobs = ended.len(),
            "ended jobs of an earlier release put in order"
        );
    }
    engine.sync()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_exact_within_a_life_and_follows_the_clock_between_two() {
        let hour = 3_600_000;
        let boots = Boots {
            began: BTreeMap::from([(0, 0), (1, 1000 * 3_600_000), (2, 2000 * 3_600_000)]),
            present: 2,
            before: 0,
        };
        let moment = |boot, at| Moment { boot, at };
        let now = moment(2, 5 * hour);
        let age = |moment, began: i64| {
            let age = boots.age(moment, now, began * 3_600_000);
            (age.age.as_secs() / 3600, age.is_by_wall_clock)
        };
        // Whatever the wall clock shows.
        for began in [2000, 0, 900_000] {
            assert_eq!(age(moment(2, 2 * hour), began), (3, false));
        }
        assert_eq!(age(moment(1, 10 * hour), 2000), (995, true));
        assert_eq!(age(moment(1, 10 * hour), 0), (0, true));
        assert_eq!(age(Moment::elsewhere(2003 * hour), 2000), (2, true));
        assert_eq!(age(moment(2, 9 * hour), 2000), (0, false));
    }

    #[test]
    fn a_moment_comes_back() {
        let moment = Moment {
            boot: 300,
            at: u64::MAX,
        };
        assert_eq!(Moment::decode(&moment.encode()), Some(moment));
        assert_eq!(Moment::decode(b""), None);
        assert_eq!(Moment::decode(b"\x01\x01\x01"), None);
    }
}
