//! A call whose command runs: its pipes on one side, its caller on the other.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use harp_proto::host::Message;
use harp_proto::{Failure, Json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::time::Instant;

use super::stderr_tail::StderrTail;
use super::{Interruption, Workplace};
use crate::caller::{Caller, CallerEvent};
use crate::choria::workdir::CallFiles;
use crate::launch::Process;
use crate::line_log::LineLog;
use crate::output::Output;
use crate::procedure::Procedure;
use crate::reaper::{Exit, signal_name};
use crate::session::Session;

/// Read from a pipe at once, in bytes.
const CHUNK: usize = 16 << 10;

/// A running command. The pipes are `None` once their other end, or what goes through
/// them, has ended.
pub(super) struct Running {
    session: Session,
    stdin: Option<pipe::Sender>,
    /// Still to be written to `stdin`.
    input: Bytes,
    stdout: Option<pipe::Receiver>,
    output: Output,
    stderr: Option<pipe::Receiver>,
    tail: StderrTail,
    stderr_log: Option<LineLog>,
    files: Option<Arc<CallFiles>>,
    deadline: Option<(Instant, Duration)>,
    chunk: Vec<u8>,
}

impl Running {
    pub(super) fn new(procedure: &Procedure, process: Process) -> Running {
        let (stdin, input) = process.stdin.unzip();
        let input = input.unwrap_or_default();
        let files = process.reply.as_ref().map(|reply| Arc::clone(&reply.files));
        let output = match process.reply {
            Some(reply) => Output::of_agent(reply),
            None => procedure.output.start(procedure.max_output),
        };
        Running {
            session: process.session,
            stdin: stdin.filter(|_| !input.is_empty()),
            input,
            stdout: Some(process.stdout),
            output,
            stderr: Some(process.stderr),
            tail: StderrTail::default(),
            stderr_log: process.stderr_log,
            files,
            deadline: procedure
                .timeout
                .map(|timeout| (Instant::now() + timeout, timeout)),
            chunk: vec![0; CHUNK],
        }
    }

    /// Runs to the end of the command and then of its session.
    pub(super) async fn run<S>(mut self, caller: &mut Caller<S>, workplace: &Workplace) -> Message
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self.until_exit(caller, workplace).await {
            Ok(exit) => {
                let (message, rest) = self.conclude(exit, caller);
                rest.end(message, caller, workplace.kill_grace).await
            }
            Err(interruption) => self.give_up(interruption, caller, workplace).await,
        }
    }

    /// Ends the command and its session, whatever it would still have to say.
    pub(super) async fn give_up<S>(
        self,
        interruption: Interruption,
        caller: &mut Caller<S>,
        workplace: &Workplace,
    ) -> Message
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let rest = Rest {
            session: self.session,
            pipes: [self.stdout, self.stderr],
            _files: self.files,
        };
        let message = interruption.message();
        rest.end(message, caller, workplace.kill_grace).await
    }

    /// Moves bytes until the command has exited or the call must end.
    async fn until_exit<S>(
        &mut self,
        caller: &mut Caller<S>,
        workplace: &Workplace,
    ) -> Result<Exit, Interruption>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut stderr_chunk = [0; 1024];
        loop {
            let deadline = self.deadline;
            tokio::select! {
                exit = self.session.leader_exit() => return Ok(exit),
                count = read(&mut self.stdout, &mut self.chunk), if caller.has_room() => {
                    let mut packets = Vec::new();
                    let fed = self.output.feed(&self.chunk[..count], &mut packets);
                    send_packets(caller, packets);
                    fed.map_err(Interruption::Output)?;
                }
                count = read(&mut self.stderr, &mut stderr_chunk) => {
                    let bytes = &stderr_chunk[..count];
                    self.tail.push(bytes);
                    if let Some(log) = &mut self.stderr_log {
                        log.push(bytes);
                    }
                }
                () = write(&mut self.stdin, &mut self.input) => {}
                event = caller.event() => match event {
                    CallerEvent::Sent => {}
                    CallerEvent::Closed => return Err(Interruption::CallerClosed),
                    CallerEvent::SpokeOn => return Err(Interruption::CallerSpokeOn),
                    CallerEvent::Stalled => return Err(Interruption::CallerStalled),
                },
                timeout = passed(deadline) => return Err(Interruption::TimedOut(timeout)),
                () = workplace.stopping.cancelled() => return Err(Interruption::Stopping),
            }
        }
    }

    /// The command has exited: what is in its pipes by now still counts, what others of
    /// its session may yet write does not.
    fn conclude<S>(mut self, exit: Exit, caller: &mut Caller<S>) -> (Message, Rest)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut packets = Vec::new();
        let mut fed = Ok(());
        if let Some(stdout) = &self.stdout {
            read_available(stdout, &mut self.chunk, |bytes| {
                fed = self.output.feed(bytes, &mut packets);
                fed.is_ok()
            });
        }
        if let Some(stderr) = &self.stderr {
            read_available(stderr, &mut self.chunk, |bytes| {
                self.tail.push(bytes);
                if let Some(log) = &mut self.stderr_log {
                    log.push(bytes);
                }
                true
            });
        }
        let end = match (fed, exit) {
            (Err(failure), _) => Err(failure),
            (Ok(()), Exit::Code(0)) => self.output.succeeded(&mut packets),
            (Ok(()), exit) => {
                let told = self.output.failed(exit, &mut packets);
                Err(told.unwrap_or_else(|| exit_failure(exit, &self.tail)))
            }
        };
        send_packets(caller, packets);
        let rest = Rest {
            session: self.session,
            pipes: [self.stdout, self.stderr],
            _files: self.files,
        };
        (end.unwrap_or_else(Message::Exception), rest)
    }
}

/// What is left of a call when its outcome is known.
struct Rest {
    session: Session,
    /// Kept open, and emptied, so that who cleans up after a SIGTERM can talk meanwhile.
    pipes: [Option<pipe::Receiver>; 2],
    /// Removed when nobody is left to write them.
    _files: Option<Arc<CallFiles>>,
}

impl Rest {
    /// Ends the session. Returns what ends the call: the message, or the proof of a cancel
    /// if the caller has gone away meanwhile.
    async fn end<S>(
        mut self,
        message: Message,
        caller: &mut Caller<S>,
        kill_grace: Duration,
    ) -> Message
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let [stdout, stderr] = &mut self.pipes;
        let (mut stdout_unread, mut stderr_unread) = ([0; 1024], [0; 1024]);
        let mut caller_left = false;
        let ended = self.session.end(kill_grace);
        tokio::pin!(ended);
        loop {
            tokio::select! {
                biased;
                () = &mut ended => break,
                event = caller.event() => caller_left |= event == CallerEvent::Closed,
                _ = read(stdout, &mut stdout_unread) => {}
                _ = read(stderr, &mut stderr_unread) => {}
            }
        }
        if caller_left {
            Interruption::CallerClosed.message()
        } else {
            message
        }
    }
}

/// Reads some bytes; never ready again after the end.
async fn read(pipe: &mut Option<pipe::Receiver>, chunk: &mut [u8]) -> usize {
    if let Some(open) = pipe {
        if let Ok(count @ 1..) = open.read(chunk).await {
            return count;
        }
        *pipe = None;
    }
    std::future::pending().await
}

/// Writes some bytes and closes the pipe after the last; never ready again then. That a
/// command does not read its input is no fault.
async fn write(pipe: &mut Option<pipe::Sender>, input: &mut Bytes) {
    let Some(open) = pipe else {
        return std::future::pending().await;
    };
    match open.write(input).await {
        Ok(count) => input.advance(count),
        Err(_) => input.clear(),
    }
    if input.is_empty() {
        *pipe = None;
    }
}

/// Gives `take` what is in the pipe at this moment, until it returns false.
fn read_available(pipe: &pipe::Receiver, chunk: &mut [u8], mut take: impl FnMut(&[u8]) -> bool) {
    let available = rustix::io::ioctl_fionread(pipe).unwrap_or(0);
    let mut left = usize::try_from(available).unwrap_or(usize::MAX);
    while left > 0 {
        let wanted = left.min(chunk.len());
        match rustix::io::read(pipe, &mut chunk[..wanted]) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(count @ 1..) => {
                left -= count;
                if !take(&chunk[..count]) {
                    return;
                }
            }
            Ok(_) | Err(_) => return,
        }
    }
}

async fn passed(deadline: Option<(Instant, Duration)>) -> Duration {
    match deadline {
        Some((deadline, timeout)) => {
            tokio::time::sleep_until(deadline).await;
            timeout
        }
        None => std::future::pending().await,
    }
}

fn send_packets<S>(caller: &mut Caller<S>, packets: Vec<Json>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    for packet in packets {
        caller.send(&Message::Stream(packet));
    }
}

/// The exception for an exit with a code other than 0, or by a signal.
fn exit_failure(exit: Exit, tail: &StderrTail) -> Failure {
    let stderr = tail.text();
    let (error_type, plain, data) = match exit {
        Exit::Code(code) => (
            "exit_status",
            format!("the command exited with code {code}"),
            serde_json::json!({ "exit_code": code, "stderr": stderr }),
        ),
        Exit::Signal(number) => {
            let signal = signal_name(number);
            let data = serde_json::json!({ "signal": signal, "stderr": stderr });
            ("signal", format!("the command was ended by {signal}"), data)
        }
    };
    let message = tail.last_line().unwrap_or(plain);
    Failure::new(error_type, message).with_data(&data)
}
