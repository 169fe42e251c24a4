//! Receipts of the ledger: what was asked for is done whether or not anybody waits.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::{Lost, NotAccepted, Unreadable};
use crate::world::BoxFuture;

/// A receipt: a future of what has become of a question to the ledger. Dropping it undoes
/// nothing. Cancel safe; not to be polled again once it is ready.
pub struct Answer<T, E>(Kind<T, E>);

enum Kind<T, E> {
    Now(Option<Result<T, E>>),
    Later(oneshot::Receiver<Result<T, E>>),
    Read(BoxFuture<'static, Result<T, E>>),
}

/// An error that says that there is no ledger any more.
pub trait Gone {
    /// That error.
    fn gone() -> Self;
}

impl Gone for Lost {
    fn gone() -> Lost {
        Lost::Closed
    }
}

impl Gone for NotAccepted {
    fn gone() -> NotAccepted {
        NotAccepted::Closed
    }
}

impl Gone for Unreadable {
    fn gone() -> Unreadable {
        Unreadable::Closed
    }
}

impl<T, E: Gone> Answer<T, E> {
    /// What is known at once.
    pub fn now(answer: Result<T, E>) -> Answer<T, E> {
        Answer(Kind::Now(Some(answer)))
    }

    /// What somebody will send. If that party goes without a word, so has the ledger.
    #[must_use]
    pub fn later(answer: oneshot::Receiver<Result<T, E>>) -> Answer<T, E> {
        Answer(Kind::Later(answer))
    }

    /// What a future finds out. It is dropped with the receipt, so it only reads.
    #[must_use]
    pub fn read(answer: BoxFuture<'static, Result<T, E>>) -> Answer<T, E> {
        Answer(Kind::Read(answer))
    }
}

impl<T: Unpin, E: Gone + Unpin> Future for Answer<T, E> {
    type Output = Result<T, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, E>> {
        match &mut self.0 {
            Kind::Now(answer) => match answer.take() {
                Some(answer) => Poll::Ready(answer),
                // It has been given; there is nothing more to come.
                None => Poll::Pending,
            },
            Kind::Later(answer) => {
                let answer = ready!(Pin::new(answer).poll(context));
                Poll::Ready(answer.unwrap_or_else(|_| Err(E::gone())))
            }
            Kind::Read(answer) => answer.as_mut().poll(context),
        }
    }
}

impl<T, E> fmt::Debug for Answer<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Now(_) => "an answer",
            Kind::Later(_) => "an answer to come",
            Kind::Read(_) => "an answer being read",
        })
    }
}

/// Packets on their way: a future of when they are durable. Dropping it does not call them
/// back. Cancel safe.
#[derive(Debug)]
pub struct Appending {
    /// Completes when the ledger has memory for them; `None` once it has.
    taken: Option<oneshot::Receiver<()>>,
    stored: Answer<(), Lost>,
}

impl Appending {
    /// Packets that the ledger has memory for.
    #[must_use]
    pub fn taken(stored: Answer<(), Lost>) -> Appending {
        Appending {
            taken: None,
            stored,
        }
    }

    /// Packets that the ledger has no memory for until `taken` completes.
    #[must_use]
    pub fn waiting(taken: oneshot::Receiver<()>, stored: Answer<(), Lost>) -> Appending {
        Appending {
            taken: Some(taken),
            stored,
        }
    }

    /// Ready once the ledger has memory for these packets. Until then the host is not to be
    /// read.
    pub fn poll_taken(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(taken) = &mut self.taken {
            // One that goes without a word has said how through `stored`.
            let _ = ready!(Pin::new(taken).poll(context));
            self.taken = None;
        }
        Poll::Ready(())
    }
}

impl Future for Appending {
    type Output = Result<(), Lost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        Pin::new(&mut self.stored).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn a_ledger_that_goes_without_a_word_is_closed() {
        let (answer, receipt) = oneshot::channel();
        let mut receipt = Answer::<u8, Lost>::later(receipt);
        assert_eq!((&mut receipt).now_or_never(), None);
        drop(answer);
        assert_eq!(receipt.now_or_never(), Some(Err(Lost::Closed)));
        assert_eq!(Answer::<_, Lost>::now(Ok(1)).now_or_never(), Some(Ok(1)));
        let read = Answer::<_, Unreadable>::read(Box::pin(async { Ok(2) }));
        assert_eq!(read.now_or_never(), Some(Ok(2)));
    }

    #[test]
    fn packets_are_taken_before_they_are_stored() {
        let (room, taken) = oneshot::channel();
        let (answer, stored) = oneshot::channel();
        let mut appending = Appending::waiting(taken, Answer::later(stored));
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(appending.poll_taken(&mut context).is_pending());
        assert_eq!((&mut appending).now_or_never(), None);
        room.send(()).unwrap();
        assert!(appending.poll_taken(&mut context).is_ready());
        assert_eq!((&mut appending).now_or_never(), None);
        answer.send(Ok(())).unwrap();
        assert_eq!(appending.now_or_never(), Some(Ok(())));
    }
}
