//! Orders that the operator gives by signals; the names of signals.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals of a service.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// Order of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceSignal {
    /// SIGTERM or SIGINT: stop.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

impl Signals {
    /// Catches the signals from now on; without it they would end the process.
    ///
    /// # Errors
    ///
    /// If the system refuses to register a handler.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime.
    pub fn catch() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal. Signals of one kind that come close together count as
    /// one.
    ///
    /// Cancel safe: no signal is lost.
    pub async fn next(&mut self) -> ServiceSignal {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => ServiceSignal::Stop,
            _ = self.interrupt.recv() => ServiceSignal::Stop,
            _ = self.hangup.recv() => ServiceSignal::Reload,
        }
    }

    /// Waits until told to stop. A reload that is asked for meanwhile is kept for
    /// [`Signals::next`].
    ///
    /// Cancel safe: no signal is lost.
    pub async fn stopped(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A signal's name, as `SIGTERM`.
#[must_use]
pub fn name(number: i32) -> String {
    use rustix::process::Signal;
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

#[cfg(test)]
mod tests {
    use rustix::process::{self, Signal};

    use super::*;

    #[tokio::test]
    async fn signals_become_events() {
        let mut signals = Signals::catch().unwrap();
        for (signal, event) in [
            (Signal::HUP, ServiceSignal::Reload),
            (Signal::TERM, ServiceSignal::Stop),
            (Signal::INT, ServiceSignal::Stop),
        ] {
            process::kill_process(process::getpid(), signal).unwrap();
            assert_eq!(signals.next().await, event);
        }

        for signal in [Signal::TERM, Signal::INT] {
            process::kill_process(process::getpid(), Signal::HUP).unwrap();
            process::kill_process(process::getpid(), signal).unwrap();
            signals.stopped().await;
            assert_eq!(signals.next().await, ServiceSignal::Reload);
        }
    }
}
