//! Connections whose call has ended, kept for the next one.
//!
//! One is taken only as long as everything holds that trust and the address go by: the TLS
//! configuration that it was made with is the one that a new connection would get.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use harp_host::HostError;
use harp_host::kept::{KeptConnection, News};
use harp_host::tls::Offer;
use harp_service::tasks::Tasks;
use harp_time::{Limit, within};
use rustls::ClientConfig;
use tokio::time::{Instant, sleep};

use crate::hosts::Harpd;
use crate::rules::Rules;

/// How long a connection is kept.
const KEPT: Duration = Duration::from_secs(60);

/// Of what a host keeps a call for, the part that may have passed when its request goes out:
/// the host counts from the last beat on the connection.
const PART: u32 = 4;

/// How often a host sends a beat over a connection without a call.
const BEAT: Duration = Duration::from_secs(10);

/// How often it is looked whether some are too old.
const SWEEP: Duration = Duration::from_secs(5);

/// How long a host may take for the last words of a call.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A connection to a host that keeps calls.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) connection: Box<KeptConnection>,
    /// The life of the harpd there, once it has said that.
    pub(super) boot: Option<Arc<str>>,
    /// What it was made by.
    made_by: Option<Arc<ClientConfig>>,
}

/// Connections without a call, by their hosts' names in the registry.
#[derive(Debug)]
pub(super) struct Idle {
    kept: Mutex<Kept>,
    /// What closes those that are too old, and what waits for last words. They end with this.
    tasks: Tasks,
}

impl Default for Idle {
    fn default() -> Idle {
        Idle {
            kept: Mutex::default(),
            tasks: Tasks::of_phase("connections to hosts"),
        }
    }
}

#[derive(Debug, Default)]
struct Kept {
    lines: HashMap<String, Vec<(Line, Instant)>>,
    is_swept: bool,
}

impl Line {
    /// A connection that was made just now.
    pub(super) fn new(connection: Box<KeptConnection>, made_by: Option<Arc<ClientConfig>>) -> Line {
        Line {
            connection,
            boot: None,
            made_by,
        }
    }

    /// Whether a call can be had on it: it is not closed, and the host has not gone silent.
    fn is_usable(&mut self) -> bool {
        /// More beats than can have come while it was kept.
        const MOST_BEATS: usize = 64;
        for _ in 0..MOST_BEATS {
            match self.connection.next_buffered() {
                Some(Ok(News::Beat { .. })) => {}
                Some(_) => return false,
                None => {
                    let is_silent = self.connection.broken_at() <= Instant::now();
                    return self.connection.is_idle() && !is_silent;
                }
            }
        }
        false
    }
}

/// What a connection to this host is made by now; `None` if none can be made.
///
/// # Errors
///
/// The trust files have not been read in time.
pub(super) async fn made_by(
    rules: &Rules,
    host: &Harpd,
    limit: &mut Limit,
) -> Result<Option<Arc<ClientConfig>>, HostError> {
    let config = rules
        .trust
        .client_config_offering(&host.endpoint, Offer::Kept);
    let config = limit.keep(config).await;
    let config = config.ok_or_else(|| HostError::trust_unread(&host.endpoint))?;
    // What a standstill took meanwhile is made up for, though nobody has waited since.
    limit.is_reached();
    Ok(config.ok())
}

impl Idle {
    /// A connection that can be used, the newest one, for a call that is to be kept for this
    /// time. Others that were made otherwise are closed.
    pub(super) fn take(
        &self,
        host: &str,
        made_by: Option<&Arc<ClientConfig>>,
        keep: Duration,
    ) -> Option<Line> {
        let now = Instant::now();
        let longest = match keep / PART {
            part if part < BEAT => part,
            _ => KEPT,
        };
        loop {
            // Looked at outside the lock: closing one sends something.
            let (mut line, since) = self.kept().lines.get_mut(host)?.pop()?;
            let is_same = match (made_by, &line.made_by) {
                (Some(now), Some(then)) => Arc::ptr_eq(now, then),
                _ => false,
            };
            let is_young = now.saturating_duration_since(since) < longest;
            if is_same && is_young && line.is_usable() {
                return Some(line);
            }
        }
    }

    /// Keeps a connection whose last call is over, unless there are `most` already. What is
    /// still to be sent goes out first.
    pub(super) fn put(self: &Arc<Self>, host: &str, mut line: Line, most: usize) {
        if line.connection.is_idle() {
            // Nearly always there is room for so little.
            if let Some(Err(_)) = line.connection.next_buffered() {
                return;
            }
        }
        if line.connection.is_sent() {
            return self.keep(host, line, most);
        }
        let (idle, host) = (Arc::downgrade(self), host.to_owned());
        self.tasks.spawn("last words to a host", async move {
            let by = Instant::now() + LAST_WORDS;
            if let Some(Ok(())) = within(by, line.connection.flush()).await
                && let Some(idle) = idle.upgrade()
            {
                idle.keep(&host, line, most);
            }
        });
    }

    fn keep(self: &Arc<Self>, host: &str, line: Line, most: usize) {
        // What the host counts from is on no other.
        let may_be_kept = line.connection.is_idle() && line.connection.had_call();
        if !may_be_kept || most == 0 {
            return;
        }
        let mut kept = self.kept();
        let lines = match kept.lines.get_mut(host) {
            Some(lines) => lines,
            None => kept.lines.entry(host.to_owned()).or_default(),
        };
        if lines.len() >= most {
            drop(kept);
            return drop(line);
        }
        lines.push((line, Instant::now()));
        if !std::mem::replace(&mut kept.is_swept, true) {
            let sweeping = sweep(Arc::downgrade(self));
            self.tasks.spawn("idle connections", sweeping);
        }
    }

    /// A connection to this host has broken: the others are not trusted either.
    pub(super) fn forget(&self, host: &str) {
        let lines = self.kept().lines.remove(host);
        drop(lines);
    }

    /// Closes what is too old. False if nothing is left.
    fn close_old(&self) -> bool {
        let now = Instant::now();
        let mut old = Vec::new();
        let mut kept = self.kept();
        kept.lines.retain(|_, lines| {
            let is_old = |since: Instant| now.saturating_duration_since(since) >= KEPT;
            // The oldest come first.
            let young = lines.partition_point(|(_, since)| is_old(*since));
            old.extend(lines.drain(..young));
            !lines.is_empty()
        });
        kept.is_swept = !kept.lines.is_empty();
        let is_left = kept.is_swept;
        drop(kept);
        drop(old);
        is_left
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // A std mutex: held for moving a few things, never across an await.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what is too old, until nothing is left.
async fn sweep(idle: Weak<Idle>) {
    loop {
        sleep(SWEEP).await;
        match idle.upgrade() {
            Some(idle) if idle.close_old() => {}
            _ => return,
        }
    }
}
