//! Every child process of harpd: started here, and reaped here when it ends.
//!
//! Its children are the keepers of calls, which say by themselves what becomes of a call
//! (see [`Keeper`]). harpd is a child subreaper besides: what was below a keeper that was
//! killed becomes harpd's child, and so does what a fork server leaves behind. All of them
//! must be reaped, by one place that knows which ones are keepers.
//!
//! That place is a thread: to start a process blocks, and none can be taken for a stray
//! before its starter is known if both are done by the same thread, one after the other.

use std::collections::HashSet;
use std::io;
use std::process::Child;
use std::sync::{Arc, mpsc};

use harp_exec::{Limit, Program, SpawnError, Step};
use harp_service::tasks::Tasks;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::signal::unix::SignalKind;
use tokio::sync::oneshot;

use crate::descendants;
use crate::keeper::{self, Keeper};
use crate::keeper_notes::KeeperNotes;

/// Starts and reaps processes. A clone does so by the same thread, which ends with the
/// last of them.
#[derive(Debug, Clone)]
pub struct Reaper {
    orders: mpsc::Sender<Order>,
    attending: Arc<Tasks>,
}

/// Order to the thread.
#[derive(Debug)]
enum Order {
    /// To start a program.
    Start(Arc<Program>, oneshot::Sender<Result<Started, SpawnError>>),
    /// To take on a keeper that something else has started.
    Adopt(
        Pid,
        pipe::Receiver,
        oneshot::Sender<Result<Keeper, NotAdopted>>,
    ),
    /// To kill this keeper, if it has not ended yet, and the children that are no keepers,
    /// with all that descends from them.
    EndStrays(Pid, oneshot::Sender<usize>),
    /// To reap every child that has ended.
    Reap,
}

/// Why a process was not taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAdopted {
    /// It has ended by now.
    Ended,
    /// It is not what was said: a child of harpd that leads a session of its own, and
    /// that is no keeper yet.
    Another,
}

/// A program that has been started.
#[derive(Debug)]
pub struct Started {
    /// The keeper above it.
    pub keeper: Keeper,
    /// The ends of its pipes. Not to be waited for: the reaper has done it.
    pub child: Child,
}

impl Reaper {
    /// Makes harpd the one that orphans of its calls fall to, and reaps from now on, as
    /// long as the current runtime lives. Programs start with these limits instead of
    /// harpd's own. The keepers of calls are noted, if there is a place for it.
    ///
    /// # Errors
    ///
    /// If the system refuses it, or has no /proc, without which it would not be known
    /// what is left of a call.
    pub fn start(limits: Vec<Limit>, notes: Option<KeeperNotes>) -> io::Result<Reaper> {
        std::fs::metadata("/proc/self/stat")
            .map_err(|error| io::Error::other(format!("harpd needs /proc: {error}")))?;
        // Any number but 0 means yes.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let mut child_ended = tokio::signal::unix::signal(SignalKind::child())?;
        let (orders, incoming) = mpsc::channel();
        let runtime = Handle::current();
        std::thread::Builder::new()
            .name("processes".to_owned())
            .spawn(move || follow(&incoming, &runtime, &limits, Keepers::noted_in(notes)))?;
        let reaper = Reaper {
            orders: orders.clone(),
            attending: Arc::new(Tasks::of_phase("processes")),
        };
        reaper.attend("reaping", async move {
            while child_ended.recv().await.is_some() {
                if orders.send(Order::Reap).is_err() {
                    return;
                }
            }
        });
        Ok(reaper)
    }

    /// Runs a task that attends to processes, until it is done or harpd ends.
    pub fn attend(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.attending.spawn(name, work);
    }

    /// Ends the tasks that attend to processes, and the interpreters that some of them keep:
    /// for the end of harpd, when no call runs any more.
    pub async fn end(&self) {
        self.attending.end().await;
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

    /// Takes on a keeper that has become a child of harpd, though something else has
    /// started it, with the pipe of its reports. That it is such a process is not believed
    /// but looked at: what is below it will be killed. Dropped before it is through, that
    /// is killed.
    ///
    /// # Errors
    ///
    /// There is no such process.
    pub async fn adopt(&self, keeper: Pid, reports: pipe::Receiver) -> Result<Keeper, NotAdopted> {
        let (reply, adopted) = oneshot::channel();
        // Fails if the thread is gone, as does the answer then.
        let _ = self.orders.send(Order::Adopt(keeper, reports, reply));
        adopted.await.unwrap_or(Err(NotAdopted::Ended))
    }

    /// Kills all that has come to harpd without its keeper, once, and that keeper, should
    /// it not have ended yet. Returns how many processes that were.
    pub async fn end_strays(&self, keeper: Pid) -> usize {
        let (reply, ended) = oneshot::channel();
        // Fails if the thread is gone, as does the answer then.
        let _ = self.orders.send(Order::EndStrays(keeper, reply));
        ended.await.unwrap_or(0)
    }
}

/// The thread.
fn follow(
    orders: &mpsc::Receiver<Order>,
    runtime: &Handle,
    limits: &[Limit],
    mut keepers: Keepers,
) {
    let _runtime = runtime.enter();
    while let Ok(order) = orders.recv() {
        match order {
            Order::Start(program, reply) => {
                // Below one that keeps no orphans there are keepers of their own.
                let spawned = keepers.spawn(|| program.spawn(limits), program.keeps_orphans);
                let started = spawned.and_then(|(keeper, program)| started(keeper, program));
                // If nobody is there to take it, what it has started dies with this value.
                let _ = reply.send(started);
            }
            Order::Adopt(pid, reports, reply) => {
                // What has not been reaped by now will be later, by this thread: until
                // then the number is that of this process.
                let adopted = match descendants::is_child_that_leads(pid) {
                    None => Err(NotAdopted::Ended),
                    Some(true) if keepers.adopt(pid) => Ok(Keeper::new(pid, reports)),
                    Some(_) => Err(NotAdopted::Another),
                };
                let _ = reply.send(adopted);
            }
            Order::EndStrays(keeper, reply) => {
                keepers.reap();
                // Its pipe is closed before the system gives its children to harpd, and
                // only a keeper that has been reaped has none any more.
                let unreaped = keepers.are_of(keeper);
                if unreaped {
                    // One that has ended by now is no fault.
                    let _ = rustix::process::kill_process(keeper, Signal::KILL);
                }
                let is_keeper = |pid| Pid::from_raw(pid).is_some_and(|pid| keepers.are_of(pid));
                let strays = descendants::signal_strays(is_keeper, &[Signal::KILL]);
                let strays = strays.unwrap_or_else(|error| {
                    tracing::error!(%error, "cannot look for what the calls have left");
                    0
                });
                let left = strays + usize::from(unreaped);
                if left == 0 {
                    keepers.over(keeper);
                }
                let _ = reply.send(left);
            }
            Order::Reap => keepers.reap(),
        }
    }
}

/// The children that are keepers.
struct Keepers {
    pids: HashSet<Pid>,
    notes: Option<KeeperNotes>,
}

impl Keepers {
    fn noted_in(notes: Option<KeeperNotes>) -> Keepers {
        Keepers {
            pids: HashSet::new(),
            notes,
        }
    }

    /// Starts a program. Its keeper is noted if that `is_of_call`: that there will be one
    /// before there is.
    fn spawn(
        &mut self,
        spawn: impl FnOnce() -> Result<harp_exec::Started, SpawnError>,
        is_of_call: bool,
    ) -> Result<(Pid, harp_exec::Started), SpawnError> {
        let mut notes = self.notes.as_mut().filter(|_| is_of_call);
        let slot = notes.as_mut().map(|notes| notes.starting());
        let spawned = spawn().map(|program| (Pid::from_child(&program.child), program));
        let keeper = spawned.as_ref().ok().map(|(keeper, _)| *keeper);
        if let (Some(notes), Some(slot)) = (notes, slot) {
            notes.started(slot, keeper);
        }
        self.pids.extend(keeper);
        spawned
    }

    /// Takes on a keeper; false if it is one already.
    fn adopt(&mut self, keeper: Pid) -> bool {
        let is_new = self.pids.insert(keeper);
        if is_new && let Some(notes) = &mut self.notes {
            let slot = notes.starting();
            notes.started(slot, Some(keeper));
        }
        is_new
    }

    fn are_of(&self, pid: Pid) -> bool {
        self.pids.contains(&pid)
    }

    /// Nothing is left below it.
    fn over(&mut self, keeper: Pid) {
        if let Some(notes) = &mut self.notes {
            notes.over(keeper);
        }
    }

    /// Reaps every child that has ended.
    fn reap(&mut self) {
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    // One that was killed leaves what is below it to harpd.
                    if self.pids.remove(&pid) && status.exited() {
                        self.over(pid);
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
}

/// Takes on the keeper of a program that has been started.
fn started(pid: Pid, started: harp_exec::Started) -> Result<Started, SpawnError> {
    let harp_exec::Started { child, reports } = started;
    match pipe::Receiver::from_owned_fd(reports) {
        Ok(reports) => Ok(Started {
            keeper: Keeper::new(pid, reports),
            child,
        }),
        Err(source) => {
            keeper::kill_below(pid);
            let step = Step::Keeper;
            Err(SpawnError { step, source })
        }
    }
}
