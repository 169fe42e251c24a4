//! Session of a call, that is all processes that it has started: signalled as a whole, and
//! waited for until nothing of it is left.
//!
//! A call's command leads a session of its own, and its processes may make further sessions
//! and process groups, run as other users, and outlive their parents: `setsid`, `su`,
//! `script`, shells with job control, daemons. All of them belong to the call. Between harpd
//! and the command there is a keeper ([`harp_exec::Report`]), below which they all stay, and
//! its word that nothing is left is what ends a session; that is the system's own account.
//! /proc is searched only for whom to signal, and searched again until that word has come,
//! so what forks away from a round is met by a later one.
//!
//! A keeper that was killed gives no such word. What is left of its call are children of
//! harpd then that nobody knows, and those are ended.

mod descendants;

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use harp_exec::Report;
use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::time::Instant;

pub(crate) use descendants::signal_strays;

use crate::limit::{self, Limit};
use crate::reaper::{Exit, Reaper};

/// Between two rounds of SIGKILL, at first and at most.
const FIRST_KILL: Duration = Duration::from_millis(1);
const KILL_EVERY: Duration = Duration::from_secs(1);
/// Times at which the log is told of processes that survive SIGKILL.
const COMPLAIN_AFTER: Duration = Duration::from_secs(10);
/// Rounds of SIGKILL where nobody waits for the end.
const LAST_ROUNDS: u32 = 8;

/// A call's command and all that descends from it. Dropped before [`Session::end`] is
/// through (a panic, the end of harpd), it is killed at once.
#[derive(Debug)]
pub struct Session {
    keeper: Pid,
    reports: Reports,
    reaper: Reaper,
}

/// Reports of the keeper up to now.
#[derive(Debug)]
struct Reports {
    pipe: pipe::Receiver,
    /// The beginning of a report, and its length.
    part: [u8; Report::SIZE],
    length: usize,
    exit: Option<Exit>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// There is a keeper, and so something may be left.
    Kept,
    /// Nothing is left, and the keeper has said so.
    NothingLeft,
    /// The keeper has ended without a word.
    Lost,
}

impl Session {
    /// Session below a keeper, which is or becomes a child of harpd and writes its reports
    /// into this pipe.
    #[must_use]
    pub fn below(keeper: Pid, reports: pipe::Receiver, reaper: Reaper) -> Session {
        let reports = Reports {
            pipe: reports,
            part: [0; Report::SIZE],
            length: 0,
            exit: None,
            state: State::Kept,
        };
        Session {
            keeper,
            reports,
            reaper,
        }
    }

    /// Whether the process is a child of harpd that leads a session and its group; `None`
    /// if there is no such process, or none any more.
    #[must_use]
    pub fn may_have_keeper(pid: Pid) -> Option<bool> {
        descendants::is_child_that_leads(pid)
    }

    /// Waits until the command has ended and has been reaped.
    ///
    /// Cancel safe.
    pub async fn leader_exit(&mut self) -> Exit {
        loop {
            if let Some(exit) = self.reports.exit {
                return exit;
            }
            if self.reports.state != State::Kept {
                // Nobody will ever know.
                return Exit::Signal(Signal::KILL.as_raw());
            }
            self.reports.next().await;
        }
    }

    /// Ends all that is left: SIGTERM to all, `grace` later SIGKILL, until there is
    /// nothing. Returns then, at once if nothing is left. Does not return as long as there
    /// are processes that harpd may not signal or that survive SIGKILL.
    pub async fn end(&mut self, grace: Duration) {
        self.reports.read_available();
        if self.reports.state == State::Kept {
            // A stopped process would not notice the first without the second.
            self.signal(&[Signal::TERM, Signal::CONT]).await;
            if !self.is_over_within(grace).await {
                self.kill().await;
            }
        }
        if self.reports.state == State::Lost {
            self.end_strays().await;
            self.reports.state = State::NothingLeft;
        }
    }

    async fn kill(&mut self) {
        let since = Instant::now();
        let mut pause = FIRST_KILL;
        let mut complained = false;
        let mut forbidden = 0;
        loop {
            let round = self.signal(&[Signal::KILL]).await;
            if round.forbidden > forbidden {
                tracing::error!(
                    processes = round.forbidden,
                    "harpd may not signal some processes of a call and waits until they end"
                );
                forbidden = round.forbidden;
            }
            if self.is_over_within(pause).await {
                return;
            }
            pause = KILL_EVERY.min(pause * 2);
            if since.elapsed() >= COMPLAIN_AFTER && forbidden == 0 && !complained {
                complained = true;
                tracing::error!(
                    processes = round.living,
                    "processes of a call survive SIGKILL, still waiting for them"
                );
            }
        }
    }

    /// Without its keeper nobody can say which processes were this call's. They are among
    /// those that have come to harpd instead, and all of these are ended.
    async fn end_strays(&mut self) {
        tracing::error!("the keeper of a call was killed, ending what is nobody's");
        let mut pause = FIRST_KILL;
        while self.reaper.end_strays(self.keeper).await > 0 {
            tokio::time::sleep(pause).await;
            pause = KILL_EVERY.min(pause * 2);
        }
    }

    async fn is_over_within(&mut self, time: Duration) -> bool {
        let over = async {
            while self.reports.state == State::Kept {
                self.reports.next().await;
            }
        };
        limit::within(Limit::after(time), over).await.is_some()
    }

    /// One round.
    async fn signal(&mut self, signals: &'static [Signal]) -> descendants::Round {
        self.reports.read_available();
        if self.reports.state != State::Kept {
            return descendants::Round::default();
        }
        let keeper = self.keeper;
        let round =
            tokio::task::spawn_blocking(move || descendants::signal_below(keeper, signals)).await;
        match round {
            Ok(Ok(round)) => round,
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot look for the processes of a call");
                descendants::Round::default()
            }
            // The panic is in the log.
            Err(_) => descendants::Round::default(),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.reports.read_available();
        if self.reports.state == State::Kept {
            kill_below(self.keeper);
        }
    }
}

/// Kills what is below a keeper, as far as that can be done at once. Blocks.
pub(crate) fn kill_below(keeper: Pid) {
    for _ in 0..LAST_ROUNDS {
        let round = descendants::signal_below(keeper, &[Signal::KILL]);
        if round.is_ok_and(|round| round.living == 0) {
            return;
        }
    }
}

impl Reports {
    /// Waits for the next report, or the end. Cancel safe.
    async fn next(&mut self) {
        match self.pipe.read(&mut self.part[self.length..]).await {
            Ok(count @ 1..) => self.take(count),
            Ok(0) | Err(_) => self.state = State::Lost,
        }
    }

    /// Takes what is there by now.
    fn read_available(&mut self) {
        while self.state == State::Kept {
            match self.pipe.try_read(&mut self.part[self.length..]) {
                Ok(count @ 1..) => self.take(count),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => self.state = State::Lost,
            }
        }
    }

    fn take(&mut self, count: usize) {
        self.length += count;
        if self.length < Report::SIZE {
            return;
        }
        self.length = 0;
        match Report::decode(self.part) {
            Some(Report::Started(_)) => {}
            Some(Report::Ended(status)) => self.exit = Some(ExitStatus::from_raw(status).into()),
            Some(Report::NothingLeft) => self.state = State::NothingLeft,
            // No keeper writes this, so it is none.
            None => self.state = State::Lost,
        }
    }
}
