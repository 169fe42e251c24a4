//! Packets that are heard together, on their way into segments.

use harp_values::Failure;

use crate::output::{Output, OutputLimits, Room};
use crate::segment::{Segment, SegmentBuilder};

/// Bytes of packets that are taken in at once.
const BATCH: usize = 64 * 1024;

/// What a packet counts beside its data, so that tiny ones are bounded too.
const PACKET_COST: usize = 16;

/// What an attempt puts packets into. It goes on, number after number, for as long as the
/// attempt does, and holds each packet against what its job may leave behind.
#[derive(Debug)]
pub struct Batch {
    output: Output,
    full: Vec<Segment>,
    open: SegmentBuilder,
    bytes: usize,
    too_much: Option<Failure>,
}

impl Batch {
    /// An empty batch whose first packet will have this number, with room for as much as a
    /// job may leave behind unless it is configured otherwise.
    #[must_use]
    pub fn new(first: u64) -> Batch {
        Batch::within(first, Output::new(OutputLimits::default(), first, None))
    }

    /// An empty batch with room for as much as `output` has.
    #[must_use]
    pub fn within(first: u64, output: Output) -> Batch {
        Batch {
            output,
            full: Vec::new(),
            open: SegmentBuilder::new(first),
            bytes: 0,
            too_much: None,
        }
    }

    /// Adds the next packet, JSON text, received at `time` (milliseconds since 1970), as far
    /// as there is room for it.
    pub fn push(&mut self, time: u64, data: &[u8]) {
        if self.too_much.is_some() {
            return;
        }
        match self.output.take(data) {
            Room::Fits => self.keep(time, data),
            Room::Marker(marker) => self.keep(time, marker.as_bytes()),
            Room::Over => {}
            Room::End(failure) => self.too_much = Some(failure),
        }
        // One that is not kept counts too, so that a host which sends without end does not
        // keep its job from everything else.
        self.bytes += data.len() + PACKET_COST;
    }

    fn keep(&mut self, time: u64, data: &[u8]) {
        if !self.open.is_empty() && !self.open.has_room_for(data) {
            self.full.push(self.open.finish());
        }
        self.open.push(time, data);
    }

    /// Whether no more is to be put in before it is taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH || self.too_much.is_some()
    }

    /// True if none of the packets that come is kept any more: the job has a marker in their
    /// place.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.output.is_truncated()
    }

    /// Number that the next packet will get.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.open.next()
    }

    /// The packets that were put in.
    #[must_use]
    pub fn finish(mut self) -> Vec<Segment> {
        self.take().segments
    }

    /// Takes what was put in.
    pub(crate) fn take(&mut self) -> Taken {
        if !self.open.is_empty() {
            self.full.push(self.open.finish());
        }
        Taken {
            segments: std::mem::take(&mut self.full),
            bytes: std::mem::take(&mut self.bytes),
            too_much: self.too_much.clone(),
        }
    }
}

/// What was put into a batch.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The packets that are kept.
    pub(crate) segments: Vec<Segment>,
    /// Bytes of all that came.
    pub(crate) bytes: usize,
    /// The job ends with this: there were more packets than it may have.
    pub(crate) too_much: Option<Failure>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::OutputPolicy;

    fn batch(max_packets: u64, policy: OutputPolicy) -> Batch {
        let limits = OutputLimits {
            max_packets,
            max_bytes: 1 << 30,
            policy,
        };
        Batch::within(5, Output::new(limits, 0, None))
    }

    #[test]
    fn it_goes_on_behind_what_was_taken() {
        let mut batch = batch(100, OutputPolicy::Cancel);
        for _ in 0..3 {
            batch.push(1, b"1");
        }
        let taken = batch.take();
        let numbers = |segments: &[Segment]| (segments[0].first(), segments[0].end());
        assert_eq!((numbers(&taken.segments), taken.bytes), ((5, 8), 51));
        assert!(batch.take().segments.is_empty());
        batch.push(1, b"1");
        assert_eq!((batch.next(), numbers(&batch.take().segments)), (9, (8, 9)));
    }

    #[test]
    fn it_is_full_of_what_is_dropped_too() {
        let mut batch = batch(1, OutputPolicy::Truncate);
        for _ in 0..4 {
            assert!(!batch.is_full());
            batch.push(1, &[b'1'; 20_000]);
        }
        assert!(batch.is_full());
        let taken = batch.take();
        assert_eq!(taken.segments.iter().map(Segment::end).max(), Some(7));
        assert!(taken.too_much.is_none() && !batch.is_full());
    }

    #[test]
    fn one_too_many_is_told_and_not_kept() {
        let mut batch = batch(1, OutputPolicy::Cancel);
        batch.push(1, b"1");
        batch.push(1, b"1");
        assert!(batch.is_full());
        let taken = batch.take();
        assert_eq!((taken.segments.len(), batch.next()), (1, 6));
        assert!(taken.too_much.is_some());
    }
}
