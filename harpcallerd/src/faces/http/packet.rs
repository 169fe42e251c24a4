//! Packets in the forms of this face: JSON objects, and text for people.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use harp_jobs::segment::Segment;

use super::text::without_escapes;
use crate::desk::packets::{Batches, Piece};
use crate::faces::listing::values::Values;

/// Calls `each` with number, time (milliseconds since 1970) and JSON text of the packets of a
/// piece, in order, until it returns false.
pub(super) fn each(piece: &Piece, mut each: impl FnMut(u64, u64, &[u8]) -> bool) {
    let mut next = piece.first;
    let mut of_segment = |segment: &Segment| {
        for (number, time, data) in segment.iter_from(next) {
            if number >= piece.end || !each(number, time, data) {
                return false;
            }
            next = number + 1;
        }
        true
    };
    match &piece.batches {
        Batches::Read(segments) => {
            let _ = segments.iter().all(&mut of_segment);
        }
        Batches::Held(batches) => {
            let mut segments = batches.iter().flat_map(|batch| batch.segments());
            let _ = segments.all(&mut of_segment);
        }
    }
}

/// Appends `{"packet": N, "time": MS, "data": ANY}`.
pub(super) fn write_json(out: &mut BytesMut, number: u64, time: u64, data: &[u8], values: Values) {
    out.extend_from_slice(b"{\"packet\":");
    write_number(out, number);
    out.extend_from_slice(b",\"time\":");
    write_number(out, time);
    out.extend_from_slice(b",\"data\":");
    match values {
        Values::AsSent => out.extend_from_slice(data),
        Values::Text => {
            let text = String::from_utf8_lossy(data);
            // Into memory, and a text always can be written.
            let _ = serde_json::to_writer((&mut *out).writer(), &text);
        }
    }
    out.extend_from_slice(b"}");
}

/// Appends a number in decimal.
pub(super) fn write_number(out: &mut BytesMut, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// How packets are shown as text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown {
    /// With the time of each before it.
    pub(super) with_times: bool,
    /// Without sequences that a terminal would take for orders.
    pub(super) without_escapes: bool,
}

/// A value as text: a string as it is, anything else as its JSON text.
pub(super) fn as_text(data: &[u8]) -> Cow<'_, str> {
    if data.first() == Some(&b'"')
        && let Ok(text) = serde_json::from_slice::<Cow<'_, str>>(data)
    {
        return Cow::Owned(text.into_owned());
    }
    // Halves of surrogate pairs are no text; their JSON is.
    String::from_utf8_lossy(data)
}

/// Appends a value as text, with a newline unless it ends in one.
pub(super) fn write_text(out: &mut BytesMut, time: u64, data: &[u8], shown: Shown) {
    if shown.with_times {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(time);
        let time = humantime::format_rfc3339_millis(time).to_string();
        out.extend_from_slice(time.as_bytes());
        out.extend_from_slice(b" ");
    }
    let text = as_text(data);
    let text = if shown.without_escapes {
        without_escapes(&text)
    } else {
        Cow::Borrowed(&*text)
    };
    out.extend_from_slice(text.as_bytes());
    if !text.ends_with('\n') {
        out.extend_from_slice(b"\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data: &str, shown: Shown) -> String {
        let mut out = BytesMut::new();
        write_text(&mut out, 0, data.as_bytes(), shown);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn strings_are_shown_as_they_are_and_other_values_as_json() {
        let plain = Shown::default();
        assert_eq!(text(r#""a\u00e4\"""#, plain), "a\u{e4}\"\n");
        assert_eq!(text(r#""a\n""#, plain), "a\n");
        assert_eq!(text(r#"{"a":1.50}"#, plain), "{\"a\":1.50}\n");
        assert_eq!(text(r#""\ud800""#, plain), "\"\\ud800\"\n");
        let timed = Shown {
            with_times: true,
            ..plain
        };
        assert_eq!(text("1", timed), "1970-01-01T00:00:00.000Z 1\n");
        let stripped = Shown {
            without_escapes: true,
            ..plain
        };
        assert_eq!(text(r#""\u001b[31mred\u001b[0m""#, stripped), "red\n");
    }

    #[test]
    fn a_packet_is_an_object() {
        let mut out = BytesMut::new();
        write_json(&mut out, 0, 12, b"1.50", Values::AsSent);
        write_json(&mut out, u64::MAX, 0, b"\"a\"", Values::Text);
        assert_eq!(
            out,
            &b"{\"packet\":0,\"time\":12,\"data\":1.50}\
               {\"packet\":18446744073709551615,\"time\":0,\"data\":\"\\\"a\\\"\"}"[..]
        );
    }
}
