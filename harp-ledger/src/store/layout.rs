//! Keys of the store, and how a value longer than one entry is laid out.
//!
//! All is in one key space; the first byte of a key names the table:
//!
//! | key | value |
//! | --- | --- |
//! | `c` id | the call, as submitted |
//! | `l` id | where a live job stands; there as long as the job has not ended |
//! | `e` id | how the job ended |
//! | `q` id | where a job stood of which an attempt has ended that still owes something, such as its place in its queue |
//! | `k` digest | the id of the job that was submitted last under a key (see `round/keys`) |
//! | `k` digest id | the id once more: that job has the key of which this is half a digest (see [`keyed`](super::keyed)) |
//! | `p` id number | a segment of packets, by the number of its first |
//! | `C` id n, `E` id n, `P` id number n | further pieces of a long `c`, `e`, `p` value |
//! | `d` id | a job that has been pruned, of which there are packets or pieces left |
//! | `n` | how many jobs have ended, how many bytes there are, how many jobs live, and a sum over these, in decimal |
//! | `m` | the mark, in decimal (see [`directory`](super::directory)) |
//! | `o` number id | when that job ended, the ones after the others (see [`ends`](super::ends)) |
//! | `b` number | a life of the machine: what it is called, and when it began |
//! | `a` kind name n | a part of a paper ([`papers`](super::papers)), the first one with its revision; from layout 3 on |
//! | `w` id | nothing: a job that waits is held, since it came here with a copy |
//! | `h` | nothing: the note beside the store says where it is (see [`home`](super::home)) |
//! | `s` | how often a dispatcher has been started on it, in decimal; from layout 3 on |
//! | `v` | version of this layout, in decimal |
//!
//! Ids are sixteen bytes that sort by the time of submission; packet numbers are eight
//! bytes and piece numbers four, both big endian. Which of `l` and `e` has the job says
//! whether it is live, so that recovery reads the live ones and nothing else.
//!
//! Each value but that of `v` is in a [`frame`](super::frame), which is none of the
//! following. A value of `c`, `e` and `p` begins with the length of the whole (a [`varint`]), then
//! comes as much of it as fits; the rest is in pieces. The pieces are written before the
//! entry that makes them known.

use bytes::Bytes;
use harp_jobs::segment::SEGMENT_SIZE;
use harp_values::JobId;

pub use super::key::Key;
use super::varint;

/// Version of the layout that this release makes stores with. Values of layout 1 have no
/// frames ([`frame`](super::frame)); they are read as they are, and stay until they are
/// removed.
pub const VERSION: u32 = 2;

/// Version of a store that holds something which a release that knows layout 2 would pass
/// over: a transport's token, another attempt, a pool, a debt without a place, a paper. It becomes
/// such a store with the first record of that kind, in one step; until then an older
/// release can go on with it. From then on it says that it does not know the layout.
pub const NEWEST: u32 = 3;

/// Key of the version.
pub const VERSION_KEY: &[u8] = b"v";

/// Key of the mark.
pub const MARK_KEY: &[u8] = b"m";

/// Key of the number of starts.
pub const STARTS_KEY: &[u8] = b"s";

/// There if the note beside the store says where it is.
pub const HOME_KEY: &[u8] = b"h";

/// Key of the totals.
pub const CONTENTS_KEY: &[u8] = b"n";

/// First bytes of the keys that count as content: each entry is written once.
pub const CONTENT_TABLES: [u8; 6] = *b"ceCEpP";

/// Most bytes of a long value in one entry. sled keeps up to sixteen neighbouring
/// entries in a page and moves pages of 128 KiB and up to files that it never syncs, so
/// entries have to stay well under 8 KiB.
pub const PIECE: usize = 4000;

// A segment of packets is one entry, never a piece and a rest: what a power cut leaves is
// then whole segments.
const _: () = assert!(SEGMENT_SIZE <= PIECE);
// A page of sixteen entries with their frames and keys stays below the files that are never synced.
const _: () =
    assert!(16 * (PIECE + varint::MAX_LEN + super::frame::OVERHEAD + Key::MAX) < 128 * 1024);

/// A table, by the first byte of its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// Calls as they were submitted.
    Calls = b'c' as isize,
    /// Table of live jobs.
    Live = b'l' as isize,
    /// How jobs ended.
    Ends = b'e' as isize,
    /// Table of ended jobs whose places are still kept: where they stood.
    Places = b'q' as isize,
    /// Jobs by the keys of their submissions.
    Keys = b'k' as isize,
    /// Segments of packets.
    Packets = b'p' as isize,
    /// Jobs that are pruned, with something left to remove.
    Pruned = b'd' as isize,
    /// Ended jobs in the order of their ends.
    Order = b'o' as isize,
    /// Lives of the machine.
    Boots = b'b' as isize,
    /// Jobs that wait and are held.
    Held = b'w' as isize,
}

impl Table {
    /// The key of a job in this table, and the start of all its keys.
    pub fn key(self, id: JobId) -> Key {
        Key::new(self as u8).with(id.as_bytes())
    }

    /// The least key of the table, and one that is above all of them.
    pub fn bounds(self) -> (Key, Key) {
        (Key::new(self as u8), Key::new(self as u8 + 1))
    }
}

/// The table that a key is of; that of the value of which it is a further piece.
pub fn table_of(key: &[u8]) -> Option<Table> {
    Some(match key.first()?.to_ascii_lowercase() {
        b'c' => Table::Calls,
        b'l' => Table::Live,
        b'e' => Table::Ends,
        b'q' => Table::Places,
        b'k' => Table::Keys,
        b'p' => Table::Packets,
        b'd' => Table::Pruned,
        b'w' => Table::Held,
        _ => return None,
    })
}

/// Key of the segment that starts with this packet.
pub fn packets_key(id: JobId, first: u64) -> Key {
    Table::Packets.key(id).with(&first.to_be_bytes())
}

/// Where it stands when a job ended whose end has this number.
pub fn order_key(number: u64, id: JobId) -> Key {
    Key::new(Table::Order as u8)
        .with(&number.to_be_bytes())
        .with(id.as_bytes())
}

/// Number and job of such a key.
pub fn order_of(key: &[u8]) -> Option<(u64, JobId)> {
    let number: &[u8; 8] = key.get(1..)?.first_chunk()?;
    let id: &[u8; 16] = key.get(9..)?.try_into().ok()?;
    Some((u64::from_be_bytes(*number), JobId::from_bytes(*id)))
}

/// Where a life of the machine stands.
pub fn boot_key(number: u64) -> Key {
    Key::new(Table::Boots as u8).with(&number.to_be_bytes())
}

/// When a job was submitted, in milliseconds since 1970: what a UUID of version 7 begins
/// with.
pub fn submitted(id: JobId) -> u64 {
    // The first 48 of 128 bits.
    (u128::from_be_bytes(*id.as_bytes()) >> 80) as u64
}

/// Ranges of keys, the end not included: the packets of a job and the further pieces of
/// all its values.
pub fn entries_behind(id: JobId) -> [(Key, Key); 4] {
    [b'P', b'p', b'C', b'E'].map(|table| {
        let from = Key::new(table).with(id.as_bytes());
        (from, from.with(&[0xff; Key::MAX - 17]))
    })
}

/// Key of the entry of a submission's key, by that key's digest.
pub fn claim_key(digest: &[u8; 32]) -> Key {
    Key::new(Table::Keys as u8).with(digest)
}

/// Key of the entry that says that a job has a key, by half the digest of that key alone.
pub fn keyed_key(half: &[u8; 16], job: JobId) -> Key {
    Key::new(Table::Keys as u8).with(half).with(job.as_bytes())
}

/// The key of the entry that makes this further piece known; `None` if this is no key of
/// a piece.
pub fn entry_of_piece(key: &[u8]) -> Option<Vec<u8>> {
    let len = match key.first()? {
        b'C' | b'E' => 1 + 16,
        b'P' => 1 + 16 + 8,
        _ => return None,
    };
    let mut entry = key.get(..len).filter(|_| key.len() == len + 4)?.to_vec();
    entry[0] = entry[0].to_ascii_lowercase();
    Some(entry)
}

/// The job that a key is about.
pub fn job_of(key: &[u8]) -> Option<JobId> {
    let id: &[u8; 16] = key.get(1..)?.first_chunk()?;
    Some(JobId::from_bytes(*id))
}

/// The packet number in a key of the packet table.
pub fn number_of(key: &[u8]) -> Option<u64> {
    let number: &[u8; 8] = key.get(17..)?.first_chunk()?;
    Some(u64::from_be_bytes(*number))
}

/// The key of a further piece of the value at `key`.
pub fn piece_key(key: &Key, n: u32) -> Key {
    key.with(&n.to_be_bytes()).of_pieces()
}

/// Cuts a long value: the entry that makes it known, and the further pieces.
pub fn cut(value: &[u8]) -> (Vec<u8>, impl Iterator<Item = &[u8]>) {
    let (first, rest) = value.split_at(value.len().min(PIECE));
    let mut entry = Vec::with_capacity(varint::MAX_LEN + first.len());
    varint::put(&mut entry, value.len() as u64);
    entry.extend_from_slice(first);
    (entry, rest.chunks(PIECE))
}

/// Entry of a long value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// Length of the whole value.
    pub total: usize,
    /// As much of it as is here.
    pub first: Bytes,
}

impl Beginning {
    /// Reads an entry; `None` if it is longer than it says, or does not say.
    #[must_use]
    pub fn decode(entry: Bytes) -> Option<Beginning> {
        let mut rest = &entry[..];
        let total = usize::try_from(varint::take(&mut rest)?).ok()?;
        let first = entry.slice(entry.len() - rest.len()..);
        (first.len() <= total).then_some(Beginning { total, first })
    }

    /// Whether there are no further pieces.
    pub fn is_whole(&self) -> bool {
        self.first.len() == self.total
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_are_told_apart_and_sort() {
        let id = JobId::submitted_at(1_700_000_000_000);
        let later = JobId::submitted_at(1_700_000_000_001);
        let keys = [
            packets_key(id, 0),
            packets_key(id, 255),
            packets_key(id, 256),
            packets_key(id, u64::MAX),
            packets_key(later, 0),
        ];
        assert!(keys.windows(2).all(|pair| pair[0][..] < pair[1][..]));
        let (least, above) = Table::Packets.bounds();
        assert!(
            keys.iter()
                .all(|key| least[..] < key[..] && key[..] < above[..])
        );
        assert!(keys[3].starts_with(&Table::Packets.key(id)));
        assert_eq!(job_of(&keys[2]), Some(id));
        assert_eq!(number_of(&keys[2]), Some(256));

        let piece = piece_key(&keys[1], 7);
        assert_eq!(piece[0], b'P');
        assert_eq!(piece.len(), 29);
        assert_eq!(job_of(&piece), Some(id));
        assert_eq!(job_of(b"v"), None);
    }

    proptest! {
        #[test]
        fn a_cut_value_is_joined_again(
            len in prop_oneof![0_usize..100, PIECE - 3..PIECE + 3, 0_usize..5 * PIECE],
        ) {
            let value: Vec<u8> = (0..len).map(|index| index as u8).collect();
            let (entry, pieces) = cut(&value);
            prop_assert!(entry.len() <= PIECE + 3);
            let beginning = Beginning::decode(Bytes::from(entry)).unwrap();
            prop_assert_eq!(beginning.total, len);
            prop_assert_eq!(beginning.is_whole(), len <= PIECE);
            let mut joined = beginning.first.to_vec();
            joined.extend(pieces.flatten());
            prop_assert_eq!(joined, value);
        }

        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = job_of(&bytes);
            let _ = number_of(&bytes);
            let _ = Beginning::decode(Bytes::from(bytes));
        }
    }
}
