//! The keeper of a call, as harpd sees it: the process between harpd and the call's command,
//! which reports the command's exit and that nothing of the call is left
//! ([`harp_exec::Report`]).

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use harp_exec::Report;
use rustix::process::{Pid, Signal};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;

use crate::descendants;
use crate::exit::Exit;

/// Rounds of SIGKILL where nobody waits for the end.
const LAST_ROUNDS: u32 = 8;

/// A keeper and its reports up to now. Dropped while something may be left below it, that is
/// killed at once.
#[derive(Debug)]
pub struct Keeper {
    pid: Pid,
    pipe: pipe::Receiver,
    /// The beginning of a report, and its length.
    part: [u8; Report::SIZE],
    length: usize,
    exit: Option<Exit>,
    state: State,
}

/// What a keeper's reports say of its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is a keeper, and so something may be left.
    Kept,
    /// Nothing is left, and the keeper has said so.
    NothingLeft,
    /// The keeper has ended without a word.
    Lost,
}

impl Keeper {
    /// A keeper, which is or becomes a child of harpd and writes its reports into this pipe.
    #[must_use]
    pub fn new(pid: Pid, reports: pipe::Receiver) -> Keeper {
        Keeper {
            pid,
            pipe: reports,
            part: [0; Report::SIZE],
            length: 0,
            exit: None,
            state: State::Kept,
        }
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// How the command has ended, if that has been reported.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// What is left of its call.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Notes what somebody else has seen to in place of a keeper that is lost.
    pub fn nothing_is_left(&mut self) {
        self.state = State::NothingLeft;
    }

    /// Waits for the next report, or the end. Cancel safe.
    pub async fn next(&mut self) {
        match self.pipe.read(&mut self.part[self.length..]).await {
            Ok(count @ 1..) => self.take(count),
            Ok(0) | Err(_) => self.state = State::Lost,
        }
    }

    /// Takes what is there by now.
    pub fn read_available(&mut self) {
        while self.state == State::Kept {
            match self.pipe.try_read(&mut self.part[self.length..]) {
                Ok(count @ 1..) => self.take(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
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

impl Drop for Keeper {
    fn drop(&mut self) {
        self.read_available();
        if self.state == State::Kept {
            kill_below(self.pid);
        }
    }
}

/// Kills what is below a keeper, as far as that can be done at once. Blocks.
pub fn kill_below(keeper: Pid) {
    for _ in 0..LAST_ROUNDS {
        let round = descendants::signal_below(keeper, &[Signal::KILL]);
        if round.is_ok_and(|round| round.living == 0) {
            return;
        }
    }
}
