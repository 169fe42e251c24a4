//! A call whose command runs: from its start until nothing of it is left.
//!
//! The leader's exit is not the end of the output: a filter behind it (`exec > >(sed ...)`)
//! has the last lines still before it. So the pipes are read on, until everybody has closed
//! them or nothing has come for a second. Standard error counts there only of a command that
//! has failed, whose message it is, and for some seconds: a holder that never stops logging
//! takes nobody's result along. Then, or when something cuts the call short, what is left of
//! it is ended, and what it prints until it is gone is taken too.

use std::sync::Arc;
use std::time::Duration;

use harp_proto::Evidence;
use harp_time::Limit;
use tokio::time::Instant;

use super::pipes::{Moved, Pipes};
use super::{Interruption, Workplace};
use crate::answer::Answer;
use crate::choria::workdir::CallFiles;
use crate::exit::Exit;
use crate::launch::Process;
use crate::output::Output;
use crate::procedure::Procedure;
use crate::recipient::{CallerEvent, Recipient};
use crate::session::Session;

/// After the leader's exit, a pipe that is held open is read as long as no pause is longer.
const SILENCE: Duration = Duration::from_secs(1);

/// So long after the leader's exit what comes on standard error alone is waited for.
const LATE_ERRORS: Duration = Duration::from_secs(5);

/// A running command.
pub(super) struct Running {
    session: Session,
    pipes: Pipes,
    /// Removed when nobody is left to write them.
    _files: Option<Arc<CallFiles>>,
    timeout: Duration,
    timeout_at: Limit,
}

/// How a call ends.
enum Ending {
    /// By itself.
    Concluded(Answer),
    /// By what cut it short.
    Interrupted(Interruption),
}

impl Running {
    pub(super) fn new(procedure: &Procedure, process: Process) -> Running {
        let files = process.reply.as_ref().map(|reply| Arc::clone(&reply.files));
        let output = match process.reply {
            Some(reply) => Output::of_agent(reply),
            None => procedure.output.start(procedure.max_output),
        };
        let mut pipes = Pipes::of(output, procedure.output.streams());
        let (stdin, input) = process.stdin.unzip();
        pipes.input = input.unwrap_or_default();
        pipes.stdin = stdin.filter(|_| !pipes.input.is_empty());
        pipes.stdout = Some(process.stdout);
        pipes.stderr = Some(process.stderr);
        pipes.stderr_log = process.stderr_log;
        Running {
            session: process.session,
            pipes,
            _files: files,
            timeout: procedure.timeout.unwrap_or_default(),
            timeout_at: procedure.timeout.map_or_else(Limit::never, Limit::after),
        }
    }

    /// Runs to the end of the command, of its output, and then of its session.
    pub(super) async fn run<R: Recipient>(
        mut self,
        caller: &mut R,
        workplace: &Workplace,
    ) -> Answer {
        let exit = match self.until_exit(caller, workplace).await {
            Ok(exit) => {
                let silent = self.until_silent(exit, caller, workplace).await;
                silent.map(|()| exit)
            }
            Err(interruption) => Err(interruption),
        };
        let ending = match exit {
            Ok(exit) => Ending::Concluded(self.pipes.conclude(exit, caller)),
            Err(interruption) => Ending::Interrupted(interruption),
        };
        self.end(ending, caller, workplace.kill_grace).await
    }

    /// Ends the command and its session.
    pub(super) async fn give_up<R: Recipient>(
        self,
        interruption: Interruption,
        caller: &mut R,
        workplace: &Workplace,
    ) -> Answer {
        let ending = Ending::Interrupted(interruption);
        self.end(ending, caller, workplace.kill_grace).await
    }

    /// Moves bytes until the command has exited or the call must end.
    async fn until_exit<R: Recipient>(
        &mut self,
        caller: &mut R,
        workplace: &Workplace,
    ) -> Result<Exit, Interruption> {
        loop {
            tokio::select! {
                exit = self.session.leader_exit() => return Ok(exit),
                moved = self.pipes.moved(caller.has_room()) => {
                    self.pipes.take(moved, caller).map_err(Interruption::Output)?;
                }
                event = caller.event() => heard(event)?,
                () = self.timeout_at.passed() => {
                    let timed_out = Interruption::TimedOut(self.timeout);
                    return tokio::select! {
                        biased;
                        // An end that has come is not late.
                        exit = self.session.leader_exit() => Ok(exit),
                        () = std::future::ready(()) => Err(timed_out),
                    };
                }
                () = workplace.stopping.cancelled() => return Err(Interruption::Stopping),
            }
        }
    }

    /// The command has exited: moves bytes until nobody can write any more, or nobody has
    /// for [`SILENCE`].
    async fn until_silent<R: Recipient>(
        &mut self,
        exit: Exit,
        caller: &mut R,
        workplace: &Workplace,
    ) -> Result<(), Interruption> {
        // The command was in time. A holder of its pipes that is silent is not to make it
        // late; one that goes on talking may.
        self.timeout_at.move_to(Instant::now() + 2 * SILENCE);
        let mut silence = Limit::after(SILENCE);
        let mut errors = match exit {
            Exit::Code(0) => Limit::until(Instant::now()),
            _ => Limit::after(LATE_ERRORS),
        };
        let mut printed = Instant::now();
        while self.pipes.are_open() {
            let reads = caller.has_room();
            tokio::select! {
                moved = self.pipes.moved(reads) => {
                    self.pipes.take(moved, caller).map_err(Interruption::Output)?;
                    match moved {
                        Moved::Stdout(_) => {
                            printed = Instant::now();
                            silence = Limit::after(SILENCE);
                        }
                        Moved::Stderr(_) if !errors.is_reached() => {
                            silence = Limit::after(SILENCE);
                        }
                        Moved::Stderr(_) | Moved::State => {}
                    }
                }
                event = caller.event() => {
                    heard(event)?;
                    if !reads {
                        printed = Instant::now();
                        silence = Limit::after(SILENCE);
                    }
                }
                () = silence.passed(), if reads => break,
                () = self.timeout_at.passed() => {
                    if self.pipes.stdout.is_none() || (reads && printed.elapsed() >= SILENCE) {
                        break;
                    }
                    return Err(Interruption::TimedOut(self.timeout));
                }
                () = workplace.stopping.cancelled() => return Err(Interruption::Stopping),
            }
        }
        Ok(())
    }

    /// Ends the session, and takes in what it prints until it is gone. Returns what ends
    /// the call: the proof of a cancel if the caller has gone away meanwhile.
    async fn end<R: Recipient>(
        mut self,
        ending: Ending,
        caller: &mut R,
        kill_grace: Duration,
    ) -> Answer {
        let pipes = &mut self.pipes;
        let mut caller_left = false;
        // A caller that takes nothing for half of the time gets no more of the output: a
        // procedure that cleans up is not to wait for it.
        let untaken = kill_grace / 2;
        let mut takes = true;
        let mut blocked_since = None;
        let ended = self.session.end(kill_grace);
        tokio::pin!(ended);
        loop {
            let has_room = caller.has_room();
            let since = *blocked_since.get_or_insert_with(Instant::now);
            tokio::select! {
                biased;
                () = &mut ended => break,
                event = caller.event() => {
                    caller_left |= event == CallerEvent::Closed;
                    blocked_since = None;
                }
                moved = pipes.moved(has_room || !takes) => {
                    pipes.take_last_words(moved, takes.then_some(&mut *caller));
                }
                () = tokio::time::sleep_until(since + untaken), if takes && !has_room => {
                    takes = false;
                }
            }
            if has_room {
                blocked_since = None;
            }
        }
        pipes.take_rest(takes.then_some(&mut *caller));
        let interruption = match ending {
            _ if caller_left => Interruption::CallerClosed,
            Ending::Concluded(answer) => return answer,
            Ending::Interrupted(interruption) => interruption,
        };
        let evidence = match interruption {
            Interruption::CallerClosed | Interruption::CallerStalled
                if !caller.takes_evidence() =>
            {
                Evidence::default()
            }
            _ => pipes.evidence(),
        };
        Answer::Short(interruption.message(&evidence))
    }
}

/// Acts of a caller while its call runs.
fn heard(event: CallerEvent) -> Result<(), Interruption> {
    match event {
        CallerEvent::Sent => Ok(()),
        CallerEvent::Closed => Err(Interruption::CallerClosed),
        CallerEvent::SpokeOn => Err(Interruption::CallerSpokeOn),
        CallerEvent::Stalled => Err(Interruption::CallerStalled),
        CallerEvent::KeepOver => Err(Interruption::KeepOver),
    }
}
