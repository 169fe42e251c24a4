//! The process group of one call: signalled as a whole, and waited for until nothing of
//! it is left.
//!
//! A group's number is that of its leader, and the system does not give it to a new
//! process as long as any process is in the group. Numbers are handed out in a circle, so
//! one that has become free is not seen again between two looks a few milliseconds apart;
//! and whoever leads a new group under the old number has that number, which is looked
//! for before a signal is sent.

mod members;

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{self, Pid, Signal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::reaper::Exit;

/// Between two looks whether the group is gone, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Between two SIGKILLs to what does not go away, at first and at most. Before each
/// further one /proc is searched for processes that are left and not mere zombies.
const FIRST_KILL: Duration = Duration::from_millis(100);
const KILL_EVERY: Duration = Duration::from_secs(1);
/// When to tell the log of processes that survive SIGKILL.
const COMPLAIN_AFTER: Duration = Duration::from_secs(10);

/// A process group that was started for a call. Dropped before [`Group::end`] is through
/// (a panic, the end of harpd), it is killed at once.
#[derive(Debug)]
pub struct Group {
    leader: Pid,
    /// Tells when the leader has been reaped, and is not asked again then.
    exit: oneshot::Receiver<Exit>,
    leader_exit: Option<Exit>,
    ended: bool,
}

impl Group {
    /// The group of a process that was started as its leader; `exit` is to resolve when
    /// the leader has ended and has been reaped.
    #[must_use]
    pub fn led_by(leader: Pid, exit: oneshot::Receiver<Exit>) -> Group {
        Group {
            leader,
            exit,
            leader_exit: None,
            ended: false,
        }
    }

    /// Waits until the leader has ended and has been reaped.
    ///
    /// Cancel safe.
    pub async fn leader_exit(&mut self) -> Exit {
        if let Some(exit) = self.leader_exit {
            return exit;
        }
        // The reaper outlives every call, so there is always an answer.
        let exit = (&mut self.exit).await.unwrap_or(Exit::Signal(0));
        self.leader_exit = Some(exit);
        exit
    }

    /// Ends every process of the group: SIGTERM to all, `grace` later SIGKILL. Returns
    /// when none is left; at once if there is none. Zombies count as left until they are
    /// reaped, which the [`Reaper`](crate::reaper::Reaper) does; but after SIGKILL those
    /// whose parent is a living process outside the group do not count.
    ///
    /// Dropped before it is through, the group goes on dying but is not waited for.
    pub async fn end(&mut self, grace: Duration) {
        if !self.is_empty() {
            self.signal(Signal::TERM);
            // A stopped process would not notice.
            self.signal(Signal::CONT);
            if !self.is_empty_within(grace).await {
                self.kill().await;
            }
        }
        self.ended = true;
    }

    async fn kill(&mut self) {
        let since = Instant::now();
        let mut pause = FIRST_KILL;
        let mut complained = false;
        loop {
            self.signal(Signal::KILL);
            if self.is_empty_within(pause).await || self.only_foreign_zombies_are_left().await {
                return;
            }
            pause = KILL_EVERY.min(pause * 2);
            if since.elapsed() >= COMPLAIN_AFTER && !complained {
                complained = true;
                tracing::error!(
                    group = self.leader.as_raw_nonzero(),
                    "processes of a call survive SIGKILL, still waiting for them"
                );
            }
        }
    }

    async fn only_foreign_zombies_are_left(&self) -> bool {
        let group = self.leader;
        tokio::task::spawn_blocking(move || members::are_zombies_of_others(group))
            .await
            .unwrap_or(false)
    }

    async fn is_empty_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut pause = FIRST_LOOK;
        loop {
            if self.is_empty() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
            pause = LOOK_EVERY.min(pause * 2);
        }
    }

    fn is_empty(&mut self) -> bool {
        self.number_has_a_new_owner()
            || process::test_kill_process_group(self.leader) == Err(Errno::SRCH)
    }

    fn signal(&mut self, signal: Signal) {
        if self.number_has_a_new_owner() {
            return;
        }
        match process::kill_process_group(self.leader, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::error!(
                group = self.leader.as_raw_nonzero(),
                %error,
                "cannot signal the processes of a call"
            ),
        }
    }

    fn number_has_a_new_owner(&mut self) -> bool {
        if self.leader_exit.is_none() {
            self.leader_exit = self.exit.try_recv().ok();
        }
        self.leader_exit.is_some() && process::test_kill_process(self.leader) != Err(Errno::SRCH)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command};

    use super::*;

    /// A process whose number was, as its group is told, that of a leader now reaped.
    fn innocent() -> (Child, Group) {
        let mut command = Command::new("sleep");
        let child = command.arg("1000").process_group(0).spawn().unwrap();
        let (ended, exit) = oneshot::channel();
        let group = Group::led_by(Pid::from_child(&child), exit);
        ended.send(Exit::Signal(15)).unwrap();
        (child, group)
    }

    /// True if nobody has signalled the child before.
    fn is_left_alone(mut child: Child) -> bool {
        // Signals are taken in the order of their numbers, SIGKILL before all.
        process::kill_process(Pid::from_child(&child), Signal::VTALARM).unwrap();
        child.wait().unwrap().signal() == Some(Signal::VTALARM.as_raw())
    }

    #[tokio::test]
    async fn whoever_has_the_number_after_a_leader_that_was_reaped_is_left_alone() {
        let (child, mut group) = innocent();
        let ended = tokio::time::timeout(Duration::from_secs(10), group.end(Duration::ZERO));
        ended.await.unwrap();
        drop(group);
        assert!(is_left_alone(child));

        let (child, group) = innocent();
        drop(group);
        assert!(is_left_alone(child));
    }

    #[tokio::test]
    async fn the_exit_is_told_again() {
        let (child, mut group) = innocent();
        assert_eq!(group.leader_exit().await, Exit::Signal(15));
        assert_eq!(group.leader_exit().await, Exit::Signal(15));
        drop(group);
        assert!(is_left_alone(child));
    }
}
