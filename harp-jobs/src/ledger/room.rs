//! Memory for packets that are not on disk yet. There is always room for those that are here
//! already; whoever sends more than there is room for waits before it takes further ones.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Bytes of packets that wait in memory at most, beside what each job has already taken.
const MOST: usize = 64 * 1024 * 1024;

/// What packets take beside their content, in bytes.
const COST: usize = 256;

/// Memory for packets.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Used>);

#[derive(Debug, Default)]
struct Used {
    bytes: usize,
    /// Those that wait for room, and how much is taken.
    waiting: VecDeque<(oneshot::Sender<()>, usize)>,
}

/// Memory that packets take, until this is dropped.
#[derive(Debug)]
pub struct Taken {
    memory: Arc<Memory>,
    bytes: usize,
}

impl Memory {
    /// Takes memory for packets of this size. With it comes what completes when further
    /// packets may be taken; `None` if they may at once.
    pub fn take(self: &Arc<Self>, size: usize) -> (Taken, Option<oneshot::Receiver<()>>) {
        let taken = Taken {
            memory: Arc::clone(self),
            bytes: size + COST,
        };
        let mut used = self.used();
        used.bytes += taken.bytes;
        let waits = (used.bytes > MOST).then(|| {
            let (room, waits) = oneshot::channel();
            used.waiting.push_back((room, taken.bytes));
            waits
        });
        drop(used);
        (taken, waits)
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut used = self.memory.used();
        used.bytes -= self.bytes;
        // Each goes on with about as much as it has taken before.
        let mut room = MOST.saturating_sub(used.bytes);
        while room > 0
            && let Some((waits, bytes)) = used.waiting.pop_front()
        {
            room = room.saturating_sub(bytes);
            let _ = waits.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn who_brings_too_much_waits_until_some_of_it_is_gone() {
        let memory = Arc::new(Memory::default());
        let (first, waits) = memory.take(MOST - 2 * COST);
        assert!(waits.is_none());
        let (second, waits) = memory.take(0);
        assert!(waits.is_none(), "as much as there may be");
        let (third, waits) = memory.take(10);
        let mut waits = waits.unwrap();
        assert!((&mut waits).now_or_never().is_none());
        drop(second);
        assert!((&mut waits).now_or_never().is_none());
        drop(first);
        assert_eq!(waits.now_or_never(), Some(Ok(())));
        drop(third);
        assert_eq!(memory.used().bytes, 0);
    }
}
