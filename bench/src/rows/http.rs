//! HTTP against the client protocol of the same dispatcher, in the same run, and against a
//! server that does nothing else.

use std::net::SocketAddr;
use std::time::Instant;

use futures_util::future::{join_all, try_join_all};
use harp_ledger::store::{Store, StoreOptions};

use super::Plan;
use super::ended::fill;
use super::results::call;
use super::submits::CALL;
use crate::http::{HttpAsk, HttpClient, get, post};
use crate::load::{Ask, Client, closed_loop};
use crate::report::{Figure, Wanted};
use crate::site::{Program, Site};

const SUBMITTERS: usize = 64;
const READERS: usize = 16;

/// What [`CALL`] is by HTTP.
const BODY: &str = "{\"host\":\"bench\",\"procedure\":\"hold\",\"arguments\":[],\"queue\":{\"name\":{\"bench\":1}}}";

const KIB: f64 = 1024.0;

/// A dispatcher, and where it listens for HTTP.
fn dispatcher(site: &Site, host: &Program) -> anyhow::Result<(Program, SocketAddr)> {
    let http = crate::site::free_address()?;
    let keys = format!(
        "keep_calls = false\nmax_streams = 100000\nmax_streams_per_peer = 100000\n\
         [[listen_http]]\naddress = \"{http}\"\nrequire_authentication = false"
    );
    let dispatcher = site.harpcallerd_with(&[("bench", host.address)], &keys)?;
    Ok((dispatcher, http))
}

pub(super) async fn measure(plan: Plan) -> anyhow::Result<Vec<Figure>> {
    let site = Site::new()?;
    let host = site.reference(&["host"])?;
    let echo = site.reference(&["http-echo"])?;
    let (dispatcher, http) = dispatcher(&site, &host)?;
    let address = dispatcher.address;
    // The first call takes the queue's only place and keeps it.
    Client::connect(address).await?.ask(CALL).await?;

    let lines = Ask::clients(address, SUBMITTERS, |_| CALL.to_owned()).await?;
    let lines = closed_loop(lines, plan.time).await?;
    let submit = post("/api/v1/jobs", BODY);
    let posts = HttpAsk::clients(http, SUBMITTERS, &submit).await?;
    let posts = closed_loop(posts, plan.time).await?;

    let job = call(address, "stream", "[1]", "").await?;
    let result = get(&path(&job, "result?wait=30"));
    HttpClient::connect(http).await?.ask(&result).await?;
    let result = get(&path(&job, "result"));
    let mut rates = Vec::new();
    for address in [echo.address, http] {
        let asking = HttpAsk::clients(address, READERS, &result).await?;
        rates.push(closed_loop(asking, plan.time).await?.rate);
    }

    let (line_one, one) = one(plan, address, http).await?;
    let line_many = many(plan, address, None).await?;
    let many = many(plan, address, Some(http)).await?;
    let follower = follower(plan, &dispatcher, http).await?;
    let figure = |name, unit, value, reference, wanted| Figure {
        name,
        unit,
        value,
        reference,
        wanted,
    };
    Ok(vec![
        figure(
            "POST /jobs, durable, 64 clients, against the client protocol",
            "/s",
            posts.rate,
            Some(lines.rate),
            Wanted::Share(0.7),
        ),
        figure(
            "GET result, 16 clients, against an axum echo",
            "/s",
            rates[1],
            Some(rates[0]),
            Wanted::Share(0.5),
        ),
        figure(
            "one job's packets to one reader of events, against follow_stream",
            "/s",
            one,
            Some(line_one),
            Wanted::Share(0.3),
        ),
        figure(
            "one job's packets to 100 readers of events, sum, against follow_stream",
            "/s",
            many,
            Some(line_many),
            Wanted::Share(0.3),
        ),
        figure(
            "memory of each idle reader of events",
            "KiB",
            follower,
            None,
            Wanted::AtMost(12.0),
        ),
    ])
}

/// How fast a list begins when there are many jobs.
pub(super) async fn measure_lists(plan: Plan) -> anyhow::Result<Vec<Figure>> {
    let site = Site::new()?;
    let store = Store::open(&site.path("jobs"), StoreOptions::default())?;
    fill(&store, plan.ended_jobs).await?;
    store.close().await;
    let host = site.reference(&["host"])?;
    let (_dispatcher, http) = dispatcher(&site, &host)?;
    let list = get("/api/v1/jobs");
    HttpClient::connect(http).await?.ask(&list).await?;
    let asking = HttpAsk::clients(http, 1, &list).await?;
    let mut asked = closed_loop(asking, plan.time).await?;
    Ok(vec![Figure {
        name: "GET /jobs of a store with many jobs, first page, p99",
        unit: "ms",
        value: asked.times.quantile_ms(0.99),
        reference: None,
        wanted: Wanted::AtMost(20.0),
    }])
}

/// Below a job, whose id is given as JSON.
fn path(job: &str, rest: &str) -> String {
    format!("/api/v1/jobs/{}/{rest}", job.trim_matches('"'))
}

/// Packets a second of a stream to one reader, by the client protocol and as events.
async fn one(plan: Plan, address: SocketAddr, http: SocketAddr) -> anyhow::Result<(f64, f64)> {
    let packets = plan.packets;
    let start = Instant::now();
    let job = call(address, "stream", &format!("[{packets}]"), "").await?;
    let mut client = Client::connect(address).await?.with_buffer(64 * 1024);
    client.send(&follow(&job)).await?;
    client.count(packets + 1).await?;
    let lines = packets as f64 / start.elapsed().as_secs_f64();

    let start = Instant::now();
    let job = call(address, "stream", &format!("[{packets}]"), "").await?;
    let mut reader = HttpClient::connect(http).await?;
    reader.send(&get(&path(&job, "events"))).await?;
    reader.read_to(END).await?;
    Ok((lines, packets as f64 / start.elapsed().as_secs_f64()))
}

/// What a stream of events ends with.
const END: &[u8] = b"event: end";

fn follow(job: &str) -> String {
    format!("{{\"harpcaller\":1,\"follow_stream\":{job},\"since\":0}}\n")
}

/// The sum of packets a second that many readers get of a job that waits until they are
/// there: by the client protocol, or as events from `http`.
async fn many(plan: Plan, address: SocketAddr, http: Option<SocketAddr>) -> anyhow::Result<f64> {
    let packets = plan.shared_packets;
    let name = if http.is_some() { "events" } else { "lines" };
    let queue = format!(",\"queue\":{{\"name\":{{\"streams\":\"{name}\"}}}}");
    let blocking = call(address, "hold", "[]", &queue).await?;
    let job = call(address, "stream", &format!("[{packets}]"), &queue).await?;
    let mut reading = Vec::new();
    for _ in 0..plan.followers {
        let job = job.clone();
        reading.push(match http {
            None => {
                let mut client = Client::connect(address).await?.with_buffer(64 * 1024);
                tokio::spawn(async move {
                    client.send(&follow(&job)).await?;
                    client.count(packets + 1).await?;
                    anyhow::Ok(())
                })
            }
            Some(http) => {
                let mut reader = HttpClient::connect(http).await?;
                tokio::spawn(async move {
                    reader.send(&get(&path(&job, "events"))).await?;
                    reader.read_to(END).await
                })
            }
        });
    }
    let start = Instant::now();
    let mut control = Client::connect(address).await?;
    control
        .ask(&format!("{{\"harpcaller\":1,\"cancel\":{blocking}}}\n"))
        .await?;
    for read in join_all(reading).await {
        read??;
    }
    let sum = (packets * plan.followers as u64) as f64;
    Ok(sum / start.elapsed().as_secs_f64())
}

/// KiB that each reader of a job costs that says nothing. The first few warm up what all share.
async fn follower(plan: Plan, dispatcher: &Program, http: SocketAddr) -> anyhow::Result<f64> {
    let job = call(dispatcher.address, "hold", "[]", "").await?;
    let events = get(&path(&job, "events"));
    let reader = || async {
        let mut reader = HttpClient::connect(http).await?;
        reader.send(&events).await?;
        reader.read_to(b"event: job").await?;
        anyhow::Ok(reader)
    };
    let first = try_join_all((0..plan.idle_followers / 10).map(|_| reader())).await?;
    let before = dispatcher.resident()?;
    let more = try_join_all((0..plan.idle_followers).map(|_| reader())).await?;
    let readers = dispatcher.resident()? - before;
    drop((first, more));
    Ok(readers / KIB / plan.idle_followers as f64)
}
