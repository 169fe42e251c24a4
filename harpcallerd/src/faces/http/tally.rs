//! How often what has been asked for, and how long the answers took.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::exposition::{Exposition, Kind};

/// Upper bounds of durations, in milliseconds.
const BOUNDS: [u64; 8] = [1, 5, 25, 100, 500, 2_500, 10_000, 60_000];

/// Requests that have been answered.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// By route and status.
    requests: BTreeMap<(&'static str, u16), u64>,
    durations: BTreeMap<&'static str, Durations>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Durations {
    /// Up to each of [`BOUNDS`], and beyond.
    counts: [u64; BOUNDS.len() + 1],
    microseconds: u64,
}

impl Tally {
    /// Notes an answer, whose head took so long.
    pub(super) fn note(&self, route: &'static str, status: u16, took: Duration) {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let place = BOUNDS.partition_point(|bound| *bound < milliseconds);
        // A std mutex: held for a few map operations.
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.requests.entry((route, status)).or_default() += 1;
        let durations = counts.durations.entry(route).or_default();
        durations.counts[place] += 1;
        durations.microseconds += u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    }

    /// Writes what has been noted.
    pub(super) fn write(&self, out: &mut Exposition) {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let help = "Requests answered, by protocol, operation and status.";
        out.family("harpcaller_requests", Kind::Counter, help);
        for ((route, status), count) in &counts.requests {
            let status = status.to_string();
            let labels = [
                ("protocol", "http"),
                ("operation", *route),
                ("status", &status),
            ];
            out.sample("_total", &labels, count);
        }
        let help = "How long requests took until the head of their answer.";
        out.family("harpcaller_request_duration_seconds", Kind::Histogram, help);
        for (route, durations) in &counts.durations {
            let mut sum = 0;
            let mut bucket = |out: &mut Exposition, bound: &str, count: u64| {
                sum += count;
                let labels = [("protocol", "http"), ("operation", *route), ("le", bound)];
                out.sample("_bucket", &labels, sum);
            };
            for (bound, count) in BOUNDS.iter().zip(durations.counts) {
                bucket(out, &seconds(*bound * 1000), count);
            }
            bucket(out, "+Inf", durations.counts[BOUNDS.len()]);
            let labels = [("protocol", "http"), ("operation", *route)];
            out.sample("_sum", &labels, seconds(durations.microseconds));
            out.sample("_count", &labels, sum);
        }
    }
}

/// Microseconds as seconds.
fn seconds(microseconds: u64) -> String {
    let (whole, rest) = (microseconds / 1_000_000, microseconds % 1_000_000);
    format!("{whole}.{rest:06}")
}

/// The route of a path, as the API describes it: there are few of them, whatever is asked
/// for.
pub(super) fn route(path: &str) -> &'static str {
    let path = match path {
        "/healthz" => return "/healthz",
        "/readyz" => return "/readyz",
        "/metrics" => return "/metrics",
        path => path.strip_prefix("/api/v1").unwrap_or("-"),
    };
    const ROUTES: [&str; 13] = [
        "/",
        "/openapi.json",
        "/session",
        "/jobs",
        "/jobs/check",
        "/queues",
        "/queues/jobs",
        "/queues/cancel",
        "/hosts",
        "/hosts/refresh",
        "/events",
        "/summary",
        "/procedures",
    ];
    let path = if path.is_empty() { "/" } else { path };
    if let Some(route) = ROUTES.iter().find(|route| **route == path) {
        return route;
    }
    let mut steps = path.split('/').skip(1);
    match (steps.next(), steps.next(), steps.next(), steps.next()) {
        (Some("jobs"), Some(_), None, None) => "/jobs/{job}",
        (Some("jobs"), Some(_), Some("result"), None) => "/jobs/{job}/result",
        (Some("jobs"), Some(_), Some("cancel"), None) => "/jobs/{job}/cancel",
        (Some("jobs"), Some(_), Some("packets"), None) => "/jobs/{job}/packets",
        (Some("jobs"), Some(_), Some("output"), None) => "/jobs/{job}/output",
        (Some("jobs"), Some(_), Some("search"), None) => "/jobs/{job}/search",
        (Some("jobs"), Some(_), Some("events"), None) => "/jobs/{job}/events",
        (Some("hosts"), Some(_), None, None) => "/hosts/{name}",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::super::exposition::Form;
    use super::*;

    #[test]
    fn buckets_count_all_below_them() {
        let tally = Tally::default();
        for milliseconds in [0, 1, 30, 100_000] {
            tally.note("/jobs", 200, Duration::from_millis(milliseconds));
        }
        let mut out = Exposition::new(Form::Prometheus);
        tally.write(&mut out);
        let text = out.finish();
        for (bound, count) in [
            ("0.001000", 2),
            ("0.025000", 2),
            ("0.100000", 3),
            ("+Inf", 4),
        ] {
            let line = format!("operation=\"/jobs\",le=\"{bound}\"}} {count}\n");
            assert!(text.contains(&line), "{line}: {text}");
        }
        assert!(text.contains("_sum{protocol=\"http\",operation=\"/jobs\"} 100.031000\n"));
    }

    #[test]
    fn there_are_few_routes() {
        assert_eq!(route("/api/v1"), "/");
        assert_eq!(route("/api/v1/jobs/x/output"), "/jobs/{job}/output");
        assert_eq!(route("/api/v1/hosts/x"), "/hosts/{name}");
        for other in [
            "/",
            "/x",
            "/api/v1/jobs/x/y",
            "/api/v1/jobs/x/output/y",
            "/api/v2",
        ] {
            assert_eq!(route(other), "other", "{other}");
        }
    }
}
