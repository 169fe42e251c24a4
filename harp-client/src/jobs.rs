//! Lists of jobs, and the job of a key.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use harp_proto::client::reply::JobsReply;
use harp_proto::client::{List, Listed, Request};
use harp_proto::{JobId, OutcomeKind};
use serde::{Deserialize, Serialize};

use crate::dispatcher::Dispatcher;
use crate::job_status::since_1970;
use crate::{Error, HarpCaller, JobState, Pending, RemoteCall};

/// Jobs that one request asks for.
const PAGE: u64 = 100;

/// The jobs of a dispatcher that this client may see, the newest first: made by
/// [`HarpCaller::jobs`], narrowed by what must hold of them, and then asked for one by one.
///
/// ```no_run
/// # async fn example(rpc: harp_client::HarpCaller) -> Result<(), harp_client::Error> {
/// use harp_client::JobState;
///
/// let mut running = rpc.jobs().host("web*").state(JobState::Running).limit(20);
/// while let Some(job) = running.next().await? {
///     println!("{} {} on {}", job.id, job.procedure, job.host);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a list is asked for by `next`"]
pub struct Jobs {
    dispatcher: Dispatcher,
    filters: Vec<(String, String)>,
    left: u64,
    cursor: Option<String>,
    page: VecDeque<ListedJob>,
    is_over: bool,
}

/// A job as it stands in a list. It serializes with the names of these fields, times in
/// milliseconds since 1970 and left out where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ListedJob {
    /// Its id: [`HarpCaller::job`] has the job.
    pub id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// What kind of end it has come to, if it has ended.
    pub outcome: Option<OutcomeKind>,
    /// The type of its exception or error.
    pub error_type: Option<String>,
    /// The host.
    pub host: String,
    /// The procedure.
    pub procedure: String,
    /// Its key.
    pub key: Option<String>,
    /// Packets collected so far.
    pub packets: u64,
    #[serde(rename = "submitted")]
    submitted: u64,
    #[serde(rename = "started")]
    started: Option<u64>,
    #[serde(rename = "ended")]
    ended: Option<u64>,
}

impl ListedJob {
    /// Time of its submission, to the millisecond.
    #[must_use]
    pub fn submit_time(&self) -> SystemTime {
        time(self.submitted)
    }

    /// Time when it left its queue; `None` if it has not, or was cancelled before.
    #[must_use]
    pub fn start_time(&self) -> Option<SystemTime> {
        self.started.map(time)
    }

    /// Time of its end, `None` if it has not ended.
    #[must_use]
    pub fn end_time(&self) -> Option<SystemTime> {
        self.ended.map(time)
    }
}

fn time(milliseconds: u64) -> SystemTime {
    // A list is no place to fail for a time that no clock has.
    since_1970(Duration::from_millis(milliseconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}

impl HarpCaller {
    /// The jobs that this client may see, the newest first.
    #[doc(alias = "list")]
    pub fn jobs(&self) -> Jobs {
        Jobs {
            dispatcher: self.dispatcher().clone(),
            filters: Vec::new(),
            left: u64::MAX,
            cursor: None,
            page: VecDeque::new(),
            is_over: false,
        }
    }

    /// The job of a [key](crate::RemoteServer::key), the newest that this client may see if
    /// there are several ([`unless_since`](crate::RemoteServer::unless_since) makes such, and
    /// so do clients of other identities); `None` if there is none. Cancel safe.
    ///
    /// ```no_run
    /// # async fn example(rpc: harp_client::HarpCaller) -> Result<(), harp_client::Error> {
    /// if let Some(job) = rpc.job_of_key("deploy 4711").await? {
    ///     println!("{}", job.wait().await?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`Jobs::next`].
    #[doc(alias = "idempotency")]
    pub fn job_of_key(&self, key: impl AsRef<str>) -> Pending<Option<RemoteCall>> {
        let rpc = self.clone();
        let mut jobs = self.jobs().key(key).limit(1);
        Pending::new(async move { Ok(jobs.next().await?.map(|job| rpc.job(job.id))) })
    }
}

impl Jobs {
    /// Those of hosts whose name fits: a name, or a pattern with `*`. Of several, one has to.
    pub fn host(self, name: impl AsRef<str>) -> Jobs {
        self.filter("host", name)
    }

    /// Those of procedures whose name fits. Of several, one has to.
    pub fn procedure(self, name: impl AsRef<str>) -> Jobs {
        self.filter("procedure", name)
    }

    /// Those in this state. Of several, one has to fit.
    pub fn state(self, state: JobState) -> Jobs {
        self.filter("state", state.as_str())
    }

    /// Those that have come to an end of this kind. Of several, one has to fit.
    pub fn outcome(self, kind: OutcomeKind) -> Jobs {
        self.filter("outcome", kind.as_str())
    }

    /// Those of this key. Of several, one has to fit.
    pub fn key(self, key: impl AsRef<str>) -> Jobs {
        self.filter("key", key)
    }

    /// Those of which something else holds: the name of a filter of harpcaller-http(7), such as
    /// `q` or `ended_since`, and its value.
    pub fn filter(mut self, name: impl AsRef<str>, value: impl AsRef<str>) -> Jobs {
        let (name, value) = (name.as_ref().to_owned(), value.as_ref().to_owned());
        self.filters.push((name, value));
        self
    }

    /// So many at most.
    pub fn limit(mut self, jobs: u64) -> Jobs {
        self.left = jobs;
        self
    }

    /// The next job, `None` after the last. Asks for 100 at a time. Cancel safe: what was
    /// being asked for is asked for again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Communication`](crate::ErrorKind::Communication) or a
    /// [refusal](crate::ErrorKind::is_refusal) from the dispatcher, such as for a filter that
    /// it does not know; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) from one
    /// without lists.
    pub async fn next(&mut self) -> Result<Option<ListedJob>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        while self.page.is_empty() && !self.is_over {
            let reply: JobsReply = self.dispatcher.ask(&self.request()).await?;
            let page: Vec<ListedJob> = reply.jobs.decode().map_err(|error| {
                Error::protocol(format!("the dispatcher's list of jobs: {error}"))
                    .with_source(error)
            })?;
            self.page = page.into();
            self.is_over = reply.next.is_none();
            self.cursor = reply.next;
        }
        let job = self.page.pop_front();
        self.left = self.left.saturating_sub(u64::from(job.is_some()));
        Ok(job)
    }

    fn request(&self) -> Request {
        let mut names = self.filters.clone();
        names.push(("order".to_owned(), "newest".to_owned()));
        names.push(("limit".to_owned(), self.left.min(PAGE).to_string()));
        if let Some(cursor) = &self.cursor {
            names.push(("cursor".to_owned(), cursor.clone()));
        }
        Request::List(List {
            what: Listed::Jobs,
            names,
        })
    }
}
