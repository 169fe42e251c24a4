//! The frame that each value of the store is in: it says what the value is, whose, how
//! long, and has a checksum of all that, so that a value is known for one wherever its
//! bytes are found, whatever has become of the engine's file around it.
//!
//! ```text
//! 80 00 ff   table (the first byte of the key)
//! id of the job (16 bytes) or digest of a submission's key (32); not of m and n
//! number of the first packet (p, P)   number of the piece (C, E, P)
//! mark   length of the value   CRC-32 of all before and of the value (4, little endian)
//! the value
//! ```
//!
//! Numbers are [`varint`]s. The mark is that under which the value came to the disk (see
//! [`directory`](super::directory)), the next one to be raised when it was written: of two
//! values of one key, the one with the higher mark is the newer.
//!
//! No text of a user can hold a frame: JSON has no byte 00, UTF-8 none that is ff. And no
//! value of layout 1, which had no frames, begins like one: neither is `80 00` a number as
//! they are written, nor does text go on after 80 with 00.

use bytes::Bytes;
use flate2::Crc;

use super::key::Key;
use super::varint;

/// First bytes of a frame.
pub const MAGIC: [u8; 3] = [0x80, 0x00, 0xff];

/// Most bytes that a frame adds to a value.
pub const OVERHEAD: usize = 3 + 1 + 32 + 4 * varint::MAX_LEN + 4;

/// Why a value is not what was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The frame is cut short or makes no sense.
    #[error("its frame is not readable")]
    Frame,
    /// Frame and value do not fit to the checksum.
    #[error("its checksum does not fit")]
    Checksum,
    /// It is a good value, of another key.
    #[error("it is the value of another key")]
    Misplaced,
}

/// Head of a frame, which describes its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The value's key.
    pub key: Key,
    /// The mark under which it came to the disk.
    pub mark: u64,
    /// Bytes of the frame before the value.
    pub len: usize,
    /// Bytes of the value.
    pub value_len: usize,
    crc: u32,
}

impl Header {
    /// Reads the frame that `bytes` begin with, as far as it goes before the value; `None`
    /// if there is none. Nothing is checked yet, so it may be damaged.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let mut rest = bytes.strip_prefix(&MAGIC)?;
        let (&table, behind) = rest.split_first()?;
        rest = behind;
        let (has_packet, has_piece) = match table {
            b'c' | b'l' | b'e' | b'q' | b'd' | b'k' | b'm' | b'n' | b'h' | b's' | b'w' | b'o'
            | b'b' => (false, false),
            b'p' => (true, false),
            b'C' | b'E' => (false, true),
            b'P' => (true, true),
            _ => return None,
        };
        let owner = match table {
            b'm' | b'n' | b'h' | b's' => 0,
            b'b' => 8,
            b'o' => 24,
            b'k' => 32,
            _ => 16,
        };
        let mut key = Key::new(table).with(rest.get(..owner)?);
        rest = &rest[owner..];
        if has_packet {
            key = key.with(&varint::take(&mut rest)?.to_be_bytes());
        }
        if has_piece {
            let n = u32::try_from(varint::take(&mut rest)?).ok()?;
            key = key.with(&n.to_be_bytes());
        }
        let mark = varint::take(&mut rest)?;
        let value_len = usize::try_from(varint::take(&mut rest)?).ok()?;
        let (crc, rest) = rest.split_first_chunk()?;
        Some(Header {
            key,
            mark,
            len: bytes.len() - rest.len(),
            value_len,
            crc: u32::from_le_bytes(*crc),
        })
    }

    /// Whether frame and value, which `bytes` begin with, are as they were written.
    #[must_use]
    pub fn fits(&self, bytes: &[u8]) -> bool {
        let value = self
            .len
            .checked_add(self.value_len)
            .and_then(|end| bytes.get(self.len..end));
        value.is_some_and(|value| checksum(&bytes[..self.len - 4], value) == self.crc)
    }
}

/// Puts a value into its frame. A key that no value of the store has gets none: the value
/// is returned as it is.
#[must_use]
pub fn wrap(key: &[u8], mark: u64, value: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(OVERHEAD + value.len());
    frame.extend_from_slice(&MAGIC);
    let Some(()) = put_key(&mut frame, key) else {
        return value.to_vec();
    };
    varint::put(&mut frame, mark);
    varint::put(&mut frame, value.len() as u64);
    let crc = checksum(&frame, value);
    frame.extend_from_slice(&crc.to_le_bytes());
    frame.extend_from_slice(value);
    frame
}

/// Takes the value of this key out of its frame: how many bytes the frame has, behind
/// which it begins. A value of layout 1 has none.
///
/// # Errors
///
/// [`Damage`].
pub fn unwrap(key: &[u8], framed: &[u8]) -> Result<usize, Damage> {
    if !framed.starts_with(&MAGIC) {
        return Ok(0);
    }
    let header = Header::read(framed).ok_or(Damage::Frame)?;
    if header.len + header.value_len != framed.len() || !header.fits(framed) {
        return Err(Damage::Checksum);
    }
    if *header.key != *key {
        return Err(Damage::Misplaced);
    }
    Ok(header.len)
}

/// Takes a frame off as [`unwrap`] does, and returns the value itself.
///
/// # Errors
///
/// [`Damage`].
pub fn value(key: &[u8], framed: Bytes) -> Result<Bytes, Damage> {
    let begin = unwrap(key, &framed)?;
    Ok(framed.slice(begin..))
}

/// Writes what a frame says of a key; `None` for one that no value has.
fn put_key(frame: &mut Vec<u8>, key: &[u8]) -> Option<()> {
    let (table, rest) = key.split_first()?;
    frame.push(*table);
    let (owner, packet, piece) = match (table, rest.len()) {
        (b'm' | b'n' | b'h' | b's', 0)
        | (b'c' | b'l' | b'e' | b'q' | b'd' | b'w', 16)
        | (b'b', 8)
        | (b'o', 24)
        | (b'k', 32) => (rest, None, None),
        (b'p', 24) => (&rest[..16], Some(&rest[16..]), None),
        (b'C' | b'E', 20) => (&rest[..16], None, Some(&rest[16..])),
        (b'P', 28) => (&rest[..16], Some(&rest[16..24]), Some(&rest[24..])),
        _ => return None,
    };
    frame.extend_from_slice(owner);
    for number in [packet, piece].into_iter().flatten() {
        let number = number
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte));
        varint::put(frame, number);
    }
    Some(())
}

fn checksum(frame: &[u8], value: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(frame);
    crc.update(value);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use harp_values::JobId;
    use proptest::prelude::*;

    use super::super::layout::{self, Table};
    use super::*;

    fn keys(id: [u8; 16], number: u64, n: u32, digest: [u8; 32]) -> Vec<Vec<u8>> {
        let id = JobId::from_bytes(id);
        let tables = [
            Table::Calls,
            Table::Live,
            Table::Ends,
            Table::Places,
            Table::Pruned,
            Table::Held,
        ];
        let packets = layout::packets_key(id, number);
        let mut keys: Vec<_> = tables.iter().map(|table| table.key(id).to_vec()).collect();
        for long in [Table::Calls.key(id), Table::Ends.key(id), packets] {
            keys.push(layout::piece_key(&long, n).to_vec());
        }
        keys.push(packets.to_vec());
        keys.push(layout::claim_key(&digest).to_vec());
        keys.push(layout::MARK_KEY.to_vec());
        keys.push(layout::CONTENTS_KEY.to_vec());
        keys.push(layout::HOME_KEY.to_vec());
        keys.push(layout::STARTS_KEY.to_vec());
        keys.push(layout::order_key(number, id).to_vec());
        keys.push(layout::boot_key(number).to_vec());
        keys
    }

    #[test]
    fn the_bytes_of_a_frame_are_these() {
        let key = layout::packets_key(JobId::from_bytes([7; 16]), 300);
        let frame = wrap(&key, 5, b"value");
        let expected = [
            &[0x80, 0, 0xff, b'p'][..],
            &[7; 16],
            &[0xac, 0x02, 5, 5],
            &[0x4b, 0xc9, 0x11, 0x7e],
            b"value",
        ]
        .concat();
        assert_eq!(frame, expected);
    }

    #[test]
    fn an_entry_of_the_engine_stays_small() {
        let key = layout::piece_key(
            &layout::packets_key(JobId::from_bytes([0xff; 16]), u64::from(u32::MAX)),
            9999,
        );
        let piece = vec![b'x'; layout::PIECE + varint::MAX_LEN];
        assert!(wrap(&key, u64::from(u32::MAX), &piece).len() < 4096);
    }

    proptest! {
        #[test]
        fn a_value_comes_out_of_its_frame(
            (id, number, n, digest) in any::<([u8; 16], u64, u32, [u8; 32])>(),
            mark in any::<u64>(),
            value in proptest::collection::vec(any::<u8>(), 0..200),
            noise in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            for key in keys(id, number, n, digest) {
                let frame = wrap(&key, mark, &value);
                prop_assert!(frame.len() <= value.len() + OVERHEAD);
                let begin = unwrap(&key, &frame).unwrap();
                prop_assert_eq!(&frame[begin..], &value[..]);
                // Found among other bytes too.
                let header = Header::read(&[&frame[..], &noise].concat()).unwrap();
                prop_assert_eq!(&header.key[..], &key[..]);
                prop_assert_eq!(header.mark, mark);
                prop_assert!(header.fits(&[&frame[..], &noise].concat()));
            }
        }

        #[test]
        fn one_wrong_bit_is_told(
            (id, number, n, digest) in any::<([u8; 16], u64, u32, [u8; 32])>(),
            value in proptest::collection::vec(any::<u8>(), 0..60),
            (at, bit) in (any::<proptest::sample::Index>(), 0..8),
        ) {
            for key in keys(id, number, n, digest) {
                let mut frame = wrap(&key, 9, &value);
                let at = at.index(frame.len());
                frame[at] ^= 1_u8 << bit;
                // Without its first bytes it is no frame.
                prop_assert!(at < MAGIC.len() || unwrap(&key, &frame).is_err());
            }
        }

        #[test]
        fn another_key_is_told((one, other) in any::<([u8; 16], [u8; 16])>()) {
            let [one, other] = [one, other].map(|id| Table::Ends.key(JobId::from_bytes(id)));
            let expected = if one == other { Ok(()) } else { Err(Damage::Misplaced) };
            prop_assert_eq!(unwrap(&other, &wrap(&one, 1, b"x")).map(|_| ()), expected);
        }

        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let framed = [&MAGIC[..], &bytes].concat();
            for bytes in [&bytes, &framed] {
                let _ = unwrap(b"m", bytes);
                if let Some(header) = Header::read(bytes) {
                    let _ = header.fits(bytes);
                }
            }
        }
    }
}
