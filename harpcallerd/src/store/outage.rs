//! Outages: the engine is opened anew once the cause of a failed write is gone.
//!
//! The failed engine stays for readers until the directory has been seen to take writes
//! again. Then it is closed and opened anew, all that is known of its content is read
//! again, and the first thing that is written must reach the disk. Readers wait for that
//! moment.

use std::time::{Duration, Instant};

use super::layout::MARK_KEY;
use super::open::{self, Opened};
use super::sled::Batch;
use super::writer::{CLOSING, Writer, alone};

/// The first pause between two attempts, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// A time in which nothing can be written.
pub(super) struct Outage {
    begun: Instant,
    reason: String,
    pause: Duration,
    next: Instant,
}

impl Outage {
    pub(super) fn begin(reason: &str) -> Outage {
        tracing::error!(
            reason,
            "writing to the job store failed; calls are refused until it succeeds again"
        );
        let now = Instant::now();
        Outage {
            begun: now,
            reason: reason.into(),
            pause: PAUSES.0,
            next: now + PAUSES.0,
        }
    }

    /// After an attempt that failed.
    pub(super) fn goes_on(&mut self, reason: &str) {
        if self.reason != reason {
            tracing::error!(reason, "the job store still cannot be written");
            self.reason = reason.into();
        }
        self.pause = (self.pause * 2).min(PAUSES.1);
        self.next = Instant::now() + self.pause;
    }

    pub(super) fn pause_left(&self) -> Duration {
        self.next.saturating_duration_since(Instant::now())
    }

    pub(super) fn lasted(&self) -> Duration {
        self.begun.elapsed()
    }
}

impl Writer {
    /// Opens the engine anew if the directory takes writes, and makes it write. On an
    /// error there may be an engine for readers or none.
    pub(super) fn reopen(&mut self) -> Result<(), String> {
        // Nothing is written where another store is.
        self.presence.check_directory(&self.directory)?;
        let probed = self.directory.probe();
        probed.map_err(|error| error.to_string())?;
        if let Some(engine) = self.shared.begin_opening() {
            // If it does not let go of its file, opening fails, until it has.
            alone(engine).close(CLOSING);
        }
        let opened = match self.open_again() {
            Ok(opened) => opened,
            Err(reason) => {
                self.shared.not_opened(&reason);
                return Err(reason);
            }
        };
        let Opened {
            engine,
            mark,
            contents,
            layout,
            ..
        } = opened;
        let mut batch = Batch::new(mark + 1);
        batch.insert(MARK_KEY, (mark + 1).to_string().as_bytes());
        let written = engine.apply(batch).and_then(|()| engine.sync());
        self.next_packet.clear();
        self.contents = contents;
        self.mark = mark;
        self.shared.set_layout(layout);
        self.shared.opened(engine, contents);
        written.map_err(|error| error.to_string())
    }

    fn open_again(&self) -> Result<Opened, String> {
        let text = |error: super::OpenError| error.to_string();
        self.directory
            .forget_cached()
            .map_err(self.directory.io_error("sync the file db"))
            .map_err(text)?;
        let expected = self.directory.inspect().map_err(text)?;
        open::engine(&self.directory, self.options, expected).map_err(text)
    }
}
