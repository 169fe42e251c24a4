//! Damages a store at random places, a copy at a time, and counts how many jobs come back:
//! what TESTING.md says of damages.
//!
//! ```text
//! cargo run --release -p harp-ledger --example store_damage -- [DAMAGES [SEED [JOBS]]]
//! ```
//!
//! The store has 500 jobs, or as many as are asked for: every tenth waits, the others have returned with one to twenty
//! packets, some with a long result; it was written by three processes, one after the
//! other, and closed in order. A third of the damages is one flipped bit, a third a block
//! of 16 bytes to 64 KiB that is zeroed or filled with noise, a third is an end that is cut
//! off or a block that is cut out.

use std::fs;
use std::path::Path;

use anyhow::Context as _;
use harp_jobs::record::{CallRecord, EndRecord, LiveRecord};
use harp_jobs::segment::SegmentBuilder;
use harp_ledger::store::{PlaceAfter, Store, StoreOptions};
use harp_values::{JobId, Json, Outcome};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|argument| argument.parse::<u64>());
    let damages = arguments.next().transpose()?.unwrap_or(200);
    let mut random = Random(arguments.next().transpose()?.unwrap_or(1));
    let jobs = arguments.next().transpose()?.unwrap_or(500);
    let place = tempdir()?;
    let original = place.join("store");
    for part in 0..3 {
        let store = Store::open(&original, StoreOptions::default())?;
        for number in (0..jobs).skip(part).step_by(3) {
            Job(number).record(&store).await?;
        }
        store.close().await;
    }
    let db = fs::read(original.join("db"))?;
    let used = db
        .iter()
        .rposition(|byte| *byte != 0)
        .context("an empty store")? as u64;

    let mut counts = [Counts::of(jobs); 3];
    for number in 0..damages {
        let kind = (number % 3) as usize;
        let mut bytes = db.clone();
        let at = random.below(used) as usize;
        let length = 16 << random.below(13);
        let end = (at + length).min(bytes.len());
        match (kind, random.below(2)) {
            (0, _) => bytes[at] ^= 1 << random.below(8),
            (1, 0) => bytes[at..end].fill(0),
            (1, _) => bytes[at..end].fill_with(|| random.next() as u8),
            (_, 0) => bytes.truncate(at),
            (_, _) => drop(bytes.drain(at..end)),
        }
        let damaged = place.join("damaged");
        copy(&original, &damaged)?;
        fs::write(damaged.join("db"), &bytes)?;
        let salvaged = place.join("salvaged");
        counts[kind].add(&damaged, &bytes, &salvaged).await?;
    }
    println!("{used} bytes of log; of {jobs} jobs, at each damage:");
    println!("kind    damages  told  all back  back on average  fewest  in silence  changed");
    for (kind, counts) in ["bits", "blocks", "cuts"].into_iter().zip(counts) {
        counts.print(kind);
    }
    fs::remove_dir_all(&place)?;
    Ok(())
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    jobs: u64,
    damages: u64,
    /// A start refused, or a check told something.
    told: u64,
    whole: u64,
    back: u64,
    most_lost: u64,
    /// Jobs that a start without complaint, or the salvaged store, shows as something else.
    silent: u64,
    /// Files that a refused start has changed.
    changed: u64,
}

impl Counts {
    fn of(jobs: u64) -> Counts {
        Counts {
            jobs,
            ..Counts::default()
        }
    }

    async fn add(&mut self, damaged: &Path, db: &[u8], salvaged: &Path) -> anyhow::Result<()> {
        let jobs = self.jobs;
        let options = StoreOptions::default();
        let mut told = Vec::new();
        Store::salvage(damaged, salvaged, options, &mut |problem| {
            told.push(problem)
        })?;
        let checked = Store::check(damaged, options, false, &mut |_| ())?;
        let store = Store::open(salvaged, options)?;
        let (back, mut silent) = (count(&store, jobs).await, 0);
        if back < jobs && told.is_empty() {
            silent += jobs - back;
        }
        store.close().await;
        let mut is_refused = true;
        if let Ok(store) = Store::open(damaged, options) {
            is_refused = false;
            if checked.problems == 0 {
                silent += jobs - count(&store, jobs).await;
            }
            store.close().await;
        } else if fs::read(damaged.join("db"))? != db {
            self.changed += 1;
        }
        self.damages += 1;
        self.told += u64::from(is_refused || checked.problems > 0);
        self.whole += u64::from(back == jobs);
        self.back += back;
        self.most_lost = self.most_lost.max(jobs - back);
        self.silent += silent;
        fs::remove_dir_all(damaged)?;
        fs::remove_dir_all(salvaged)?;
        Ok(())
    }

    fn print(self, kind: &str) {
        println!(
            "{kind:7} {:7} {:5} {:9} {:16.2} {:7} {:11} {:8}",
            self.damages,
            self.told,
            self.whole,
            self.back as f64 / self.damages.max(1) as f64,
            self.jobs - self.most_lost,
            self.silent,
            self.changed
        );
    }
}

/// How many jobs are as they were.
async fn count(store: &Store, jobs: u64) -> u64 {
    let live = store.live().await.unwrap_or_default();
    let mut count = 0;
    for number in 0..jobs {
        let job = Job(number);
        let is_live = live.iter().any(|(id, _)| *id == job.id());
        let has_call =
            matches!(store.job(job.id()).await, Ok(Some(record)) if record.call == job.call());
        let is_as_it_was = match store.outcome(job.id()).await {
            Ok(None) => job.waits() && is_live,
            Ok(Some(end)) => !job.waits() && end == job.end() && job.has_packets(store).await,
            Err(_) => false,
        };
        count += u64::from(has_call && is_as_it_was);
    }
    count
}

/// A job, all of which follows from its number.
struct Job(u64);

impl Job {
    fn id(&self) -> JobId {
        let time = 1_700_000_000_000_u128 + u128::from(self.0) * 1000;
        let random = u128::from(self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let id = time << 80 | 7 << 76 | 2 << 62 | (random & ((1 << 62) - 1));
        JobId::from_bytes(id.to_be_bytes())
    }

    fn waits(&self) -> bool {
        self.0.is_multiple_of(10)
    }

    fn call(&self) -> CallRecord {
        let arguments = Json::encode(&[self.0]).expect("a number");
        CallRecord::new("web01", "deploy", arguments, self.submitted())
    }

    fn live(&self) -> LiveRecord {
        LiveRecord {
            sequence: self.0,
            started: (!self.waits()).then_some(5),
            submitted: self.submitted(),
            ..LiveRecord::UNKNOWN
        }
    }

    fn submitted(&self) -> u64 {
        1_700_000_000_000 + self.0 * 1000
    }

    fn packets(&self) -> Vec<String> {
        let count = self.0 % 20 + 1;
        let text = |n| format!("\"{}\"", format!("{}-{n} ", self.0).repeat(20));
        (0..count).map(text).collect()
    }

    fn end(&self) -> EndRecord {
        let length = if self.0.is_multiple_of(7) { 6000 } else { 20 };
        let result = Json::encode(&"r".repeat(length)).expect("a text");
        EndRecord {
            started: Some(5),
            ended: 9,
            outcome: Outcome::Returned(result),
            packets: self.packets().len() as u64,
            remarks: Default::default(),
        }
    }

    async fn record(&self, store: &Store) -> anyhow::Result<()> {
        store.submit(self.id(), &self.call(), &self.live()).await?;
        if self.waits() {
            return Ok(());
        }
        let mut segment = SegmentBuilder::new(0);
        for packet in self.packets() {
            segment.push(7, packet.as_bytes());
        }
        store
            .append(self.id(), vec![segment.finish()])
            .await?
            .await?;
        store
            .finish(self.id(), &self.end(), PlaceAfter::Free)
            .await?;
        Ok(())
    }

    async fn has_packets(&self, store: &Store) -> bool {
        let segments = store.segments(self.id(), 0, usize::MAX).await;
        let found: Vec<_> = segments
            .iter()
            .flatten()
            .flat_map(|segment| segment.iter_from(0))
            .map(|(_, _, data)| String::from_utf8_lossy(data).into_owned())
            .collect();
        found == self.packets()
    }
}

/// Numbers that follow from a seed (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        for factor in [0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb] {
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(factor);
        }
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn tempdir() -> anyhow::Result<std::path::PathBuf> {
    let place = std::env::temp_dir().join(format!("store-damage-{}", std::process::id()));
    fs::create_dir(&place)?;
    Ok(place)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
    }
    Ok(())
}
