//! The lines of many packets at once (client protocol, section 6).

use bytes::Bytes;

const BEFORE: &[u8] = b"{\"packet\":";
const BETWEEN: &[u8] = b",\"data\":";
const TIME: &[u8] = b",\"time\":";

/// Digits of the greatest number.
const DIGITS: usize = 20;

/// Most bytes of a line before the packet's data.
const HEAD: usize = BEFORE.len() + DIGITS + BETWEEN.len();

/// Bytes of a line beside the packet's data, for all but the greatest numbers.
const BESIDE: usize = 30;

/// Writes the lines of packets whose numbers follow one another.
///
/// Every packet goes through here once for each replay, and at least once while its job
/// lives: a line costs one copy of its data and little else.
///
/// ```
/// use harp_proto::client::PacketLines;
///
/// let mut lines = PacketLines::new(9);
/// lines.push(b"\"one\"", None);
/// lines.push(b"[2]", Some(1_700_000_000_000));
/// assert_eq!(
///     lines.into_bytes(),
///     "{\"packet\":9,\"data\":\"one\"}\n\
///      {\"packet\":10,\"data\":[2],\"time\":1700000000000}\n"
/// );
/// ```
#[derive(Debug)]
pub struct PacketLines {
    text: Vec<u8>,
    head: Head,
}

/// Beginning of a line, up to its data.
#[derive(Debug)]
struct Head {
    number: u64,
    /// The beginning of the line, and bytes that mean nothing.
    text: [u8; HEAD],
    len: usize,
}

impl PacketLines {
    /// No lines; the first packet will have this number.
    #[must_use]
    pub fn new(first: u64) -> PacketLines {
        PacketLines {
            text: Vec::new(),
            head: Head::of(first),
        }
    }

    /// Makes room for so many packets whose data are so many bytes together, so that
    /// memory is asked for once. A wrong guess does no harm.
    pub fn reserve(&mut self, packets: usize, data: usize) {
        let wanted = packets.saturating_mul(BESIDE).saturating_add(data);
        self.text.reserve(wanted.saturating_add(HEAD));
    }

    /// Adds the next packet: its data, JSON text, and its time if that is to be told, in
    /// milliseconds since 1970.
    pub fn push(&mut self, data: &[u8], time: Option<u64>) {
        // A copy of fixed length, cut to the right one, is faster than one of any length.
        let begin = self.text.len() + self.head.len;
        self.text.extend_from_slice(&self.head.text);
        self.text.truncate(begin);
        self.text.extend_from_slice(data);
        if let Some(time) = time {
            self.text.extend_from_slice(TIME);
            let mut digits = itoa::Buffer::new();
            self.text.extend_from_slice(digits.format(time).as_bytes());
        }
        self.text.extend_from_slice(b"}\n");
        self.head.advance();
    }

    /// Adds lines that have been made already, those of all packets up to, not including,
    /// number `next`.
    pub fn append(&mut self, lines: &[u8], next: u64) {
        self.text.extend_from_slice(lines);
        self.head = Head::of(next);
    }

    /// Number that the next packet will get.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.head.number
    }

    /// Length of the lines in bytes.
    #[must_use]
    pub fn len_bytes(&self) -> usize {
        self.text.len()
    }

    /// The lines.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        Bytes::from(self.text)
    }
}

impl Head {
    fn of(number: u64) -> Head {
        let mut text = [0; HEAD];
        let mut len = 0;
        let mut digits = itoa::Buffer::new();
        for part in [BEFORE, digits.format(number).as_bytes(), BETWEEN] {
            text[len..len + part.len()].copy_from_slice(part);
            len += part.len();
        }
        Head { number, text, len }
    }

    /// Makes it that of the next number.
    fn advance(&mut self) {
        self.number = self.number.wrapping_add(1);
        for digit in self.text[BEFORE.len()..self.len - BETWEEN.len()]
            .iter_mut()
            .rev()
        {
            if *digit < b'9' {
                *digit += 1;
                return;
            }
            *digit = b'0';
        }
        // There were only nines: it has one digit more.
        *self = Head::of(self.number);
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::*;

    use super::*;
    use crate::client::{Packet, Reply, StreamReply};

    /// The lines one by one.
    fn expected(first: u64, packets: &[(String, Option<u64>)]) -> BytesMut {
        let mut text = BytesMut::new();
        for (number, (data, time)) in (first..).zip(packets) {
            StreamReply::Packet(Packet {
                number,
                data: data.parse().unwrap(),
                time: *time,
            })
            .encode(&mut text);
        }
        text
    }

    proptest! {
        #[test]
        fn lines_are_those_of_single_packets(
            first in prop_oneof![
                0_u64..2000,
                (1_u32..20).prop_map(|digits| 10_u64.pow(digits) - 3),
                any::<u64>().prop_map(|number| number.min(u64::MAX - 100)),
            ],
            packets in proptest::collection::vec(
                ("\"[a-z]{0,80}\"", proptest::option::of(any::<u64>())),
                0..25,
            ),
        ) {
            let mut lines = PacketLines::new(first);
            lines.reserve(packets.len(), 10);
            for (data, time) in &packets {
                lines.push(data.as_bytes(), *time);
            }
            prop_assert_eq!(lines.next(), first + packets.len() as u64);
            let text = expected(first, &packets);
            prop_assert_eq!(&lines.text, &text);
            prop_assert_eq!(lines.len_bytes(), text.len());
            let mut again = PacketLines::new(first);
            again.append(&text, lines.next());
            again.push(b"0", None);
            lines.push(b"0", None);
            prop_assert_eq!(again.into_bytes(), lines.into_bytes());
        }
    }
}
