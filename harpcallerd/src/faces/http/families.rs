//! The metrics of the daemon: each family with its name, what it means, and its samples.

use std::collections::BTreeMap;

use harp_time::Histogram;

use super::exposition::{Exposition, Kind};
use crate::desk::measure::Measures;
use crate::meters::by_name::Labels;
use crate::meters::requests::{Protocol, Requests};
use crate::meters::{Counts, Meters};

/// Writes all of them.
pub(super) fn write(out: &mut Exposition, measures: &Measures, meters: &Meters) {
    let counts = meters.counts();
    let help = "The version that runs.";
    out.family("harpcaller_build_info", Kind::Gauge, help);
    out.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    jobs(out, measures, &counts);
    queues(out, measures);
    clients(out, meters, &counts);
    hosts(out, measures, &counts);
    devices(out, measures);
    store(out, measures);
    let help = "Lines that are missing in the audit log.";
    let (audit, log) = measures.lines_lost;
    out.counter("harpcaller_audit_lines_lost", help, audit);
    let help = "Lines that are missing in the log.";
    out.counter("harpcaller_log_lines_lost", help, log);
    let help = "Spans that did not come to the collector.";
    out.counter("harpcaller_trace_spans_lost", help, measures.spans_lost);
}

fn jobs(out: &mut Exposition, measures: &Measures, counts: &Counts) {
    out.family("harpcaller_jobs", Kind::Gauge, "Jobs by their state.");
    for (state, count) in [
        ("queued", measures.queued),
        ("running", measures.running),
        ("ended", measures.ended),
    ] {
        out.sample("", &[("state", state)], count);
    }
    let ends = &counts.by_name;
    let totals = &measures.totals;
    let help = "Jobs taken in since the start.";
    out.counter("harpcaller_jobs_submitted", help, totals.submitted);
    let help = "Jobs ended since the start, by outcome.";
    out.family("harpcaller_jobs_ended", Kind::Counter, help);
    for ((names, outcome), count) in &ends.ended {
        let labels = labels(ends.labels(), names, outcome);
        out.sample("_total", &labels, count);
    }
    let ended = [
        ("returned", totals.returned),
        ("exception", totals.exception),
        ("error", totals.error),
        ("cancelled", totals.cancelled),
    ];
    for (outcome, count) in ended {
        if !ends.labels().are_wanted() {
            out.sample("_total", &[("outcome", outcome)], count);
        }
    }
    let help = "Jobs ended with an error, by its type.";
    by_name(
        out,
        "harpcaller_job_errors",
        help,
        "type",
        &counts.job_errors,
    );
    let help = "From the submission to the start of jobs that have ended.";
    out.family("harpcaller_job_wait_seconds", Kind::Histogram, help);
    histogram(out, &[], &counts.job_wait);
    let help = "From the start to the end of jobs, by outcome.";
    out.family("harpcaller_job_execution_seconds", Kind::Histogram, help);
    for ((names, outcome), execution) in &ends.execution {
        histogram(out, &labels(ends.labels(), names, outcome), execution);
    }
    for (outcome, execution) in &counts.job_execution {
        if !ends.labels().are_wanted() {
            histogram(out, &[("outcome", outcome)], execution);
        }
    }
}

/// An outcome with the names that the configuration wants beside it.
fn labels<'n>(
    wanted: Labels,
    (host, procedure): &'n (String, String),
    outcome: &'n str,
) -> Vec<(&'static str, &'n str)> {
    let host = wanted.host.then_some(("host", host.as_str()));
    let procedure = wanted
        .procedure
        .then_some(("procedure", procedure.as_str()));
    let outcome = Some(("outcome", outcome));
    [outcome, host, procedure].into_iter().flatten().collect()
}

fn queues(out: &mut Exposition, measures: &Measures) {
    let help = "Queues that have a job.";
    out.gauge("harpcaller_queues", help, measures.queues);
    let help = "Places in queues that ended jobs still hold.";
    out.gauge("harpcaller_queue_places_kept", help, measures.places_kept);
    let help = "For how long the oldest job waits that does.";
    let oldest = measures.oldest_queued as f64 / 1000.0;
    out.gauge("harpcaller_oldest_queued_seconds", help, oldest);
}

fn clients(out: &mut Exposition, meters: &Meters, counts: &Counts) {
    let help = "Readers that follow a job to its end.";
    out.gauge("harpcaller_followers", help, meters.followers());
    let help = "Connections of clients.";
    out.family("harpcaller_connections", Kind::Gauge, help);
    for protocol in Protocol::ALL {
        let labels = [("protocol", protocol.name())];
        out.sample("", &labels, meters.connections(protocol));
    }
    let help = "Connections of clients that were refused, by the limit.";
    let name = "harpcaller_connections_refused";
    by_name(out, name, help, "reason", &counts.refused);
    requests(out, &counts.requests);
    let help = "Requests that were not allowed.";
    let name = "harpcaller_unauthorized";
    by_name(out, name, help, "reason", &counts.unauthorized);
}

fn requests(out: &mut Exposition, requests: &Requests) {
    let help = "Requests answered, by protocol, operation and status.";
    out.family("harpcaller_requests", Kind::Counter, help);
    for (((protocol, operation), status), count) in &requests.counts {
        let status = status.to_string();
        let labels = [
            ("protocol", protocol.name()),
            ("operation", *operation),
            ("status", &status),
        ];
        out.sample("_total", &labels, count);
    }
    let help = "How long requests took until their answers began.";
    out.family("harpcaller_request_duration_seconds", Kind::Histogram, help);
    for ((protocol, operation), took) in &requests.durations {
        let labels = [("protocol", protocol.name()), ("operation", *operation)];
        histogram(out, &labels, took);
    }
}

fn hosts(out: &mut Exposition, measures: &Measures, counts: &Counts) {
    let help = "Connections to hosts, by what came of opening them.";
    let name = "harpcaller_host_connects";
    by_name(out, name, help, "result", &counts.host_connects);
    let help = "How long it took to open connections to hosts, TLS included.";
    out.family("harpcaller_host_connect_seconds", Kind::Histogram, help);
    histogram(out, &[], &counts.host_connect);
    let help = "Hosts of the registry.";
    out.gauge("harpcaller_hosts", help, measures.hosts);
    let help = "Services whose jobs workers fetch.";
    out.gauge("harpcaller_services", help, measures.services);
    let help = "Jobs that workers have.";
    out.gauge("harpcaller_claims", help, measures.claims);
    let help = "Jobs that ended since nothing was heard of their workers.";
    out.counter("harpcaller_leases_expired", help, counts.leases_expired);
    let help = "Arguments and results that are not what their schemas want.";
    let name = "harpcaller_schema_violations";
    by_name(out, name, help, "where", &counts.violations);
    let help = "Runs of the registry's script that left the registry as it was.";
    let name = "harpcaller_hosts_refresh_failures";
    out.counter(name, help, counts.refresh_failures);
    let help = "When the registry's script last had its say, in seconds since 1970; 0 if it has \
                not since the start.";
    let refreshed = counts.refreshed.unwrap_or_default() as f64 / 1000.0;
    let name = "harpcaller_hosts_refresh_timestamp_seconds";
    out.gauge(name, help, refreshed);
}

/// What devices tell by themselves.
fn devices(out: &mut Exposition, measures: &Measures) {
    if !measures.devices.is_empty() {
        let help = "1 while a device can be reached: connected, and its heartbeats come.";
        out.family("harpcaller_device_up", Kind::Gauge, help);
        for (name, standing) in &measures.devices {
            out.sample("", &[("host", name)], u8::from(standing.is_reachable));
        }
        let help = "How long ago a device's newest heartbeat came.";
        out.family("harpcaller_device_heartbeat_age_seconds", Kind::Gauge, help);
        for (name, standing) in &measures.devices {
            if let Some(age) = standing.age {
                out.sample("", &[("host", name)], age as f64 / 1000.0);
            }
        }
    }
    let [events, strays, unreadable, restarts] = measures.from_devices;
    let help = "Events of devices.";
    out.counter("harpcaller_device_events", help, events);
    let help = "Answers of devices that nobody waited for.";
    out.counter("harpcaller_device_stray_answers", help, strays);
    let help = "Messages of devices that are none.";
    out.counter("harpcaller_device_unreadable_messages", help, unreadable);
    let help = "Signs that a device was started anew.";
    out.counter("harpcaller_device_restarts", help, restarts);
}

fn store(out: &mut Exposition, measures: &Measures) {
    let help = "1 while the store can be written.";
    let is_up = u8::from(measures.store_is_up);
    out.gauge("harpcaller_store_up", help, is_up);
    let help = "Jobs in the store that have ended.";
    out.gauge("harpcaller_store_jobs", help, measures.ended);
    let help = "Bytes of calls, ends and packets in the store.";
    out.gauge("harpcaller_store_bytes", help, measures.bytes);
    let counts = &measures.store;
    let help = "Bytes of changes that wait for the disk.";
    out.gauge("harpcaller_store_pending_bytes", help, counts.pending);
    let help = "How long it took to bring rounds of changes to the disk.";
    out.family("harpcaller_store_sync_seconds", Kind::Histogram, help);
    histogram(out, &[], &counts.syncs);
    let help = "Times in which the store could not be written.";
    out.counter("harpcaller_store_outages", help, counts.outages);
    let help = "Packets of jobs that came to the disk.";
    out.counter("harpcaller_packets", help, counts.packets);
    let help = "Their bytes, as they are kept.";
    out.counter("harpcaller_packet_bytes", help, counts.packet_bytes);
}

/// A counter with one label, which has a sample for each of its values from the start.
fn by_name(
    out: &mut Exposition,
    family: &str,
    help: &str,
    label: &str,
    counts: &BTreeMap<&'static str, u64>,
) {
    out.family(family, Kind::Counter, help);
    for (name, count) in counts {
        out.sample("_total", &[(label, name)], count);
    }
}

/// The samples of a histogram with these labels.
fn histogram(out: &mut Exposition, labels: &[(&str, &str)], histogram: &Histogram) {
    for (bound, count) in histogram.buckets() {
        let bound = bound.map(|bound| (bound as f64 / 1000.0).to_string());
        let bound = bound.as_deref().unwrap_or("+Inf");
        let labels: Vec<_> = labels.iter().copied().chain([("le", bound)]).collect();
        out.sample("_bucket", &labels, count);
    }
    out.sample("_sum", labels, histogram.sum().as_secs_f64());
    out.sample("_count", labels, histogram.count());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::exposition::Form;
    use super::*;

    #[test]
    fn a_histogram_has_its_buckets_sum_and_count() {
        let mut durations = Histogram::new(Histogram::SHORT);
        durations.note(Duration::from_millis(30));
        let mut out = Exposition::new(Form::Prometheus);
        out.family("x_seconds", Kind::Histogram, "Help.");
        histogram(&mut out, &[("a", "b")], &durations);
        let text = out.finish();
        for line in [
            "x_seconds_bucket{a=\"b\",le=\"0.025\"} 0\n",
            "x_seconds_bucket{a=\"b\",le=\"0.1\"} 1\n",
            "x_seconds_bucket{a=\"b\",le=\"60\"} 1\n",
            "x_seconds_bucket{a=\"b\",le=\"+Inf\"} 1\n",
            "x_seconds_sum{a=\"b\"} 0.03\n",
            "x_seconds_count{a=\"b\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }

    #[test]
    fn what_may_happen_is_there_from_the_start() {
        let mut out = Exposition::new(Form::Prometheus);
        write(&mut out, &Measures::default(), &Meters::default());
        let text = out.finish();
        for line in [
            "harpcaller_job_errors_total{type=\"network_error\"} 0\n",
            "harpcaller_job_execution_seconds_count{outcome=\"cancelled\"} 0\n",
            "harpcaller_host_connects_total{result=\"econnrefused\"} 0\n",
            "harpcaller_unauthorized_total{reason=\"forbidden\"} 0\n",
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(text.lines().count() < 250, "{}", text.lines().count());
    }
}
