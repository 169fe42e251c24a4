//! The hot pieces by themselves: `cargo bench -p harp-bench`.

fn main() {
    divan::main();
}

/// Lines of both protocols, in and out.
mod codec {
    use bytes::Bytes;
    use divan::{Bencher, black_box};
    use harp_proto::LineBuffer;
    use harp_proto::client::{PacketLines, Request};
    use harp_proto::host::Message;

    const CALL: &[u8] = br#"{"harpcaller": 1, "host": "web01", "procedure": "rotate", "arguments": ["nginx", 7], "queue": {"name": {"host": "web01"}, "concurrency": 2}, "info": null}"#;
    const PACKET: &[u8] = br#"{"stream":"line 123456 of the output"}"#;

    #[divan::bench]
    fn decode_call() -> Option<Request> {
        Request::decode(&Bytes::from_static(black_box(CALL))).ok()
    }

    #[divan::bench]
    fn decode_packet() -> Option<Message> {
        Message::decode(&Bytes::from_static(black_box(PACKET))).ok()
    }

    #[divan::bench]
    fn encode_1000_packets(bencher: Bencher<'_, '_>) {
        bencher.bench_local(|| {
            let mut lines = PacketLines::new(123_456);
            lines.reserve(1000, 1000 * 16);
            for _ in 0..1000 {
                lines.push(black_box(b"\"line of output\""), None);
            }
            lines.into_bytes()
        });
    }

    /// Cuts 1000 packets' lines out of what a socket delivered.
    #[divan::bench]
    fn cut_1000_lines(bencher: Bencher<'_, '_>) {
        let mut text = PACKET.to_vec();
        text.push(b'\n');
        let text = text.repeat(1000);
        bencher
            .with_inputs(|| {
                let mut lines = LineBuffer::new(1024);
                lines.space(text.len()).extend_from_slice(&text);
                lines
            })
            .bench_local_values(|mut lines| {
                let mut count = 0;
                while let Ok(Some(_)) = lines.next_line() {
                    count += 1;
                }
                count
            });
    }
}

/// Joining and leaving queues.
mod queue {
    use divan::Bencher;
    use harp_jobs::lineup::queue::Queues;
    use harp_proto::{JobId, QueueName};

    /// One job comes and one goes, with this many waiting.
    #[divan::bench(args = [1, 1000, 100_000])]
    fn join_and_leave(bencher: Bencher<'_, '_>, waiting: u64) {
        let name: QueueName = "{\"host\":\"web01\"}".parse().expect("a queue's name");
        let mut queues = Queues::default();
        let mut running = JobId::submitted_at(0);
        let mut sequence = 0;
        queues.join(&name, 1, running, sequence);
        let mut join = |queues: &mut Queues| {
            sequence += 1;
            queues.join(&name, 1, JobId::submitted_at(sequence), sequence);
            queues.ready(&name, sequence)
        };
        for _ in 0..waiting {
            // Nobody starts: the place is taken.
            let _ = join(&mut queues);
        }
        bencher.bench_local(|| {
            let _ = join(&mut queues);
            let started = queues.leave(&name, running);
            running = started[0];
        });
    }
}

/// What the store makes of packets and back.
mod segments {
    use bytes::Bytes;
    use divan::Bencher;
    use harp_jobs::segment::{Segment, SegmentBuilder};

    const PACKETS: u64 = 100;

    fn segment() -> Segment {
        let data = b"\"line 123456 of the output\"";
        let mut segment = SegmentBuilder::new(0);
        for _ in 0..PACKETS {
            segment.push(1_700_000_000_000, data);
        }
        segment.finish()
    }

    #[divan::bench]
    fn encode_100_packets() -> Segment {
        segment()
    }

    #[divan::bench]
    fn decode_100_packets(bencher: Bencher<'_, '_>) {
        let bytes = Bytes::copy_from_slice(segment().as_bytes());
        bencher.bench_local(|| Segment::decode(bytes.clone()).ok());
    }

    #[divan::bench]
    fn scan_100_packets(bencher: Bencher<'_, '_>) {
        let segment = segment();
        bencher.bench_local(|| {
            segment
                .iter_from(0)
                .map(|packet| packet.2.len())
                .sum::<usize>()
        });
    }
}

/// The store itself, with its syncs.
mod store {
    use divan::Bencher;
    use harp_jobs::record::{CallRecord, LiveRecord};
    use harp_jobs::segment::SegmentBuilder;
    use harp_ledger::store::{Store, StoreOptions};
    use harp_proto::JobId;
    use tokio::runtime::Runtime;

    fn submit(store: &Store, runtime: &Runtime) -> JobId {
        let id = JobId::submitted_at(1_700_000_000_000);
        let submitted = 1_700_000_000_000;
        let arguments = "[]".parse().expect("JSON");
        let call = CallRecord::new("web01", "rotate", arguments, submitted);
        let live = LiveRecord {
            sequence: 1,
            submitted,
            ..LiveRecord::UNKNOWN
        };
        runtime
            .block_on(store.submit(id, &call, &live))
            .expect("a store that can be written");
        id
    }

    /// One job on disk: a round of the writer, with its sync.
    #[divan::bench(sample_count = 50)]
    fn submit_one(bencher: Bencher<'_, '_>) {
        let runtime = Runtime::new().expect("a runtime");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(directory.path(), StoreOptions::default()).expect("a new store");
        bencher.bench_local(|| submit(&store, &runtime));
        runtime.block_on(store.close());
    }

    /// 100,000 small packets out of the store.
    #[divan::bench(sample_count = 20)]
    fn scan_100_000_packets(bencher: Bencher<'_, '_>) {
        let runtime = Runtime::new().expect("a runtime");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = Store::open(directory.path(), StoreOptions::default()).expect("a new store");
        let id = submit(&store, &runtime);
        let data = b"\"line 123456 of the output\"";
        for first in (0..100_000).step_by(100) {
            let mut segment = SegmentBuilder::new(first);
            for _ in 0..100 {
                segment.push(1_700_000_000_000, data);
            }
            let appending = runtime.block_on(store.append(id, vec![segment.finish()]));
            runtime
                .block_on(appending.expect("a live job"))
                .expect("a store that can be written");
        }
        bencher.bench_local(|| {
            let mut next = 0;
            while next < 100_000 {
                let segments = runtime
                    .block_on(store.segments(id, next, 256 * 1024))
                    .expect("a store that can be read");
                next = segments.last().expect("more packets").end();
            }
        });
        runtime.block_on(store.close());
    }
}
