//! Calls at a fast host that keeps them: what their connections cost that carry one after the
//! other, and what keeping costs beside `harp/1`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use harp_client::{HarpCaller, HarpServer};
use harp_tests::{PASSWORD, USER};

use super::Plan;
use super::calls::{Direct, Through};
use super::results::call;
use crate::distribution::Distribution;
use crate::load::{Client, Loop, closed_loop};
use crate::report::{Figure, Wanted};
use crate::site::Site;

/// How often a job is streamed each way, by turns: an even number.
const STREAMS: u32 = 4;

pub(super) async fn measure(plan: Plan) -> anyhow::Result<Vec<Figure>> {
    let site = Site::new()?;
    let other_site = Site::new()?;
    let host = site.reference(&["host"])?;
    let hosts = [("bench", host.address)];
    let kept = site.harpcallerd_with(&hosts, "max_idle_connections = 64")?;
    // It has the other's certificate authority, and its own connections.
    let plain = other_site.harpcallerd(&hosts)?;
    // It differs from the other in this alone: each direct call has a handshake of its own.
    let anew = site.reference(&["host", "--anew"])?;
    let direct = HarpServer::builder("127.0.0.1", USER, PASSWORD)
        .port(anew.address.port())
        .ca_file(site.path("ca.pem"))
        .build()?;
    let directly = |clients| closed_loop(vec![Direct(direct.clone()); clients], plan.time);
    // The first calls find everything cold.
    through(kept.address, 16, plan.time / 10).await?;
    through(plain.address, 16, plan.time / 10).await?;
    closed_loop(vec![Direct(direct.clone())], plan.time / 10).await?;
    // Before one of the stores has more in it than the other.
    let (keeping, ending) = streams(kept.address, plain.address, plan.packets).await?;
    let kept_16 = through(kept.address, 16, plan.time).await?;
    let direct_16 = directly(16).await?;
    let kept_1 = through(kept.address, 1, plan.time).await?;
    let plain_1 = through(plain.address, 1, plan.time).await?;
    let direct_1 = directly(1).await?;
    let rate = |time: Duration| f64::from(STREAMS) * plan.packets as f64 / time.as_secs_f64();
    let median = |mut times: Distribution| times.quantile_ms(0.5);
    let kept_p50 = median(kept_1.times);
    Ok(vec![
        Figure {
            name: "end to end with reused connections, 16 clients (reference: direct, a handshake each)",
            unit: "/s",
            value: kept_16.rate,
            reference: Some(direct_16.rate),
            wanted: Wanted::Share(3.0),
        },
        Figure {
            name: "the same, one client, p50 (reference: direct, a handshake each)",
            unit: "ms",
            value: kept_p50,
            reference: Some(median(direct_1.times)),
            wanted: Wanted::Above(0.0),
        },
        Figure {
            name: "a call that is kept, one client, p50 (reference: harp/1)",
            unit: "ms",
            value: kept_p50,
            reference: Some(median(plain_1.times)),
            wanted: Wanted::Above(0.0),
        },
        Figure {
            name: "packets of a call that is kept, one follower (reference: harp/1)",
            unit: "/s",
            value: rate(keeping),
            reference: Some(rate(ending)),
            wanted: Wanted::Share(0.97),
        },
    ])
}

async fn through(address: SocketAddr, clients: usize, time: Duration) -> anyhow::Result<Loop> {
    let rpc = HarpCaller::builder(address.to_string())
        .pool_size(64)
        .build()?;
    closed_loop(vec![Through(rpc.host("bench")); clients], time).await
}

/// How long such jobs take, kept and not. Each way is the first one as often as the other.
async fn streams(
    kept: SocketAddr,
    plain: SocketAddr,
    packets: u64,
) -> anyhow::Result<(Duration, Duration)> {
    let (mut keeping, mut ending) = (Duration::ZERO, Duration::ZERO);
    for turn in 0..STREAMS {
        if turn % 2 == 0 {
            keeping += stream(kept, packets).await?;
            ending += stream(plain, packets).await?;
        } else {
            ending += stream(plain, packets).await?;
            keeping += stream(kept, packets).await?;
        }
    }
    Ok((keeping, ending))
}

/// How long a job of so many packets takes to its follower's last one.
async fn stream(address: SocketAddr, packets: u64) -> anyhow::Result<Duration> {
    let start = Instant::now();
    let job = call(address, "stream", &format!("[{packets}]"), "").await?;
    let mut client = Client::connect(address).await?.with_buffer(64 * 1024);
    let follow = format!("{{\"harpcaller\":1,\"follow_stream\":{job},\"since\":0}}\n");
    client.send(&follow).await?;
    client.count(packets + 1).await?;
    Ok(start.elapsed())
}
