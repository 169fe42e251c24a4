//! What every program tells of its process, by the usual names.

use std::fs;

use super::exposition::{Exposition, Kind};

/// Ticks of the system's clock in a second, on every Linux that there is.
const TICKS: u64 = 100;

/// Writes it; `started` is in milliseconds since 1970. What the system does not say is left
/// out.
pub(super) fn write(out: &mut Exposition, started: u64) {
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
