//! An entry as syslog takes it, RFC 3164, on its local socket.

use tracing::Level;

use super::LogFormat;
use super::entry::Entry;
use super::format;

/// The facility `daemon`.
const FACILITY: u8 = 3;
/// Longest line that common syslog daemons take.
const LONGEST: usize = 8 * 1024;

/// The severity by its number in syslog.
pub(super) fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// One datagram, of which the end is left out if it is too long. Its time is UTC; the
/// daemons of today go by their own clock.
pub(super) fn datagram(entry: &Entry, format: LogFormat, ident: &str) -> Vec<u8> {
    let priority = FACILITY * 8 + severity(entry.level);
    let body = match format {
        LogFormat::Text => format::text(entry),
        LogFormat::Json => format::line(entry, format, false),
    };
    let id = std::process::id();
    let mut datagram = format!("<{priority}>{} {ident}[{id}]: {body}", time(entry)).into_bytes();
    datagram.truncate(LONGEST);
    datagram
}

/// `Nov  2 00:52:30`.
fn time(entry: &Entry) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    // 2026-11-02T00:52:30Z
    let time = humantime::format_rfc3339_seconds(entry.time).to_string();
    let number = |digits: &str| digits.parse::<usize>().unwrap_or(1);
    let month = MONTHS[(number(&time[5..7]) - 1) % 12];
    let day = number(&time[8..10]);
    format!("{month} {day:>2} {}", &time[11..19])
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_datagram_has_priority_time_and_name() {
        let mut entry = Entry::own(Level::ERROR, "it \u{e9}", Vec::new());
        entry.time = UNIX_EPOCH + Duration::from_secs(1_793_580_750);
        let sent = datagram(&entry, LogFormat::Text, "harpd");
        let id = std::process::id();
        assert_eq!(
            String::from_utf8(sent).unwrap(),
            format!("<27>Nov  2 00:52:30 harpd[{id}]: it \u{e9}")
        );
        entry.event.message = "x".repeat(10_000);
        assert_eq!(datagram(&entry, LogFormat::Json, "harpd").len(), 8192);
    }
}
