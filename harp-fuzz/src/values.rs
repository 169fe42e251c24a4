//! Values and keys of the job store, as a damaged disk may hold them.

use bytes::Bytes;
use harp_ledger::store::{Contents, codec, frame, layout, varint};

use crate::input::Input;

/// Which kind of value, and its bytes.
pub(crate) fn store_value(data: &[u8]) {
    let mut input = Input::new(data);
    let kind = input.byte();
    let bytes = Bytes::copy_from_slice(input.rest());
    match kind % 8 {
        0 => call(&bytes),
        1 => end(&bytes),
        2 => live(&bytes),
        3 => beginning(&bytes),
        4 => pieces(&bytes),
        5 => key(&bytes),
        6 => contents(&bytes),
        _ => {
            numbers(&bytes);
            frame(&bytes);
        }
    }
}

fn call(bytes: &Bytes) {
    let key = codec::key_of_call(bytes);
    let Ok(call) = codec::decode_call(bytes) else {
        return;
    };
    let key = key.expect("a call's first section was readable");
    let wanted = call.key.clone().map(|key| (call.client.clone(), key));
    assert_eq!(key, wanted);
    let record = Bytes::from(codec::encode_call(&call).expect("a call can be written"));
    let again = codec::decode_call(&record).expect("what was written is a call");
    assert_eq!(again, call);
    assert_eq!(codec::encode_call(&again).ok(), Some(record.to_vec()));
}

fn end(bytes: &Bytes) {
    let fields = codec::end_fields(bytes);
    let Ok(end) = codec::decode_end(bytes) else {
        return;
    };
    let fields = fields.expect("an end's first section was readable");
    assert_eq!(
        (fields.started, fields.ended, fields.packets),
        (end.started, end.ended, end.packets)
    );
    let record = Bytes::from(codec::encode_end(&end).expect("an end can be written"));
    let again = codec::decode_end(&record).expect("what was written is an end");
    assert_eq!(again, end);
    assert_eq!(codec::encode_end(&again).ok(), Some(record.to_vec()));
}

fn live(bytes: &Bytes) {
    let Ok(live) = codec::decode_live(bytes) else {
        return;
    };
    let record = codec::encode_live(&live).expect("a live record can be written");
    let again = codec::decode_live(&record).expect("what was written is a live record");
    assert_eq!(again, live);
    assert_eq!(codec::encode_live(&again).ok(), Some(record));
}

/// The entry of a value that may be longer than an entry.
fn beginning(bytes: &Bytes) {
    if let Some(beginning) = layout::Beginning::decode(bytes.clone()) {
        assert!(beginning.first.len() <= beginning.total);
        assert!(bytes.ends_with(&beginning.first));
        assert_eq!(
            beginning.is_whole(),
            beginning.first.len() == beginning.total
        );
    }
}

/// Any value is cut so that it is joined again; `bytes` are its length and content.
fn pieces(bytes: &Bytes) {
    let mut rest = &bytes[..];
    let length = varint::take(&mut rest).unwrap_or(0) % 20_000;
    let value: Vec<u8> = match rest {
        [] => vec![0; length as usize],
        rest => rest.iter().copied().cycle().take(length as usize).collect(),
    };
    let (entry, pieces) = layout::cut(&value);
    assert!(entry.len() <= layout::PIECE + varint::MAX_LEN);
    let beginning = layout::Beginning::decode(Bytes::from(entry)).expect("an entry");
    assert_eq!(beginning.total, value.len());
    let mut joined = beginning.first.to_vec();
    for piece in pieces {
        assert!(!piece.is_empty() && piece.len() <= layout::PIECE);
        joined.extend_from_slice(piece);
    }
    assert_eq!(joined, value);
}

fn key(bytes: &Bytes) {
    let _ = layout::number_of(bytes);
    if let Some(id) = layout::job_of(bytes) {
        let calls = layout::Table::Calls.key(id);
        assert_eq!(layout::job_of(&calls), Some(id));
        let number = layout::number_of(bytes).unwrap_or(0);
        let packets = layout::packets_key(id, number);
        assert_eq!(layout::number_of(&packets), Some(number));
        for (entry, n) in [(calls, 0), (packets, u32::MAX)] {
            let piece = layout::piece_key(&entry, n);
            assert_eq!(layout::entry_of_piece(&piece).as_deref(), Some(&entry[..]));
            let within = layout::entries_behind(id);
            assert!(
                within
                    .iter()
                    .any(|(from, to)| from[..] <= piece[..] && piece[..] < to[..])
            );
        }
    }
    if let Some(entry) = layout::entry_of_piece(bytes) {
        assert_eq!(layout::job_of(&entry), layout::job_of(bytes));
        assert!(layout::entry_of_piece(&entry).is_none());
    }
}

fn contents(bytes: &Bytes) {
    if let Some(contents) = Contents::decode(bytes) {
        let again = Contents::decode(contents.encode().as_bytes());
        assert_eq!(again, Some(contents));
    }
}

fn numbers(bytes: &Bytes) {
    let mut rest = &bytes[..];
    while let Some(number) = varint::take(&mut rest) {
        let mut out = Vec::new();
        varint::put(&mut out, number);
        assert!(out.len() <= varint::MAX_LEN);
        assert_eq!(varint::take(&mut &out[..]), Some(number));
        out.clear();
        varint::put_signed(&mut out, number as i64);
        assert_eq!(varint::take_signed(&mut &out[..]), Some(number as i64));
    }
}

/// What begins like a frame is one only as a whole; what is in one comes out of it.
fn frame(bytes: &Bytes) {
    for framed in [bytes.to_vec(), [&frame::MAGIC[..], bytes].concat()] {
        let Some(header) = frame::Header::read(&framed) else {
            continue;
        };
        if header.fits(&framed) {
            let whole = &framed[..header.len + header.value_len];
            assert_eq!(frame::unwrap(&header.key, whole), Ok(header.len));
        }
        let wrapped = frame::wrap(&header.key, header.mark, bytes);
        assert!(wrapped.len() <= bytes.len() + frame::OVERHEAD);
        let begin = frame::unwrap(&header.key, &wrapped).expect("what was written is whole");
        assert_eq!(&wrapped[begin..], &bytes[..]);
    }
}
