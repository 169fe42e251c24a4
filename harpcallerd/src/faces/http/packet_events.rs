//! Packets as events of a job's stream, many at once; once for all that read them as they come.

use bytes::{Bytes, BytesMut};
use harp_jobs::live::TailBatch;
use harp_jobs::segment::Segment;

use super::packet;
use crate::desk::packets::{Batches, Piece};
use crate::faces::listing::values::Values;

/// The face's name for the form in which it keeps events with their packets.
const FACE: &str = "events";

/// Events of this length, which are there for all readers, are not worth being copied behind
/// others.
const LONG: usize = 16 * 1024;

/// Bytes of an event beside the packet's data, for all but the greatest numbers.
const BESIDE: usize = 72;

/// The events of a piece, in as few parts as there are reasons for.
pub(super) fn of(piece: &Piece, values: Values) -> Vec<Bytes> {
    let mut parts = Vec::new();
    let mut events = BytesMut::new();
    let mut next = piece.first;
    match &piece.batches {
        Batches::Read(segments) => add(&mut events, segments, &mut next, piece.end, values),
        Batches::Held(batches) => {
            for batch in batches {
                let is_whole = batch.first() == next && batch.end() <= piece.end;
                if !is_whole || values != Values::AsSent {
                    add(&mut events, batch.segments(), &mut next, piece.end, values);
                    continue;
                }
                let made = batch.in_form(FACE, all_events);
                next = batch.end();
                if made.len() < LONG {
                    events.extend_from_slice(&made);
                } else {
                    parts.extend([events.split().freeze(), made]);
                }
            }
        }
    }
    parts.push(events.freeze());
    parts.retain(|part| !part.is_empty());
    parts
}

/// All packets of a batch, as they were sent.
fn all_events(batch: &TailBatch) -> Bytes {
    let (mut events, mut next) = (BytesMut::new(), batch.first());
    add(
        &mut events,
        batch.segments(),
        &mut next,
        u64::MAX,
        Values::AsSent,
    );
    events.freeze()
}

/// Adds the packets of segments from number `next` up to, not including, number `end`; those
/// behind one that is missing are left out.
fn add(out: &mut BytesMut, segments: &[Segment], next: &mut u64, end: u64, values: Values) {
    let packets = segments
        .iter()
        .map(|segment| segment.end() - segment.first());
    let packets = usize::try_from(packets.sum::<u64>()).unwrap_or(usize::MAX);
    let data: usize = segments.iter().map(Segment::len_bytes).sum();
    out.reserve(packets.saturating_mul(BESIDE).saturating_add(data));
    for segment in segments {
        for (number, time, data) in segment.iter_from(*next) {
            if number != *next || number >= end {
                return;
            }
            out.extend_from_slice(b"id: ");
            packet::write_number(out, number);
            out.extend_from_slice(b"\ndata: ");
            packet::write_json(out, number, time, data, values);
            out.extend_from_slice(b"\n\n");
            *next = number + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use harp_jobs::segment::SegmentBuilder;

    fn segment(first: u64) -> Segment {
        let mut builder = SegmentBuilder::new(first);
        builder.push(1, b"0");
        builder.push(2, b"\"a\"");
        builder.finish()
    }

    fn text(piece: &Piece, values: Values) -> String {
        let parts = of(piece, values).concat();
        String::from_utf8(parts).unwrap()
    }

    #[test]
    fn a_packet_is_an_event_with_its_number() {
        let piece = Piece {
            first: 1,
            end: 4,
            batches: Batches::Read(vec![segment(0), segment(2), segment(4)]),
        };
        assert_eq!(
            text(&piece, Values::AsSent),
            "id: 1\ndata: {\"packet\":1,\"time\":2,\"data\":\"a\"}\n\n\
             id: 2\ndata: {\"packet\":2,\"time\":1,\"data\":0}\n\n\
             id: 3\ndata: {\"packet\":3,\"time\":2,\"data\":\"a\"}\n\n"
        );
        let as_text = text(&piece, Values::Text);
        assert!(
            as_text.starts_with("id: 1\ndata: {\"packet\":1,\"time\":2,\"data\":\"\\\"a\\\"\"}")
        );
    }

    #[test]
    fn events_stop_before_a_packet_that_is_missing() {
        let piece = Piece {
            first: 0,
            end: 9,
            batches: Batches::Read(vec![segment(0), segment(5)]),
        };
        assert_eq!(text(&piece, Values::AsSent).matches("id: ").count(), 2);
    }
}
