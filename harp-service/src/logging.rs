//! The log: where it goes, in which form, how much of it; all of it can be changed while
//! the process runs.
//!
//! `layer` makes entries of events and spans, `writer` is the thread that takes them to
//! the places of `sink`, as the lines of `format` or the datagrams of `syslog` and
//! `journald`.

mod entry;
mod format;
mod journald;
mod layer;
mod settings;
mod sink;
mod syslog;
mod writer;

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub use settings::{LogFormat, LogHandler, LogSettings, NotAHandler};

use layer::{Collector, Least};
use writer::{Outlets, Writer};

/// How long the end of a process may be held up by lines that are not written yet.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The log file cannot be opened.
    #[error(transparent)]
    File(io::Error),
    /// Its thread cannot be started.
    #[error("cannot start the thread of the log: {0}")]
    Thread(io::Error),
    /// The process has a log already.
    #[error("the log has been set up before")]
    Twice,
}

/// The log of this process.
#[derive(Debug)]
pub struct Log {
    writer: Writer,
    least: Arc<Least>,
    /// Settings in force. Held while files are opened, so that a change and a reopening
    /// cannot overtake each other.
    settings: Mutex<LogSettings>,
}

/// Other settings, with what they name opened.
#[derive(Debug)]
pub struct Prepared {
    settings: LogSettings,
    outlets: Outlets,
}

/// Starts the log of this process, for good; `ident` is its name for log daemons. From
/// then on a panic is a log line too.
///
/// # Errors
///
/// If the log file cannot be opened, or the process has a log already.
pub fn init(ident: &'static str, settings: &LogSettings) -> Result<Log, LoggingError> {
    let outlets = Outlets::open(settings).map_err(LoggingError::File)?;
    let log = Log {
        writer: Writer::start(outlets, ident).map_err(LoggingError::Thread)?,
        least: Arc::new(Least::new(settings.level)),
        settings: Mutex::new(settings.clone()),
    };
    let collector = Collector {
        writer: log.writer.clone(),
        least: Arc::clone(&log.least),
    };
    let subscriber = tracing_subscriber::registry().with(collector);
    subscriber.try_init().map_err(|_| LoggingError::Twice)?;
    std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    Ok(log)
}

impl Prepared {
    /// Opens what the settings name. Blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// If the log file cannot be opened; the message has its name.
    pub fn open(settings: &LogSettings) -> io::Result<Prepared> {
        Ok(Prepared {
            outlets: Outlets::open(settings)?,
            settings: settings.clone(),
        })
    }
}

impl Log {
    /// Has the lines from now on go where the settings say, in their form and from their
    /// level on. Lines before that go where they would have gone.
    pub fn change(&self, prepared: Prepared) {
        let mut settings = self.settings();
        self.writer.change(prepared.outlets);
        self.least.set(prepared.settings.level);
        *settings = prepared.settings;
    }

    /// Opens the log file and the sockets of log daemons anew, after the file has been
    /// moved away. Blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened; the log goes on where it went.
    pub fn reopen(&self) -> io::Result<()> {
        let settings = self.settings();
        self.writer.change(Outlets::open(&settings)?);
        Ok(())
    }

    /// How many lines were lost since the start, of each place that they were for.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.writer.lost()
    }

    /// Waits until the lines so far are written, but no longer than a second: for the
    /// end of a process.
    pub fn flush(&self) {
        self.writer.flush(LAST_LINES);
    }

    fn settings(&self) -> std::sync::MutexGuard<'_, LogSettings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use tracing::level_filters::LevelFilter;
    use tracing::{Span, debug, info, info_span, warn};

    use super::*;

    fn lines(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// One test for all of it: a process has one log.
    #[test]
    fn a_log_changes_under_live_spans() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str| root.path().join(name);
        let settings = |name: &str, format, level| LogSettings {
            handlers: Vec::new(),
            file: Some(file(name)),
            format,
            level,
        };
        let first = settings("a", LogFormat::Text, LevelFilter::WARN);
        let log = init("test", &first).unwrap();
        assert!(init("test", &first).is_err(), "a second log, and no panic");

        let span = info_span!("job", job = 7, host = tracing::field::Empty);
        let entered = span.enter();
        info!("too unimportant");
        warn!(n = 1, "first");
        Span::current().record("host", "web 01");
        let other = settings("b", LogFormat::Json, LevelFilter::DEBUG);
        log.change(Prepared::open(&other).unwrap());
        debug!(r#type = "x", "second");
        fs::rename(file("b"), file("b.1")).unwrap();
        log.reopen().unwrap();
        info!("third");
        drop(entered);
        let gone = settings("b/c", LogFormat::Json, LevelFilter::DEBUG);
        assert!(Prepared::open(&gone).is_err());
        log.change(Prepared::open(&first).unwrap());
        info!("too unimportant");
        warn!("fourth");
        log.flush();

        let text = lines(&file("a"));
        assert_eq!(text.len(), 2, "{text:?}");
        assert!(text[0].ends_with("WARN job{job=7}: first n=1"), "{text:?}");
        assert!(text[1].ends_with("WARN fourth"), "{text:?}");
        let before = lines(&file("b.1"));
        let second: serde_json::Value = serde_json::from_str(&before[0]).unwrap();
        assert_eq!((before.len(), &second["type"]), (1, &"x".into()));
        assert_eq!(second["span"]["host"], "web 01");
        let after = lines(&file("b"));
        assert_eq!(after.len(), 1, "{after:?}");
        assert!(after[0].contains(r#""message":"third""#), "{after:?}");
    }
}
