//! Stored packets as lines of the client protocol (section 6).

use bytes::BytesMut;
use harp_proto::client::Packet;

use crate::segment::Segment;

/// Most bytes of a line beside the packet's data and time, for all but the longest
/// numbers.
const LINE: usize = 32;

/// Writes a segment's packets from number `from` up to, not including, `end`, with the
/// time of each if `timestamps`. Returns the number after the last that was written,
/// `from` if there was none.
pub fn write(
    lines: &mut BytesMut,
    segment: &Segment,
    from: u64,
    end: u64,
    timestamps: bool,
) -> u64 {
    let mut next = from;
    let packets = usize::try_from(segment.end() - segment.first()).unwrap_or(usize::MAX);
    // Once for all lines; a wrong guess costs another time, no more.
    lines.reserve(
        segment
            .len_bytes()
            .saturating_add(packets.saturating_mul(LINE)),
    );
    for (number, time, data) in segment.iter_from(from) {
        if number >= end {
            break;
        }
        Packet::encode_parts(lines, number, data, timestamps.then_some(time));
        next = number + 1;
    }
    next
}
