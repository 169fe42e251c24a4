//! How many calls are accepted, each of them on disk.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use harp_ledger::store::{Store, StoreOptions};

use super::Plan;
use super::sample::job;
use crate::load::{Ask, AskAnew, Client, Operation, closed_loop};
use crate::report::{Figure, Wanted};
use crate::site::Site;

const CLIENTS: usize = 64;

/// A call that waits in a queue for ever.
pub(super) const CALL: &str = "{\"harpcaller\":1,\"host\":\"bench\",\"procedure\":\"hold\",\"arguments\":[],\"queue\":{\"name\":{\"bench\":1}},\"info\":null}\n";

pub(super) async fn measure(plan: Plan) -> anyhow::Result<Vec<Figure>> {
    let site = Site::new()?;
    let host = site.reference(&["host"])?;
    let echo = site.reference(&["echo"])?;
    let dispatcher = site.harpcallerd(&[("bench", host.address)])?;
    // The first call takes the queue's only place and keeps it.
    Client::connect(dispatcher.address).await?.ask(CALL).await?;

    let store = store_alone(&site, plan.time).await?;
    let persistent = closed_loop(submitters(dispatcher.address).await?, plan.time).await?;
    let echoed = closed_loop(anew(echo.address), plan.time).await?;
    let connecting = closed_loop(anew(dispatcher.address), plan.time).await?;

    let status = status_meanwhile(dispatcher.address, plan.time).await?;
    Ok(vec![
        Figure {
            name: "durable submits, 64 clients, persistent connections",
            unit: "/s",
            value: persistent.rate,
            reference: Some(store),
            wanted: Wanted::Share(0.5),
        },
        Figure {
            name: "durable submits, 64 clients, one connection a request",
            unit: "/s",
            value: connecting.rate,
            reference: Some(echoed.rate),
            wanted: Wanted::Share(0.6),
        },
        Figure {
            name: "get_status while 64 clients submit, p99",
            unit: "ms",
            value: status,
            reference: None,
            wanted: Wanted::AtMost(5.0),
        },
    ])
}

async fn submitters(address: SocketAddr) -> anyhow::Result<Vec<Ask>> {
    Ask::clients(address, CLIENTS, |_| CALL.to_owned()).await
}

fn anew(address: SocketAddr) -> Vec<AskAnew> {
    AskAnew::clients(address, CLIENTS, |_| CALL.to_owned())
}

/// p99 of one client's `get_status` in milliseconds.
async fn status_meanwhile(address: SocketAddr, time: Duration) -> anyhow::Result<f64> {
    let mut client = Client::persistent(address).await?;
    let answer: serde_json::Value = serde_json::from_str(client.ask(CALL).await?)?;
    let line = format!("{{\"harpcaller\":1,\"get_status\":{}}}\n", answer["job_id"]);
    let asking = Ask::clients(address, 1, |_| line.clone()).await?;
    let submitting = tokio::spawn(closed_loop(submitters(address).await?, time));
    let mut asked = closed_loop(asking, time).await?;
    submitting.await??;
    Ok(asked.times.quantile_ms(0.99))
}

/// Records like those of the other rows, submitted to a store in this process, a second.
async fn store_alone(site: &Site, time: Duration) -> anyhow::Result<f64> {
    let store = Store::open(&site.path("alone"), StoreOptions::default())?;
    let sequence = Arc::new(AtomicU64::new(1));
    let submits = (0..CLIENTS).map(|_| StoreSubmit {
        store: store.clone(),
        sequence: Arc::clone(&sequence),
    });
    let submitted = closed_loop(submits.collect(), time).await?;
    store.close().await;
    Ok(submitted.rate)
}

struct StoreSubmit {
    store: Store,
    sequence: Arc<AtomicU64>,
}

impl Operation for StoreSubmit {
    async fn perform(&mut self) -> anyhow::Result<()> {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let (id, call, live) = job(sequence, true)?;
        self.store.submit(id, &call, &live).await?;
        Ok(())
    }
}
