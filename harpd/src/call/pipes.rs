//! The pipes of a call's process: what goes through them, and what is made of it.

use std::time::Duration;

use harp_proto::host::Message;
use harp_proto::{Evidence, Failure};
use harp_service::signals;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::time::Instant;

use super::tail::Tail;
use crate::answer::{Answer, Packet};
use crate::exit::Exit;
use crate::line_log::LineLog;
use crate::output::Output;
use crate::recipient::Recipient;
use crate::stash::Stash;

/// Read from standard output, and from standard error, at once, in bytes.
const CHUNK: usize = 16 << 10;
const STDERR_CHUNK: usize = 1 << 10;
/// How long a state of a line that is written again and again waits for the next one, or
/// for the line's end: ten states a second are shown.
const STATE_TIME: Duration = Duration::from_millis(100);

/// The pipes of one process. They are `None` once their other end, or what goes through
/// them, has ended.
pub(super) struct Pipes {
    pub(super) stdin: Option<pipe::Sender>,
    /// Still to be written to `stdin`.
    pub(super) input: Stash,
    pub(super) stdout: Option<pipe::Receiver>,
    pub(super) stderr: Option<pipe::Receiver>,
    pub(super) stderr_log: Option<LineLog>,
    output: Output,
    /// Packets may come of the output.
    streams: bool,
    /// The end of an output that is no packets, for a call that comes to no result.
    printed: Option<Tail>,
    /// Time at which the newest state of a line is to be shown.
    state_due: Option<Instant>,
    tail: Tail,
    chunk: Vec<u8>,
    stderr_chunk: [u8; STDERR_CHUNK],
}

/// Progress of a pipe, in bytes; 0 is its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moved {
    /// Read from standard output.
    Stdout(usize),
    /// Read from standard error.
    Stderr(usize),
    /// Nothing, but the state of a line is due.
    State,
}

impl Pipes {
    /// No pipes yet, and what is to be made of an output.
    pub(super) fn of(output: Output, streams: bool) -> Pipes {
        Pipes {
            stdin: None,
            input: Stash::default(),
            stdout: None,
            stderr: None,
            stderr_log: None,
            output,
            streams,
            printed: (!streams).then(Tail::default),
            state_due: None,
            tail: Tail::default(),
            chunk: vec![0; CHUNK],
            stderr_chunk: [0; STDERR_CHUNK],
        }
    }

    /// True while somebody may still write to standard output or standard error.
    pub(super) fn are_open(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// Waits until something has come that [`Pipes::take`] is to be given; of standard
    /// output only if `reads_stdout`. Writes to standard input meanwhile.
    ///
    /// Cancel safe.
    pub(super) async fn moved(&mut self, reads_stdout: bool) -> Moved {
        loop {
            tokio::select! {
                count = read(&mut self.stdout, &mut self.chunk), if reads_stdout => {
                    return Moved::Stdout(count);
                }
                count = read(&mut self.stderr, &mut self.stderr_chunk) => {
                    return Moved::Stderr(count);
                }
                () = write(&mut self.stdin, &mut self.input) => {}
                () = reached(self.state_due) => return Moved::State,
            }
        }
    }

    /// Makes of what has come packets, which go to the caller. Of what makes none a caller
    /// that waits for packets learns that there is life.
    ///
    /// # Errors
    ///
    /// The exception that ends the call.
    pub(super) fn take<R: Recipient>(
        &mut self,
        moved: Moved,
        caller: &mut R,
    ) -> Result<(), Failure> {
        let mut packets = Vec::new();
        let fed = match moved {
            Moved::Stdout(count) => {
                let bytes = &self.chunk[..count];
                if let Some(printed) = &mut self.printed {
                    printed.push(bytes);
                }
                self.output.feed(bytes, &mut packets)
            }
            Moved::Stderr(count) => {
                self.log_stderr(count);
                Ok(())
            }
            Moved::State => {
                self.state_due = None;
                self.output.show_state(&mut packets)
            }
        };
        self.await_state();
        self.send(packets, caller);
        fed
    }

    /// Takes what [`Pipes::take`] does, of a call that has its outcome: what does not fit is left
    /// out.
    /// Where there is no caller nobody takes packets any more.
    pub(super) fn take_last_words<R: Recipient>(&mut self, moved: Moved, caller: Option<&mut R>) {
        let mut packets = Vec::new();
        match moved {
            Moved::Stdout(count) => {
                let bytes = &self.chunk[..count];
                if let Some(printed) = &mut self.printed {
                    printed.push(bytes);
                }
                self.output.feed_last_words(bytes, &mut packets);
            }
            Moved::Stderr(count) => self.log_stderr(count),
            Moved::State => {
                self.state_due = None;
                let _ = self.output.show_state(&mut packets);
            }
        }
        self.await_state();
        if let Some(caller) = caller {
            self.send(packets, caller);
        }
    }

    /// Takes what is in the pipes at this moment, and the last line as it is.
    pub(super) fn take_rest<R: Recipient>(&mut self, mut caller: Option<&mut R>) {
        let mut left = self.stdout.as_ref().map_or(0, waiting);
        while let Some(count) = read_waiting(self.stdout.as_ref(), &mut self.chunk, &mut left) {
            self.take_last_words(Moved::Stdout(count), caller.as_deref_mut());
        }
        let mut left = self.stderr.as_ref().map_or(0, waiting);
        while let Some(count) =
            read_waiting(self.stderr.as_ref(), &mut self.stderr_chunk, &mut left)
        {
            self.take_last_words(Moved::Stderr(count), caller.as_deref_mut());
        }
        let mut packets = Vec::new();
        let _ = self.output.last_line(&mut packets);
        if let Some(caller) = caller {
            self.send(packets, caller);
        }
    }

    /// The message that ends the call of a command that has exited, all its output taken.
    pub(super) fn conclude<R: Recipient>(&mut self, exit: Exit, caller: &mut R) -> Answer {
        let mut packets = Vec::new();
        let end = match exit {
            Exit::Code(0) => self.output.succeeded(&mut packets),
            exit => {
                let told = self.output.failed(exit, &mut packets);
                told.ok_or_else(|| exit_failure(exit, &self.tail))
            }
        };
        self.send(packets, caller);
        end.unwrap_or_else(|failure| Answer::Short(Message::Exception(failure)))
    }

    /// Evidence that a call without a result leaves behind beside its packets.
    pub(super) fn evidence(&self) -> Evidence {
        Evidence {
            stdout: self.printed.as_ref().map(Tail::text).unwrap_or_default(),
            stderr: self.tail.text(),
        }
    }

    fn log_stderr(&mut self, count: usize) {
        let bytes = &self.stderr_chunk[..count];
        self.tail.push(bytes);
        if let Some(log) = &mut self.stderr_log {
            log.push(bytes);
        }
    }

    fn await_state(&mut self) {
        if !self.output.has_state() {
            self.state_due = None;
        } else if self.state_due.is_none() {
            self.state_due = Some(Instant::now() + STATE_TIME);
        }
    }

    fn send<R: Recipient>(&self, packets: Vec<Packet>, caller: &mut R) {
        if !packets.is_empty() {
            caller.packets(packets);
        } else if self.streams {
            caller.sign_of_life();
        }
    }
}

/// Reads some bytes; 0 at the end, and never ready again after it.
async fn read(pipe: &mut Option<pipe::Receiver>, chunk: &mut [u8]) -> usize {
    let Some(open) = pipe else {
        return std::future::pending().await;
    };
    let count = open.read(chunk).await.unwrap_or(0);
    if count == 0 {
        *pipe = None;
    }
    count
}

/// Writes some bytes and closes the pipe after the last; never ready again then. That a
/// command does not read its input is no fault.
async fn write(pipe: &mut Option<pipe::Sender>, input: &mut Stash) {
    let Some(open) = pipe else {
        return std::future::pending().await;
    };
    let written = match input.front() {
        Ok(bytes) => open.write(bytes).await,
        // The command sees that its input ends in the middle.
        Err(error) => Err(error),
    };
    match written {
        Ok(count) => input.advance(count),
        Err(_) => input.clear(),
    }
    if input.is_empty() {
        *pipe = None;
    }
}

async fn reached(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// How many bytes are in the pipe.
fn waiting(pipe: &pipe::Receiver) -> usize {
    let available = rustix::io::ioctl_fionread(pipe).unwrap_or(0);
    usize::try_from(available).unwrap_or(usize::MAX)
}

/// Reads some of the `left` bytes that were in the pipe.
fn read_waiting(
    pipe: Option<&pipe::Receiver>,
    chunk: &mut [u8],
    left: &mut usize,
) -> Option<usize> {
    let pipe = pipe?;
    while *left > 0 {
        let wanted = (*left).min(chunk.len());
        match rustix::io::read(pipe, &mut chunk[..wanted]) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(count @ 1..) => {
                *left -= count;
                return Some(count);
            }
            Ok(_) | Err(_) => return None,
        }
    }
    None
}

/// The exception for an exit with a code other than 0, or by a signal.
fn exit_failure(exit: Exit, tail: &Tail) -> Failure {
    let stderr = tail.text();
    let (error_type, plain, data) = match exit {
        Exit::Code(code) => (
            "exit_status",
            format!("the command exited with code {code}"),
            serde_json::json!({ "exit_code": code, "stderr": stderr }),
        ),
        Exit::Signal(number) => {
            let signal = signals::name(number);
            let data = serde_json::json!({ "signal": signal, "stderr": stderr });
            ("signal", format!("the command was ended by {signal}"), data)
        }
    };
    let message = tail.last_line().unwrap_or(plain);
    Failure::new(error_type, message).with_data(&data)
}
