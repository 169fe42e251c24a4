//! The store from outside: what is written comes back, from a copy of the files too.

mod check;
mod counts;
mod damage;
mod derived;
mod directories;
mod jobs;
mod keys;
mod outages;
mod prune;

use std::path::Path;

use harp_jobs::record::{CallRecord, EndRecord, LiveRecord, QueueRecord};
use harp_jobs::segment::{Segment, SegmentBuilder};
use harp_values::{JobId, Json, Outcome};

use super::{PlaceAfter, Store, StoreOptions};

const OPTIONS: StoreOptions = StoreOptions {
    cache_size: 8 * 1024 * 1024,
};

fn open(directory: &Path) -> Store {
    Store::open(directory, OPTIONS).unwrap()
}

/// A job id made of a number; ids sort by their numbers.
fn id(number: u64) -> JobId {
    JobId::from_bytes(u128::from(number).to_be_bytes())
}

/// A JSON string of this many bytes.
fn text(len: usize) -> Json {
    let letters: String = ('a'..='z').cycle().take(len - 2).collect();
    Json::encode(&letters).unwrap()
}

fn call(arguments: Json) -> CallRecord {
    CallRecord {
        host: "web01".into(),
        procedure: "deploy".into(),
        arguments,
        info: r#"{"z":1.0,"a":"\u0041"}"#.parse().unwrap(),
        timeout: Some(5),
        max_exec_time: None,
        endless: false,
        queue: Some(queue()),
        client: None,
        key: None,
        start_by: None,
        trace: None,
        submitted: 1_700_000_000_000,
    }
}

fn queue() -> QueueRecord {
    QueueRecord {
        name: r#"{"q":[1,2]}"#.parse().unwrap(),
        concurrency: 2,
    }
}

fn queued(sequence: u64) -> LiveRecord {
    LiveRecord {
        sequence,
        queue: Some(queue()),
        submitted: 1_700_000_000_000,
        ..LiveRecord::UNKNOWN
    }
}

fn returned(value: Json, packets: u64) -> EndRecord {
    EndRecord {
        started: Some(1_700_000_000_500),
        ended: 1_700_000_001_000,
        outcome: Outcome::Returned(value),
        packets,
        remarks: Default::default(),
    }
}

fn segment(first: u64, packets: &[Json]) -> Segment {
    let mut builder = SegmentBuilder::new(first);
    for packet in packets {
        builder.push(1_700_000_000_000, packet.as_bytes());
    }
    builder.finish()
}

/// All packets of a job from this number on, read in small steps.
async fn packets(store: &Store, id: JobId, mut from: u64) -> Vec<(u64, Json)> {
    let mut packets = Vec::new();
    loop {
        let segments = store.segments(id, from, 10_000).await.unwrap();
        if segments.is_empty() {
            return packets;
        }
        assert!(segments[0].first() <= from);
        for segment in segments {
            for (number, _, data) in segment.iter_from(from) {
                assert_eq!(number, from);
                from += 1;
                packets.push((number, Json::from_trusted(data.to_vec().into())));
            }
        }
    }
}
