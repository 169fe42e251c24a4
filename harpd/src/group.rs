//! The process group of one call: signalled as a whole, and waited for until nothing of
//! it is left.
//!
//! A group's number is that of its leader, and the system does not give it to a new
//! process as long as any process is in the group. Numbers are handed out in a circle, so
//! one that has become free is not seen again between two looks a few milliseconds apart;
//! and whoever leads a new group under the old number has that number, which is looked
//! for before a signal is sent.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{self, Pid, Signal};
use tokio::time::Instant;

/// Between two looks whether the group is gone, at first and at most.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Between two SIGKILLs to what does not go away.
const KILL_EVERY: Duration = Duration::from_secs(1);
/// When to tell the log of processes that survive SIGKILL.
const COMPLAIN_AFTER: Duration = Duration::from_secs(10);

/// A process group that was started for a call. Dropped before [`Group::end`] is through
/// (a panic, the end of harpd), it is killed at once.
#[derive(Debug)]
pub struct Group {
    leader: Pid,
    leader_reaped: bool,
    ended: bool,
}

impl Group {
    /// The group of a process that was started as its leader.
    #[must_use]
    pub fn led_by(leader: Pid) -> Group {
        Group {
            leader,
            leader_reaped: false,
            ended: false,
        }
    }

    /// The leader has ended and has been reaped.
    pub fn leader_was_reaped(&mut self) {
        self.leader_reaped = true;
    }

    /// Ends every process of the group: SIGTERM to all, `grace` later SIGKILL. Returns
    /// when none is left; at once if there is none. Zombies count as left until they are
    /// reaped, which the [`Reaper`](crate::reaper::Reaper) does.
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

    async fn kill(&self) {
        let since = Instant::now();
        let mut complained = false;
        loop {
            self.signal(Signal::KILL);
            if self.is_empty_within(KILL_EVERY).await {
                return;
            }
            if since.elapsed() >= COMPLAIN_AFTER && !complained {
                complained = true;
                tracing::error!(
                    group = self.leader.as_raw_nonzero(),
                    "processes of a call survive SIGKILL, still waiting for them"
                );
            }
        }
    }

    async fn is_empty_within(&self, time: Duration) -> bool {
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

    fn is_empty(&self) -> bool {
        self.number_has_a_new_owner()
            || process::test_kill_process_group(self.leader) == Err(Errno::SRCH)
    }

    fn signal(&self, signal: Signal) {
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

    fn number_has_a_new_owner(&self) -> bool {
        self.leader_reaped && process::test_kill_process(self.leader) != Err(Errno::SRCH)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.ended {
            self.signal(Signal::KILL);
        }
    }
}
