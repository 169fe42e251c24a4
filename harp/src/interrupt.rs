//! Ctrl-C and SIGTERM: what becomes of jobs that have not ended (harp(1), INTERRUPTS).
//!
//! [`supervise`] runs the command's work and turns signals into an [`Order`], which
//! every call that is under way heeds. While the operator is asked, the work rests: its
//! packets wait at the dispatcher.

use std::fs::File;
use std::future::Future;
use std::io::{self, BufRead, IsTerminal};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::pin::pin;
use std::thread;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use crate::command_line::OnInterrupt;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::screen::Screen;

/// Order to the calls that are under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    GoOn,
    /// Cancel the job and see what becomes of it; call no further host.
    Cancel,
    /// Leave the job to itself; call no further host.
    Detach,
}

/// Channel by which calls hear their orders.
#[derive(Debug, Clone)]
pub(crate) struct Orders(watch::Receiver<Order>);

impl Orders {
    /// The order in force.
    pub(crate) fn current(&self) -> Order {
        *self.0.borrow()
    }

    /// The order in force; [`next`](Orders::next) waits for one after it.
    pub(crate) fn newest(&mut self) -> Order {
        *self.0.borrow_and_update()
    }

    /// The next order; for ever if none comes. Cancel safe.
    pub(crate) async fn next(&mut self) -> Order {
        match self.0.changed().await {
            Ok(()) => *self.0.borrow_and_update(),
            Err(_) => std::future::pending().await,
        }
    }
}

/// Runs `work`, which obeys the orders it is given, until it ends. `question` says what
/// is under way, for the operator to decide about.
///
/// The first signal asks on a terminal and otherwise does what `policy` says; the second
/// detaches; the third, if the work does not end, gives up.
///
/// # Errors
///
/// Those of `work`, and if signals cannot be caught.
pub(crate) async fn supervise<W>(
    screen: &Screen,
    policy: OnInterrupt,
    question: impl Fn() -> String,
    work: impl FnOnce(Orders) -> W,
) -> Result<Exit, Problem>
where
    W: Future<Output = Result<Exit, Problem>>,
{
    let mut signals = Signals::catch()?;
    let (orders, heard) = watch::channel(Order::GoOn);
    let mut work = pin!(work(Orders(heard)));
    let mut interrupts = 0_u32;
    loop {
        let terminated = tokio::select! {
            ended = &mut work => return ended,
            terminated = signals.next() => terminated,
        };
        interrupts += 1;
        let order = match (interrupts, policy) {
            (1, OnInterrupt::Cancel) => Order::Cancel,
            (1, OnInterrupt::Ask) if !terminated && can_ask() => {
                screen.ask(&format!(
                    "{}\nCancel (c), detach and let it go on (d), or keep waiting (Enter)?",
                    question()
                ));
                let answer = tokio::select! {
                    order = answer() => Some(order),
                    _ = signals.next() => None,
                };
                screen.answered(answer.is_none());
                interrupts += u32::from(answer.is_none());
                answer.unwrap_or(Order::Detach)
            }
            (1 | 2, _) => Order::Detach,
            _ => {
                return Err(Problem::new(
                    Exit::Interrupted,
                    "given up; a call that was being submitted may have been accepted",
                ));
            }
        };
        orders.send_replace(order);
    }
}

/// True if there is somebody to ask, and nobody else whose keys and screen these are: a
/// program that reads our output through a pipe, such as a pager, has the terminal.
fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal() && !is_piped(io::stdout())
}

/// True if the output goes to another program. False when in doubt.
fn is_piped(output: impl AsFd) -> bool {
    let kind = output
        .as_fd()
        .try_clone_to_owned()
        .and_then(|output| File::from(output).metadata())
        .map(|output| output.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_socket())
}

/// Reads the operator's choice; end of file detaches.
async fn answer() -> Order {
    let (sender, receiver) = oneshot::channel();
    // Not on the runtime's threads: it may never come back.
    thread::spawn(move || {
        let mut line = String::new();
        let order = match io::stdin().lock().read_line(&mut line) {
            Ok(0) | Err(_) => Order::Detach,
            Ok(_) => match line.trim().to_lowercase().as_str() {
                "c" | "cancel" => Order::Cancel,
                "d" | "detach" => Order::Detach,
                _ => Order::GoOn,
            },
        };
        // Nobody listens any more if a second Ctrl-C was quicker.
        let _ = sender.send(order);
    });
    receiver.await.unwrap_or(Order::Detach)
}

/// Ctrl-C and SIGTERM, caught.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub(crate) fn catch() -> Result<Signals, Problem> {
        let catch = |kind| {
            signal(kind).map_err(|error| {
                Problem::new(Exit::Output, format!("cannot catch signals: {error}"))
            })
        };
        Ok(Signals {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
        })
    }

    /// Waits for a signal; true for SIGTERM. Cancel safe.
    pub(crate) async fn next(&mut self) -> bool {
        tokio::select! {
            _ = self.interrupt.recv() => false,
            _ = self.terminate.recv() => true,
        }
    }
}
