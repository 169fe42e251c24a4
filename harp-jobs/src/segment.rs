//! Runs of consecutive packets in compact form.
//!
//! A packet a value would cost the store more than the packet itself, so packets are
//! kept, read and handed to followers in segments. Their form, numbers in as few bytes
//! as they need:
//!
//! ```text
//! version (one byte, 1)   number of the first packet   how many   time of the first
//! then for each packet: time since the one before (can be negative)   length   data
//! ```
//!
//! Times are milliseconds since 1970; the data is the packet's JSON text, byte for byte.

use bytes::{BufMut, Bytes};

use crate::varint;

/// How long a segment for the store should become, in bytes: a little less than one
/// value of the store holds. A longer one is stored too, in several values.
pub const SEGMENT_SIZE: usize = 4000;

const VERSION: u8 = 1;

/// Most bytes of a header.
const HEADER: usize = 1 + 3 * varint::MAX_LEN;

/// Consecutive packets of one job. Cloning is cheap: the bytes are shared.
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    bytes: Bytes,
    header: Header,
}

/// These bytes are no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotASegment {
    /// A version that this release does not know.
    #[error("segment of the unknown version {0}")]
    Version(u8),
    /// Not what a segment looks like.
    #[error("malformed segment")]
    Malformed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    first: u64,
    count: u64,
    time: u64,
    len: usize,
}

impl Segment {
    /// Number of the first packet.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.header.first
    }

    /// Number after that of the last packet.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.header.first + self.header.count
    }

    /// Whether there is no packet in it. The store never returns such a one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.header.count == 0
    }

    /// Length of the compact form in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The compact form.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The packets with this number and above: (number, time of its receipt in
    /// milliseconds since 1970, JSON text).
    pub fn iter_from(&self, number: u64) -> impl Iterator<Item = (u64, u64, &[u8])> {
        let packets = Packets {
            rest: &self.bytes[self.header.len..],
            number: self.header.first,
            end: self.end(),
            time: self.header.time,
        };
        packets.skip_while(move |packet| packet.0 < number)
    }

    /// The part with the packets from `from` up to, not including, `end`.
    #[must_use]
    pub fn between(&self, from: u64, end: u64) -> Segment {
        if from <= self.first() && self.end() <= end {
            return self.clone();
        }
        let mut part = SegmentBuilder::new(from.clamp(self.first(), self.end()));
        for (_, time, data) in self.iter_from(from).take_while(|packet| packet.0 < end) {
            part.push(time, data);
        }
        part.finish()
    }

    /// Takes the compact form back, all of it checked.
    ///
    /// # Errors
    ///
    /// If the bytes are not exactly one segment.
    pub fn decode(bytes: Bytes) -> Result<Segment, NotASegment> {
        let header = Header::decode(&bytes)?;
        let mut packets = Packets {
            rest: &bytes[header.len..],
            number: header.first,
            end: header.first + header.count,
            time: header.time,
        };
        if packets.by_ref().count() as u64 != header.count || !packets.rest.is_empty() {
            return Err(NotASegment::Malformed);
        }
        Ok(Segment { bytes, header })
    }
}

impl std::fmt::Debug for Segment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "packets {}..{}", self.first(), self.end())
    }
}

/// The number after the last packet of a segment of which at least the beginning is
/// here.
///
/// # Errors
///
/// If it is no beginning of a segment.
pub fn end_of(beginning: &[u8]) -> Result<u64, NotASegment> {
    let header = Header::decode(beginning)?;
    Ok(header.first + header.count)
}

impl Header {
    fn decode(bytes: &[u8]) -> Result<Header, NotASegment> {
        let mut rest = match bytes.split_first() {
            Some((&VERSION, rest)) => rest,
            Some((&version, _)) => return Err(NotASegment::Version(version)),
            None => return Err(NotASegment::Malformed),
        };
        let mut take = || varint::take(&mut rest).ok_or(NotASegment::Malformed);
        let (first, count, time) = (take()?, take()?, take()?);
        first.checked_add(count).ok_or(NotASegment::Malformed)?;
        Ok(Header {
            first,
            count,
            time,
            len: bytes.len() - rest.len(),
        })
    }
}

/// Walks packets; ends early if they are malformed.
struct Packets<'a> {
    rest: &'a [u8],
    number: u64,
    end: u64,
    time: u64,
}

impl<'a> Iterator for Packets<'a> {
    type Item = (u64, u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        if self.number == self.end {
            return None;
        }
        let mut rest = self.rest;
        let time = self
            .time
            .wrapping_add_signed(varint::take_signed(&mut rest)?);
        let len = usize::try_from(varint::take(&mut rest)?).ok()?;
        let (data, rest) = rest.split_at_checked(len)?;
        let number = self.number;
        (self.rest, self.time, self.number) = (rest, time, number + 1);
        Some((number, time, data))
    }
}

/// Collects packets into a [`Segment`].
#[derive(Debug)]
pub struct SegmentBuilder {
    first: u64,
    count: u64,
    first_time: u64,
    last_time: u64,
    /// Room for the header, then the packets.
    bytes: Vec<u8>,
    /// How long the segment will be, as far as the one before tells.
    likely: usize,
}

impl SegmentBuilder {
    /// A builder whose first packet will have this number.
    #[must_use]
    pub fn new(first: u64) -> SegmentBuilder {
        SegmentBuilder {
            first,
            count: 0,
            first_time: 0,
            last_time: 0,
            bytes: Vec::new(),
            likely: 0,
        }
    }

    /// Adds the next packet, JSON text, received at `time` (milliseconds since 1970).
    pub fn push(&mut self, time: u64, text: &[u8]) {
        if self.count == 0 {
            let least = HEADER + 2 * varint::MAX_LEN + text.len();
            self.bytes.reserve(least.max(self.likely));
            self.bytes.resize(HEADER, 0);
            (self.first_time, self.last_time) = (time, time);
        }
        // A clock can be set back; the difference is taken and added modulo 2^64.
        varint::put_signed(&mut self.bytes, time.wrapping_sub(self.last_time) as i64);
        varint::put(&mut self.bytes, text.len() as u64);
        self.bytes.extend_from_slice(text);
        self.last_time = time;
        self.count += 1;
    }

    /// Number that the next packet will get.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first + self.count
    }

    /// Whether nothing has been pushed since [`SegmentBuilder::finish`].
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// About how long the segment is by now, in bytes; never less than it is.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.bytes.len().max(HEADER)
    }

    /// Whether a packet of this length can be added without growing over
    /// [`SEGMENT_SIZE`].
    #[must_use]
    pub fn has_room_for(&self, text: &[u8]) -> bool {
        self.len_bytes() + 2 * varint::MAX_LEN + text.len() <= SEGMENT_SIZE
    }

    /// Takes what has been pushed as a segment. The builder goes on behind it.
    #[must_use]
    pub fn finish(&mut self) -> Segment {
        let mut header = Vec::with_capacity(HEADER);
        header.put_u8(VERSION);
        varint::put(&mut header, self.first);
        varint::put(&mut header, self.count);
        varint::put(&mut header, self.first_time);

        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.is_empty() {
            bytes.resize(HEADER, 0);
        }
        let begin = HEADER - header.len();
        bytes[begin..HEADER].copy_from_slice(&header);
        let segment = Segment {
            bytes: Bytes::from(bytes).slice(begin..),
            header: Header {
                first: self.first,
                count: self.count,
                time: self.first_time,
                len: header.len(),
            },
        };
        *self = SegmentBuilder {
            // One that is nearly full is followed by one that may become a little longer.
            likely: match segment.len_bytes() {
                len if len < SEGMENT_SIZE / 2 => len,
                _ => SEGMENT_SIZE,
            },
            ..SegmentBuilder::new(segment.end())
        };
        segment
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(first: u64, packets: &[(u64, Vec<u8>)]) -> Segment {
        let mut builder = SegmentBuilder::new(first);
        for (time, data) in packets {
            builder.push(*time, data);
        }
        assert_eq!(builder.next(), first + packets.len() as u64);
        let len = builder.len_bytes();
        let segment = builder.finish();
        assert!(segment.len_bytes() <= len);
        assert!(builder.is_empty());
        segment
    }

    fn numbered(segment: &Segment, from: u64) -> Vec<(u64, u64, Vec<u8>)> {
        let owned = |(number, time, data): (u64, u64, &[u8])| (number, time, data.to_vec());
        segment.iter_from(from).map(owned).collect()
    }

    #[test]
    fn a_packet_costs_two_bytes_beside_its_data() {
        let mut builder = SegmentBuilder::new(0);
        let packet = br#"{"line":"hello"}"#;
        while builder.has_room_for(packet) {
            builder.push(1_700_000_000_000, packet);
        }
        let segment = builder.finish();
        assert!(segment.len_bytes() <= SEGMENT_SIZE);
        assert!(segment.end() > 218, "{segment:?}");
    }

    #[test]
    fn a_builder_goes_on_behind_the_finished_segment() {
        let mut builder = SegmentBuilder::new(5);
        builder.push(1, b"null");
        builder.push(2, b"null");
        assert_eq!(builder.finish().end(), 7);
        builder.push(3, b"null");
        let segment = builder.finish();
        assert_eq!(numbered(&segment, 0), [(7, 3, b"null".to_vec())]);
        assert!(builder.finish().is_empty());
    }

    #[test]
    fn the_bytes_of_a_segment_are_these() {
        let segment = segment(300, &[(5, b"null".into()), (4, b"[1]".into())]);
        let bytes = b"\x01\xac\x02\x02\x05\x00\x04null\x01\x03[1]";
        assert_eq!(segment.as_bytes(), bytes);
    }

    #[test]
    fn an_unknown_version_is_told() {
        let bytes = Bytes::from_static(&[9, 0, 0, 0]);
        assert_eq!(Segment::decode(bytes), Err(NotASegment::Version(9)));
    }

    proptest! {
        #[test]
        fn packets_come_back(
            first in 0..u64::MAX - 100,
            packets in proptest::collection::vec((any::<u64>(), any::<Vec<u8>>()), 0..20),
            from in 0_u64..25,
            end in 0_u64..25,
        ) {
            let all = segment(first, &packets);
            let decoded = Segment::decode(Bytes::copy_from_slice(all.as_bytes())).unwrap();
            prop_assert_eq!(&decoded, &all);
            prop_assert_eq!(end_of(all.as_bytes()), Ok(all.end()));
            let expected: Vec<_> = packets
                .iter()
                .enumerate()
                .map(|(index, (time, data))| (first + index as u64, *time, data.clone()))
                .collect();
            prop_assert_eq!(numbered(&decoded, 0), &expected[..]);

            let (from, end) = (first + from, first + end);
            let part = all.between(from, end);
            let mut wanted = expected;
            wanted.retain(|packet| (from..end).contains(&packet.0));
            prop_assert_eq!(numbered(&part, 0), wanted);
            prop_assert_eq!(&Segment::decode(Bytes::copy_from_slice(part.as_bytes())).unwrap(), &part);
        }

        #[test]
        fn no_input_makes_decoding_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Segment::decode(Bytes::from(bytes.clone()));
            if let Some(version) = bytes.first_mut() {
                *version = VERSION;
            }
            if let Ok(segment) = Segment::decode(Bytes::from(bytes)) {
                prop_assert_eq!(
                    segment.iter_from(0).count() as u64,
                    segment.end() - segment.first()
                );
            }
        }

        #[test]
        fn a_piece_of_a_segment_is_none(
            packets in proptest::collection::vec((any::<u64>(), any::<Vec<u8>>()), 1..10),
            cut in any::<prop::sample::Index>(),
        ) {
            let all = segment(3, &packets);
            let cut = cut.index(all.len_bytes());
            prop_assert!(Segment::decode(all.bytes.slice(..cut)).is_err());
        }
    }
}
