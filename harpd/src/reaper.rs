//! Every child process of harpd: started here, and reaped here when it ends.
//!
//! harpd is a child subreaper: a process whose parent ends becomes harpd's child, so
//! there are children that nobody in here started and that must be reaped all the same.
//! One place therefore waits for all of them, and tells those who started one.

use std::collections::HashMap;
use std::io;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::signal::unix::SignalKind;
use tokio::sync::oneshot;

/// Starts and reaps processes.
#[derive(Debug, Default)]
pub struct Reaper {
    /// Who waits for which child. Locked while a child is started and while children are
    /// reaped, so that none ends before its starter is known.
    waiting: Mutex<HashMap<Pid, oneshot::Sender<Exit>>>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

/// A process that has been started.
#[derive(Debug)]
pub struct Started {
    /// Its number.
    pub pid: Pid,
    /// The ends of its pipes.
    pub child: Child,
    /// Resolves when the process has ended and has been reaped.
    pub exit: oneshot::Receiver<Exit>,
}

impl Reaper {
    /// Makes harpd the one that orphans of its calls fall to, and reaps from now on, in
    /// a task of the current runtime.
    ///
    /// # Errors
    ///
    /// If the system refuses either.
    pub fn start() -> io::Result<Arc<Reaper>> {
        // Any number but 0 means yes.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let mut child_ended = tokio::signal::unix::signal(SignalKind::child())?;
        let reaper = Arc::new(Reaper::default());
        let reaping = Arc::clone(&reaper);
        tokio::spawn(async move {
            while child_ended.recv().await.is_some() {
                reaping.reap();
            }
        });
        Ok(reaper)
    }

    /// Starts a process. Blocks for as long as that takes, about a millisecond.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Started> {
        let mut waiting = self.waiting();
        let child = command.spawn()?;
        let pid = Pid::from_child(&child);
        let (ended, exit) = oneshot::channel();
        waiting.insert(pid, ended);
        Ok(Started { pid, child, exit })
    }

    /// Reaps every child that has ended.
    fn reap(&self) {
        let mut waiting = self.waiting();
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if let Some(ended) = waiting.remove(&pid) {
                        // Who does not listen any more does not need to know.
                        let _ = ended.send(Exit::from(status));
                    }
                }
                Ok(None) | Err(Errno::CHILD) => return,
                Err(Errno::INTR) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot wait for child processes");
                    return;
                }
            }
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<Pid, oneshot::Sender<Exit>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<WaitStatus> for Exit {
    fn from(status: WaitStatus) -> Exit {
        match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            // Not asked for, so it does not happen: a stopped or continued process.
            (None, None) => Exit::Signal(0),
        }
    }
}

/// A signal's name, as `SIGTERM`.
#[must_use]
pub fn signal_name(number: i32) -> String {
    const NAMES: [(Signal, &str); 22] = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::VTALARM, "SIGVTALRM"),
        (Signal::PROF, "SIGPROF"),
        (Signal::IO, "SIGIO"),
        (Signal::POWER, "SIGPWR"),
        (Signal::SYS, "SIGSYS"),
    ];
    NAMES
        .iter()
        .find(|(signal, _)| signal.as_raw() == number)
        .map_or_else(
            || format!("signal {number}"),
            |(_, name)| (*name).to_owned(),
        )
}
