//! A job's packets as lines of the client protocol (section 6).

use bytes::Bytes;
use harp_jobs::live::TailBatch;
use harp_jobs::record::EndRecord;
use harp_proto::client::{PacketLines, StreamReply};

use super::packet_lines;
use crate::desk::packets::{Batches, Piece};

/// The face's name for the form in which it keeps lines with their packets.
const FACE: &str = "line";

/// Lines of this length, which are there for all followers, are not worth being copied
/// behind others.
const LONG: usize = 16 * 1024;

/// The lines of a piece, in as few parts as there are reasons for.
pub(super) fn lines(piece: &Piece, timestamps: bool) -> Vec<Bytes> {
    match &piece.batches {
        Batches::Read(segments) => {
            let lines = packet_lines::of(piece.first, segments, piece.end, timestamps);
            vec![lines.into_bytes()]
        }
        Batches::Held(batches) => {
            let mut parts = Vec::new();
            let mut lines = PacketLines::new(piece.first);
            for batch in batches {
                let is_whole = batch.first() == lines.next() && batch.end() <= piece.end;
                if !is_whole || timestamps {
                    for segment in batch.segments() {
                        packet_lines::add(&mut lines, segment, piece.end, timestamps);
                    }
                    continue;
                }
                let made = batch.in_form(FACE, all_lines);
                if made.len() < LONG {
                    lines.append(&made, batch.end());
                } else {
                    let before = std::mem::replace(&mut lines, PacketLines::new(batch.end()));
                    parts.extend([before.into_bytes(), made]);
                }
            }
            parts.push(lines.into_bytes());
            parts.retain(|part| !part.is_empty());
            parts
        }
    }
}

/// The line behind the last packet; `None` if there is more, or will be.
pub(super) fn last_line(end: Option<&EndRecord>) -> StreamReply {
    match end {
        Some(end) => StreamReply::Ended(end.outcome.clone()),
        None => StreamReply::Continue,
    }
}

/// All packets of a batch, without times.
fn all_lines(batch: &TailBatch) -> Bytes {
    packet_lines::of(batch.first(), batch.segments(), u64::MAX, false).into_bytes()
}
