//! What a store counts of its own work, for whoever watches it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use harp_time::Histogram;

/// What a store has done since it was opened.
#[derive(Debug, Clone)]
pub struct StoreCounts {
    /// Packets that came to the disk.
    pub packets: u64,
    /// Their bytes, as they are kept.
    pub packet_bytes: u64,
    /// Bytes of changes that wait for the disk at this moment.
    pub pending: u64,
    /// How long it took to bring rounds of changes to the disk.
    pub syncs: Histogram,
    /// Times in which nothing could be written.
    pub outages: u64,
}

/// The counts of a store. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pulse(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    packets: AtomicU64,
    packet_bytes: AtomicU64,
    pending: AtomicU64,
    outages: AtomicU64,
    syncs: Mutex<Option<Histogram>>,
}

/// Bytes that wait for the disk until this is dropped.
#[derive(Debug)]
pub(crate) struct Pending {
    pulse: Pulse,
    bytes: u64,
}

impl Default for StoreCounts {
    fn default() -> StoreCounts {
        Pulse::default().counts()
    }
}

impl Pulse {
    pub(crate) fn counts(&self) -> StoreCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        StoreCounts {
            packets: of(&self.0.packets),
            packet_bytes: of(&self.0.packet_bytes),
            pending: of(&self.0.pending),
            syncs: self.syncs().clone().unwrap_or_else(none),
            outages: of(&self.0.outages),
        }
    }

    pub(crate) fn pending(&self, bytes: usize) -> Pending {
        let bytes = bytes as u64;
        self.0.pending.fetch_add(bytes, Ordering::Relaxed);
        Pending {
            pulse: self.clone(),
            bytes,
        }
    }

    /// A round came to the disk in this time, with so many packets of so many bytes.
    pub(crate) fn synced(&self, took: Duration, packets: u64, bytes: u64) {
        self.0.packets.fetch_add(packets, Ordering::Relaxed);
        self.0.packet_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.syncs().get_or_insert_with(none).note(took);
    }

    pub(crate) fn outage(&self) {
        self.0.outages.fetch_add(1, Ordering::Relaxed);
    }

    fn syncs(&self) -> std::sync::MutexGuard<'_, Option<Histogram>> {
        // A std mutex: held for a few additions.
        self.0.syncs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn none() -> Histogram {
    Histogram::new(Histogram::SHORT)
}

impl Drop for Pending {
    fn drop(&mut self) {
        let pending = &self.pulse.0.pending;
        pending.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
