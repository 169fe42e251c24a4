//! How a device stands, for people.

use super::Device;

/// How a device stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether commands can go out at present.
    pub is_reachable: bool,
    /// Why not.
    pub why: Option<String>,
    /// Its name for itself, as it was told last.
    pub identifier: Option<String>,
    /// The version of its library, likewise.
    pub version: Option<String>,
    /// Between two heartbeats, in milliseconds.
    pub interval: Option<u64>,
    /// When the newest heartbeat came, in milliseconds since 1970; `None` before the first
    /// since the start of the dispatcher.
    pub heartbeat: Option<u64>,
    /// How long ago that was, in milliseconds, by a clock that is never set.
    pub age: Option<u64>,
}

impl Device {
    /// How it stands.
    pub(crate) fn standing(&self) -> Standing {
        let now = self.world.now();
        let state = self.state();
        let known = state.health.known();
        let beat = state.health.beat();
        let fault = state.fault(now);
        let age = beat.map(|beat| now.since(beat.at).as_millis());
        Standing {
            is_reachable: fault.is_none(),
            why: fault.map(|fault| fault.to_string()),
            identifier: known.identifier.clone(),
            version: known.version.clone(),
            interval: known.interval,
            heartbeat: beat.map(|beat| beat.wall),
            age: age.and_then(|age| u64::try_from(age).ok()),
        }
    }
}
