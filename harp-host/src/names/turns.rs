//! Whose name is looked up next, and which failures are remembered. Pure state; the time is an
//! argument.
//!
//! A name service that does not answer holds a thread for each name that it is asked for. So
//! there are only so many threads, and names share them by their zones: a zone may hold as many
//! as it leaves free, so the names of a dead zone leave half of the threads to all others. What
//! is above a zone may hold three times as many as it leaves free. Some threads are for names
//! that were found lately.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

/// Names that are looked up at once.
pub(super) const MOST: usize = 64;

/// Of these, for names that were found lately.
const KEPT: usize = 8;

/// How long ago that may have been.
const LATELY: Duration = Duration::from_secs(10 * 60);

/// A failure is remembered for as long as it took to come, within these bounds: one that
/// takes long is not asked for by everybody in turn, and one that comes at once costs little.
const REMEMBERED: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(10);

/// With so many names it is worth while to look for some that can be forgotten.
const MANY: usize = 10_000;

/// The turns of names. `F` is how a look-up fails.
#[derive(Debug)]
pub(super) struct Turns<F> {
    /// Look-ups under way, with their beginnings.
    running: HashMap<String, Instant>,
    /// How many of them there are in each zone.
    of_zone: HashMap<String, usize>,
    /// How many of them there are in each zone and in all below it.
    below: HashMap<String, usize>,
    waiting: VecDeque<String>,
    found: HashMap<String, Instant>,
    failed: HashMap<String, (Instant, F)>,
}

impl<F> Default for Turns<F> {
    fn default() -> Turns<F> {
        Turns {
            running: HashMap::new(),
            of_zone: HashMap::new(),
            below: HashMap::new(),
            waiting: VecDeque::new(),
            found: HashMap::new(),
            failed: HashMap::new(),
        }
    }
}

impl<F: Clone> Turns<F> {
    /// The failure of this name's last look-up, if it is remembered.
    pub(super) fn failure(&self, name: &str, now: Instant) -> Option<F> {
        let (until, failure) = self.failed.get(name)?;
        (now < *until).then(|| failure.clone())
    }

    /// The name is to be looked up, when it is its turn.
    pub(super) fn wants(&mut self, name: &str) {
        self.waiting.push_back(name.to_owned());
    }

    /// The name that is to be looked up now, if any; counted from here on.
    pub(super) fn next(&mut self, now: Instant) -> Option<String> {
        let at = self
            .waiting
            .iter()
            .position(|name| self.may_begin(name, now))?;
        let name = self.waiting.remove(at)?;
        *self.of_zone.entry(zone(&name).to_owned()).or_default() += 1;
        for suffix in zones(&name) {
            *self.below.entry(suffix.to_owned()).or_default() += 1;
        }
        self.running.insert(name.clone(), now);
        Some(name)
    }

    fn may_begin(&self, name: &str, now: Instant) -> bool {
        let free = MOST.saturating_sub(self.running.len());
        let was_found = self
            .found
            .get(name)
            .is_some_and(|found| now.saturating_duration_since(*found) < LATELY);
        let kept = if was_found { 0 } else { KEPT };
        let count = |of: &HashMap<String, usize>, zone| of.get(zone).copied().unwrap_or(0);
        free > kept
            && count(&self.of_zone, zone(name)) < free
            && zones(name).all(|zone| count(&self.below, zone) < 3 * free)
    }

    /// The name's look-up has ended: with a failure that says something of the name, or not.
    pub(super) fn ended(&mut self, name: &str, failure: Option<F>, is_found: bool, now: Instant) {
        let begun = self.running.remove(name).unwrap_or(now);
        one_less(&mut self.of_zone, zone(name));
        for zone in zones(name) {
            one_less(&mut self.below, zone);
        }
        if self.found.len() + self.failed.len() >= MANY {
            self.found
                .retain(|_, found| now.saturating_duration_since(*found) < LATELY);
            self.failed.retain(|_, (until, _)| now < *until);
            if self.found.len() >= MANY {
                self.found.clear();
            }
        }
        match failure {
            Some(failure) => {
                let took = now.saturating_duration_since(begun);
                let time = took.clamp(*REMEMBERED.start(), *REMEMBERED.end());
                self.failed.insert(name.to_owned(), (now + time, failure));
                self.found.remove(name);
            }
            None if is_found => {
                self.failed.remove(name);
                self.found.insert(name.to_owned(), now);
            }
            None => {}
        }
    }
}

fn one_less(counts: &mut HashMap<String, usize>, zone: &str) {
    if let Some(count) = counts.get_mut(zone) {
        *count -= 1;
        if *count == 0 {
            counts.remove(zone);
        }
    }
}

/// All behind the name's first label. Names of one label have one zone in common.
fn zone(name: &str) -> &str {
    name.split_once('.').map_or("", |(_, zone)| zone)
}

/// The name's zone, and what is above that down to two labels.
fn zones(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(zone(name)), |zone| {
        let (_, above) = zone.split_once('.')?;
        above.contains('.').then_some(above)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    /// How many of these begin.
    fn begin(turns: &mut Turns<()>, names: impl Iterator<Item = String>, now: Instant) -> usize {
        for name in names {
            turns.wants(&name);
        }
        std::iter::from_fn(|| turns.next(now)).count()
    }

    #[test]
    fn names_of_a_dead_zone_leave_half_to_others() {
        let mut turns = Turns::default();
        let now = Instant::now();
        let dead = (0..150).map(|number| format!("h{number}.dead.example.net"));
        assert_eq!(begin(&mut turns, dead, now), 32);
        // Behind 118 that wait.
        for other in ["web.example.net", "web.live.example.net", "web"] {
            assert_eq!(begin(&mut turns, [other.to_owned()].into_iter(), now), 1);
        }
        let more = (0..100).map(|number| format!("h{number}.dead.test"));
        assert_eq!(begin(&mut turns, more, now), 15);
        for ended in ["h0.dead.example.net", "h1.dead.example.net"] {
            turns.ended(ended, Some(()), false, now);
        }
        assert_eq!(turns.next(now).as_deref(), Some("h15.dead.test"));
    }

    #[test]
    fn a_dead_domain_of_many_zones_leaves_a_quarter() {
        let mut turns = Turns::default();
        let now = Instant::now();
        let dead = (0..150).map(|number| format!("h.z{number}.dead.test"));
        assert_eq!(begin(&mut turns, dead, now), 48);
        assert_eq!(
            begin(&mut turns, ["web.live.test".to_owned()].into_iter(), now),
            1
        );
        assert_eq!(
            begin(&mut turns, ["www.dead.test".to_owned()].into_iter(), now),
            0
        );
    }

    #[test]
    fn some_threads_are_for_names_that_were_found_lately() {
        let mut turns = Turns::default();
        let start = Instant::now();
        let web = || ["web.live.test".to_owned()].into_iter();
        assert_eq!(begin(&mut turns, web(), start), 1);
        turns.ended("web.live.test", None, true, start);
        let dead = (0..150).map(|number| format!("h.z{number}"));
        assert_eq!(begin(&mut turns, dead, start), MOST - KEPT);
        let new = ["new.live.test".to_owned()].into_iter();
        assert_eq!(begin(&mut turns, new, start), 0);
        assert_eq!(begin(&mut turns, web(), after(start, 599)), 1);
        turns.ended("web.live.test", Some(()), false, after(start, 601));
        assert_eq!(begin(&mut turns, web(), after(start, 620)), 0, "not lately");
    }

    #[test]
    fn a_failure_is_remembered_for_as_long_as_it_took() {
        let start = Instant::now();
        for (took, remembered) in [(0, 1), (5, 5), (30, 10)] {
            let mut turns = Turns::default();
            turns.wants("web");
            turns.next(start);
            let ended = after(start, took);
            turns.ended("web", Some(took), false, ended);
            let until = after(ended, remembered);
            let moment = Duration::from_millis(1);
            assert_eq!(turns.failure("web", until - moment), Some(took));
            assert_eq!(turns.failure("web", until), None);
            // What says nothing of the name is not remembered, and changes nothing.
            turns.wants("other");
            turns.next(start);
            turns.ended("other", None, false, ended);
            assert_eq!(turns.failure("other", ended), None);
        }
    }
}
