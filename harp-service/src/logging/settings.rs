//! The log's keys of a configuration.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;

use crate::settings::Table;

/// Socket at which syslog listens on most systems.
const SYSLOG_SOCKET: &str = "/dev/log";
/// Socket at which journald listens for entries with fields.
const JOURNALD_SOCKET: &str = "/run/systemd/journal/socket";

/// A place that log lines go to, besides `log_file`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogHandler {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The syslog that listens on this Unix socket.
    Syslog(PathBuf),
    /// The journal that listens on this Unix socket.
    Journald(PathBuf),
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, message and fields on a line.
    #[default]
    Text,
    /// A JSON object a line: `timestamp`, `level`, `message`, the fields, `target`, `spans`.
    Json,
}

/// The keys `log_handlers`, `log_file`, `log_format` and `log_level` of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Every handler gets every line.
    pub handlers: Vec<LogHandler>,
    /// A file that gets every line too.
    pub file: Option<PathBuf>,
    /// Times are UTC as RFC 3339 in both.
    pub format: LogFormat,
    /// The least important level that is still logged.
    pub level: LevelFilter,
}

/// A name in `log_handlers` that means nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a log handler; \"stdout\", \"stderr\", \"syslog\" and \"journald\" are")]
pub struct NotAHandler;

impl Default for LogSettings {
    /// Text on standard error, from `info` on.
    fn default() -> LogSettings {
        LogSettings {
            handlers: vec![LogHandler::Stderr],
            file: None,
            format: LogFormat::Text,
            level: LevelFilter::INFO,
        }
    }
}

impl LogSettings {
    /// Takes the log's keys out of a table; what is absent or wrong stays the default.
    /// With neither a handler nor a file the log goes to standard error, or, where that is
    /// the journal's, to the journal with fields and priorities.
    #[must_use]
    pub fn take(table: &Table<'_>) -> LogSettings {
        let default = LogSettings::default();
        let mut handlers = Vec::new();
        for name in table.strings("log_handlers").unwrap_or_default() {
            match name.parse() {
                // Twice the same line is of no use to anybody.
                Ok(handler) if handlers.contains(&handler) => {}
                Ok(handler) => handlers.push(handler),
                Err(NotAHandler) => {
                    table.problem("log_handlers", format!("{name:?}: {NotAHandler}"));
                }
            }
        }
        let file = table.path("log_file");
        let format = table.one_of("log_format", &["text", "json"]);
        let level = table.one_of("log_level", &["error", "warn", "info", "debug", "trace"]);
        LogSettings {
            handlers: if handlers.is_empty() && file.is_none() {
                vec![by_itself()]
            } else {
                handlers
            },
            file,
            format: match format.as_deref() {
                Some("json") => LogFormat::Json,
                _ => LogFormat::Text,
            },
            level: level
                .and_then(|level| level.parse().ok())
                .unwrap_or(default.level),
        }
    }
}

/// Where the log goes if nobody has said it.
fn by_itself() -> LogHandler {
    if is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref()) {
        LogHandler::Journald(JOURNALD_SOCKET.into())
    } else {
        LogHandler::Stderr
    }
}

/// Whether standard error is the stream of the journal's that systemd names by device and
/// inode (systemd.exec(5)): a program that was started with others has the variable, too.
fn is_journal(stream: Option<&str>) -> bool {
    let named = stream.and_then(|stream| stream.split_once(':'));
    let named = named.and_then(|(device, inode)| Some((device.parse().ok()?, inode.parse().ok()?)));
    let is = rustix::fs::fstat(std::io::stderr());
    named.is_some_and(|named: (u64, u64)| is.is_ok_and(|is| (is.st_dev, is.st_ino) == named))
}

impl FromStr for LogHandler {
    type Err = NotAHandler;

    /// Reads the names of the configuration, those of the original among them. `syslog`
    /// and `journald` may name another socket: `syslog:/run/other/log`.
    fn from_str(name: &str) -> Result<LogHandler, NotAHandler> {
        let (name, path) = match name.split_once(':') {
            Some((name, path)) if path.starts_with('/') => (name, Some(PathBuf::from(path))),
            Some(_) => return Err(NotAHandler),
            None => (name, None),
        };
        match (name, path) {
            ("stdout" | "harpcaller_stdout_h", None) => Ok(LogHandler::Stdout),
            ("stderr", None) => Ok(LogHandler::Stderr),
            ("harpcaller_syslog_h", None) => Ok(LogHandler::Syslog(SYSLOG_SOCKET.into())),
            ("syslog", path) => Ok(LogHandler::Syslog(
                path.unwrap_or_else(|| SYSLOG_SOCKET.into()),
            )),
            ("journald", path) => Ok(LogHandler::Journald(
                path.unwrap_or_else(|| JOURNALD_SOCKET.into()),
            )),
            _ => Err(NotAHandler),
        }
    }
}

impl fmt::Display for LogHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogHandler::Stdout => f.write_str("standard output"),
            LogHandler::Stderr => f.write_str("standard error"),
            LogHandler::Syslog(path) => write!(f, "syslog at {}", path.display()),
            LogHandler::Journald(path) => write!(f, "journald at {}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    fn take(text: &str) -> (LogSettings, Result<(), String>) {
        let settings = Settings::parse(text, "f").unwrap();
        let taken = LogSettings::take(&settings.table());
        let verdict = settings.finish();
        (taken, verdict.map(drop).map_err(|error| error.to_string()))
    }

    #[test]
    fn the_journal_is_known_by_its_stream() {
        let is = rustix::fs::fstat(std::io::stderr()).unwrap();
        assert!(is_journal(Some(&format!("{}:{}", is.st_dev, is.st_ino))));
        let other = format!("{}:{}", is.st_dev, is.st_ino + 1);
        for wrong in [None, Some(""), Some("1"), Some("a:b"), Some(other.as_str())] {
            assert!(!is_journal(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn the_keys_are_read() {
        assert_eq!(take(""), (LogSettings::default(), Ok(())));
        let text = "log_handlers = ['harpcaller_stdout_h', 'stdout', 'stderr']\n\
                    log_format = 'json'\nlog_level = 'debug'\nlog_file = '/l'\n";
        let expected = LogSettings {
            handlers: vec![LogHandler::Stdout, LogHandler::Stderr],
            file: Some("/l".into()),
            format: LogFormat::Json,
            level: LevelFilter::DEBUG,
        };
        assert_eq!(take(text), (expected, Ok(())));
    }

    #[test]
    fn handlers_have_their_names_and_those_of_the_original() {
        let handlers = |text: &str| take(text).0.handlers;
        let syslog = LogHandler::Syslog("/dev/log".into());
        assert_eq!(handlers("log_handlers = ['harpcaller_syslog_h']"), [syslog]);
        assert_eq!(
            handlers("log_handlers = ['syslog:/a/b', 'journald', 'journald:/j']"),
            [
                LogHandler::Syslog("/a/b".into()),
                LogHandler::Journald("/run/systemd/journal/socket".into()),
                LogHandler::Journald("/j".into()),
            ]
        );
        for wrong in ["syslog:", "syslog:relative", "stderr:/a", "Syslog", ""] {
            assert_eq!(wrong.parse::<LogHandler>(), Err(NotAHandler), "{wrong}");
        }
    }

    #[test]
    fn a_file_is_enough() {
        assert_eq!(take("log_file = '/l'").0.handlers, []);
        assert_eq!(take("log_handlers = []").0.handlers, [LogHandler::Stderr]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        let (_, verdict) = take("log_handlers = ['printer']\nlog_level = 'loud'\n");
        let told = verdict.unwrap_err();
        assert!(
            told.contains("f:1: log_handlers: \"printer\": not a log handler"),
            "{told}"
        );
        assert!(told.contains("f:2: log_level: must be one of"), "{told}");
    }
}
