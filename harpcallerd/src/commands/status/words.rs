//! How the daemon is, in words for people.

use std::time::{Duration, UNIX_EPOCH};

use harpcallerd::faces::admin::condition::{
    Condition, Jobs, LinesLost, RegistryFigures, State, Store,
};

/// The lines to print.
pub(super) fn of(condition: &Condition, is_verbose: bool) -> Vec<String> {
    let mut lines = vec![first(condition)];
    if condition.state == State::Draining {
        lines.push("it takes no calls any more, and ends when the running ones have".to_owned());
    }
    lines.extend(condition.attention.iter().cloned());
    if is_verbose {
        let told = figures(condition).into_iter();
        lines.extend(told.map(|(name, text)| format!("{name:<11}  {text}")));
    }
    lines
}

fn first(condition: &Condition) -> String {
    let word = match condition.state {
        State::Stopped => "stopped",
        State::Starting => "starting",
        State::Serving | State::Degraded | State::Draining => "running",
    };
    format!("harpcallerd is {word}")
}

fn figures(condition: &Condition) -> Vec<(&'static str, String)> {
    let mut figures = Vec::new();
    if let (Some(since), Some(age)) = (condition.since, condition.age()) {
        let began = time(since);
        let age = duration(age);
        figures.push(("process", format!("since {began}, for {age}")));
    }
    if let Some(version) = &condition.version {
        figures.push(("version", version.clone()));
    }
    if let Some(told) = &condition.jobs {
        figures.push(("jobs", jobs(told)));
    }
    if let Some(count) = condition.connections {
        figures.push(("connections", count.to_string()));
    }
    if let Some(told) = &condition.store {
        figures.push(("store", store(told)));
    }
    if let Some(told) = &condition.registry {
        figures.push(("registry", registry(told)));
    }
    if let Some(LinesLost { log, audit }) = &condition.lines_lost {
        let text = format!("{log} of the log, {audit} of the audit log");
        figures.push(("lines lost", text));
    }
    figures
}

fn jobs(jobs: &Jobs) -> String {
    let Jobs {
        queued,
        running,
        oldest_waiting,
    } = jobs;
    let mut text = format!("{queued} queued, {running} running");
    if *queued > 0 {
        let oldest = duration(*oldest_waiting);
        text.push_str(&format!("; the oldest has waited for {oldest}"));
    }
    text
}

fn store(store: &Store) -> String {
    let written = if store.is_written {
        "written to"
    } else {
        "cannot be written"
    };
    let free = match store.free {
        Some(free) => format!("{} free", size(free)),
        None => "free space not known".to_owned(),
    };
    let Store {
        directory,
        ended,
        size: kept,
        ..
    } = store;
    let kept = size(*kept);
    format!("{directory}, {written}; {ended} ended jobs, {kept} kept, {free}")
}

fn registry(registry: &RegistryFigures) -> String {
    let age = match registry.age() {
        Some(age) => format!("refreshed {} ago", duration(age)),
        None => "from its cache".to_owned(),
    };
    let mut text = format!("{} hosts, {age}", registry.hosts);
    if registry.error.is_some() {
        text.push_str("; its last run failed");
    }
    text
}

/// A time as people are told it everywhere: RFC 3339, UTC, to the second.
fn time(seconds: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    time.map_or_else(
        || seconds.to_string(),
        |time| humantime::format_rfc3339_seconds(time).to_string(),
    )
}

fn duration(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// Bytes, to three digits at most.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value >= 100.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1024, "1.0 KiB"),
            (150 << 20, "150 MiB"),
            (3 << 40, "3.0 TiB"),
            (u64::MAX, "16777216 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let stopped = Condition::in_a_word(State::Stopped);
        assert_eq!(of(&stopped, true), ["harpcallerd is stopped"]);
    }

    #[test]
    fn all_of_it_is_told_when_asked_for() {
        let condition = Condition {
            jobs: Some(Jobs {
                queued: 2,
                running: 1,
                oldest_waiting: 90,
            }),
            registry: Some(RegistryFigures {
                hosts: 7,
                refreshed: None,
                error: Some("exit 3".to_owned()),
            }),
            attention: vec!["look here".to_owned()],
            ..Condition::in_a_word(State::Degraded)
        };
        assert_eq!(
            of(&condition, false),
            ["harpcallerd is running", "look here"]
        );
        assert_eq!(
            of(&condition, true)[2..],
            [
                "jobs         2 queued, 1 running; the oldest has waited for 1m 30s",
                "registry     7 hosts, from its cache; its last run failed",
            ]
        );
    }
}
