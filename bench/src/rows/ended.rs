//! Filling a store with jobs that have ended.

use futures_util::future::try_join_all;
use harp_jobs::record::EndRecord;
use harp_jobs::segment::SegmentBuilder;
use harp_ledger::store::{PlaceAfter, Store};
use harp_proto::Outcome;
use harp_time::clock;

use super::sample::job;

/// Jobs that are written at the same time.
const AT_ONCE: u64 = 256;

/// Writes jobs from their submission to their end, ten packets of 120 bytes each.
pub(super) async fn fill(store: &Store, jobs: u64) -> anyhow::Result<()> {
    let each = jobs.div_ceil(AT_ONCE);
    let tasks = (0..AT_ONCE.min(jobs)).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            for sequence in 0..each {
                run(&store, sequence).await?;
            }
            anyhow::Ok(())
        })
    });
    for done in try_join_all(tasks).await? {
        done?;
    }
    Ok(())
}

async fn run(store: &Store, sequence: u64) -> anyhow::Result<()> {
    let (id, call, live) = job(sequence, false)?;
    store.submit(id, &call, &live).await?;
    let mut segment = SegmentBuilder::new(0);
    for number in 0..10 {
        let text = format!("\"{number:>0$}\"", 118);
        segment.push(live.submitted, text.as_bytes());
    }
    store.append(id, vec![segment.finish()]).await?.await?;
    let end = EndRecord {
        started: live.started,
        ended: clock::now(),
        outcome: Outcome::Returned("null".parse()?),
        packets: 10,
        remarks: Default::default(),
    };
    store.finish(id, &end, PlaceAfter::Free).await?;
    Ok(())
}
