//! How many calls may run at once, and who is next.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A number of slots that can change while they are in use. A call that waits gets one in the
/// order of asking.
#[derive(Debug)]
pub struct Slots {
    semaphore: Arc<Semaphore>,
    size: Mutex<Size>,
}

#[derive(Debug)]
struct Size {
    limit: usize,
    /// Slots that are in use but must vanish when they are given back, since the limit
    /// was lowered.
    excess: usize,
}

/// A slot in use; given back when dropped.
#[derive(Debug)]
pub struct Slot {
    slots: Arc<Slots>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Slots {
    /// `limit` slots, none in use.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Slots> {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Arc::new(Slots {
            semaphore: Arc::new(Semaphore::new(limit)),
            size: Mutex::new(Size { limit, excess: 0 }),
        })
    }

    /// A slot, if one is free and nobody waits.
    #[must_use]
    pub fn take_now(self: &Arc<Slots>) -> Option<Slot> {
        let permit = Arc::clone(&self.semaphore).try_acquire_owned().ok()?;
        Some(Slot {
            slots: Arc::clone(self),
            permit: Some(permit),
        })
    }

    /// Waits for a slot.
    ///
    /// Cancel safe: the place in the order is lost, nothing else.
    pub async fn take(self: &Arc<Slots>) -> Slot {
        let permit = Arc::clone(&self.semaphore).acquire_owned().await;
        Slot {
            slots: Arc::clone(self),
            // An error would mean that the semaphore is closed, and nobody does that.
            permit: permit.ok(),
        }
    }

    /// Changes the limit. Slots in use stay so; a lower limit holds once enough of them
    /// are given back.
    pub fn resize(&self, limit: usize) {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        let mut size = self.size();
        if limit > size.limit {
            let more = limit - size.limit;
            let kept = more.min(size.excess);
            size.excess -= kept;
            self.semaphore.add_permits(more - kept);
        } else {
            let fewer = size.limit - limit;
            size.excess += fewer - self.semaphore.forget_permits(fewer);
        }
        size.limit = limit;
    }

    fn size(&self) -> std::sync::MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut size = self.slots.size();
        if size.excess > 0 {
            size.excess -= 1;
            if let Some(permit) = self.permit.take() {
                permit.forget();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn is_ready<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
        future
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[tokio::test]
    async fn who_asked_first_gets_it_first() {
        let slots = Slots::new(1);
        let held = slots.take().await;
        let mut first = pin!(slots.take());
        let mut second = pin!(slots.take());
        assert!(!is_ready(first.as_mut()));
        assert!(!is_ready(second.as_mut()));
        drop(held);
        assert!(!is_ready(second.as_mut()));
        assert!(is_ready(first.as_mut()));
    }

    #[tokio::test]
    async fn a_lower_limit_holds_once_slots_come_back() {
        let slots = Slots::new(3);
        let (one, two) = (slots.take().await, slots.take().await);
        slots.resize(1);
        assert!(!is_ready(pin!(slots.take())));
        drop(one);
        assert!(!is_ready(pin!(slots.take())));
        drop(two);
        let held = slots.take().await;
        assert!(!is_ready(pin!(slots.take())));
        slots.resize(2);
        assert!(is_ready(pin!(slots.take())));
        drop(held);
    }

    #[tokio::test]
    async fn raising_a_lowered_limit_keeps_count() {
        let slots = Slots::new(2);
        let (one, two) = (slots.take().await, slots.take().await);
        slots.resize(1);
        slots.resize(2);
        drop(one);
        let one = slots.take().await;
        assert!(!is_ready(pin!(slots.take())));
        drop((one, two));
    }
}
