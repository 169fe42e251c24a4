//! Writing the parts that wire lines are made of.

use bytes::{BufMut, BytesMut};

/// A JSON string, escaped where it must be.
pub fn string(out: &mut BytesMut, text: &str) {
    let writer = out.writer();
    // Neither a string nor memory can refuse to be written.
    let _ = serde_json::to_writer(writer, text);
}

/// `{"KEY":VALUE}`, for keys that need no escape.
pub fn single(out: &mut BytesMut, key: &str, value: impl FnOnce(&mut BytesMut)) {
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    value(out);
    out.extend_from_slice(b"}");
}

/// A JSON number.
pub fn integer(out: &mut BytesMut, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// A JSON number or null.
pub fn integer_or_null(out: &mut BytesMut, number: Option<u64>) {
    match number {
        Some(number) => integer(out, number),
        None => out.extend_from_slice(b"null"),
    }
}

/// `,"KEY":`, for keys that need no escape.
pub fn key(out: &mut BytesMut, key: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}
