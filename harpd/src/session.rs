//! Session of a call, that is all processes that it has started: signalled as a whole, and
//! waited for until nothing of it is left.
//!
//! A call's command leads a session of its own, and its processes may make further sessions
//! and process groups, run as other users, and outlive their parents: `setsid`, `su`,
//! `script`, shells with job control, daemons. All of them belong to the call. Between harpd
//! and the command there is a [`Keeper`], below which they all stay, and
//! its word that nothing is left is what ends a session; that is the system's own account.
//! /proc is searched only for whom to signal, and searched again until that word has come,
//! so what forks away from a round is met by a later one.
//!
//! A keeper that was killed gives no such word. What is left of its call are children of
//! harpd then that nobody knows, and those are ended.

use std::time::Duration;

use harp_time::Limit;
use rustix::process::Signal;
use tokio::time::Instant;

use crate::descendants::{self, Round};
use crate::exit::Exit;
use crate::keeper::{Keeper, State};
use crate::reaper::Reaper;

/// Between two rounds of SIGKILL, at first and at most.
const FIRST_KILL: Duration = Duration::from_millis(1);
const KILL_EVERY: Duration = Duration::from_secs(1);
/// Times at which the log is told of processes that survive SIGKILL.
const COMPLAIN_AFTER: Duration = Duration::from_secs(10);
/// A call's command and all that descends from it. Dropped before [`Session::end`] is
/// through (a panic, the end of harpd), it is killed at once.
#[derive(Debug)]
pub struct Session {
    keeper: Keeper,
    reaper: Reaper,
}

impl Session {
    /// Session below a keeper. What is left of it if the keeper is killed is ended by the
    /// reaper.
    #[must_use]
    pub fn below(keeper: Keeper, reaper: Reaper) -> Session {
        Session { keeper, reaper }
    }

    /// Waits until the command has ended and has been reaped.
    ///
    /// Cancel safe.
    pub async fn leader_exit(&mut self) -> Exit {
        loop {
            if let Some(exit) = self.keeper.exit() {
                return exit;
            }
            if self.keeper.state() != State::Kept {
                // Nobody will ever know.
                return Exit::Signal(Signal::KILL.as_raw());
            }
            self.keeper.next().await;
        }
    }

    /// Ends all that is left: SIGTERM to all, `grace` later SIGKILL, until there is
    /// nothing. Returns then, at once if nothing is left. Does not return as long as there
    /// are processes that harpd may not signal or that survive SIGKILL.
    pub async fn end(&mut self, grace: Duration) {
        self.keeper.read_available();
        if self.keeper.state() == State::Kept {
            // A stopped process would not notice the first without the second.
            self.signal(&[Signal::TERM, Signal::CONT]).await;
            if !self.is_over_within(grace).await {
                self.kill().await;
            }
        }
        if self.keeper.state() == State::Lost {
            self.end_strays().await;
            self.keeper.nothing_is_left();
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
        while self.reaper.end_strays(self.keeper.pid()).await > 0 {
            tokio::time::sleep(pause).await;
            pause = KILL_EVERY.min(pause * 2);
        }
    }

    async fn is_over_within(&mut self, time: Duration) -> bool {
        let over = async {
            while self.keeper.state() == State::Kept {
                self.keeper.next().await;
            }
        };
        Limit::after(time).keep(over).await.is_some()
    }

    /// One round.
    async fn signal(&mut self, signals: &'static [Signal]) -> Round {
        self.keeper.read_available();
        if self.keeper.state() != State::Kept {
            return Round::default();
        }
        let keeper = self.keeper.pid();
        let round =
            tokio::task::spawn_blocking(move || descendants::signal_below(keeper, signals)).await;
        match round {
            Ok(Ok(round)) => round,
            Ok(Err(error)) => {
                tracing::error!(%error, "cannot look for the processes of a call");
                Round::default()
            }
            // The panic is in the log.
            Err(_) => Round::default(),
        }
    }
}
