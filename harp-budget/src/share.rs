//! What one line holds of a budget.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::Budget;
use crate::state::Asked;

/// How often a line that waits looks which one has to give way.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the lines of one connection hold, one line after the other. Given back when dropped.
#[derive(Debug)]
pub struct Share {
    budget: Budget,
    peer: u64,
    /// Among the lines that hold something or wait; `None` while there is nothing to know.
    number: Option<u64>,
    held: usize,
    is_whole: bool,
    /// Runs while the line waits.
    look: Option<Pin<Box<Sleep>>>,
}

/// The line's bytes have gone to another that waited; it has to be dropped, with what has
/// been read of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GaveWay;

impl Share {
    pub(crate) fn new(budget: Budget, peer: u64) -> Share {
        Share {
            budget,
            peer,
            number: None,
            held: 0,
            is_whole: false,
            look: None,
        }
    }

    /// Bytes that are held.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// True if anything is held, so that there is something to be told of and to give back.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held > 0
    }

    /// True while bytes are waited for.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.look.is_some()
    }

    /// True if the line is whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Waits until so many bytes in all are held. Cancel safe: the place among those who
    /// wait is kept until the share is given back.
    ///
    /// # Errors
    ///
    /// [`GaveWay`].
    pub async fn hold(&mut self, bytes: usize) -> Result<(), GaveWay> {
        poll_fn(|context| self.poll_hold(context, bytes)).await
    }

    /// Polls for what [`Share::hold`] waits for.
    ///
    /// # Errors
    ///
    /// [`GaveWay`].
    pub fn poll_hold(
        &mut self,
        context: &mut Context<'_>,
        bytes: usize,
    ) -> Poll<Result<(), GaveWay>> {
        if bytes <= self.held {
            return Poll::Ready(Ok(()));
        }
        loop {
            let now = Instant::now();
            let mut state = self.budget.0.state();
            let number = *self
                .number
                .get_or_insert_with(|| state.enter(self.peer, now));
            match state.ask(number, bytes, now, context.waker()) {
                Asked::Granted => {
                    self.held = bytes;
                    self.look = None;
                    return Poll::Ready(Ok(()));
                }
                Asked::GaveWay => {
                    self.look = None;
                    return Poll::Ready(Err(GaveWay));
                }
                Asked::Waits => {}
            }
            let look = self.look.get_or_insert_with(|| Box::pin(sleep(LOOK_EVERY)));
            if look.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            state.make_room(now);
            look.as_mut().reset(now + LOOK_EVERY);
        }
    }

    /// Tells that bytes of the line have been read or written.
    pub fn moved(&mut self, bytes: usize) {
        if let Some(number) = self.number {
            self.budget.0.state().moved(number, bytes, Instant::now());
        }
    }

    /// Waits until the line has to give way; for ever if it holds nothing. Cancel safe.
    pub async fn gave_way(&mut self) {
        poll_fn(|context| self.poll_gave_way(context)).await;
    }

    /// Polls for what [`Share::gave_way`] waits for.
    pub fn poll_gave_way(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self.number {
            Some(number) if self.budget.0.state().gave_way(number, context.waker()) => {
                Poll::Ready(())
            }
            _ => Poll::Pending,
        }
    }

    /// The line is whole: it is not taken from the line that has it. One more byte is to be asked for
    /// only after [`Share::release`], or it may wait for itself.
    pub fn settle(&mut self) {
        if let Some(number) = self.number {
            self.is_whole = true;
            self.budget.0.state().settle(number);
        }
    }

    /// Gives all of it back.
    pub fn release(&mut self) {
        self.held = 0;
        self.is_whole = false;
        self.look = None;
        if let Some(number) = self.number.take() {
            self.budget.0.state().leave(number, Instant::now());
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.release();
    }
}
