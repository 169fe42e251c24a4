//! Segments of packets.

use bytes::Bytes;
use harp_jobs::segment::{Segment, SegmentBuilder, end_of};

use crate::input::Input;

/// Which part is looked at, and the bytes of a segment.
pub(crate) fn segment(data: &[u8]) {
    let mut input = Input::new(data);
    let (from, count) = (u64::from(input.byte()), u64::from(input.byte()));
    let bytes = Bytes::copy_from_slice(input.rest());
    let Ok(segment) = Segment::decode(bytes.clone()) else {
        let _ = end_of(&bytes);
        return;
    };
    assert_eq!(end_of(&bytes), Ok(segment.end()));
    let packets: Vec<_> = segment.iter_from(0).collect();
    assert_eq!(packets.len() as u64, segment.end() - segment.first());
    assert_eq!(segment.is_empty(), packets.is_empty());
    assert_same(&rebuilt(segment.first(), &packets), &packets);

    let from = segment.first().saturating_add(from);
    let end = from.saturating_add(count);
    let part = segment.between(from, end);
    let wanted = packets
        .iter()
        .filter(|packet| (from..end).contains(&packet.0));
    let wanted: Vec<_> = wanted.copied().collect();
    assert_same(&part, &wanted);
    let part = Segment::decode(Bytes::copy_from_slice(part.as_bytes()));
    assert_same(&part.expect("a part is a segment"), &wanted);
    assert_eq!(
        segment.iter_from(from).map(|packet| packet.0).next(),
        packets
            .iter()
            .map(|packet| packet.0)
            .find(|number| *number >= from)
    );
}

fn rebuilt(first: u64, packets: &[(u64, u64, &[u8])]) -> Segment {
    let mut builder = SegmentBuilder::new(first);
    for (number, time, data) in packets {
        assert_eq!(builder.next(), *number);
        builder.push(*time, data);
    }
    let at_most = builder.len_bytes();
    let segment = builder.finish();
    assert!(segment.len_bytes() <= at_most);
    segment
}

fn assert_same(segment: &Segment, packets: &[(u64, u64, &[u8])]) {
    assert!(segment.iter_from(0).eq(packets.iter().copied()));
}
