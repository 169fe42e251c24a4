//! Work that comes to its end whether or not anybody waits for it.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use harp_jobs::world::{BoxFuture, Phase, World};
use tokio::runtime::Handle;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::Runtime;

/// Work that is done by whoever waits for it, which costs no task, and goes on in a task of
/// its own if that one is dropped. A stop waits for it either way, from when it is made.
pub struct ToTheEnd<T: Send + 'static> {
    world: Arc<Runtime>,
    name: &'static str,
    phase: Phase,
    /// `None` once it is done.
    work: Option<BoxFuture<'static, T>>,
    /// Counts it.
    _counted: TaskTrackerToken,
}

/// The work met a fault of this program; it is in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault;

impl<T: Send + 'static> ToTheEnd<T> {
    /// Work of this name, for the log, in this phase of a stop.
    pub fn new(
        world: &Arc<Runtime>,
        name: &'static str,
        phase: Phase,
        work: impl Future<Output = T> + Send + 'static,
    ) -> ToTheEnd<T> {
        ToTheEnd {
            _counted: world.of(phase).token(),
            world: Arc::clone(world),
            name,
            phase,
            work: Some(Box::pin(work)),
        }
    }
}

impl<T: Send + 'static> Future for ToTheEnd<T> {
    type Output = Result<T, Fault>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(Err(Fault));
        };
        let mut caught = AssertUnwindSafe(work).catch_unwind();
        let done = ready!(caught.poll_unpin(context));
        self.work = None;
        Poll::Ready(done.map_err(|_| {
            super::tell_of_fault(self.name, self.phase);
            Fault
        }))
    }
}

impl<T: Send + 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        // Where no runtime is left there is nothing to go on with.
        if let Some(work) = self.work.take()
            && Handle::try_current().is_ok()
        {
            let rest = Box::pin(work.map(drop));
            self.world.spawn(self.name, self.phase, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::{Duration, timeout};

    use super::*;

    /// Work that waits for a word and passes it on.
    fn passing(world: &Arc<Runtime>) -> (oneshot::Sender<u8>, ToTheEnd<()>, oneshot::Receiver<u8>) {
        let (word, waited) = oneshot::channel();
        let (told, heard) = oneshot::channel();
        let work = async move {
            let _ = told.send(waited.await.unwrap());
        };
        let work = ToTheEnd::new(world, "passing", Phase::Verbs, work);
        (word, work, heard)
    }

    #[tokio::test]
    async fn it_is_done_in_place_and_goes_on_when_nobody_waits() {
        let world = Arc::new(Runtime::start());
        let (word, work, heard) = passing(&world);
        word.send(1).unwrap();
        assert_eq!(work.await, Ok(()));
        assert_eq!(heard.await, Ok(1));
        for begun in [false, true] {
            let (word, mut work, heard) = passing(&world);
            if begun {
                let moment = Duration::from_millis(1);
                assert!(timeout(moment, &mut work).await.is_err());
            }
            drop(work);
            word.send(2).unwrap();
            assert_eq!(heard.await, Ok(2), "{begun}");
        }
    }

    #[tokio::test]
    async fn a_stop_waits_for_it() {
        let world = Arc::new(Runtime::start());
        let (word, work, _heard) = passing(&world);
        let mut over = Box::pin(world.over(Phase::Verbs));
        assert!((&mut over).now_or_never().is_none());
        drop(work);
        tokio::task::yield_now().await;
        assert!((&mut over).now_or_never().is_none());
        word.send(1).unwrap();
        over.await;
    }

    #[tokio::test]
    async fn a_fault_in_it_is_not_one_of_whoever_waits() {
        let world = Arc::new(Runtime::start());
        let work = async { panic!("a fault") };
        let work: ToTheEnd<()> = ToTheEnd::new(&world, "faulty", Phase::Verbs, work);
        assert_eq!(work.await, Err(Fault));
        world.over(Phase::Verbs).await;
    }
}
