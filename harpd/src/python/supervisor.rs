//! Keeps a fork server running, and has it fork.

use std::os::fd::OwnedFd;
use std::time::Duration;

use harp_proto::{Failure, error_type};
use harp_time::Limit;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, info};

use super::PythonSettings;
use super::server::Server;
use crate::reaper::{NotAdopted, Reaper};
use crate::session::Session;

/// Requests that wait while one is served.
const WAITING: usize = 64;
/// A fork server that has not answered by then is given up.
const FORK_TIME: Duration = Duration::from_secs(10);
/// Between the end of one fork server and the start of the next: none at first, then
/// from the first pause on twice as long each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// One that has lived this long has not failed in a row with the one before.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// A handle to a task that has one interpreter, or starts another when it has ended. When
/// the handle is dropped, the interpreter ends; calls that run go on.
#[derive(Debug)]
pub(super) struct ForkServer {
    requests: mpsc::Sender<Request>,
}

/// A call that is to be forked: its ends of its pipes, and harpd's of the last one.
#[derive(Debug)]
struct Request {
    pipes: [OwnedFd; 4],
    reports: pipe::Receiver,
    answer: oneshot::Sender<Result<Session, Failure>>,
}

/// The task.
#[derive(Debug)]
struct Supervisor {
    settings: PythonSettings,
    reaper: Reaper,
    requests: mpsc::Receiver<Request>,
    state: State,
    /// Ends in a row.
    failures: u32,
}

#[derive(Debug)]
enum State {
    Running {
        server: Server,
        since: Instant,
    },
    /// Between two.
    Pausing {
        until: Instant,
        /// What calls are told meanwhile.
        why: Failure,
    },
}

impl ForkServer {
    pub(super) fn new(settings: PythonSettings, server: Server, reaper: Reaper) -> ForkServer {
        let (sender, requests) = mpsc::channel(WAITING);
        let attending = reaper.clone();
        let supervisor = Supervisor {
            settings,
            reaper,
            requests,
            state: State::Running {
                server,
                since: Instant::now(),
            },
            failures: 0,
        };
        attending.attend("a Python interpreter", supervisor.run());
        ForkServer { requests: sender }
    }

    /// Forks a call's process with these pipes: its input, answer, what is printed, and
    /// the reports of its keeper, which are read here. Dropped before it is through, the
    /// process is killed.
    pub(super) async fn fork(
        &self,
        pipes: [OwnedFd; 4],
        reports: pipe::Receiver,
    ) -> Result<Session, Failure> {
        let (answer, forked) = oneshot::channel();
        let request = Request {
            pipes,
            reports,
            answer,
        };
        let gone = || system_error("the task that keeps the interpreter is gone");
        self.requests.send(request).await.map_err(|_| gone())?;
        forked.await.map_err(|_| gone())?
    }
}

impl Supervisor {
    async fn run(mut self) {
        loop {
            match &mut self.state {
                State::Running { server, .. } => tokio::select! {
                    request = self.requests.recv() => match request {
                        Some(request) => self.serve(request).await,
                        None => break,
                    },
                    how = server.ended() => {
                        self.pause(system_error(format!("the Python interpreter ended: {how}")));
                    }
                },
                State::Pausing { until, why } => {
                    let until = *until;
                    tokio::select! {
                        biased;
                        () = tokio::time::sleep_until(until) => self.start().await,
                        request = self.requests.recv() => match request {
                            // The call that has asked may have gone.
                            Some(request) => drop(request.answer.send(Err(why.clone()))),
                            None => return,
                        },
                    }
                }
            }
        }
        if let State::Running { server, .. } = self.state {
            server.leave().await;
        }
    }

    async fn serve(&mut self, request: Request) {
        let State::Running { server, .. } = &mut self.state else {
            return;
        };
        if request.answer.is_closed() {
            // Given up while another was served.
            return;
        }
        let forked = Limit::after(FORK_TIME)
            .keep(server.fork(&request.pipes))
            .await;
        let failure = match forked {
            Some(Ok(Ok(pid))) => match self.reaper.adopt(pid, request.reports).await {
                // If nobody is there to take it, the session dies with this value.
                Ok(keeper) => {
                    let session = Session::below(keeper, self.reaper.clone());
                    return drop(request.answer.send(Ok(session)));
                }
                Err(NotAdopted::Ended) => {
                    let failure = system_error("the call's process ended before it began");
                    return drop(request.answer.send(Err(failure)));
                }
                Err(NotAdopted::Another) => system_error(format!(
                    "the Python interpreter named process {}, which is no new call's keeper",
                    pid.as_raw_nonzero()
                )),
            },
            Some(Ok(Err(why))) => {
                let failure = system_error(format!("the Python interpreter: {why}"));
                return drop(request.answer.send(Err(failure)));
            }
            Some(Err(error)) => system_error(format!("cannot talk to the interpreter: {error}")),
            None => system_error(format!(
                "the Python interpreter did not fork within {} s",
                FORK_TIME.as_secs()
            )),
        };
        let _ = request.answer.send(Err(failure.clone()));
        self.pause(failure);
    }

    /// The server is not, or no longer, of use.
    fn pause(&mut self, why: Failure) {
        if let State::Running { since, .. } = &self.state
            && since.elapsed() >= LONG_LIFE
        {
            self.failures = 0;
        }
        let pause = match self.failures {
            0 => Duration::ZERO,
            more => LONGEST_PAUSE.min(FIRST_PAUSE * 2u32.saturating_pow((more - 1).min(16))),
        };
        self.failures += 1;
        let paused = State::Pausing {
            until: Instant::now() + pause,
            why: why.clone(),
        };
        if let State::Running { server, .. } = std::mem::replace(&mut self.state, paused) {
            let ending = server.kill();
            self.reaper
                .attend("the end of a Python interpreter", ending);
        }
        error!(
            module = %self.settings.module.display(),
            why = why.message,
            seconds = pause.as_secs_f64(),
            "a Python interpreter is started again"
        );
    }

    /// Starts another. Calls that come meanwhile wait for it, 10 s at most.
    async fn start(&mut self) {
        match Server::start(&self.settings, &self.reaper).await {
            // What it lists now is known at the next reload.
            Ok((server, _)) => {
                info!(module = %self.settings.module.display(), "Python module imported again");
                self.state = State::Running {
                    server,
                    since: Instant::now(),
                };
            }
            Err(error) => self.pause(Failure::new(
                error_type::PROCEDURE_LOADING_ERROR,
                error.to_string(),
            )),
        }
    }
}

fn system_error(message: impl Into<String>) -> Failure {
    Failure::new(error_type::SYSTEM_ERROR, message)
}
