//! What pruning does to the store's file on disk: a measurement.
//!
//! Fills a new store up to a limit, then goes on writing several times as much while the
//! oldest jobs are pruned, and prints how the file grows beside what is kept in it.
//!
//! ```text
//! cargo run --release -p harp-ledger --example store_space -- DIRECTORY [MEGABYTES]
//! ```

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use harp_jobs::record::{CallRecord, EndRecord, LiveRecord};
use harp_jobs::segment::SegmentBuilder;
use harp_ledger::store::{Keep, PlaceAfter, Store, StoreOptions};
use harp_time::clock;
use harp_values::{JobId, Json, Outcome};

/// Jobs that are written at the same time.
const AT_ONCE: usize = 64;

/// How often the limit is written after the store is full.
const TURNS: u64 = 5;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().context("which directory?")?);
    let megabytes: u64 = arguments.next().map_or(Ok(100), |text| text.parse())?;
    let limit = megabytes * 1024 * 1024;
    let store = Store::open(&directory, StoreOptions::default())?;
    let keep = Keep {
        bytes: Some(limit),
        ..Keep::default()
    };
    let begun = Instant::now();
    let mut written = 0;
    for turn in 0..=TURNS {
        let until = (turn + 1) * limit;
        while written < until {
            let before = store.contents().bytes;
            let jobs = (0..AT_ONCE).map(|_| job(&store));
            futures_util::future::try_join_all(jobs).await?;
            written += store.contents().bytes - before;
            while store.prune(keep).await?.more {}
        }
        let (kept, file) = (store.contents().bytes, length(&directory)?);
        println!(
            "written {:>6} MB, kept {:>5} MB, files {:>6} MB ({:.2} of what is kept), {:>4} s",
            written >> 20,
            kept >> 20,
            file >> 20,
            file as f64 / kept as f64,
            begun.elapsed().as_secs(),
        );
    }
    store.close().await;
    Ok(())
}

/// One job with ten packets, as monitoring and deployment make them.
async fn job(store: &Store) -> anyhow::Result<()> {
    let submitted = clock::now();
    let id = JobId::submitted_at(submitted);
    let arguments = Json::encode(&vec!["an argument"; 10])?;
    let call = CallRecord::new("web01.example.net", "deploy", arguments, submitted);
    let live = LiveRecord {
        sequence: 1,
        started: Some(submitted),
        submitted,
        ..LiveRecord::UNKNOWN
    };
    store.submit(id, &call, &live).await?;
    let mut packets = SegmentBuilder::new(0);
    for _ in 0..10 {
        packets.push(
            submitted,
            Json::encode(&"a line of output ".repeat(8))?.as_bytes(),
        );
    }
    store.append(id, vec![packets.finish()]).await?.await?;
    let end = EndRecord {
        started: Some(submitted),
        ended: clock::now(),
        outcome: Outcome::Returned(Json::encode(&"done")?),
        packets: 10,
        remarks: Default::default(),
    };
    store.finish(id, &end, PlaceAfter::Free).await?;
    Ok(())
}

/// The length of all files together.
fn length(directory: &Path) -> anyhow::Result<u64> {
    let mut length = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        length += if entry.file_type()?.is_dir() {
            self::length(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(length)
}
