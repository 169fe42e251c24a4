//! The log: where it goes, in which form, how much of it.

use std::fmt;
use std::io::{self, IsTerminal};
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt as lines};

use crate::settings::Table;

/// Names that a configuration may have and that do nothing yet.
const COMING_HANDLERS: [&str; 3] = ["syslog", "journald", "harpcaller_syslog_h"];

/// A place that log lines go to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogHandler {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people: time, level, message and fields on a line.
    #[default]
    Text,
    /// A JSON object a line: `timestamp`, `level`, `target`, `message` and the fields.
    Json,
}

/// The keys `log_handlers`, `log_format` and `log_level` of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Every handler gets every line.
    pub handlers: Vec<LogHandler>,
    /// Times are UTC as RFC 3339 in both.
    pub format: LogFormat,
    /// The least important level that is still logged.
    pub level: LevelFilter,
}

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the log: {0}")]
pub struct LoggingError(String);

/// A name in `log_handlers` that means nothing here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a log handler of this version; \"stdout\" and \"stderr\" are")]
pub struct NotAHandler;

impl Default for LogSettings {
    /// Text on standard error, from `info` on.
    fn default() -> LogSettings {
        LogSettings {
            handlers: vec![LogHandler::Stderr],
            format: LogFormat::Text,
            level: LevelFilter::INFO,
        }
    }
}

impl LogSettings {
    /// Takes the log's keys out of a table; what is absent or wrong stays the default, and
    /// without any handler the log goes to standard error.
    #[must_use]
    pub fn take(table: &Table<'_>) -> LogSettings {
        let default = LogSettings::default();
        let mut handlers = Vec::new();
        for name in table.strings("log_handlers").unwrap_or_default() {
            match name.parse() {
                Ok(handler) => handlers.push(handler),
                // An operator's file must keep working before all of it is in force.
                Err(_) if COMING_HANDLERS.contains(&name.as_str()) => {
                    table.warning(
                        "log_handlers",
                        format!("{name:?} is not in force in this version"),
                    );
                }
                Err(NotAHandler) => {
                    table.problem("log_handlers", format!("{name:?}: {NotAHandler}"))
                }
            }
        }
        if table.ignore("log_file") {
            table.warning("log_file", "is not in force in this version");
        }
        let format = table.one_of("log_format", &["text", "json"]);
        let level = table.one_of("log_level", &["error", "warn", "info", "debug", "trace"]);
        LogSettings {
            handlers: match handlers.is_empty() {
                true => default.handlers,
                false => handlers,
            },
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

/// Starts the log of this process, for good. From then on a panic is a log line too.
///
/// # Errors
///
/// If the process has a log already.
pub fn init(settings: &LogSettings) -> Result<(), LoggingError> {
    let layers: Vec<_> = settings
        .handlers
        .iter()
        .map(|handler| match handler {
            LogHandler::Stdout => stream(settings.format, io::stdout().is_terminal(), io::stdout),
            LogHandler::Stderr => stream(settings.format, io::stderr().is_terminal(), io::stderr),
        })
        .collect();
    tracing_subscriber::registry()
        .with(layers.with_filter(settings.level))
        .try_init()
        .map_err(|error| LoggingError(error.to_string()))?;
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(())
}

fn stream<W>(format: LogFormat, colours: bool, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'w> lines::MakeWriter<'w> + Send + Sync + 'static,
{
    // A line that cannot be written is lost: complaining of it on standard error would
    // end the process when that is what is broken.
    let layer = lines::layer()
        .with_writer(writer)
        .with_ansi(colours)
        .log_internal_errors(false);
    match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}

impl FromStr for LogHandler {
    type Err = NotAHandler;

    /// Reads the names of the configuration; `harpcaller_stdout_h` is the original's
    /// name of `stdout`.
    fn from_str(name: &str) -> Result<LogHandler, NotAHandler> {
        match name {
            "stdout" | "harpcaller_stdout_h" => Ok(LogHandler::Stdout),
            "stderr" => Ok(LogHandler::Stderr),
            _ => Err(NotAHandler),
        }
    }
}

impl fmt::Display for LogHandler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LogHandler::Stdout => "stdout",
            LogHandler::Stderr => "stderr",
        })
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
    fn the_keys_are_read() {
        assert_eq!(take(""), (LogSettings::default(), Ok(())));
        let text = "log_handlers = ['harpcaller_stdout_h', 'stderr']\n\
                    log_format = 'json'\nlog_level = 'debug'\n";
        let expected = LogSettings {
            handlers: vec![LogHandler::Stdout, LogHandler::Stderr],
            format: LogFormat::Json,
            level: LevelFilter::DEBUG,
        };
        assert_eq!(take(text), (expected, Ok(())));
    }

    #[test]
    fn handlers_to_come_are_passed_over_and_leave_standard_error() {
        let (taken, verdict) = take("log_handlers = ['harpcaller_syslog_h']\n");
        assert_eq!((taken, verdict), (LogSettings::default(), Ok(())));
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

    #[test]
    fn a_second_log_is_an_error_and_no_panic() {
        let silent = LogSettings {
            handlers: Vec::new(),
            ..LogSettings::default()
        };
        init(&silent).unwrap();
        assert!(init(&silent).is_err());
    }
}
