//! A daemon as a process of its own, and what it logs.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait::until;

/// A running daemon. Dropping it ends the process.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: Arc<Log>,
    /// Lines of the log that are older than this process.
    older: usize,
}

/// What a daemon logged, as JSON lines; through its restarts, if it has any.
#[derive(Debug)]
pub struct Log {
    name: String,
    lines: Mutex<Vec<String>>,
}

impl Daemon {
    /// Starts a daemon that logs to its standard error.
    ///
    /// # Panics
    ///
    /// If it cannot be run.
    #[must_use]
    pub fn start(mut command: Command, log: &Arc<Log>) -> Daemon {
        let older = log.lines().len();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
        if let Some(stderr) = child.stderr.take() {
            log.collect(stderr);
        }
        Daemon {
            child,
            log: Arc::clone(log),
            older,
        }
    }

    /// The address it listens on, as soon as it does.
    ///
    /// # Panics
    ///
    /// If it ends instead.
    #[must_use]
    pub fn listening(&mut self) -> SocketAddr {
        let log = Arc::clone(&self.log);
        let older = self.older;
        until(&format!("{} listens", log.name), || {
            let address = log.entries_from(older).find_map(|entry| {
                (entry["message"] == "listening")
                    .then(|| entry["address"].as_str()?.parse().ok())?
            });
            if address.is_none() && self.has_ended() {
                panic!(
                    "{} does not start:\n{}",
                    log.name,
                    log.lines()[older..].join("\n")
                );
            }
            address
        })
    }

    /// The newest of what this process has logged with a message, if there is any.
    #[must_use]
    pub fn newest(&self, message: &str) -> Option<Value> {
        let entries = self.log.entries_from(self.older);
        entries.filter(|entry| entry["message"] == message).last()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to stop, as an administrator would.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.wait();
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// If that takes too long.
    pub fn wait(&mut self) -> ExitStatus {
        until(&format!("{} ends", self.log.name), || {
            self.child.try_wait().expect("a process of our own")
        })
    }

    /// True if it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("a process of our own")
            .is_some()
    }

    fn signal(&mut self, signal: Signal) {
        // The id is ours until the end has been waited for.
        if !self.has_ended()
            && let Some(id) = Pid::from_raw(self.child.id().cast_signed())
        {
            kill_process(id, signal).expect("a process of our own");
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A host daemon ends its procedures only when it is asked to stop.
        self.terminate();
        self.wait();
    }
}

impl Log {
    /// An empty log of a daemon that messages call by this name.
    #[must_use]
    pub fn new(name: &str) -> Arc<Log> {
        Arc::new(Log {
            name: name.to_owned(),
            lines: Mutex::default(),
        })
    }

    /// How often this message has been logged.
    #[must_use]
    pub fn count(&self, message: &str) -> usize {
        self.entries_from(0)
            .filter(|entry| entry["message"] == message)
            .count()
    }

    /// The fields of every line with this message.
    #[must_use]
    pub fn all(&self, message: &str) -> Vec<Value> {
        self.entries_from(0)
            .filter(|entry| entry["message"] == message)
            .collect()
    }

    /// Waits until this message has been logged, and returns its fields.
    #[must_use]
    pub fn wait_for(&self, message: &str) -> Value {
        until(&format!("{} logs {message:?}", self.name), || {
            self.entries_from(0)
                .find(|entry| entry["message"] == message)
        })
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// Shows it on standard error, where a failed test's output is.
    pub fn show(&self) {
        eprintln!("---- {} ----\n{}", self.name, self.text());
    }

    fn entries_from(&self, start: usize) -> impl Iterator<Item = Value> {
        let lines = self.lines()[start..].to_vec();
        lines
            .into_iter()
            .filter_map(|line| serde_json::from_str(&line).ok())
    }

    fn collect(self: &Arc<Self>, stderr: ChildStderr) {
        let log = Arc::clone(self);
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                log.lines().push(line);
            }
        });
    }

    fn lines(&self) -> MutexGuard<'_, Vec<String>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
