//! The daemon's own world: the system's clocks, random numbers, and tasks of the runtime.

mod to_the_end;

use std::array;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use harp_jobs::world::{BoxFuture, Moment, Phase, World};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span, error};

use harp_time::clock;

pub use to_the_end::{Fault, ToTheEnd};

/// The source of time, chance and tasks of a process. It owns its tasks: those of one phase
/// are waited for by [`Runtime::over`].
#[derive(Debug)]
pub struct Runtime {
    began: Instant,
    random: SystemRandom,
    tasks: [TaskTracker; 3],
}

impl Runtime {
    /// A world that begins now. Its tasks run on the runtime that it is called in.
    #[must_use]
    pub fn start() -> Runtime {
        Runtime {
            began: Instant::now(),
            random: SystemRandom::new(),
            tasks: array::from_fn(|_| TaskTracker::new()),
        }
    }

    /// A moment by the runtime's clock.
    #[must_use]
    pub fn instant(&self, moment: Moment) -> Instant {
        let since = moment.since(Moment::START);
        self.began.checked_add(since).unwrap_or_else(|| {
            // As good as never, and still a time that the clock can count to.
            self.began + Duration::from_secs(30 * 365 * 24 * 3600)
        })
    }

    /// The moment of a time by the runtime's clock.
    #[must_use]
    pub fn moment(&self, instant: Instant) -> Moment {
        Moment::START + instant.saturating_duration_since(self.began)
    }

    /// Completes when no task of this phase is left. Cancel safe. To be called when nobody
    /// begins any more: tasks that are begun later are waited for, too.
    pub async fn over(&self, phase: Phase) {
        let tasks = self.of(phase);
        tasks.close();
        tasks.wait().await;
    }

    fn of(&self, phase: Phase) -> &TaskTracker {
        let [verbs, runs, news] = &self.tasks;
        match phase {
            Phase::Verbs => verbs,
            Phase::Runs => runs,
            Phase::News => news,
        }
    }
}

impl World for Runtime {
    fn now(&self) -> Moment {
        self.moment(Instant::now())
    }

    fn wall(&self) -> u64 {
        clock::now()
    }

    fn chance(&self) -> u128 {
        let mut bytes = [0; 16];
        // A system without random numbers could not have set up TLS either.
        let _ = self.random.fill(&mut bytes);
        u128::from_le_bytes(bytes)
    }

    fn spawn(&self, name: &'static str, phase: Phase, work: BoxFuture<'static, ()>) {
        let span = match Span::current() {
            span if span.is_none() => tracing::debug_span!("task", name),
            span => span,
        };
        let work = async move {
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                tell_of_fault(name, phase);
            }
        };
        self.of(phase).spawn(work.instrument(span));
    }

    fn sleep(&self, until: Moment) -> BoxFuture<'static, ()> {
        if until == Moment::NEVER {
            return Box::pin(std::future::pending());
        }
        Box::pin(sleep_until(self.instant(until)))
    }
}

/// The panic itself is in the log before.
fn tell_of_fault(task: &str, phase: Phase) {
    error!(
        task,
        ?phase,
        "a task met a fault of this program and is gone; please report it"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn its_moments_are_the_runtimes() {
        let world = Runtime::start();
        let later = world.now() + Duration::from_secs(5);
        assert_eq!(world.moment(world.instant(later)), later);
        let begun = Instant::now();
        world.sleep(later).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        assert!(world.sleep(later).now_or_never().is_some(), "it is over");
        assert!(world.sleep(Moment::NEVER).now_or_never().is_none());
        assert!(world.instant(Moment::NEVER) > Instant::now() + Duration::from_secs(1 << 29));
        assert_ne!(world.chance(), world.chance());
    }

    #[tokio::test(start_paused = true)]
    async fn the_tasks_of_a_phase_are_waited_for_by_themselves() {
        let world = Runtime::start();
        let second = world.sleep(world.now() + Duration::from_secs(1));
        world.spawn("run", Phase::Runs, second);
        world.over(Phase::Verbs).await;
        assert!(world.over(Phase::Runs).now_or_never().is_none());
        world.over(Phase::Runs).await;
    }
}
