//! Every child process of harpd: started here, and reaped here when it ends.
//!
//! harpd is a child subreaper: a process whose parent ends becomes harpd's child, so
//! there are children that nobody in here started and that must be reaped all the same.
//! One place therefore waits for all of them, and tells those who started one.
//!
//! That place is a thread: to start a process blocks, and none can end before its
//! starter is known if both are done by the same thread, one after the other.

use std::collections::HashMap;
use std::io;
use std::process::Child;
use std::sync::{Arc, mpsc};

use harp_exec::{Program, SpawnError, Step};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use tokio::signal::unix::SignalKind;
use tokio::sync::oneshot;

use crate::session::Session;

/// Starts and reaps processes. A clone does so by the same thread, which ends with the
/// last of them.
#[derive(Debug, Clone)]
pub struct Reaper {
    orders: mpsc::Sender<Order>,
}

/// What the thread is to do.
#[derive(Debug)]
enum Order {
    /// To start a program.
    Start(Arc<Program>, oneshot::Sender<Result<Started, SpawnError>>),
    /// To take on a child that something else has started.
    Adopt(Pid, oneshot::Sender<Result<Session, NotAdopted>>),
    /// To reap every child that has ended.
    Reap,
}

/// Why a process was not taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdopted {
    /// It has ended by now.
    Ended,
    /// It is not what was said: a child of harpd that leads a session of its own, and
    /// that nobody waits for yet.
    Another,
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
    /// Its session.
    pub session: Session,
    /// The ends of its pipes. Not to be waited for: the reaper has done it.
    pub child: Child,
}

impl Reaper {
    /// Makes harpd the one that orphans of its calls fall to, and reaps from now on, as
    /// long as the current runtime lives.
    ///
    /// # Errors
    ///
    /// If the system refuses it, or has no /proc, without which it would not be known
    /// what is left of a call.
    pub fn start() -> io::Result<Reaper> {
        std::fs::metadata("/proc/self/stat")
            .map_err(|error| io::Error::other(format!("harpd needs /proc: {error}")))?;
        // Any number but 0 means yes.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let mut child_ended = tokio::signal::unix::signal(SignalKind::child())?;
        let (orders, incoming) = mpsc::channel();
        std::thread::Builder::new()
            .name("processes".to_owned())
            .spawn(move || follow(&incoming))?;
        let reaper = Reaper { orders };
        let reaping = reaper.clone();
        tokio::spawn(async move {
            while child_ended.recv().await.is_some() {
                if reaping.orders.send(Order::Reap).is_err() {
                    return;
                }
            }
        });
        Ok(reaper)
    }

    /// Starts a program. Dropped before it is through, what was started is killed.
    ///
    /// # Errors
    ///
    /// Which step failed, and why.
    pub async fn spawn(&self, program: Arc<Program>) -> Result<Started, SpawnError> {
        let (reply, spawned) = oneshot::channel();
        // Fails if the thread is gone, as does the answer then.
        let _ = self.orders.send(Order::Start(program, reply));
        spawned.await.unwrap_or_else(|_| {
            Err(SpawnError {
                step: Step::Execute,
                source: io::Error::other("the thread that starts processes is gone"),
            })
        })
    }

    /// Takes on a process that leads a session and has become a child of harpd, though
    /// something else has started it. That it is such a process is not believed but looked
    /// at: it will be killed as a whole session. Dropped before it is through, the process
    /// is killed.
    ///
    /// # Errors
    ///
    /// There is no such process.
    pub async fn adopt(&self, pid: Pid) -> Result<Session, NotAdopted> {
        let (reply, adopted) = oneshot::channel();
        // Fails if the thread is gone, as does the answer then.
        let _ = self.orders.send(Order::Adopt(pid, reply));
        adopted.await.unwrap_or(Err(NotAdopted::Ended))
    }
}

/// The thread.
fn follow(orders: &mpsc::Receiver<Order>) {
    let mut waiting = HashMap::new();
    while let Ok(order) = orders.recv() {
        match order {
            Order::Start(program, reply) => {
                let spawned = program.spawn().map(|child| {
                    let pid = Pid::from_child(&child);
                    let (ended, exit) = oneshot::channel();
                    waiting.insert(pid, ended);
                    let session = Session::led_by(pid, exit);
                    Started { session, child }
                });
                // If nobody is there to take it, the session dies with this value.
                let _ = reply.send(spawned);
            }
            Order::Adopt(pid, reply) => {
                // What has not been reaped by now will be later, by this thread: until
                // then the number is that of this process.
                let adopted = match Session::may_be_led_by(pid) {
                    None => Err(NotAdopted::Ended),
                    Some(true) if !waiting.contains_key(&pid) => {
                        let (ended, exit) = oneshot::channel();
                        waiting.insert(pid, ended);
                        Ok(Session::led_by(pid, exit))
                    }
                    Some(_) => Err(NotAdopted::Another),
                };
                let _ = reply.send(adopted);
            }
            Order::Reap => reap(&mut waiting),
        }
    }
}

/// Reaps every child that has ended, and tells who waits for it.
fn reap(waiting: &mut HashMap<Pid, oneshot::Sender<Exit>>) {
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
