//! What procedures print.

use harp_proto::host::Message;
use harp_proto::{Failure, Json};
use harpd::output::OutputMode;

use crate::input::{Input, cut};

/// Which mode, the limit, how the bytes are cut, and the bytes.
pub(crate) fn output(data: &[u8]) {
    let mut input = Input::new(data);
    let choice = input.byte();
    let stream = choice & 8 != 0;
    let mode = match choice % 6 {
        0 => OutputMode::Json,
        1 => OutputMode::Text,
        2 => OutputMode::Lines,
        3 => OutputMode::JsonLines,
        4 => OutputMode::Harp { stream },
        _ => OutputMode::Module { stream },
    };
    let limit = usize::from(input.byte()) * 4;
    let lengths = [input.byte(), input.byte()];
    let bytes = input.rest();
    let whole = made(mode, limit, &[bytes]);
    // How it was cut does not matter.
    assert_eq!(made(mode, limit, &cut(bytes, &lengths)), whole);
    for packet in &whole.0 {
        assert!(packet.as_bytes().len() <= limit);
    }
    if let Ok(Message::Result(result)) = &whole.1 {
        // Without a result of its own a command has one of ours.
        let ours = ["null", r#"{"exit_code":0}"#];
        assert!(result.as_bytes().len() <= limit || ours.contains(&result.as_str()));
    }
    if !mode.streams() {
        assert!(whole.0.is_empty());
    }
}

/// Packets and end of a command that prints these pieces.
fn made(mode: OutputMode, limit: usize, pieces: &[&[u8]]) -> (Vec<Json>, Result<Message, Failure>) {
    let mut output = mode.start(limit);
    let mut packets = Vec::new();
    for piece in pieces {
        if let Err(failure) = output.feed(piece, &mut packets) {
            return (packets, Err(failure));
        }
    }
    let end = output.succeeded(&mut packets);
    (packets, end)
}
