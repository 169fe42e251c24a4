//! How many large requests of strangers are held in memory at once.
//!
//! Until its password has been judged, a request is a stranger's. Small ones are read as
//! they come. A large one needs a place, so that strangers cannot fill the memory; and
//! who is slow with it gives the place up as soon as somebody else wants it, so that
//! requests that stall keep no other from being read.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long a large request keeps its place however many others wait.
pub const UNDISTURBED: Duration = Duration::from_secs(1);

/// The places.
#[derive(Debug)]
pub struct LargeRequests {
    limit: usize,
    /// Held by the one who is next; the others wait for it in their order.
    turn: tokio::sync::Mutex<()>,
    freed: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Places in use.
    taken: usize,
    /// Those of requests that are still being read, oldest first.
    reading: BTreeMap<u64, (Instant, CancellationToken)>,
}

/// A large request's place; given back when dropped.
#[derive(Debug)]
pub struct LargePlace {
    places: Arc<LargeRequests>,
    number: u64,
    lost: CancellationToken,
}

impl LargeRequests {
    /// `limit` places.
    #[must_use]
    pub fn new(limit: usize) -> Arc<LargeRequests> {
        Arc::new(LargeRequests {
            limit,
            turn: tokio::sync::Mutex::default(),
            freed: Notify::new(),
            state: Mutex::default(),
        })
    }

    /// Waits for a place, in the order of asking: until one comes free, or the oldest has
    /// been held for [`UNDISTURBED`] by a request that is still not whole.
    ///
    /// Cancel safe: the place in the order is lost, nothing else.
    pub async fn take(self: &Arc<LargeRequests>) -> LargePlace {
        let _turn = self.turn.lock().await;
        loop {
            let freed = self.freed.notified();
            let oldest = match self.try_take() {
                Ok(place) => return place,
                Err(oldest) => oldest,
            };
            match oldest {
                Some(until) => {
                    let _ = tokio::time::timeout_at(until, freed).await;
                }
                // All are whole and about to be judged.
                None => freed.await,
            }
        }
    }

    /// A place, or when the oldest may be taken from its holder.
    fn try_take(self: &Arc<LargeRequests>) -> Result<LargePlace, Option<Instant>> {
        let now = Instant::now();
        let mut state = self.state();
        if state.taken >= self.limit {
            let Some(oldest) = state.reading.first_entry() else {
                return Err(None);
            };
            let until = oldest.get().0 + UNDISTURBED;
            if now < until {
                return Err(Some(until));
            }
            // Its holder still counts until it has dropped what it has read.
            oldest.remove().1.cancel();
        }
        let number = state.next;
        state.next += 1;
        state.taken += 1;
        let lost = CancellationToken::new();
        state.reading.insert(number, (now, lost.clone()));
        Ok(LargePlace {
            places: Arc::clone(self),
            number,
            lost,
        })
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LargePlace {
    /// Waits until the place has been given to somebody else.
    ///
    /// Cancel safe.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// The request is whole: nobody takes its place any more.
    pub fn is_whole(&self) {
        self.places.state().reading.remove(&self.number);
    }
}

impl Drop for LargePlace {
    fn drop(&mut self) {
        let mut state = self.places.state();
        state.reading.remove(&self.number);
        state.taken -= 1;
        drop(state);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_is_slow_gives_way_after_a_second() {
        let places = LargeRequests::new(2);
        let (slow, whole) = (places.take().await, places.take().await);
        whole.is_whole();
        let began = Instant::now();
        let third = places.take().await;
        assert_eq!(began.elapsed(), UNDISTURBED);
        assert!(slow.lost.is_cancelled());
        assert!(!whole.lost.is_cancelled());
        assert!(!third.lost.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_given_back_is_taken_at_once() {
        let places = LargeRequests::new(1);
        let first = places.take().await;
        first.is_whole();
        let waiting = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.take().await }
        });
        tokio::time::sleep(10 * UNDISTURBED).await;
        assert!(!waiting.is_finished(), "a whole request keeps its place");
        let began = Instant::now();
        drop(first);
        waiting.await.unwrap();
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_is_served_in_order() {
        let places = LargeRequests::new(16);
        let mut held = Vec::new();
        for _ in 0..16 {
            held.push(places.take().await);
        }
        // The seventeenth waits a second, and so may all the next.
        let began = Instant::now();
        for _ in 0..16 {
            held.push(places.take().await);
        }
        assert_eq!(began.elapsed(), UNDISTURBED);
        assert!(held[..16].iter().all(|place| place.lost.is_cancelled()));
    }
}
