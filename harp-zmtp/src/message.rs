//! Writing frames.

use bytes::{BufMut, BytesMut};

pub(crate) const MORE: u8 = 1;
pub(crate) const LONG: u8 = 2;
pub(crate) const COMMAND: u8 = 4;

/// Writes a message of these parts, one frame each. A message has at least one.
pub fn write_message(parts: &[&[u8]], out: &mut BytesMut) {
    for (index, part) in parts.iter().enumerate() {
        let more = if index + 1 < parts.len() { MORE } else { 0 };
        write_frame(more, part, out);
    }
}

/// Writes a command. Its name has at most 255 bytes.
pub fn write_command(name: &str, body: &[u8], out: &mut BytesMut) {
    let mut frame = BytesMut::with_capacity(1 + name.len() + body.len());
    frame.put_u8(name.len() as u8);
    frame.put_slice(name.as_bytes());
    frame.put_slice(body);
    write_frame(COMMAND, &frame, out);
}

fn write_frame(flags: u8, body: &[u8], out: &mut BytesMut) {
    out.reserve(9 + body.len());
    match u8::try_from(body.len()) {
        Ok(length) => {
            out.put_u8(flags);
            out.put_u8(length);
        }
        Err(_) => {
            out.put_u8(flags | LONG);
            out.put_u64(body.len() as u64);
        }
    }
    out.put_slice(body);
}
