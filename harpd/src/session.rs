//! The session of one call: signalled as a whole, and waited for until nothing of it is
//! left.
//!
//! A call's command leads a session of its own. Its processes may make further process
//! groups, as GNU `timeout` and shells with job control do; they stay in the session.
//! Only a process that makes a session of its own leaves the call.
//!
//! A session's number is that of its leader, and the system does not give it to a new
//! process as long as any process is in the session. Numbers are handed out in a circle,
//! so one that has become free is not seen again between two looks a few milliseconds
//! apart; and whoever leads a new session under the old number has that number, which is
//! looked for before a signal is sent.

mod members;

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{self, Pid, Signal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::reaper::Exit;

/// Between two looks whether the session is gone, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Between two SIGKILLs to what does not go away, at first and at most. Before each
/// further one /proc is searched for processes that are left and not mere zombies.
const FIRST_KILL: Duration = Duration::from_millis(100);
const KILL_EVERY: Duration = Duration::from_secs(1);
/// When to tell the log of processes that survive SIGKILL.
const COMPLAIN_AFTER: Duration = Duration::from_secs(10);

/// A session that was started for a call. Dropped before [`Session::end`] is through (a
/// panic, the end of harpd), it is killed at once.
#[derive(Debug)]
pub struct Session {
    leader: Pid,
    /// Tells when the leader has been reaped, and is not asked again then.
    exit: oneshot::Receiver<Exit>,
    leader_exit: Option<Exit>,
    ended: bool,
}

impl Session {
    /// The session of a process that leads one by now, and a process group; `exit` is to
    /// resolve when the leader has ended and has been reaped.
    #[must_use]
    pub fn led_by(leader: Pid, exit: oneshot::Receiver<Exit>) -> Session {
        Session {
            leader,
            exit,
            leader_exit: None,
            ended: false,
        }
    }

    /// Whether the process is a child of harpd that leads a session and its group; `None`
    /// if there is no such process, or none any more.
    #[must_use]
    pub fn may_be_led_by(pid: Pid) -> Option<bool> {
        members::is_child_that_leads(pid)
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

    /// Ends every process of the session: SIGTERM to all, `grace` later SIGKILL. Returns
    /// when none is left; at once if there is none. Zombies count as left until they are
    /// reaped, which the [`Reaper`](crate::reaper::Reaper) does; but after SIGKILL those
    /// whose parent is a living process outside the session do not count.
    ///
    /// Dropped before it is through, the session goes on dying but is not waited for.
    pub async fn end(&mut self, grace: Duration) {
        if !self.is_empty().await {
            // A stopped process would not notice the first without the second.
            self.signal(&[Signal::TERM, Signal::CONT]).await;
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
            self.signal(&[Signal::KILL]).await;
            if self.is_empty_within(pause).await || self.only_foreign_zombies_are_left().await {
                return;
            }
            pause = KILL_EVERY.min(pause * 2);
            if since.elapsed() >= COMPLAIN_AFTER && !complained {
                complained = true;
                tracing::error!(
                    session = self.leader.as_raw_nonzero(),
                    "processes of a call survive SIGKILL, still waiting for them"
                );
            }
        }
    }

    async fn only_foreign_zombies_are_left(&self) -> bool {
        let session = self.leader;
        tokio::task::spawn_blocking(move || members::are_zombies_of_others(session))
            .await
            .unwrap_or(false)
    }

    async fn is_empty_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut pause = FIRST_LOOK;
        loop {
            if self.is_empty().await {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep_until(until.min(Instant::now() + pause)).await;
            pause = LOOK_EVERY.min(pause * 2);
        }
    }

    /// The leader's own group is asked first, since that is cheap; only when it is gone
    /// the system's processes are gone through for others of the session. False when in
    /// doubt.
    async fn is_empty(&mut self) -> bool {
        if self.number_has_a_new_owner() {
            return true;
        }
        if process::test_kill_process_group(self.leader) != Err(Errno::SRCH) {
            return false;
        }
        let session = self.leader;
        let none = tokio::task::spawn_blocking(move || members::are_none(session)).await;
        none.is_ok_and(|none| none.unwrap_or(false))
    }

    /// Signals every group of the session, the leader's first. Each group gets a signal
    /// as a whole, so none of its processes can fork away from it.
    async fn signal(&mut self, signals: &'static [Signal]) {
        if self.number_has_a_new_owner() {
            return;
        }
        let session = self.leader;
        // Fails if it panics, and then the panic is in the log.
        let _ = tokio::task::spawn_blocking(move || signal_all(session, signals)).await;
    }

    fn number_has_a_new_owner(&mut self) -> bool {
        if self.leader_exit.is_none() {
            self.leader_exit = self.exit.try_recv().ok();
        }
        self.leader_exit.is_some() && process::test_kill_process(self.leader) != Err(Errno::SRCH)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.ended && !self.number_has_a_new_owner() {
            signal_all(self.leader, &[Signal::KILL]);
        }
    }
}

/// Blocks while it goes through the system's processes.
fn signal_all(session: Pid, signals: &[Signal]) {
    signal_group(session, signals);
    match members::groups(session) {
        Ok(groups) => groups
            .into_iter()
            .filter(|group| *group != session)
            .for_each(|group| signal_group(group, signals)),
        Err(error) => tracing::error!(
            session = session.as_raw_nonzero(),
            %error,
            "cannot look for the processes of a call"
        ),
    }
}

fn signal_group(group: Pid, signals: &[Signal]) {
    for signal in signals {
        match process::kill_process_group(group, *signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::error!(
                group = group.as_raw_nonzero(),
                %error,
                "cannot signal the processes of a call"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::{Child, Command};

    use super::*;

    /// A process whose number was, as its session is told, that of a leader now reaped.
    fn innocent() -> (Child, Session) {
        let mut command = Command::new("sleep");
        let child = command.arg("1000").process_group(0).spawn().unwrap();
        let (ended, exit) = oneshot::channel();
        let session = Session::led_by(Pid::from_child(&child), exit);
        ended.send(Exit::Signal(15)).unwrap();
        (child, session)
    }

    /// True if nobody has signalled the child before.
    fn is_left_alone(mut child: Child) -> bool {
        // Signals are taken in the order of their numbers, SIGKILL before all.
        process::kill_process(Pid::from_child(&child), Signal::VTALARM).unwrap();
        child.wait().unwrap().signal() == Some(Signal::VTALARM.as_raw())
    }

    #[tokio::test]
    async fn whoever_has_the_number_after_a_leader_that_was_reaped_is_left_alone() {
        let (child, mut session) = innocent();
        let ended = tokio::time::timeout(Duration::from_secs(10), session.end(Duration::ZERO));
        ended.await.unwrap();
        drop(session);
        assert!(is_left_alone(child));

        let (child, session) = innocent();
        drop(session);
        assert!(is_left_alone(child));
    }

    #[tokio::test]
    async fn the_exit_is_told_again() {
        let (child, mut session) = innocent();
        assert_eq!(session.leader_exit().await, Exit::Signal(15));
        assert_eq!(session.leader_exit().await, Exit::Signal(15));
        drop(session);
        assert!(is_left_alone(child));
    }
}
