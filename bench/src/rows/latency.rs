//! How long a packet takes from the host's write to the follower's read, when nothing
//! else is going on.

use std::time::Duration;

use super::Plan;
use super::calls::syncs;
use super::results::call;
use crate::distribution::Distribution;
use crate::load::Client;
use crate::report::{Figure, Wanted};
use crate::serve::nanoseconds;
use crate::site::Site;

/// Milliseconds between packets.
const BEAT: u64 = 5;

pub(super) async fn measure(plan: Plan) -> anyhow::Result<Vec<Figure>> {
    let site = Site::new()?;
    let host = site.reference(&["host"])?;
    let dispatcher = site.harpcallerd(&[("bench", host.address)])?;
    let relay = site.reference(&["relay", &host.address.to_string()])?;
    let packets = plan.paced_packets;

    let mut client = Client::connect(relay.address).await?;
    client.send(&format!("paced [{packets},{BEAT}]\n")).await?;
    client.next().await?;
    let mut relayed = times(&mut client, packets, "{\"stream\":").await?;

    let job = call(
        dispatcher.address,
        "paced",
        &format!("[{packets},{BEAT}]"),
        "",
    )
    .await?;
    let mut client = Client::connect(dispatcher.address).await?;
    client
        .send(&format!(
            "{{\"harpcaller\":1,\"follow_stream\":{job},\"since\":0}}\n"
        ))
        .await?;
    let mut followed = times(&mut client, packets, "\"data\":").await?;

    let mut syncs = syncs(&site, plan)?;
    let mut figure = |name, share, above| Figure {
        name,
        unit: "ms",
        value: followed.quantile_ms(share),
        reference: Some(relayed.quantile_ms(share) + syncs.quantile_ms(share)),
        wanted: Wanted::Above(above),
    };
    Ok(vec![
        figure(
            "packet latency, p50 (reference: relay and a sync)",
            0.5,
            0.5,
        ),
        figure(
            "packet latency, p99 (reference: relay and a sync)",
            0.99,
            2.0,
        ),
    ])
}

/// How old the times in so many lines are, behind `key` in each.
async fn times(client: &mut Client, lines: u64, key: &str) -> anyhow::Result<Distribution> {
    let mut times = Distribution::default();
    for _ in 0..lines {
        let line = client.next().await?;
        let now = nanoseconds();
        let sent = line
            .split_once(key)
            .map(|(_, rest)| rest.trim_end_matches('}'));
        let sent: u64 = sent.unwrap_or_default().parse()?;
        times.add(Duration::from_nanos(now.saturating_sub(sent)));
    }
    Ok(times)
}
