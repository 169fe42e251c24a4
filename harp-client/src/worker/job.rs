//! A job that a worker has: what it is, and what the worker says of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use harp_proto::{Failure, JobId, Json};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::link::Reply;
use super::{ClaimedJob, Shared};
use crate::{Error, ErrorKind};

/// The longest time until a worker hears that its job was cancelled, while it says nothing.
const HEARS: Duration = Duration::from_secs(5);

/// The pause before a lease is renewed again if that failed.
const AGAIN: Duration = Duration::from_secs(1);

/// A job that this worker has fetched, until it is dropped.
pub struct Job {
    shared: Arc<Shared>,
    /// The path of its claim.
    claim: String,
    job: ClaimedJob,
    /// The number of the next packet that is on the dispatcher's disk.
    next: u64,
    /// Packets of which that is not known.
    pending: Vec<Json>,
    lost: watch::Receiver<Option<Lost>>,
    renewing: JoinHandle<()>,
}

/// Why a job is a worker's no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// It has ended otherwise: it was cancelled, a limit of its time has passed, or the
    /// dispatcher has not heard of the worker for longer than the lease.
    Ended,
    /// The dispatcher does not know the claim: the job was removed, or its store is another.
    Unknown,
}

#[derive(Deserialize)]
struct Renewed {
    #[serde(default)]
    cancelled: bool,
}

#[derive(Deserialize)]
struct Put {
    next: u64,
}

#[derive(Serialize)]
struct Packets<'a> {
    first: u64,
    packets: &'a [Json],
}

#[derive(Serialize)]
struct Returned<'a> {
    result: &'a Json,
}

#[derive(Serialize)]
struct Raised<'a> {
    exception: Exception<'a>,
}

#[derive(Serialize)]
struct Exception<'a> {
    r#type: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Json>,
}

impl Job {
    pub(super) fn new(shared: &Arc<Shared>, claim: String, job: ClaimedJob) -> Job {
        let claim = format!("/claims/{claim}");
        let (sender, lost) = watch::channel(None);
        let renewing = tokio::spawn(renew(Arc::clone(shared), claim.clone(), sender));
        Job {
            shared: Arc::clone(shared),
            claim,
            job,
            next: 0,
            pending: Vec::new(),
            lost,
            renewing,
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.job.id
    }

    /// What it was called with.
    #[must_use]
    pub fn arguments(&self) -> &Json {
        &self.job.arguments
    }

    /// What its client wants its status to give back, if anything.
    #[must_use]
    pub fn info(&self) -> Option<&Json> {
        self.job.info.as_ref()
    }

    /// Completes when the job is this worker's no more, and says why: what goes on for it is
    /// to be ended. Cancel safe.
    pub fn lost(&self) -> impl Future<Output = Lost> + Send + use<> {
        let mut lost = self.lost.clone();
        async move {
            loop {
                if let Some(why) = *lost.borrow_and_update() {
                    return why;
                }
                if lost.changed().await.is_err() {
                    // The job was answered, or is not there any more.
                    return lost.borrow().unwrap_or(Lost::Ended);
                }
            }
        }
    }

    /// Says a packet. It is on the dispatcher's disk when this returns. A dispatcher that is
    /// away is looked for. When the future is dropped, the packet goes out with what is said
    /// next.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if it cannot be serialized;
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) if it is too large
    /// (`request_too_large`) or the job is this worker's no more (`ended`, `unknown_claim`);
    /// what keeps the dispatcher from being reached for longer than
    /// [`reconnect_for`](super::WorkerBuilder::reconnect_for).
    pub async fn packet(&mut self, packet: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let packet = encoded("packet", packet)?;
        self.packets([packet]).await
    }

    /// Says several packets at once, which costs one request. Together they have no more than
    /// a request of the dispatcher may have (its `max_request_size`).
    ///
    /// # Errors
    ///
    /// As for [`Job::packet`]. Of a refused request none was said.
    pub async fn packets(&mut self, packets: impl IntoIterator<Item = Json>) -> Result<(), Error> {
        self.pending.extend(packets);
        self.say_pending().await
    }

    async fn say_pending(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let packets = Packets {
            first: self.next,
            packets: &self.pending,
        };
        let body = encoded("packets", &packets)?;
        let reply = match self.say("packets", body.into_bytes()).await {
            Ok(reply) => reply,
            Err(error) => {
                if error.kind() == ErrorKind::Refused {
                    self.pending.clear();
                }
                return Err(error);
            }
        };
        self.pending.clear();
        let put: Put = serde_json::from_slice(&reply.body)
            .map_err(|error| self.shared.link.malformed(&error).with_source(error))?;
        self.next = put.next;
        Ok(())
    }

    /// Says what the job has come to. It is on the dispatcher's disk when this returns; said
    /// again, it comes to the same. A dispatcher that is away is looked for.
    ///
    /// # Errors
    ///
    /// As for [`Job::packet`]; [`ErrorKind::Refused`](crate::ErrorKind::Refused) with
    /// `invalid_result` if the service's schema does not take it: the job goes on, and another
    /// result or an exception can be said.
    pub async fn finish(&mut self, result: &(impl Serialize + ?Sized)) -> Result<(), Error> {
        let result = encoded("result", result)?;
        let body = encoded("result", &Returned { result: &result })?;
        self.end(body).await
    }

    /// Says that the job has failed: it ends with this exception.
    ///
    /// # Errors
    ///
    /// As for [`Job::packet`].
    pub async fn fail(&mut self, failure: impl Into<Failure>) -> Result<(), Error> {
        let failure = failure.into();
        let exception = Exception {
            r#type: &failure.error_type,
            message: &failure.message,
            data: failure.data.as_ref(),
        };
        let body = encoded("exception", &Raised { exception })?;
        self.end(body).await
    }

    async fn end(&mut self, body: Json) -> Result<(), Error> {
        self.say_pending().await?;
        self.say("finish", body.into_bytes()).await?;
        // Nobody hears of the lease of a job that has ended.
        self.renewing.abort();
        Ok(())
    }

    async fn say(&self, verb: &str, body: Bytes) -> Result<Reply, Error> {
        let path = format!("{}/{verb}", self.claim);
        let mut reconnect = self.shared.reconnect();
        loop {
            let asked = self
                .shared
                .link
                .post(&path, None, body.clone(), Duration::ZERO);
            match asked.await {
                Ok(reply) => return Ok(reply),
                Err(error) => sleep(reconnect.after(error.of_a_question())?).await,
            }
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job")
            .field("job", &self.job)
            .finish_non_exhaustive()
    }
}

/// Renews a claim until it is lost.
async fn renew(shared: Arc<Shared>, claim: String, lost: watch::Sender<Option<Lost>>) {
    let path = format!("{claim}/renew");
    let pace = (shared.lease / 3).min(HEARS);
    let mut wait = pace;
    loop {
        sleep(wait).await;
        let renewed = shared
            .link
            .post(&path, None, Bytes::from_static(b"{}"), Duration::ZERO)
            .await;
        wait = pace;
        match renewed {
            Ok(reply) => {
                let renewed = serde_json::from_slice(&reply.body);
                if renewed.is_ok_and(|renewed: Renewed| renewed.cancelled) {
                    lost.send_replace(Some(Lost::Ended));
                    return;
                }
            }
            Err(error) => match error.wire_type() {
                Some("ended") => {
                    lost.send_replace(Some(Lost::Ended));
                    return;
                }
                Some("unknown_claim") => {
                    lost.send_replace(Some(Lost::Unknown));
                    return;
                }
                // The dispatcher is away, or what this client may do was changed: whoever says
                // something hears of it, and the lease may start anew.
                _ => wait = pace.min(AGAIN),
            },
        }
    }
}

fn encoded(what: &str, value: &(impl Serialize + ?Sized)) -> Result<Json, Error> {
    Json::encode(value).map_err(|error| {
        Error::invalid_input(format!("{what}: cannot be sent: {error}")).with_source(error)
    })
}
