//! A world of the runtime's tasks and the system's clocks, as a daemon's is.

use std::sync::atomic::{AtomicU64, Ordering};

use harp_jobs::world::{BoxFuture, Moment, Phase, World};
use harp_time::clock;
use tokio::time::Instant;

pub(super) struct Runtime {
    began: Instant,
    chances: AtomicU64,
}

impl Runtime {
    pub(super) fn start() -> Runtime {
        Runtime {
            began: Instant::now(),
            chances: AtomicU64::new(0),
        }
    }
}

impl World for Runtime {
    fn now(&self) -> Moment {
        Moment::START + self.began.elapsed()
    }

    fn wall(&self) -> u64 {
        clock::now()
    }

    fn chance(&self) -> u128 {
        u128::from(self.chances.fetch_add(1, Ordering::Relaxed))
    }

    fn spawn(&self, _: &'static str, _: Phase, work: BoxFuture<'static, ()>) {
        tokio::spawn(work);
    }

    fn sleep(&self, until: Moment) -> BoxFuture<'static, ()> {
        if until == Moment::NEVER {
            return Box::pin(std::future::pending());
        }
        let until = self.began + until.since(Moment::START);
        Box::pin(tokio::time::sleep_until(until))
    }
}
