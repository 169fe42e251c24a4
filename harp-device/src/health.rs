//! How a device is, by its heartbeats: its names, its interval, whether it has fallen
//! silent. Pure.

use std::time::Duration;

use harp_jobs::world::Moment;
use harp_values::JobId;
use serde::{Deserialize, Serialize};

use crate::published::Heartbeat;

/// So many intervals without a heartbeat make a device unreachable.
const MISSED: u32 = 3;

/// Intervals that are believed.
const SANE: std::ops::RangeInclusive<f64> = 0.001..=86_400.0;

/// What is known of a device over restarts of the dispatcher.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// Between two heartbeats, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interval: Option<u64>,
    /// Its name for itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) identifier: Option<String>,
    /// The version of its library.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// The job that records it, or did last, if it is to be recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recorder: Option<JobId>,
}

/// The newest heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) at: Moment,
    /// In milliseconds since 1970.
    pub(crate) wall: u64,
}

/// How a device is.
#[derive(Debug, Default)]
pub(crate) struct Health {
    known: Known,
    beat: Option<Beat>,
    /// The first heartbeat on this connection, until the second has come: when, by the
    /// device's clock and by ours.
    first: Option<(f64, Moment)>,
    has_learned: bool,
    /// When the first connection was there, until a heartbeat has come.
    since: Option<Moment>,
}

/// What a heartbeat has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// It is another device, or the same with another library: it was started anew.
    pub(crate) is_another: bool,
    /// There is something to keep.
    pub(crate) is_new: bool,
}

impl Health {
    /// Of a device of which this is known.
    pub(crate) fn new(known: Known) -> Health {
        Health {
            known,
            ..Health::default()
        }
    }

    /// What is known.
    pub(crate) fn known(&self) -> &Known {
        &self.known
    }

    /// The newest heartbeat.
    pub(crate) fn beat(&self) -> Option<Beat> {
        self.beat
    }

    /// Between two heartbeats, as far as that is known.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.known.interval.map(Duration::from_millis)
    }

    /// This job records it from now on, or none; which one did before.
    pub(crate) fn record(&mut self, recorder: Option<JobId>) -> Option<JobId> {
        std::mem::replace(&mut self.known.recorder, recorder)
    }

    /// There is a new connection: the interval is learned again.
    pub(crate) fn connected(&mut self, now: Moment) {
        (self.first, self.has_learned) = (None, false);
        self.since.get_or_insert(now);
    }

    /// A heartbeat has come.
    pub(crate) fn heard(&mut self, heartbeat: Heartbeat, beat: Beat) -> Told {
        let before = self.known.clone();
        match self.first {
            _ if self.has_learned => {}
            None => self.first = Some((heartbeat.timestamp, beat.at)),
            Some((timestamp, at)) => {
                // Its own clock: a busy device publishes late.
                let by_device = heartbeat.timestamp - timestamp;
                let by_us = beat.at.since(at).as_secs_f64();
                let seconds = [by_device, by_us]
                    .into_iter()
                    .find(|time| SANE.contains(time));
                if let Some(seconds) = seconds {
                    self.known.interval = Some((seconds * 1000.0).round().max(1.0) as u64);
                    self.has_learned = true;
                }
            }
        }
        self.beat = Some(beat);
        self.known.identifier = Some(heartbeat.identifier);
        self.known.version = Some(heartbeat.version);
        let names = |known: &Known| (known.identifier.clone(), known.version.clone());
        Told {
            is_another: before.version.is_some() && names(&before) != names(&self.known),
            is_new: before != self.known,
        }
    }

    /// When the device has been silent for too long, unless it beats before; `None` while the
    /// interval is not known: then its connection alone counts.
    pub(crate) fn silent_at(&self) -> Option<Moment> {
        let since = self.beat.map(|beat| beat.at).or(self.since)?;
        Some(since + self.interval()? * MISSED)
    }

    /// Whether it has been silent for too long.
    pub(crate) fn is_silent(&self, now: Moment) -> bool {
        self.silent_at().is_some_and(|silent| silent <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Moment {
        Moment::START + Duration::from_secs_f64(seconds)
    }

    fn beat(health: &mut Health, version: &str, timestamp: f64, now: f64) -> Told {
        let heartbeat = Heartbeat {
            identifier: "rig".to_owned(),
            version: version.to_owned(),
            timestamp,
        };
        let beat = Beat {
            at: at(now),
            wall: 1,
        };
        health.heard(heartbeat, beat)
    }

    #[test]
    fn three_intervals_without_a_beat_are_too_many() {
        let mut health = Health::default();
        health.connected(at(0.0));
        assert_eq!(health.silent_at(), None, "its connection alone counts");
        let told = beat(&mut health, "1", 100.0, 5.0);
        assert_eq!((told.is_another, told.is_new), (false, true));
        assert_eq!(health.silent_at(), None);
        // The second one was held up: the device's clock says so.
        beat(&mut health, "1", 105.0, 13.0);
        assert_eq!(health.interval(), Some(Duration::from_secs(5)));
        assert!(!health.is_silent(at(27.9)) && health.is_silent(at(28.0)));
        let told = beat(&mut health, "1", 117.0, 28.0);
        assert_eq!(
            (told.is_another, told.is_new),
            (false, false),
            "it is learned once"
        );
        assert!(!health.is_silent(at(28.0)));
    }

    #[test]
    fn what_is_known_counts_from_the_first_connection_on() {
        let known = Known {
            interval: Some(2000),
            identifier: Some("rig".to_owned()),
            version: Some("1".to_owned()),
            recorder: None,
        };
        let mut health = Health::new(known);
        assert_eq!(health.silent_at(), None);
        health.connected(at(10.0));
        health.connected(at(14.0));
        assert!(!health.is_silent(at(15.9)) && health.is_silent(at(16.0)));
        let told = beat(&mut health, "2", 0.0, 17.0);
        assert_eq!((told.is_another, told.is_new), (true, true));
        // A clock that says nothing is not asked.
        beat(&mut health, "2", 0.0, 20.0);
        assert_eq!(health.interval(), Some(Duration::from_secs(3)));
        // On a new connection it may be another one.
        health.connected(at(21.0));
        beat(&mut health, "2", 50.0, 22.0);
        beat(&mut health, "2", 60.0, 32.0);
        assert_eq!(health.interval(), Some(Duration::from_secs(10)));
    }
}
