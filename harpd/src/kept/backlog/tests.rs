//! A backlog gives back what was put in, wherever that is kept.

use harp_proto::Json;
use proptest::prelude::*;

use super::super::spool;
use super::*;

fn backlog(directory: &std::path::Path, memory: usize, limit: u64) -> Backlog {
    let stock = Stock::new(directory.to_owned());
    Backlog::new(memory, Spool::new(stock, limit, 1 << 30))
}

fn packet(number: u64, length: usize) -> Json {
    Json::encode(&format!("{number} {}", "x".repeat(length))).unwrap()
}

/// Everything from a packet on, with steps of `most` bytes.
fn read_from(backlog: &Backlog, packet: u64, most: usize) -> (String, Cursor) {
    let (mut cursor, mut before) = backlog.find(packet);
    let mut out = BytesMut::new();
    loop {
        let mut probe = cursor;
        let mut chunk = BytesMut::new();
        let (bytes, packets) = match backlog.read(&mut probe, &mut chunk, most) {
            Read::Nothing => break,
            Read::Copied => (
                chunk.freeze(),
                probe.packets > cursor.packets || !probe.at_end,
            ),
            Read::Spooled {
                file,
                offset,
                length,
                packets,
            } => (spool::read(&file, offset, length).unwrap(), packets),
        };
        if before > 0 {
            before = cursor.skip(&bytes, before);
            continue;
        }
        let is_end = backlog.has_ended() && cursor.packets == backlog.packets();
        cursor.advance(&bytes, packets && !is_end);
        out.extend_from_slice(&bytes);
    }
    (String::from_utf8(out.to_vec()).unwrap(), cursor)
}

fn line(packet: &Json) -> String {
    format!("{{\"stream\":{}}}\n", packet.as_str())
}

#[derive(Debug, Clone)]
enum Step {
    Push(Vec<usize>),
    Acknowledge(u64),
    Spill,
    Read(u64, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        proptest::collection::vec(0_usize..3000, 1..5).prop_map(Step::Push),
        (0_u64..5).prop_map(Step::Acknowledge),
        Just(Step::Spill),
        (0_u64..30, 1_usize..5000).prop_map(|(back, most)| Step::Read(back, most)),
    ];
    proptest::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_packet_comes_back(steps in steps(), memory in 1_usize..20_000) {
        let directory = tempfile::tempdir().unwrap();
        let mut backlog = backlog(directory.path(), memory, 30_000);
        let mut packets: Vec<Json> = Vec::new();
        let mut acknowledged = 0;
        for step in steps {
            match step {
                Step::Push(lengths) => {
                    let first = packets.len() as u64;
                    let new: Vec<_> = (first..)
                        .zip(lengths)
                        .map(|(number, length)| packet(number, length))
                        .collect();
                    packets.extend(new.clone());
                    backlog.push(new.into_iter().map(Packet::Short).collect());
                }
                Step::Acknowledge(more) => {
                    acknowledged = (acknowledged + more).min(packets.len() as u64);
                    backlog.acknowledge(acknowledged);
                }
                Step::Spill => {
                    if let Some(spill) = backlog.take_spill() {
                        backlog.spilled(spill.write()).unwrap();
                    }
                }
                Step::Read(back, most) => {
                    let since = (packets.len() as u64).saturating_sub(back).max(acknowledged);
                    let expected: String = packets[usize::try_from(since).unwrap()..].iter().map(line).collect();
                    let (got, cursor) = read_from(&backlog, since, most);
                    prop_assert_eq!(got, expected);
                    prop_assert_eq!(cursor.packets(), packets.len() as u64);
                    prop_assert!(!cursor.is_inside());
                }
            }
            prop_assert_eq!(backlog.packets(), packets.len() as u64);
        }
        let end = Message::Result(Json::NULL);
        backlog.end(Answer::Short(end));
        let expected: String = packets[usize::try_from(acknowledged).unwrap()..].iter().map(line).collect();
        let (got, _) = read_from(&backlog, acknowledged, 1000);
        prop_assert_eq!(got, expected + "{\"result\":null}\n");
    }
}

#[test]
fn a_disk_that_takes_nothing_keeps_all_in_memory() {
    let directory = tempfile::tempdir().unwrap();
    let gone = directory.path().join("gone");
    let mut backlog = backlog(&gone, 1000, 30_000);
    backlog.push(
        (0..4)
            .map(|number| Packet::Short(packet(number, 500)))
            .collect(),
    );
    assert!(!backlog.has_room());
    let spill = backlog.take_spill().unwrap();
    assert!(backlog.spilled(spill.write()).is_err());
    assert!(!backlog.has_room());
    let (got, _) = read_from(&backlog, 0, 100);
    assert_eq!(got.lines().count(), 4);
    backlog.acknowledge(3);
    assert!(backlog.has_room());
}

#[test]
fn memory_and_files_are_given_back() {
    let directory = tempfile::tempdir().unwrap();
    let mut backlog = backlog(directory.path(), 1000, 3000);
    let stock = Arc::clone(backlog.spool.stock());
    backlog.push(
        (0..4)
            .map(|number| Packet::Short(packet(number, 500)))
            .collect(),
    );
    let spill = backlog.take_spill().unwrap();
    backlog.spilled(spill.write()).unwrap();
    assert!(backlog.has_room());
    // Nobody else can find the file.
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    backlog.push(
        (4..8)
            .map(|number| Packet::Short(packet(number, 500)))
            .collect(),
    );
    if let Some(spill) = backlog.take_spill() {
        backlog.spilled(spill.write()).unwrap();
    }
    backlog.push(
        (8..12)
            .map(|number| Packet::Short(packet(number, 500)))
            .collect(),
    );
    assert!(backlog.take_spill().is_none(), "the file is full");
    assert!(!backlog.has_room());
    drop(backlog);
    assert_eq!(stock.memory.load(Ordering::Relaxed), 0);
}
