//! Where the dispatcher is, and the connections to it.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::BytesMut;
use harp_host::IoCode;
use harp_proto::client::{Hello, Request};
use tokio::time::Instant;

use super::pool::ConnectionPool;
use super::{Connection, Options, Target};
use crate::error::{Broken, Phase};
use crate::stats::Counters;
use crate::{Error, deadline};

/// What all handles of one dispatcher share.
#[derive(Debug)]
pub(crate) struct Site {
    /// At least one. Dispatchers that keep their jobs in one place are one to their clients.
    targets: Vec<Target>,
    pub(super) options: Options,
    pub(super) pool: ConnectionPool,
    /// The one that is tried first: the one that was there last.
    first: AtomicUsize,
    /// True once there was a connection: the address is no mistake.
    reached: AtomicBool,
    pub(super) counters: Counters,
}

impl Site {
    pub(super) fn new(targets: Vec<Target>, options: Options) -> Site {
        Site {
            targets,
            pool: ConnectionPool::new(options.pool_size),
            options,
            first: AtomicUsize::new(0),
            reached: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    /// True once there was a connection.
    pub(super) fn was_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// A new connection over which `hello` was answered; `None` if the dispatcher closed it
    /// without an answer.
    pub(super) async fn greeted(&self, deadline: Instant) -> Result<Option<Connection>, Error> {
        let mut line = BytesMut::new();
        let hello = Hello {
            client: self.options.client_name.clone(),
            token: self.options.token.clone(),
        };
        Request::Hello(hello).encode(&mut line);
        let (connection, answered) = self.open(Some(&line), deadline).await?;
        if answered {
            self.pool.forget_taciturn();
        }
        Ok(answered.then_some(connection))
    }

    /// A new connection that was not greeted.
    pub(super) async fn connect(&self, deadline: Instant) -> Result<Connection, Error> {
        let (connection, _) = self.open(None, deadline).await?;
        Ok(connection)
    }

    /// Tries the targets in turn, beginning with the one that was there last. Each has its
    /// share of the time that is left for connecting.
    async fn open(
        &self,
        hello: Option<&[u8]>,
        deadline: Instant,
    ) -> Result<(Connection, bool), Error> {
        let deadline = deadline.min(deadline::after(self.options.connect_timeout));
        let first = self.first.load(Ordering::Relaxed);
        let count = self.targets.len();
        let mut failed: Option<Error> = None;
        for tried in 0..count {
            let index = (first + tried) % count;
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(count - tried).unwrap_or(u32::MAX);
            let until = if tried + 1 == count {
                deadline
            } else {
                Instant::now() + share
            };
            let opened = Connection::open(&self.targets[index], &self.options, hello, until).await;
            let error = match opened {
                Ok(opened) => {
                    self.counters.opened_connections.count();
                    self.first.store(index, Ordering::Relaxed);
                    self.reached.store(true, Ordering::Relaxed);
                    return Ok(opened);
                }
                Err(error) => error,
            };
            self.counters.failed_connections.count();
            let was_connected = error
                .broken_at()
                .is_none_or(|broken| broken.phase == Phase::Hello);
            if was_connected {
                self.reached.store(true, Ordering::Relaxed);
            }
            let is_elsewhere = error.broken_at().is_some() || error.is_busy();
            let error = match failed.take() {
                Some(before) => error.after(&before),
                None => error,
            };
            if !is_elsewhere {
                return Err(error);
            }
            failed = Some(error);
        }
        Err(failed.unwrap_or_else(|| Error::invalid_input("the dispatcher has no address")))
    }

    /// The error of a request that had no turn in time.
    pub(super) fn no_turn(&self) -> Error {
        let broken = Broken {
            phase: Phase::Turn,
            code: IoCode::TimedOut,
            taciturn: false,
        };
        let told = format!(
            "{} requests were under way all the time; pool_size sets how many there may be",
            self.options.pool_size
        );
        Error::broken(self, broken, told)
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, target) in self.targets.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            target.address.fmt(f)?;
        }
        Ok(())
    }
}
