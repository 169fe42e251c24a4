//! Makes the fixture of a store's layout: a small store with jobs in every state, as this
//! release writes it, and the same jobs as an export. `tests/released_layouts.rs` opens
//! the fixtures of all layouts that were ever released, so none is made anew: a release
//! that changes the layout raises its version and adds one.
//!
//! ```text
//! cargo run -p harp-ledger --example store_fixture -- harp-ledger/tests/fixtures/layout-1
//! ```
//!
//! Each file of the store is there, compressed by gzip; `lock` and the empty directory
//! `blobs` are made by whoever opens it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};
use harp_jobs::record::{CallRecord, EndRecord, LiveRecord, QueueRecord};
use harp_jobs::segment::SegmentBuilder;
use harp_ledger::store::{PlaceAfter, Store, StoreOptions};
use harp_ledger::transfer;
use harp_values::{Failure, JobId, Json, Outcome};

/// All times are some milliseconds after this one, in November 2023.
const BEGINNING: u64 = 1_700_000_000_000;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let target = std::env::args().nth(1).context("which directory?")?;
    let target = PathBuf::from(target);
    fs::create_dir(&target).context("the directory must be a new one")?;
    let directory = std::env::temp_dir().join(format!("store-fixture-{}", std::process::id()));
    let store = Store::open(&directory, StoreOptions::default())?;
    for job in jobs()? {
        job.record(&store).await?;
    }
    let file = File::create(target.join("jobs.export"))?;
    transfer::export(&store, file, &mut |problem| eprintln!("{problem}")).await?;
    store.close().await;
    compress(&directory, &target)?;
    fs::remove_dir_all(&directory)?;
    Ok(())
}

/// What becomes of a job.
enum State {
    Queued,
    Running,
    Ended(Outcome, PlaceAfter),
}

struct Job {
    id: JobId,
    call: CallRecord,
    live: LiveRecord,
    packets: Vec<Json>,
    state: State,
}

fn jobs() -> anyhow::Result<Vec<Job>> {
    let failure = |error_type| -> anyhow::Result<Failure> {
        let data = serde_json::json!({"at": [1.5, null], "seconds": 60});
        Ok(Failure::new(error_type, "why it failed: \"quoted\", ü").with_data(&data))
    };
    let mut jobs = Vec::new();
    let mut job = |state, queued: bool, packets| -> anyhow::Result<usize> {
        let number = jobs.len() as u64 + 1;
        jobs.push(Job::new(number, state, queued, packets)?);
        Ok(jobs.len() - 1)
    };
    let ended = |outcome| State::Ended(outcome, PlaceAfter::Free);

    let waits = job(State::Queued, true, 0)?;
    let waits_briefly = job(State::Queued, true, 0)?;
    let waits_with_much = job(State::Queued, true, 0)?;
    let runs = job(State::Running, false, 3)?;
    let returned = job(ended(Outcome::Returned(long('r')?)), false, 3)?;
    job(State::Ended(Outcome::Cancelled, PlaceAfter::Kept), true, 1)?;
    job(ended(Outcome::Exception(failure("overheated")?)), false, 2)?;
    job(ended(Outcome::Error(failure("timeout")?)), true, 0)?;
    let never_started = job(ended(Outcome::Cancelled), true, 0)?;

    jobs[waits].call.arguments = r#"[1e5,{"b":1,"a":2,"b":[]},"\u0041\ud800"]"#.parse()?;
    jobs[waits].call.info = r#"{"z":1.0,"a":"A"}"#.parse()?;
    jobs[waits_briefly].live.start_by = Some(60);
    jobs[waits_with_much].call.arguments = format!("[{}]", long('a')?.as_str()).parse()?;
    jobs[runs].call.key = Some("nightly".into());
    jobs[runs].call.timeout = Some(600);
    jobs[runs].call.max_exec_time = Some(3600);
    jobs[returned].call.key = Some("report".into());
    jobs[returned].call.client = Some("token:shop".into());
    jobs[returned].call.info = long('i')?;
    jobs[never_started].live.started = None;
    Ok(jobs)
}

impl Job {
    fn new(number: u64, state: State, queued: bool, packets: usize) -> anyhow::Result<Job> {
        let queue = queued.then(|| -> anyhow::Result<QueueRecord> {
            Ok(QueueRecord {
                name: r#"{"b":1.0,"a":"x"}"#.parse()?,
                concurrency: 1,
            })
        });
        let queue = queue.transpose()?;
        let submitted = BEGINNING + number * 1000;
        // Of odd form, short and long: two segments, the second in several pieces.
        let texts = [r#"{"b":[],"a":1.50}"#.parse()?, Json::NULL, long('p')?];
        Ok(Job {
            id: format!("018bcfe5-6800-7000-8000-{number:012x}").parse()?,
            call: CallRecord {
                queue: queue.clone(),
                ..CallRecord::new("web01", "echo", "[]".parse()?, submitted)
            },
            live: LiveRecord {
                sequence: number,
                queue,
                started: (!matches!(state, State::Queued)).then_some(submitted + 100),
                submitted,
                ..LiveRecord::UNKNOWN
            },
            packets: texts.into_iter().take(packets).collect(),
            state,
        })
    }

    async fn record(self, store: &Store) -> anyhow::Result<()> {
        let Job { id, call, live, .. } = self;
        store.submit_once(id, &call, &live, None).await?;
        for (number, packet) in self.packets.iter().enumerate() {
            let time = live.submitted + 200 + number as u64;
            let mut segment = SegmentBuilder::new(number as u64);
            segment.push(time, packet.as_bytes());
            store.append(id, vec![segment.finish()]).await?.await?;
        }
        if let State::Ended(outcome, place) = self.state {
            let end = EndRecord {
                started: live.started,
                ended: live.submitted + 500,
                outcome,
                packets: self.packets.len() as u64,
                remarks: Default::default(),
            };
            store.finish(id, &end, place).await?;
        }
        Ok(())
    }
}

/// A JSON string that is longer than an entry of the store.
fn long(letter: char) -> anyhow::Result<Json> {
    Ok(format!("\"{}\"", String::from(letter).repeat(9000)).parse()?)
}

fn compress(directory: &Path, target: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == "lock" || !entry.file_type()?.is_file() {
            continue;
        }
        let mut packed = target.join(name).into_os_string();
        packed.push(".gz");
        let mut packed = GzEncoder::new(File::create(packed)?, Compression::best());
        std::io::copy(&mut File::open(entry.path())?, &mut packed)?;
        packed.finish()?;
    }
    Ok(())
}
