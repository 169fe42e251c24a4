//! Output of a process beside its answer, line by line for the log.

use tracing::{Level, debug, info, warn};

/// Lines of one process that reach the log; more are counted, not shown.
const MAX_LINES: usize = 1000;
/// Bytes of a line that reach the log.
const MAX_LENGTH: usize = 1024;

/// One stream of one process.
#[derive(Debug)]
pub struct LineLog {
    /// The speaker: a procedure, or a module.
    source: String,
    level: Level,
    /// The beginning of a line that has not ended yet.
    partial: Vec<u8>,
    lines: usize,
}

impl LineLog {
    /// For what `source` says; `level` is debug, info or warn.
    #[must_use]
    pub fn new(source: &str, level: Level) -> LineLog {
        LineLog {
            source: source.to_owned(),
            level,
            partial: Vec::new(),
            lines: 0,
        }
    }

    /// Takes bytes in and logs the lines that they complete. Of a line over 1 KiB its
    /// beginning is logged, of more than 1000 lines the first. Empty lines are left out. Of
    /// a line that is written again and again (`\r`) the last state is logged.
    pub fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            if self.partial.ends_with(b"\r") && text != b"\r" && !text.is_empty() {
                self.partial.clear();
            }
            let room = MAX_LENGTH.saturating_sub(self.partial.len());
            self.partial
                .extend_from_slice(&text[..text.len().min(room)]);
            if part.ends_with(b"\r") && !self.partial.ends_with(b"\r") {
                // Its end has not been kept, but that it ended counts.
                self.partial.pop();
                self.partial.push(b'\r');
            }
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.partial);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if line.is_empty() {
            return;
        }
        self.lines += 1;
        if self.lines <= MAX_LINES {
            self.log(line);
        } else if self.lines == MAX_LINES + 1 {
            self.log("(more lines follow and are not logged)");
        }
    }

    fn log(&self, line: &str) {
        let source = &self.source;
        match self.level {
            Level::WARN => warn!(source, "{line}"),
            Level::INFO => info!(source, "{line}"),
            _ => debug!(source, "{line}"),
        }
    }
}

impl Drop for LineLog {
    /// The last line counts without its newline too.
    fn drop(&mut self) {
        self.end_line();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_grows_with_what_is_said() {
        let mut log = LineLog::new("p", Level::DEBUG);
        for _ in 0..1000 {
            log.push(&[b'x'; 10_000]);
        }
        assert_eq!((log.partial.len(), log.lines), (MAX_LENGTH, 0));
        log.push(b"\n\n\xff\nend");
        assert_eq!((log.partial.as_slice(), log.lines), (&b"end"[..], 2));
    }

    #[test]
    fn of_a_progress_bar_the_newest_state_is_kept() {
        let mut log = LineLog::new("p", Level::DEBUG);
        for state in 0..1000 {
            log.push(format!("{state} of 1000 {}\r", "#".repeat(2 * state)).as_bytes());
        }
        assert!(log.partial.starts_with(b"999 of 1000"));
        log.push(b"done\r");
        assert_eq!((log.partial.as_slice(), log.lines), (&b"done\r"[..], 0));
        log.push(b"\n\rnext");
        assert_eq!((log.partial.as_slice(), log.lines), (&b"next"[..], 1));
    }
}
