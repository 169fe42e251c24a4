//! Workers: programs that fetch the jobs of a service from a dispatcher and answer them, from
//! wherever they can reach its HTTP listener.
//!
//! ```no_run
//! # async fn example(token: String) -> Result<(), harp_client::Error> {
//! use harp_client::worker::Worker;
//! use harp_client::{Failure, Tls};
//!
//! let worker = Worker::builder("https://dispatcher.example.net:3580", "spectrometer")
//!     .tls(Tls::ca_file("/etc/harp/ca.pem"))
//!     .token(token)
//!     .name("bench 7")
//!     .build()?;
//! loop {
//!     let mut job = worker.next().await?;
//!     let (sample, times): (String, u32) = match job.arguments().decode() {
//!         Ok(arguments) => arguments,
//!         Err(error) => {
//!             let failure = Failure::new("invalid_argument_list", error.to_string());
//!             job.fail(failure).await?;
//!             continue;
//!         }
//!     };
//!     for time in 0..times {
//!         job.packet(&format!("{sample}: measured {time}")).await?;
//!     }
//!     job.finish(&times).await?;
//! }
//! # }
//! ```
//!
//! A job that was fetched is this worker's alone, and is never given to another, even if
//! nobody answers it. While a [`Job`] is there, a task in the background tells the dispatcher
//! so; when it is dropped without an answer, its lease runs out and the job ends with an error.
//! [`Job::lost`] says when it has ended otherwise: it was cancelled, a limit of time has
//! passed, or the dispatcher has not heard of the worker for longer than the lease.
//!
//! A dispatcher that is away is looked for, and nothing that was told is told twice: packets
//! have numbers, and an outcome is said again until it is on the dispatcher's disk. A worker
//! goes on with its job meanwhile, since leases start anew when the dispatcher does.

mod job;
mod link;
mod url;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use harp_host::race::Answered;
use harp_proto::{Json, Password};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::dispatcher::{OnLost, Protection, Reconnect};
use crate::{Error, Tls, token};
pub use job::{Job, Lost};
use link::Link;
use url::Url;

/// How long the dispatcher holds a request for a job while there is none; its longest.
const WAIT: Duration = Duration::from_secs(60);

/// An answer that there is no job, and came sooner, is that of a dispatcher that is stopping.
const SOON: Duration = Duration::from_secs(1);

/// A worker of a service. Cheap to clone; clones are the same worker, and each can have a job.
#[derive(Clone)]
pub struct Worker {
    shared: Arc<Shared>,
}

/// Sets up a [`Worker`].
#[derive(Debug, Clone)]
#[must_use]
pub struct WorkerBuilder {
    url: String,
    service: String,
    name: Option<String>,
    lease: Duration,
    tls: Option<Tls>,
    token: Option<Password>,
    token_without_tls: bool,
    connect_timeout: Duration,
    request_timeout: Duration,
    reconnect_for: Duration,
    on_lost: Option<OnLost>,
}

#[derive(Debug)]
struct Shared {
    link: Link,
    /// The path of its claims.
    claims: String,
    /// What is said to claim.
    claim: Bytes,
    lease: Duration,
    reconnect_for: Duration,
    on_lost: Option<OnLost>,
    reached: AtomicBool,
    /// Keys under which a job may have been claimed of which nobody here was told.
    keys: Mutex<Vec<String>>,
}

/// A question for a job, under a key of its own: asked again, it comes to the same job.
struct Claiming<'s> {
    shared: &'s Shared,
    /// `None` if this system has no chance to make one of.
    key: Option<String>,
    has_job: bool,
}

#[derive(Serialize)]
struct ClaimBody<'a> {
    worker: Option<&'a str>,
    lease: u64,
}

#[derive(Deserialize)]
struct Claimed {
    claim: String,
    job: ClaimedJob,
}

/// What of a job a worker needs.
#[derive(Debug, Deserialize)]
struct ClaimedJob {
    id: harp_proto::JobId,
    arguments: Json,
    #[serde(default)]
    info: Option<Json>,
}

impl Worker {
    /// A worker for a service, by its id or by a name that it alone has, of the dispatcher
    /// whose HTTP listener is at this URL: `http://HOST[:PORT]`, `https://HOST[:PORT]`, either
    /// with a path if a proxy has put one before it, or `unix:/PATH` on its own machine.
    /// Nothing is connected before the first request.
    pub fn builder(url: impl Into<String>, service: impl Into<String>) -> WorkerBuilder {
        WorkerBuilder {
            url: url.into(),
            service: service.into(),
            name: None,
            lease: Duration::from_secs(60),
            tls: None,
            token: None,
            token_without_tls: false,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(60),
            reconnect_for: Duration::MAX,
            on_lost: None,
        }
    }

    /// The next job of the service, as soon as there is one. It has started with that, and is
    /// this worker's.
    ///
    /// Dropping the future closes the connection and loses nothing: a job that the dispatcher
    /// was about to hand over is the next one that this worker gets. If it asks for none any
    /// more, that job ends with an error when its lease is over. A program that is to stop
    /// between jobs asks by [`Worker::next_within`], and stops between two questions.
    ///
    /// # Errors
    ///
    /// If the dispatcher was never reached and cannot be, or for longer than
    /// [`reconnect_for`](WorkerBuilder::reconnect_for); if it refuses: it has no such service
    /// (`unknown_service`), or this client may not work for it (`forbidden`, `unauthorized`).
    pub async fn next(&self) -> Result<Job, Error> {
        loop {
            if let Some(job) = self.next_within(WAIT).await? {
                return Ok(job);
            }
        }
    }

    /// Waits for the next job for so long; `None` if none came. Whole seconds count, and 60 at
    /// most.
    ///
    /// # Errors
    ///
    /// As for [`Worker::next`].
    pub async fn next_within(&self, wait: Duration) -> Result<Option<Job>, Error> {
        let shared = &self.shared;
        let wait = Duration::from_secs(wait.as_secs().min(WAIT.as_secs()));
        let path = match wait.as_secs() {
            0 => shared.claims.clone(),
            seconds => format!("{}?wait={seconds}", shared.claims),
        };
        let mut reconnect = shared.reconnect();
        let claiming = Claiming::begin(shared);
        loop {
            let begun = Instant::now();
            let key = claiming.key.as_deref();
            let asked = shared.link.post(&path, key, shared.claim.clone(), wait);
            let error = match asked.await {
                Ok(reply) if reply.status == hyper::StatusCode::NO_CONTENT => {
                    shared.is_reached();
                    if !wait.is_zero() && begun.elapsed() < SOON.min(wait) {
                        sleep(SOON).await;
                    }
                    return Ok(None);
                }
                Ok(reply) => {
                    shared.is_reached();
                    let claimed: Claimed = serde_json::from_slice(&reply.body)
                        .map_err(|error| shared.link.malformed(&error).with_source(error))?;
                    claiming.has_job();
                    return Ok(Some(Job::new(shared, claimed.claim, claimed.job)));
                }
                Err(error) => error,
            };
            if error.wire_type().is_some() {
                // It is there, and says so.
                reconnect.opened(Instant::now());
            }
            sleep(reconnect.after(error)?).await;
        }
    }
}

impl<'s> Claiming<'s> {
    fn begin(shared: &'s Shared) -> Claiming<'s> {
        let key = shared.keys().pop();
        Claiming {
            shared,
            key: key.or_else(new_key),
            has_job: false,
        }
    }

    /// A job has come under the key, which stands for that one.
    fn has_job(mut self) {
        self.has_job = true;
    }
}

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key.take().filter(|_| !self.has_job) {
            self.shared.keys().push(key);
        }
    }
}

/// A key that nobody else has.
fn new_key() -> Option<String> {
    let mut bytes = [0; 16];
    let provider = rustls::crypto::ring::default_provider();
    provider.secure_random.fill(&mut bytes).ok()?;
    Some(format!("{:032x}", u128::from_be_bytes(bytes)))
}

impl Shared {
    fn keys(&self) -> MutexGuard<'_, Vec<String>> {
        // A std mutex: held for a moment.
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about the attempts of one request.
    fn reconnect(&self) -> Reconnect {
        let reconnect = if self.reached.load(Ordering::Relaxed) {
            Reconnect::reached(self.reconnect_for)
        } else {
            Reconnect::new(self.reconnect_for)
        };
        reconnect.through_outages().telling(self.on_lost.clone())
    }

    fn is_reached(&self) {
        self.reached.store(true, Ordering::Relaxed);
    }
}

impl WorkerBuilder {
    /// The name by which people tell workers apart; it stands with the job and proves nothing.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How long the dispatcher may hear nothing of a worker that has a job before it ends that
    /// with an error; 60 s by default, whole seconds and at least one.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// Which certificate the dispatcher must have, and what this client shows; needed for
    /// `https://`.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Authenticates with this token.
    pub fn token(mut self, token: impl Into<Password>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Sends the token without TLS too, so that anybody on the way can read it. It is not
    /// needed where the dispatcher is on this machine.
    pub fn token_without_tls(mut self) -> Self {
        self.token_without_tls = true;
        self
    }

    /// How long resolving, connecting and the TLS handshake may take together; 10 s by
    /// default.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long an answer may take, beside the time that the dispatcher waits for a job; 60 s
    /// by default.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// How long a dispatcher that was reached once and is away is looked for; for ever by
    /// default.
    pub fn reconnect_for(mut self, limit: Duration) -> Self {
        self.reconnect_for = limit;
        self
    }

    /// Has a function told each time when the dispatcher was lost, or asked to try again
    /// later, and is about to be asked once more: what went wrong, and how long that waits. It
    /// must not block.
    pub fn on_lost(mut self, told: impl Fn(&Error, Duration) + Send + Sync + 'static) -> Self {
        self.on_lost = Some(OnLost::new(told));
        self
    }

    /// The worker.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the URL has none of the
    /// [forms](Worker::builder), `https://` comes without [`tls`](WorkerBuilder::tls) or the
    /// other way round, a file of that cannot be used, or a token would go over the network
    /// without TLS.
    pub fn build(self) -> Result<Worker, Error> {
        let url = Url::read(&self.url)?;
        let protection = match (self.tls, url.is_tls) {
            (Some(tls), true) => tls.build(&url.address)?,
            (None, false) => Protection::Plain,
            (None, true) => {
                return Err(Error::invalid_input(format!(
                    "dispatcher URL {:?}: which certificate it must have is not said; add \
                     .tls(Tls::ca_file(\"...\"))",
                    self.url
                )));
            }
            (Some(_), false) => {
                return Err(Error::invalid_input(format!(
                    "dispatcher URL {:?}: has no TLS, and .tls(...) says that it has; write \
                     https:// there",
                    self.url
                )));
            }
        };
        if let Some(token) = &self.token {
            token::check(token)?;
        }
        let is_open = !url.is_tls && !url.address.is_loopback();
        if self.token.is_some() && is_open && !self.token_without_tls {
            return Err(Error::invalid_input(
                "token: would go over the network without TLS; use https:// and \
                 .tls(Tls::ca_file(\"...\")), or .token_without_tls() if nobody else is on that \
                 network",
            ));
        }
        let claim = ClaimBody {
            worker: self.name.as_deref(),
            lease: self.lease.as_secs().max(1),
        };
        let claim = serde_json::to_vec(&claim)
            .map_err(|error| Error::invalid_input("name").with_source(error))?;
        let shared = Shared {
            link: Link {
                url,
                protection,
                token: self.token,
                connect_timeout: self.connect_timeout,
                request_timeout: self.request_timeout,
                answered: Answered::default(),
                idle: Mutex::default(),
            },
            claims: format!("/services/{}/claims", in_path(&self.service)),
            claim: claim.into(),
            lease: Duration::from_secs(self.lease.as_secs().max(1)),
            reconnect_for: self.reconnect_for,
            on_lost: self.on_lost,
            reached: false.into(),
            keys: Mutex::default(),
        };
        Ok(Worker {
            shared: Arc::new(shared),
        })
    }
}

/// A text as one part of a path.
fn in_path(text: &str) -> String {
    let mut part = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            part.push(char::from(byte));
        } else {
            part += &format!("%{byte:02X}");
        }
    }
    part
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Worker").field(&self.shared.claims).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn what_cannot_be_used_is_said_at_once() {
        let worker = |url: &str| Worker::builder(url, "s");
        let tls = || Tls::accept_any_certificate();
        for (builder, told) in [
            (worker("web:3580"), "http://"),
            (worker("https://web"), ".tls("),
            (worker("http://web").tls(tls()), "https://"),
            (worker("http://web").token("secret"), "without TLS"),
            (
                worker("https://web").tls(tls()).token("secret\n"),
                "line end",
            ),
        ] {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(text.contains(told) && !text.contains("secret"), "{text}");
        }
        for builder in [
            worker("http://127.0.0.1:1").token("secret"),
            worker("http://web").token("secret").token_without_tls(),
            worker("https://web").tls(tls()).token("secret"),
            worker("unix:/run/http").token("secret"),
        ] {
            assert!(builder.build().is_ok());
        }
    }

    #[test]
    fn a_name_is_one_part_of_a_path() {
        assert_eq!(in_path("a/b c.é"), "a%2Fb%20c%2E%C3%A9");
    }
}
