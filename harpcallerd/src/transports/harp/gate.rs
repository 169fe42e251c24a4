//! Whose turn it is to attach at a host that is away: one attempt at a time, at once after a
//! break and then after longer and longer pauses. The others follow as soon as the host has
//! answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};

/// After the first attempt; from then on twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Between two attempts at most, but for the jitter.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The gates of the hosts, by their names in the registry.
#[derive(Debug, Default)]
pub(super) struct Gates(Mutex<HashMap<String, Arc<Gate>>>);

/// The gate of one host.
#[derive(Debug)]
pub(super) struct Gate {
    away: Mutex<Option<Away>>,
    /// Whoever holds it may try.
    turn: Arc<Semaphore>,
    is_away: watch::Sender<bool>,
}

/// A host that is away.
#[derive(Debug, Clone, Copy)]
struct Away {
    /// When it may be tried again.
    due: Instant,
    pause: Duration,
}

/// The leave to try once. Dropping it gives it to the next.
#[derive(Debug)]
pub(super) struct Pass(#[expect(dead_code, reason = "held")] Option<OwnedSemaphorePermit>);

impl Gates {
    /// A host's gate.
    pub(super) fn of(&self, host: &str) -> Arc<Gate> {
        let mut gates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(host) {
            return Arc::clone(gate);
        }
        // Nobody waits at the others.
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        let gate = Arc::new(Gate {
            away: Mutex::new(None),
            turn: Arc::new(Semaphore::new(1)),
            is_away: watch::Sender::new(false),
        });
        gates.insert(host.to_owned(), Arc::clone(&gate));
        gate
    }
}

impl Gate {
    /// A connection to the host has broken: it is tried at once, by one.
    pub(super) fn broke(&self) {
        let mut away = self.away();
        if away.is_none() {
            *away = Some(Away {
                due: Instant::now(),
                pause: FIRST_PAUSE,
            });
            self.is_away.send_replace(true);
        }
    }

    /// An attempt has come to nothing. `chance` is a random number.
    pub(super) fn failed(&self, chance: u128) {
        let mut away = self.away();
        let pause = away.map_or(FIRST_PAUSE, |away| away.pause);
        *away = Some(Away {
            due: Instant::now() + jittered(pause, chance),
            pause: (2 * pause).min(LONGEST_PAUSE),
        });
        self.is_away.send_replace(true);
    }

    /// The host has answered.
    pub(super) fn answered(&self) {
        // Under the lock, so that both always say the same.
        let mut away = self.away();
        if away.take().is_some() {
            self.is_away.send_replace(false);
        }
    }

    /// Waits until the host may be tried. Cancel safe.
    pub(super) async fn pass(&self) -> Pass {
        let mut is_away = self.is_away.subscribe();
        tokio::select! {
            biased;
            // The sender is in the gate, which outlives this.
            _ = is_away.wait_for(|is_away| !is_away) => Pass(None),
            pass = self.turn() => pass,
        }
    }

    async fn turn(&self) -> Pass {
        // Never closed, so that this always is a permit.
        let permit = Arc::clone(&self.turn).acquire_owned().await.ok();
        loop {
            let due = self.away().map(|away| away.due);
            match due {
                Some(due) if due > Instant::now() => sleep_until(due).await,
                _ => return Pass(permit),
            }
        }
    }

    fn away(&self) -> MutexGuard<'_, Option<Away>> {
        // A std mutex: held for a comparison, never across an await.
        self.away.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From three to five quarters of a pause.
fn jittered(pause: Duration, chance: u128) -> Duration {
    let share = u32::try_from(chance % 501).unwrap_or_default();
    pause * (750 + share) / 1000
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_tries_and_the_others_follow() {
        let gates = Gates::default();
        let gate = gates.of("web01");
        assert!(gate.pass().now_or_never().is_some(), "it is not away");
        gate.broke();
        let first = gate.pass().now_or_never().expect("at once");
        let other = Arc::clone(&gate);
        let second = tokio::spawn(async move { other.pass().await });
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        gate.failed(250);
        drop(first);
        let begun = Instant::now();
        let first = second.await.unwrap();
        assert_eq!(
            begun.elapsed(),
            FIRST_PAUSE,
            "the next one, after the pause"
        );
        let other = Arc::clone(&gate);
        let third = tokio::spawn(async move { other.pass().await });
        tokio::task::yield_now().await;
        gate.answered();
        let begun = Instant::now();
        third.await.unwrap();
        assert_eq!(begun.elapsed(), Duration::ZERO);
        drop(first);
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_double_up_to_five_seconds() {
        let gate = Gates::default().of("web01");
        let mut pauses = Vec::new();
        for _ in 0..9 {
            let begun = Instant::now();
            let pass = gate.pass().await;
            pauses.push(begun.elapsed().as_millis());
            gate.failed(250);
            drop(pass);
        }
        assert_eq!(
            pauses,
            [0, 100, 200, 400, 800, 1600, 3200, 5000, 5000],
            "without jitter"
        );
        assert_eq!(jittered(FIRST_PAUSE, 0), FIRST_PAUSE * 3 / 4);
        assert_eq!(jittered(FIRST_PAUSE, 500), FIRST_PAUSE * 5 / 4);
    }
}
