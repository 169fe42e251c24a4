//! Telling a running procedure what to print, and when.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, Mode, OFlags, mkfifoat};
use rustix::io::Errno;
use serde_json::json;

use crate::wait::until;

/// A pipe that the procedures `feed` and `gate` print: each line that is sent becomes a
/// packet of the one; all of it is the result of the other, which ends with the feed.
#[derive(Debug)]
pub struct Feed {
    path: PathBuf,
    writer: Option<File>,
}

impl Feed {
    pub(crate) fn new(path: &Path) -> Feed {
        mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).expect("a place for a named pipe");
        Feed {
            path: path.to_owned(),
            writer: None,
        }
    }

    /// The `arguments` of the call that prints this feed, JSON text.
    #[must_use]
    pub fn arguments(&self) -> String {
        json!([self.path]).to_string()
    }

    /// True if a procedure prints it: it has begun to, and has not gone.
    pub fn is_read(&mut self) -> bool {
        if !self.has_been_read() {
            return false;
        }
        let mut watched = match &self.writer {
            Some(writer) => [PollFd::new(writer, PollFlags::empty())],
            None => return false,
        };
        poll(&mut watched, Some(&Timespec::default())).expect("a pipe can be looked at");
        !watched[0].revents().contains(PollFlags::ERR)
    }

    /// True if a procedure has begun to print it.
    fn has_been_read(&mut self) -> bool {
        if self.writer.is_some() {
            return true;
        }
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        let opened = OpenOptions::new()
            .write(true)
            .custom_flags(flags)
            .open(&self.path);
        match opened {
            Ok(writer) => {
                // From here on a write may wait for its reader.
                let flags = rustix::fs::fcntl_getfl(&writer).expect("the flags of a pipe");
                rustix::fs::fcntl_setfl(&writer, flags - OFlags::NONBLOCK)
                    .expect("flags of a pipe");
                self.writer = Some(writer);
                true
            }
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NXIO) => false,
            Err(error) => panic!("cannot open {}: {error}", self.path.display()),
        }
    }

    /// Waits until a procedure has begun to print it: until the call has started.
    pub fn wait_read(&mut self) {
        until("a procedure reads its feed", || {
            self.has_been_read().then_some(())
        });
    }

    /// Has a line printed.
    ///
    /// # Panics
    ///
    /// If the procedure has gone.
    pub fn send(&mut self, line: &str) {
        self.wait_read();
        let writer = self.writer.as_mut().expect("it is being read");
        writer
            .write_all(format!("{line}\n").as_bytes())
            .expect("a procedure that still reads");
    }

    /// Lets the procedure come to its end.
    pub fn finish(mut self) {
        self.wait_read();
    }

    /// Waits until the procedure that was printing it is gone, before its end.
    pub fn wait_abandoned(mut self) {
        self.wait_read();
        let mut writer = self.writer.take().expect("it is being read");
        // White space means nothing in JSON lines, and fills no pipe so soon.
        until("the procedure is gone", || {
            writer.write_all(b"\n").is_err().then_some(())
        });
    }
}

/// What reads it has it open; the name is free for another feed.
impl Drop for Feed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
