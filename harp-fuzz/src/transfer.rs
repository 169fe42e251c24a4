//! The lines of an export.

use harp_ledger::transfer::TransferError;
use harp_ledger::transfer::format::{Item, Items, crc, write};

/// Lines as they may be in a file; and, since no input hits upon a checksum, the same
/// lines as records with the right one.
pub(crate) fn export(data: &[u8]) {
    read_all(data);
    for text in data.split(|byte| *byte == b'\n') {
        let Ok(text) = std::str::from_utf8(text) else {
            continue;
        };
        let line = format!("{{\"crc\":\"{}\",\"record\":{text}}}\n", crc(text));
        let mut records = Items::new(line.as_bytes());
        let Ok(Some(record)) = records.next() else {
            continue;
        };
        assert!(matches!(records.next(), Ok(None)));
        let written = written(&record);
        let mut records = Items::new(&written[..]);
        let again = records.next().expect("what was written can be read");
        let again = again.expect("what was written is there");
        assert_eq!(again, record);
        assert_eq!(self::written(&again), written);
        // Cut anywhere, it is no record.
        let cut = &written[..written.len() - 1];
        assert!(matches!(
            Items::new(cut).next(),
            Err(TransferError::CutShort)
        ));
    }
}

fn read_all(data: &[u8]) {
    let mut records = Items::new(data);
    let mut read = 0;
    while let Ok(Some(_)) = records.next() {
        read += 1;
        assert_eq!(records.line, read);
    }
}

fn written(record: &Item) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out, record).expect("a record can be written");
    assert_eq!(
        out.iter().position(|byte| *byte == b'\n'),
        Some(out.len() - 1)
    );
    out
}
