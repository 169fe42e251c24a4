//! The end of an outage: the engine is opened anew once the cause of a failed write is gone.
//!
//! The failed engine stays for readers until the directory has been seen to take writes
//! again. Then it is closed and opened anew, all that is known of its content is read
//! again, and the first thing that is written must reach the disk. Readers wait for that
//! moment.

use super::{CLOSING, Writer, alone};
use crate::store::error::OpenError;
use crate::store::layout::MARK_KEY;
use crate::store::opened::{self, Opened};
use crate::store::sled::Batch;

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
        let text = |error: OpenError| error.to_string();
        self.directory
            .forget_cached()
            .map_err(self.directory.io_error("sync the file db"))
            .map_err(text)?;
        let expected = self.directory.inspect().map_err(text)?;
        opened::engine(&self.directory, self.options, expected).map_err(text)
    }
}
