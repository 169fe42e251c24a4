//! Listing ended jobs through the administrative socket.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::ensure;
use harp_ledger::store::{Store, StoreOptions};
use harp_tests::binary;

use super::Plan;
use super::ended::fill;
use crate::report::{Figure, Wanted};
use crate::site::Site;

const MIB: f64 = 1024.0 * 1024.0;

pub(super) async fn measure(plan: Plan) -> anyhow::Result<Vec<Figure>> {
    let site = Site::new()?;
    let store = Store::open(&site.path("jobs"), StoreOptions::default())?;
    fill(&store, plan.listed_jobs).await?;
    store.close().await;
    let dispatcher = site.harpcallerd(&[])?;

    // A few times before, so that the store's cache has what it will ever have of it and the
    // allocator what it keeps: after three lists nothing is added any more.
    for _ in 0..4 {
        list(&site)?;
    }
    let before = dispatcher.resident()?;
    let (first_line, all, lines) = list(&site)?;
    ensure!(lines >= plan.listed_jobs, "only {lines} jobs are listed");
    let growth = dispatcher.resident()? - before;
    let figure = |name, unit, value, wanted| Figure {
        name,
        unit,
        value,
        reference: None,
        wanted: Wanted::AtMost(wanted),
    };
    Ok(vec![
        figure("list --all of 100,000 ended jobs", "s", all, 2.0),
        figure("its first line", "ms", first_line * 1000.0, 50.0),
        figure("memory that it adds", "MiB", growth / MIB, 2.0),
    ])
}

/// Seconds to the first line and to the last, and how many there were.
pub(super) fn list(site: &Site) -> anyhow::Result<(f64, f64, u64)> {
    let start = Instant::now();
    let mut child = Command::new(binary("harpcallerd"))
        .arg("--socket")
        .arg(site.path("control"))
        .args(["list", "--all"])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut first = None;
    let mut lines = 0;
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            line?;
            lines += 1;
            first.get_or_insert_with(|| start.elapsed());
        }
    }
    ensure!(child.wait()?.success(), "list fails");
    let all = start.elapsed().as_secs_f64();
    Ok((first.map_or(all, |time| time.as_secs_f64()), all, lines))
}
