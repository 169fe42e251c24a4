//! A store with a million ended jobs: what it costs on disk, in memory, at a start, and
//! for one more job.

use std::process::Command;
use std::time::Instant;

use harp_ledger::store::{Store, StoreOptions};

use super::Plan;
use super::ended::fill;
use super::lists::list;
use super::sample::job;
use crate::load::Client;
use crate::report::{Figure, Wanted};
use crate::site::Site;

/// Jobs whose cost is compared.
const COMPARED: u64 = 1024;

/// How often that is done, before and after.
const ROUNDS: usize = 5;

const MIB: f64 = 1024.0 * 1024.0;

pub(super) async fn measure(plan: Plan) -> anyhow::Result<Vec<Figure>> {
    let site = Site::new()?;
    let directory = site.path("jobs");
    let store = Store::open(&directory, StoreOptions::default())?;
    // What is cold at the very first is no matter of the number of jobs.
    fill(&store, COMPARED).await?;
    let first = cost(&store).await?;
    let compared = 2 * (1 + ROUNDS as u64) * COMPARED;
    fill(&store, plan.ended_jobs.saturating_sub(compared)).await?;
    // What the disk and the engine still have to do for those before is no matter of their
    // number either: the same beginning as at first.
    store.close().await;
    let store = Store::open(&directory, StoreOptions::default())?;
    fill(&store, COMPARED).await?;
    let last = cost(&store).await?;
    store.close().await;
    let disk = disk_usage(&site)? / plan.ended_jobs as f64;

    let store = Store::open(&directory, StoreOptions::default())?;
    for sequence in 0..plan.queued_jobs {
        let (id, call, live) = job(sequence, true)?;
        store.submit(id, &call, &live).await?;
    }
    store.close().await;

    let host = site.reference(&["host"])?;
    let start = Instant::now();
    let dispatcher = site.harpcallerd(&[("bench", host.address)])?;
    // The address is bound before the store is open; what answers is ready.
    let mut client = Client::persistent(dispatcher.address).await?;
    let ready = start.elapsed().as_secs_f64();
    client.ask(super::submits::CALL).await?;
    // Once all of them have been read, the store's cache is as large as it gets.
    list(&site)?;
    let resident = dispatcher.resident()?;

    let figure = |name, unit, value, reference, wanted| Figure {
        name,
        unit,
        value,
        reference,
        wanted,
    };
    Ok(vec![
        figure(
            "disk for each ended job with ten 120-byte packets",
            "bytes",
            disk,
            None,
            Wanted::AtMost(3072.0),
        ),
        figure(
            "start with many ended and 10,000 queued jobs",
            "s",
            ready,
            None,
            Wanted::AtMost(2.0),
        ),
        figure(
            "memory with many ended jobs in the store",
            "MiB",
            resident / MIB,
            None,
            Wanted::AtMost(200.0),
        ),
        figure(
            "cost of one more job when many are stored, against the first thousand",
            "times",
            last / first,
            None,
            Wanted::AtMost(1.2),
        ),
    ])
}

/// Seconds that so many jobs take: the median of several rounds, since one is short.
async fn cost(store: &Store) -> anyhow::Result<f64> {
    let mut seconds = [0.0; ROUNDS];
    for round in &mut seconds {
        let start = Instant::now();
        fill(store, COMPARED).await?;
        *round = start.elapsed().as_secs_f64();
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[ROUNDS / 2])
}

fn disk_usage(site: &Site) -> anyhow::Result<f64> {
    let output = Command::new("du")
        .args(["-s", "-B1"])
        .arg(site.path("jobs"))
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().next().unwrap_or_default().parse()?)
}
