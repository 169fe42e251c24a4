//! What a device sends on a connection of ZeroMQ.

use bytes::BytesMut;
use harp_zmtp::{Decoder, Greeting, Item, Violation, write_message};

use crate::input::{Input, cut};

/// Bytes of a message, at most.
const LIMIT: usize = 4096;

/// Bytes of a peer behind its greeting, or, for the first byte 0, in its place.
pub(crate) fn zmtp(data: &[u8]) {
    let mut input = Input::new(data);
    let is_greeted = input.byte() != 0;
    let lengths = [input.byte(), input.byte(), input.byte()];
    let rest = input.rest();
    let bytes = if is_greeted {
        [&Greeting::ours(), rest].concat()
    } else {
        rest.to_vec()
    };
    let whole = read([&bytes[..]]);
    // How the bytes were cut on their way does not matter.
    assert_eq!(read(cut(&bytes, &lengths)), whole);
    for item in &whole.0 {
        if let Item::Message(parts) = item {
            let parts: Vec<_> = parts.iter().map(|part| &part[..]).collect();
            assert!(parts.iter().map(|part| part.len()).sum::<usize>() <= LIMIT);
            let mut wire = BytesMut::from(&Greeting::ours()[..]);
            write_message(&parts, &mut wire);
            let (items, end) = read([&wire[..]]);
            assert_eq!((&items[1..], end), (std::slice::from_ref(item), None));
        }
    }
}

/// All items, and what must not have been sent.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Item>, Option<Violation>) {
    let mut decoder = Decoder::new(LIMIT);
    let mut items = Vec::new();
    for piece in pieces {
        decoder.bytes().extend_from_slice(piece);
        loop {
            match decoder.next() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(violation) => return (items, Some(violation)),
            }
        }
    }
    (items, None)
}
