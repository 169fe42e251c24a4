//! `/metrics` for Prometheus, and `/summary` for a page.

use std::fs;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::json;

use crate::changes::Totals;
use crate::desk::measure::Measures;
use crate::faces::http::exposition::{Exposition, Form, Kind};
use crate::faces::http::problem::Problem;
use crate::faces::http::query::Query;
use crate::faces::http::reply;
use crate::faces::http::reply::Answer;
use crate::faces::http::shared::{Asked, Shared};

/// Ticks of the system's clock in a second, on every Linux that there is.
const TICKS: u64 = 100;

/// `GET /metrics`.
pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    query: Query,
    headers: HeaderMap,
) -> Result<Answer, Problem> {
    query.done()?;
    let measures = shared.desk.measures(&asked.client).await?;
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let form = Form::taken(accept);
    let mut out = Exposition::new(form);
    write(&mut out, &measures);
    out.gauge(
        "harpcaller_followers",
        "HTTP requests that wait or follow.",
        shared.streams.count(),
    );
    shared.tally.write(&mut out);
    write_process(&mut out, shared.boot);
    let mut response = Response::new(Body::from(out.finish()));
    let media_type = HeaderValue::from_static(form.media_type());
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    Ok(response)
}

fn write(out: &mut Exposition, measures: &Measures) {
    let help = "The version that runs.";
    out.family("harpcaller_build_info", Kind::Gauge, help);
    out.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    out.family("harpcaller_jobs", Kind::Gauge, "Jobs by their state.");
    for (state, count) in [
        ("queued", measures.queued),
        ("running", measures.running),
        ("ended", measures.ended),
    ] {
        out.sample("", &[("state", state)], count);
    }
    let totals = &measures.totals;
    let help = "Jobs taken in since the start.";
    out.counter("harpcaller_jobs_submitted", help, totals.submitted);
    let help = "Jobs ended since the start, by outcome.";
    out.family("harpcaller_jobs_ended", Kind::Counter, help);
    for (outcome, count) in [
        ("returned", totals.returned),
        ("exception", totals.exception),
        ("error", totals.error),
        ("cancelled", totals.cancelled),
    ] {
        out.sample("_total", &[("outcome", outcome)], count);
    }
    let help = "Queues that have a job.";
    out.gauge("harpcaller_queues", help, measures.queues);
    let help = "Places in queues that ended jobs still hold.";
    out.gauge("harpcaller_queue_places_kept", help, measures.places_kept);
    let help = "For how long the oldest job waits that does.";
    let oldest = measures.oldest_queued as f64 / 1000.0;
    out.gauge("harpcaller_oldest_queued_seconds", help, oldest);
    let help = "Hosts of the registry.";
    out.gauge("harpcaller_hosts", help, measures.hosts);
    let help = "1 while the store can be written.";
    let is_up = u8::from(measures.store_is_up);
    out.gauge("harpcaller_store_up", help, is_up);
    let help = "Jobs in the store that have ended.";
    out.gauge("harpcaller_store_jobs", help, measures.ended);
    let help = "Bytes of calls, ends and packets in the store.";
    out.gauge("harpcaller_store_bytes", help, measures.bytes);
}

/// What every program tells of its process. What the system does not say is left out.
fn write_process(out: &mut Exposition, started: u64) {
    let help = "When the process started, in seconds since 1970.";
    out.gauge("process_start_time_seconds", help, started as f64 / 1000.0);
    if let Some(ticks) = ticks() {
        out.family("process_cpu_seconds", Kind::Counter, "Time of processors.");
        out.sample("_total", &[], ticks as f64 / TICKS as f64);
    }
    if let Some(kibibytes) = resident() {
        let help = "Memory that the process has.";
        out.gauge("process_resident_memory_bytes", help, kibibytes * 1024);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder.
        let open = open.count().saturating_sub(1);
        out.gauge("process_open_fds", "Open file descriptors.", open);
    }
}

fn ticks() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which can have any character in it.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// `GET /summary`.
pub(super) async fn summary(
    State(shared): State<Arc<Shared>>,
    asked: Asked,
    query: Query,
) -> Result<Answer, Problem> {
    query.done()?;
    let measures = shared.desk.measures(&asked.client).await?;
    let of = |totals: &Totals| {
        json!({
            "submitted": totals.submitted,
            "returned": totals.returned,
            "exception": totals.exception,
            "error": totals.error,
            "cancelled": totals.cancelled,
        })
    };
    Ok(reply::ok(&json!({
        "queued": measures.queued,
        "running": measures.running,
        "ended": measures.ended,
        "bytes": measures.bytes,
        "queues": measures.queues,
        "hosts": measures.hosts,
        "services": 0,
        "batches_live": 0,
        "store": if measures.store_is_up { "ok" } else { "outage" },
        "draining": measures.is_draining,
        "started": shared.boot,
        "hour": of(&measures.hour),
        "day": of(&measures.day),
    })))
}
