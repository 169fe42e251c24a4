//! The packets of a job and its end, as one stream.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use harp_proto::Outcome;
use serde::Serialize;

use crate::{Error, Packet, Packets};

/// What happens to a job that is followed.
///
/// It serializes as `harp --json` shows it: an object with `event`, which is `packet` or
/// `ended`, and the keys of a [`Packet`] or an [`Outcome`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum JobEvent {
    /// A packet has come.
    Packet(Packet),
    /// The job has ended: the last event.
    Ended(Outcome),
}

/// The packets of a job, each exactly once, and behind the last of them its end: made by
/// [`Packets::events`], and a [`Stream`]. The end is missing where [`Packets::outcome`] would
/// have none: behind what was collected of a job that goes on.
#[derive(Debug)]
#[must_use = "streams do nothing unless polled"]
pub struct Events {
    packets: Packets,
    has_ended: bool,
}

impl Packets {
    /// The packets, and behind the last of them the job's end: everything in one stream.
    ///
    /// ```no_run
    /// # async fn example(job: harp_client::RemoteCall) -> Result<(), harp_client::Error> {
    /// use harp_client::JobEvent;
    ///
    /// let mut events = job.follow().since(0).events();
    /// while let Some(event) = events.next().await {
    ///     match event? {
    ///         JobEvent::Packet(packet) => println!("{}", packet.data),
    ///         JobEvent::Ended(outcome) => println!("{outcome}"),
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "sse")]
    pub fn events(self) -> Events {
        Events {
            packets: self,
            has_ended: false,
        }
    }
}

impl Events {
    /// The next event, `None` after the last. Cancel safe.
    ///
    /// # Errors
    ///
    /// Those of [`Packets::next`], as the last item.
    pub async fn next(&mut self) -> Option<Result<JobEvent, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }
}

impl Stream for Events {
    type Item = Result<JobEvent, Error>;

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<JobEvent, Error>>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(None);
        }
        let packet = ready!(Pin::new(&mut this.packets).poll_next(context));
        Poll::Ready(match packet {
            Some(packet) => Some(packet.map(JobEvent::Packet)),
            None => {
                this.has_ended = true;
                let end = this.packets.outcome().cloned();
                end.map(|outcome| Ok(JobEvent::Ended(outcome)))
            }
        })
    }
}
