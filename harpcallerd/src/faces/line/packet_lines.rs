//! Stored packets as lines of the client protocol (section 6).

use harp_jobs::segment::Segment;
use harp_proto::client::PacketLines;

/// The lines of all packets of these segments from number `first` up to, not including,
/// number `end`, as [`add`] makes them. Memory is asked for once.
pub fn of(first: u64, segments: &[Segment], end: u64, timestamps: bool) -> PacketLines {
    let mut lines = PacketLines::new(first);
    let packets = segments
        .iter()
        .map(|segment| segment.end() - segment.first());
    let packets = usize::try_from(packets.sum::<u64>()).unwrap_or(usize::MAX);
    lines.reserve(packets, segments.iter().map(Segment::len_bytes).sum());
    for segment in segments {
        add(&mut lines, segment, end, timestamps);
    }
    lines
}

/// Adds a segment's packets from the next one that `lines` has no line of, up to, not
/// including, number `end`, with the time of each if `timestamps`. None are added if the
/// next one is not in the segment.
pub fn add(lines: &mut PacketLines, segment: &Segment, end: u64, timestamps: bool) {
    if segment.first() > lines.next() {
        return;
    }
    let packets = segment.end().min(end).saturating_sub(lines.next());
    let packets = usize::try_from(packets).unwrap_or(usize::MAX);
    lines.reserve(packets, segment.len_bytes());
    for (_, time, data) in segment.iter_from(lines.next()).take(packets) {
        lines.push(data, timestamps.then_some(time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harp_jobs::segment::SegmentBuilder;

    fn segment(first: u64) -> Segment {
        let mut builder = SegmentBuilder::new(first);
        builder.push(1, b"0");
        builder.push(2, b"0");
        builder.finish()
    }

    #[test]
    fn lines_stop_before_a_packet_that_is_missing() {
        let mut lines = PacketLines::new(1);
        for first in [0, 2, 6] {
            add(&mut lines, &segment(first), 8, false);
        }
        assert_eq!(lines.next(), 4);
        // None at all where the next one is missing.
        let mut lines = PacketLines::new(1);
        add(&mut lines, &segment(2), 8, false);
        assert_eq!((lines.next(), lines.len_bytes()), (1, 0));
    }

    #[test]
    fn lines_are_those_from_the_next_to_the_end() {
        let lines = of(1, &[segment(0), segment(2), segment(4)], 3, true);
        assert_eq!(
            lines.into_bytes(),
            "{\"packet\":1,\"data\":0,\"time\":2}\n{\"packet\":2,\"data\":0,\"time\":1}\n"
        );
    }
}
