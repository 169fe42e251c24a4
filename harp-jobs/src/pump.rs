//! A job's packets on their way from its host to the ledger.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use std::pin::Pin;

use crate::ledger::{Appending, Lost};
use crate::segment::Segment;

/// Bytes of packets that one job may have on their way. Beyond that its host is not read.
const MAX_PENDING: usize = 1024 * 1024;

/// The packets of one job that are not durable yet.
#[derive(Debug, Default)]
pub(crate) struct Pump {
    pending: VecDeque<Pending>,
    bytes: usize,
    /// The number after that of the last packet that came.
    next: u64,
    /// The number after that of the last packet that was durable.
    durable: u64,
}

#[derive(Debug)]
struct Pending {
    segments: Vec<Segment>,
    bytes: usize,
    appending: Appending,
}

impl Pump {
    /// A pump for a job that has so many packets.
    pub(crate) fn new(packets: u64) -> Pump {
        Pump {
            next: packets,
            durable: packets,
            ..Pump::default()
        }
    }

    /// How many packets the job has; those that never can be kept not counted.
    pub(crate) fn count(&self) -> u64 {
        self.next
    }

    /// Packets that have been handed to the ledger.
    pub(crate) fn push(&mut self, segments: Vec<Segment>, bytes: usize, appending: Appending) {
        if let Some(last) = segments.last() {
            self.next = last.end();
            self.bytes += bytes;
            self.pending.push_back(Pending {
                segments,
                bytes,
                appending,
            });
        }
    }

    /// Ready while the host may be read: there is room for what it sends.
    pub(crate) fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.bytes >= MAX_PENDING {
            return Poll::Pending;
        }
        match self.pending.back_mut() {
            Some(last) => last.appending.poll_taken(context),
            None => Poll::Ready(()),
        }
    }

    /// Ready with the oldest packets once they are durable; never if none are on their way.
    ///
    /// # Errors
    ///
    /// If they never will be. Then nothing behind them is either.
    pub(crate) fn poll_durable(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Vec<Segment>, Lost>> {
        let Some(oldest) = self.pending.front_mut() else {
            return Poll::Pending;
        };
        match ready!(Pin::new(&mut oldest.appending).poll(context)) {
            Ok(()) => Poll::Ready(Ok(self.take_oldest())),
            Err(lost) => {
                self.pending.clear();
                (self.bytes, self.next) = (0, self.durable);
                Poll::Ready(Err(lost))
            }
        }
    }

    /// All that is on its way: an end that counts it is durable, and so is all of it.
    pub(crate) fn take_all(&mut self) -> Vec<Segment> {
        let mut all = Vec::new();
        while !self.pending.is_empty() {
            all.extend(self.take_oldest());
        }
        all
    }

    fn take_oldest(&mut self) -> Vec<Segment> {
        let Some(oldest) = self.pending.pop_front() else {
            return Vec::new();
        };
        self.bytes -= oldest.bytes;
        self.durable = oldest.segments.last().map_or(self.durable, Segment::end);
        oldest.segments
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::ledger::Answer;
    use crate::segment::SegmentBuilder;

    fn packets(first: u64) -> Vec<Segment> {
        let mut builder = SegmentBuilder::new(first);
        builder.push(1, b"1");
        vec![builder.finish()]
    }

    type Writes = oneshot::Sender<Result<(), Lost>>;

    fn on_their_way() -> (Writes, Appending) {
        let (answer, receipt) = oneshot::channel();
        (answer, Appending::taken(Answer::later(receipt)))
    }

    #[test]
    fn packets_become_durable_in_their_order() {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut pump = Pump::new(3);
        let (first, appending) = on_their_way();
        pump.push(packets(3), MAX_PENDING, appending);
        assert!(pump.poll_room(&mut context).is_pending());
        let (second, appending) = on_their_way();
        pump.push(packets(4), 1, appending);
        second.send(Ok(())).unwrap();
        assert!(pump.poll_durable(&mut context).is_pending());
        first.send(Ok(())).unwrap();
        for number in [3, 4] {
            let Poll::Ready(Ok(segments)) = pump.poll_durable(&mut context) else {
                panic!("not durable");
            };
            assert_eq!(segments[0].first(), number);
        }
        assert!(pump.poll_room(&mut context).is_ready());
        assert!(pump.poll_durable(&mut context).is_pending());
        assert_eq!(pump.count(), 5);
    }

    #[test]
    fn what_never_can_be_kept_does_not_count() {
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut pump = Pump::new(0);
        let (first, appending) = on_their_way();
        pump.push(packets(0), 1, appending);
        let (second, appending) = on_their_way();
        pump.push(packets(1), 1, appending);
        first.send(Ok(())).unwrap();
        assert!(pump.poll_durable(&mut context).is_ready());
        second.send(Err(Lost::Refused("damaged".into()))).unwrap();
        assert_eq!(pump.count(), 2);
        let lost = pump.poll_durable(&mut context);
        assert_eq!(lost, Poll::Ready(Err(Lost::Refused("damaged".into()))));
        assert_eq!(pump.count(), 1);
        assert!(pump.take_all().is_empty());
    }
}
