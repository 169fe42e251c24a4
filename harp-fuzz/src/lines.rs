//! Lines, however their bytes arrive.

use bytes::{Bytes, BytesMut};
use harp_proto::LineBuffer;

use crate::input::{Input, cut};

/// The bytes of one encoded line, without its end: there is no other end in it.
pub(crate) fn only_line(out: BytesMut) -> Bytes {
    let mut line = out.freeze();
    let end = line.iter().position(|byte| *byte == b'\n');
    assert_eq!(end, Some(line.len() - 1), "{line:?}");
    line.truncate(line.len() - 1);
    line
}

/// A limit, the ways to read, lengths of pieces, and what arrives in such pieces.
pub(crate) fn line_buffer(data: &[u8]) {
    let mut input = Input::new(data);
    let limit = usize::from(input.byte()) * 4;
    let ways = input.byte();
    let keeps_carriage_returns = ways & 1 == 1;
    let lengths: Vec<u8> = (0..ways >> 5).map(|_| input.byte()).collect();
    let stream = input.rest();

    let mut buffer = if keeps_carriage_returns {
        LineBuffer::keeping_carriage_returns(limit)
    } else {
        LineBuffer::new(limit)
    };
    let mut got = Vec::new();
    let mut has_failed = false;
    for piece in cut(stream, &lengths) {
        buffer.space(piece.len()).extend_from_slice(piece);
        while !has_failed {
            // Looking without taking changes nothing.
            if ways & 2 != 0 {
                let looked = buffer.next_line_if(|_| None::<()>);
                assert!(!matches!(looked, Ok(Some(()))));
            }
            let next = if ways & 4 != 0 {
                buffer.next_line_if(|line| Some(Bytes::copy_from_slice(line)))
            } else {
                buffer.next_line()
            };
            match next {
                Ok(Some(line)) => got.push(line),
                Ok(None) => break,
                Err(_) => has_failed = true,
            }
        }
        if has_failed {
            break;
        }
        // What is kept is at most one line, and a `\r` that may belong to its end.
        let held = buffer.space(0);
        assert!(held.len() <= limit + 1, "{} bytes held", held.len());
        assert!(held.capacity() <= 4 * (limit + piece.len()) + 1024);
    }

    let (expected, ending) = expected(stream, limit, keeps_carriage_returns);
    assert_eq!(got, expected);
    assert_eq!(has_failed, ending == Ending::TooLong);
    if has_failed {
        assert!(buffer.next_line().is_err() && buffer.next_line_if(|_| Some(())).is_err());
    } else {
        assert_eq!(buffer.has_partial_line(), ending == Ending::Partial);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Nothing,
    Partial,
    TooLong,
}

/// Lines cut in the plainest way out of bytes that are all there.
fn expected(stream: &[u8], limit: usize, keeps_carriage_returns: bool) -> (Vec<Bytes>, Ending) {
    let length_of = |part: &[u8]| {
        let stripped = !keeps_carriage_returns && part.ends_with(b"\r");
        part.len() - usize::from(stripped)
    };
    let mut lines = Vec::new();
    let mut parts = stream.split(|byte| *byte == b'\n').peekable();
    while let Some(part) = parts.next() {
        let length = length_of(part);
        if length > limit {
            return (lines, Ending::TooLong);
        }
        if parts.peek().is_none() {
            let ending = if part.is_empty() {
                Ending::Nothing
            } else {
                Ending::Partial
            };
            return (lines, ending);
        }
        lines.push(Bytes::copy_from_slice(&part[..length]));
    }
    (lines, Ending::Nothing)
}
