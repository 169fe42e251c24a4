//! The newest packets of one job: a cache behind which stands the ledger.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::segment::Segment;

/// Bytes of packets that a job keeps in memory for followers who may come. Whoever is
/// further behind reads the ledger.
const TAIL: usize = 128 * 1024;

/// Bytes of packets that are held while the job has followers: twice what can be on its
/// way at once, so that those who keep up need not read the ledger.
const FOLLOWED_TAIL: usize = 2 * 1024 * 1024;

/// What packets that became durable together count beside their bytes.
const BATCH_COST: usize = 256;

/// The newest packets.
#[derive(Debug, Default)]
pub(super) struct Tail {
    batches: VecDeque<Arc<TailBatch>>,
    bytes: usize,
}

impl Tail {
    pub(super) fn push(&mut self, batch: TailBatch, is_followed: bool) {
        // What does not follow is of no use in a row.
        if self
            .batches
            .back()
            .is_some_and(|last| last.end() != batch.first())
        {
            *self = Tail::default();
        }
        let most = if is_followed { FOLLOWED_TAIL } else { TAIL };
        self.bytes += batch.cost();
        self.batches.push_back(Arc::new(batch));
        while self.bytes > most
            && let Some(oldest) = self.batches.pop_front()
        {
            self.bytes -= oldest.cost();
        }
    }

    pub(super) fn from(&self, number: u64, most: usize) -> Option<Vec<Arc<TailBatch>>> {
        if self.batches.front()?.first() > number {
            return None;
        }
        let first = self.batches.partition_point(|held| held.end() <= number);
        let mut bytes = 0;
        let enough = |held: &&Arc<TailBatch>| {
            let is_wanted = bytes < most.max(1);
            bytes += held.bytes;
            is_wanted
        };
        let batches = self.batches.range(first..).take_while(enough);
        Some(batches.cloned().collect())
    }
}

/// Packets that became durable together, at least one, and the form that a face gives them,
/// made once for all followers.
#[derive(Debug)]
pub struct TailBatch {
    segments: Vec<Segment>,
    bytes: usize,
    /// By which face, and the form.
    form: OnceLock<(&'static str, Bytes)>,
}

impl TailBatch {
    /// `None` if there are no packets.
    pub(super) fn new(segments: Vec<Segment>) -> Option<TailBatch> {
        segments.last()?;
        Some(TailBatch {
            bytes: segments.iter().map(Segment::len_bytes).sum(),
            segments,
            form: OnceLock::new(),
        })
    }

    /// The packets, in order.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Number of the first packet.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.segments.first().map_or(0, Segment::first)
    }

    /// Number after that of the last packet.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.segments.last().map_or(0, Segment::end)
    }

    /// All packets in the form of a face, as `make` makes it. It is kept for the face that
    /// asks first; others have it made for each of their clients.
    pub fn in_form(&self, face: &'static str, make: impl Fn(&TailBatch) -> Bytes) -> Bytes {
        let (kept_for, form) = self.form.get_or_init(|| (face, make(self)));
        if *kept_for == face {
            form.clone()
        } else {
            make(self)
        }
    }

    fn cost(&self) -> usize {
        self.bytes + BATCH_COST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::SegmentBuilder;

    /// Pushes batches of one packet each.
    fn push(tail: &mut Tail, numbers: std::ops::Range<u64>, len: usize, is_followed: bool) {
        for number in numbers {
            let mut segment = SegmentBuilder::new(number);
            segment.push(1, &vec![b'1'; len]);
            let batch = TailBatch::new(vec![segment.finish()]).unwrap();
            tail.push(batch, is_followed);
        }
    }

    #[test]
    fn a_followed_job_keeps_more_of_its_packets() {
        let mut tail = Tail::default();
        push(&mut tail, 0..100, 64 * 1024, false);
        assert!(tail.from(98, usize::MAX).is_none());
        assert!(tail.from(99, usize::MAX).is_some());
        push(&mut tail, 100..200, 64 * 1024, true);
        assert!(tail.from(200 - 32, usize::MAX).is_none());
        assert!(tail.from(200 - 31, usize::MAX).is_some());
        // No more than is asked for, but at least one batch.
        assert_eq!(tail.from(190, 0).unwrap().len(), 1);
        push(&mut tail, 200..201, 64 * 1024, false);
        assert!(tail.from(199, usize::MAX).is_none());
    }

    #[test]
    fn small_batches_are_bounded_too_and_a_gap_forgets_what_was_before() {
        let mut tail = Tail::default();
        push(&mut tail, 0..10_000, 1, false);
        assert!(tail.batches.len() < TAIL / BATCH_COST);
        push(&mut tail, 20_000..20_001, 1, false);
        assert_eq!(tail.batches.len(), 1);
        assert!(tail.from(9_999, usize::MAX).is_none());
    }

    #[test]
    fn a_form_of_them_is_made_once() {
        let mut segment = SegmentBuilder::new(0);
        segment.push(1, b"1");
        let batch = TailBatch::new(vec![segment.finish()]).unwrap();
        assert_eq!(batch.in_form("one", |_| Bytes::from_static(b"a")), "a");
        assert_eq!(batch.in_form("one", |_| Bytes::from_static(b"b")), "a");
        assert_eq!(batch.in_form("other", |_| Bytes::from_static(b"b")), "b");
        assert!(TailBatch::new(vec![]).is_none());
    }
}
