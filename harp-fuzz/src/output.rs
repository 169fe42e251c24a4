//! What procedures print.

use harp_proto::host::Message;
use harp_proto::{Failure, Json};
use harpd::answer::{Answer, Packet};
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
    // How it was cut does not matter; but of a line that is written again and again more
    // may be held at once than the limit allows, and then what is past goes.
    let is_rewritten = |line: &[u8]| line.len() > limit && line.contains(&b'\r');
    let lines = mode == OutputMode::Lines;
    if !lines || !bytes.split(|byte| *byte == b'\n').any(is_rewritten) {
        assert_eq!(made(mode, limit, &cut(bytes, &lengths)), whole);
    }
    states_are_shown(mode, limit, &cut(bytes, &lengths));
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

/// When states of a line are shown, at whatever moments, and after whatever faults, each is
/// within the limit, is marked as one, and no other line is lost.
fn states_are_shown(mode: OutputMode, limit: usize, pieces: &[&[u8]]) {
    let mut output = mode.start(limit);
    let mut packets = Vec::new();
    let mut states = Vec::new();
    for piece in pieces {
        output.feed_last_words(piece, &mut packets);
        if output.has_state() {
            assert_eq!(mode, OutputMode::Lines);
            let _ = output.show_state(&mut states);
            assert!(!output.has_state());
        }
    }
    let _ = output.last_line(&mut packets);
    let [states, packets] = [states, packets].map(values);
    for state in &states {
        assert!(state.as_str().ends_with("\\r\""));
    }
    for packet in states.iter().chain(&packets) {
        assert!(packet.as_bytes().len() <= limit);
    }
    if mode == OutputMode::Lines {
        let printed = pieces.concat();
        for line in printed
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let is_plain = line.iter().all(|byte| byte.is_ascii_alphanumeric());
            if is_plain && line.len() + 2 <= limit {
                let text = String::from_utf8_lossy(line);
                let packet = Json::encode(text.as_ref()).unwrap();
                assert!(packets.contains(&packet), "{text} is lost");
            }
        }
    }
}

/// The values of packets, which are short: the limit is.
fn values(packets: Vec<Packet>) -> Vec<Json> {
    let value = |packet| match packet {
        Packet::Short(value) => value,
        Packet::Long(_) => panic!("a packet beyond the limit"),
    };
    packets.into_iter().map(value).collect()
}

/// Packets and end of a command that prints these pieces.
fn made(mode: OutputMode, limit: usize, pieces: &[&[u8]]) -> (Vec<Json>, Result<Message, Failure>) {
    let mut output = mode.start(limit);
    let mut packets = Vec::new();
    for piece in pieces {
        if let Err(failure) = output.feed(piece, &mut packets) {
            return (values(packets), Err(failure));
        }
    }
    let end = output.succeeded(&mut packets).map(|answer| match answer {
        Answer::Short(message) => message,
        Answer::Long { said, .. } => panic!("{said:?} beyond the limit"),
    });
    (values(packets), end)
}
