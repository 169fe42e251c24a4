//! Packets a second: to one follower, to many, and out of the store.

use std::time::{Duration, Instant};

use futures_util::future::{join_all, try_join_all};

use super::Plan;
use super::results::call;
use crate::load::Client;
use crate::report::{Figure, Wanted};
use crate::site::Site;

/// Bytes that a follower reads at once.
const BUFFER: usize = 64 * 1024;

/// How often a job is streamed and relayed, by turns: each takes a fraction of a second.
const STREAMS: u32 = 3;

/// How often a job is replayed and its file sent, by turns.
const REPLAYS: u32 = 10;

pub(super) async fn measure(plan: Plan) -> anyhow::Result<Vec<Figure>> {
    let site = Site::new()?;
    let host = site.reference(&["host"])?;
    let dispatcher = site.harpcallerd(&[("bench", host.address)])?;
    let address = dispatcher.address;
    let packets = plan.packets;

    // One follower; the lines beside the packets are the end, and the acknowledgement.
    let relay = site.reference(&["relay", &host.address.to_string()])?;
    let (mut relaying, mut following) = (Duration::ZERO, Duration::ZERO);
    let mut job = String::new();
    for _ in 0..STREAMS {
        let start = Instant::now();
        let mut client = Client::connect(relay.address).await?.with_buffer(BUFFER);
        client.send(&format!("stream [{packets}]\n")).await?;
        client.count(packets + 2).await?;
        relaying += start.elapsed();

        let start = Instant::now();
        job = call(address, "stream", &format!("[{packets}]"), "").await?;
        let mut client = Client::connect(address).await?.with_buffer(BUFFER);
        client.send(&follow(&job)).await?;
        client.count(packets + 1).await?;
        following += start.elapsed();
    }

    // The last job, out of the store. Once before it counts, so that the file has it.
    let read = format!("{{\"harpcaller\":1,\"read_stream\":{job}}}\n");
    let mut client = Client::connect(address).await?;
    client.send(&read).await?;
    std::fs::write(site.path("stream"), client.rest().await?)?;
    let file = site.reference(&["file", "stream"])?;
    let (mut replaying, mut sending) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..REPLAYS {
        let start = Instant::now();
        let mut client = Client::connect(address).await?.with_buffer(BUFFER);
        client.send(&read).await?;
        client.count(packets + 1).await?;
        replaying += start.elapsed();

        let start = Instant::now();
        let mut client = Client::connect(file.address).await?.with_buffer(BUFFER);
        client.count(packets + 1).await?;
        sending += start.elapsed();
    }
    let rate = |times: u32, time: Duration| f64::from(times) * packets as f64 / time.as_secs_f64();

    let (written, shared) = many(plan, &site, address).await?;
    Ok(vec![
        Figure {
            name: "one job's packets to one follower",
            unit: "/s",
            value: rate(STREAMS, following),
            reference: Some(rate(STREAMS, relaying)),
            wanted: Wanted::ShareAndAtLeast(0.5, 300_000.0),
        },
        Figure {
            name: "one job's packets to 100 followers, sum",
            unit: "/s",
            value: shared,
            reference: Some(written),
            wanted: Wanted::ShareAndAtLeast(0.4, 3_000_000.0),
        },
        Figure {
            name: "read_stream of a finished job",
            unit: "/s",
            value: rate(REPLAYS, replaying),
            reference: Some(rate(REPLAYS, sending)),
            wanted: Wanted::ShareAndAtLeast(0.5, 800_000.0),
        },
    ])
}

/// The sums of packets a second that many sockets are written, by a program that does
/// nothing else and by the dispatcher.
async fn many(
    plan: Plan,
    site: &Site,
    address: std::net::SocketAddr,
) -> anyhow::Result<(f64, f64)> {
    let packets = plan.shared_packets;
    let followers = plan.followers;
    let sum = (packets * followers as u64) as f64;

    let words = [followers.to_string(), packets.to_string()];
    let fan_out = site.reference(&["fan-out", &words[0], &words[1]])?;
    let connect =
        |address| async move { anyhow::Ok(Client::connect(address).await?.with_buffer(BUFFER)) };
    let clients = try_join_all((0..followers).map(|_| connect(fan_out.address))).await?;
    let start = Instant::now();
    read_all(clients, "go\n", packets).await?;
    let written = sum / start.elapsed().as_secs_f64();
    drop(fan_out);

    // Followers of a job that waits until they are there.
    let queue = ",\"queue\":{\"name\":{\"streams\":1}}";
    let blocking = call(address, "hold", "[]", queue).await?;
    let job = call(address, "stream", &format!("[{packets}]"), queue).await?;
    let clients = try_join_all((0..followers).map(|_| connect(address))).await?;
    let mut control = Client::connect(address).await?;
    let start = Instant::now();
    let reading = tokio::spawn(read_all_owned(clients, follow(&job), packets + 1));
    control
        .ask(&format!("{{\"harpcaller\":1,\"cancel\":{blocking}}}\n"))
        .await?;
    reading.await??;
    Ok((written, sum / start.elapsed().as_secs_f64()))
}

async fn read_all(clients: Vec<Client>, request: &str, lines: u64) -> anyhow::Result<()> {
    read_all_owned(clients, request.to_owned(), lines).await
}

async fn read_all_owned(clients: Vec<Client>, request: String, lines: u64) -> anyhow::Result<()> {
    let tasks: Vec<_> = clients
        .into_iter()
        .map(|mut client| {
            let request = request.clone();
            tokio::spawn(async move {
                client.send(&request).await?;
                client.count(lines).await
            })
        })
        .collect();
    for task in join_all(tasks).await {
        task??;
    }
    Ok(())
}

fn follow(job: &str) -> String {
    format!("{{\"harpcaller\":1,\"follow_stream\":{job},\"since\":0}}\n")
}
