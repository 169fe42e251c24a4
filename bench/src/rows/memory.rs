//! Memory of the daemon: idle, for each queued job, for each idle follower.

use futures_util::future::try_join_all;

use super::Plan;
use super::results::call;
use super::submits::CALL;
use crate::load::{Ask, Client, Operation as _};
use crate::report::{Figure, Wanted};
use crate::site::Site;

const KIB: f64 = 1024.0;
const MIB: f64 = 1024.0 * KIB;

/// Clients that fill the queue.
const CLIENTS: usize = 16;

pub(super) async fn measure(plan: Plan) -> anyhow::Result<Vec<Figure>> {
    let site = Site::new()?;
    let host = site.reference(&["host"])?;
    let dispatcher = site.harpcallerd(&[("bench", host.address)])?;
    let address = dispatcher.address;
    let idle = dispatcher.resident()?;

    // Followers of a job that says nothing. The first few warm up what all share.
    let job = call(address, "hold", "[]", "").await?;
    let follow = format!("{{\"harpcaller\":1,\"follow_stream\":{job}}}\n");
    let follower = || async {
        let mut client = Client::connect(address).await?;
        client.send(&follow).await?;
        anyhow::Ok(client)
    };
    let first = try_join_all((0..plan.idle_followers / 10).map(|_| follower())).await?;
    settle(address).await?;
    let before = dispatcher.resident()?;
    let more = try_join_all((0..plan.idle_followers).map(|_| follower())).await?;
    settle(address).await?;
    let followers = dispatcher.resident()? - before;
    drop((first, more));

    let submit = |times: u64| async move {
        let clients = Ask::clients(address, CLIENTS, |_| CALL.to_owned()).await?;
        let each = times / CLIENTS as u64;
        let submitting = clients.into_iter().map(|mut client| async move {
            for _ in 0..each {
                client.perform().await?;
            }
            anyhow::Ok(())
        });
        try_join_all(submitting).await
    };
    submit(plan.queued_jobs).await?;
    let before = dispatcher.resident()?;
    submit(2 * plan.queued_jobs).await?;
    let queued = dispatcher.resident()? - before;

    let figure = |name, unit, value, wanted| Figure {
        name,
        unit,
        value,
        reference: None,
        wanted: Wanted::AtMost(wanted),
    };
    Ok(vec![
        figure("memory of an idle daemon", "MiB", idle / MIB, 25.0),
        figure(
            "memory of each queued job",
            "KiB",
            queued / KIB / (2 * plan.queued_jobs) as f64,
            2.0,
        ),
        figure(
            "memory of each idle follower",
            "KiB",
            followers / KIB / plan.idle_followers as f64,
            10.0,
        ),
    ])
}

/// Returns when the daemon has looked at what came before.
async fn settle(address: std::net::SocketAddr) -> anyhow::Result<()> {
    for _ in 0..100 {
        let mut client = Client::connect(address).await?;
        client.send("{\"harpcaller\":1,\"hello\":{}}\n").await?;
        client.next().await?;
    }
    Ok(())
}
