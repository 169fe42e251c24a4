//! A job: its end, its packets, its status.

use std::fmt;
use std::future::IntoFuture;
use std::time::Duration;

use harp_proto::client::Request;
use harp_proto::client::reply::{CallReply, CancelReply, ResultReply, StatusReply};
use harp_proto::{JobId, Outcome};
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};

use crate::dispatcher::Dispatcher;
use crate::{Error, JobSnapshot, JobStatus, Packets, Pending};

/// A job that the dispatcher knows, or is thought to know. Cheap to clone; the job does
/// not depend on it.
///
/// Awaited itself, it [waits](RemoteCall::wait) for the job's end.
///
/// ```no_run
/// # async fn example(web01: harp_client::RemoteServer) -> Result<(), harp_client::Error> {
/// println!("{}", web01.call("uptime", ()).await?.await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RemoteCall {
    dispatcher: Dispatcher,
    id: JobId,
    existing: bool,
    limits: Option<CallLimits>,
}

/// Limits of a job's time, whole seconds. They serialize to numbers of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct CallLimits {
    /// The longest silence of the host.
    #[serde(serialize_with = "seconds")]
    pub timeout: Duration,
    /// The longest execution in all, whatever the host says.
    #[serde(serialize_with = "seconds")]
    pub max_exec_time: Duration,
}

/// Answer to a confirmed cancel. It serializes to its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cancellation {
    /// Nothing was cancelled: the job had ended, or there is no such job.
    NotRunning,
    /// The job is cancelled, and its host has proved that nothing of it is left, or it had
    /// never started.
    Confirmed,
    /// The job is cancelled; whether its host has stopped working on it is not known.
    Unconfirmed,
}

impl Cancellation {
    /// Its word: `not_running`, `confirmed` or `unconfirmed`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Cancellation::NotRunning => "not_running",
            Cancellation::Confirmed => "confirmed",
            Cancellation::Unconfirmed => "unconfirmed",
        }
    }
}

impl fmt::Display for Cancellation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_secs())
}

impl RemoteCall {
    pub(crate) fn new(dispatcher: Dispatcher, id: JobId) -> RemoteCall {
        RemoteCall {
            dispatcher,
            id,
            existing: false,
            limits: None,
        }
    }

    pub(crate) fn answered(self, reply: &CallReply) -> RemoteCall {
        RemoteCall {
            existing: reply.existing,
            limits: reply.limits.map(|limits| CallLimits {
                timeout: Duration::from_secs(limits.timeout),
                max_exec_time: Duration::from_secs(limits.max_exec_time),
            }),
            ..self
        }
    }

    /// The job's id, which finds it again at any later time.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.id
    }

    /// True if this is the answer to a call whose [key](crate::RemoteServer::key) had been
    /// used before, so that no new job was made.
    #[must_use]
    pub fn existing(&self) -> bool {
        self.existing
    }

    /// The limits that hold for the job, if its submission has
    /// [asked](crate::RemoteServer::tell_limits) and the dispatcher has said; `None` too if
    /// the job [existed](RemoteCall::existing) before. For a job that waits in a queue they
    /// are those of its submission: an operator may change them before its start.
    #[must_use]
    pub fn limits(&self) -> Option<CallLimits> {
        self.limits
    }

    /// This job with another time limit for what is asked about it; see
    /// [`HarpCallerBuilder::request_timeout`](crate::HarpCallerBuilder::request_timeout).
    #[must_use]
    #[doc(alias = "deadline")]
    pub fn request_timeout(mut self, limit: Duration) -> RemoteCall {
        self.dispatcher.request_timeout = limit;
        self
    }

    /// How the job ended, `None` if it has not. Does not wait for it. Cancel safe.
    ///
    /// ```no_run
    /// # async fn example(job: harp_client::RemoteCall) -> Result<(), harp_client::Error> {
    /// match job.result().await? {
    ///     None => println!("still running"),
    ///     Some(outcome) => println!("{outcome}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Communication`](crate::ErrorKind::Communication),
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) or a
    /// [refusal](crate::ErrorKind::is_refusal) from the dispatcher, of which
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) says that there is no such job. The
    /// job's own errors are outcomes.
    #[doc(alias = "poll")]
    pub fn result(&self) -> Pending<Option<Outcome>> {
        let (dispatcher, request) = (self.dispatcher.clone(), self.get_result(false));
        Pending::new(async move {
            match dispatcher.ask(&request).await? {
                ResultReply::NoResult => Ok(None),
                ResultReply::Ended(outcome) => Ok(Some(outcome)),
            }
        })
    }

    /// What the job returned, as a type of the caller's choice ([`Json`](crate::Json) takes
    /// anything); `None` if it has not ended. Does not wait for it. Cancel safe.
    ///
    /// ```no_run
    /// # async fn example(job: harp_client::RemoteCall) -> Result<(), harp_client::Error> {
    /// match job.try_get::<f64>().await? {
    ///     Some(uptime) => println!("{uptime}"),
    ///     None => println!("still running"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`get`](RemoteCall::get).
    pub fn try_get<T: DeserializeOwned + 'static>(&self) -> Pending<Option<T>> {
        let result = self.result();
        Pending::new(async move {
            let outcome = result.await?;
            Ok(outcome.map(Outcome::into_result).transpose()?)
        })
    }

    /// Waits for the job's end, over restarts of the dispatcher and broken connections
    /// too. Cancel safe.
    ///
    /// ```no_run
    /// # async fn example(job: harp_client::RemoteCall) -> Result<(), harp_client::Error> {
    /// use harp_client::Outcome;
    ///
    /// match job.wait().await? {
    ///     Outcome::Returned(value) => println!("returned {value}"),
    ///     Outcome::Exception(failure) => println!("raised {failure}"),
    ///     Outcome::Error(failure) => println!("not finished: {failure}"),
    ///     Outcome::Cancelled => println!("cancelled"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`result`](RemoteCall::result); communication errors only if the dispatcher
    /// could not be reached in the first place, or not again.
    #[doc(alias = "join")]
    pub fn wait(&self) -> Pending<Outcome> {
        let (dispatcher, request) = (self.dispatcher.clone(), self.get_result(true));
        Pending::new(async move {
            dispatcher
                .counted(&request, waited(&dispatcher, &request))
                .await
        })
    }

    /// Waits for the job's end and gives what it returned, as a type of the caller's
    /// choice ([`Json`](crate::Json) takes anything). Cancel safe.
    ///
    /// ```no_run
    /// # async fn example(job: harp_client::RemoteCall) -> Result<(), harp_client::Error> {
    /// #[derive(serde::Deserialize)]
    /// struct Load {
    ///     one_minute: f64,
    /// }
    ///
    /// let load: Load = job.get().await?;
    /// println!("{}", load.one_minute);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`wait`](RemoteCall::wait), and the job's own:
    /// [`ErrorKind::Exception`](crate::ErrorKind::Exception),
    /// [`ErrorKind::Remote`](crate::ErrorKind::Remote),
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled), and
    /// [`ErrorKind::UnexpectedResult`](crate::ErrorKind::UnexpectedResult).
    pub fn get<T: DeserializeOwned + 'static>(&self) -> Pending<T> {
        let wait = self.wait();
        Pending::new(async move { Ok(wait.await?.into_result()?) })
    }

    /// The job's packets, from now on unless told otherwise, until its end. [`Packets`] has
    /// an example.
    #[doc(alias = "subscribe")]
    #[doc(alias = "progress")]
    #[doc(alias = "sse")]
    pub fn follow(&self) -> Packets {
        Packets::follow(self.dispatcher.clone(), self.id)
    }

    /// The job's packets collected so far, from the first unless told otherwise. Does not
    /// wait for more.
    ///
    /// ```no_run
    /// # async fn example(job: harp_client::RemoteCall) -> Result<(), harp_client::Error> {
    /// use futures_util::TryStreamExt; // or the crate `futures`
    ///
    /// let all: Vec<_> = job.stream().try_collect().await?;
    /// let last_ten: Vec<_> = job.stream().recent(10).try_collect().await?;
    /// println!("{} of {}", last_ten.len(), all.len());
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream(&self) -> Packets {
        Packets::collected(self.dispatcher.clone(), self.id)
    }

    /// Cancels the job. True if it was queued or running, false if it had ended, or there
    /// is no such job. If the future is dropped, the job may be cancelled or not.
    ///
    /// ```no_run
    /// # async fn example(job: harp_client::RemoteCall) -> Result<(), harp_client::Error> {
    /// if !job.cancel().await? {
    ///     println!("it had ended: {:?}", job.result().await?);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`result`](RemoteCall::result).
    #[doc(alias = "abort")]
    pub fn cancel(&self) -> Pending<bool> {
        let dispatcher = self.dispatcher.clone();
        let request = Request::Cancel {
            job: self.id,
            confirm: false,
        };
        Pending::new(async move {
            let reply: Result<CancelReply, Error> = dispatcher.ask(&request).await;
            // Cancelled twice is cancelled.
            let reply = reply.map_err(Error::of_a_question)?;
            Ok(reply.cancelled)
        })
    }

    /// Cancels the job and waits until its host is done with it, which takes the
    /// dispatcher's `slot_grace` at most and is given up after the request time-out. If the
    /// future is dropped, the job may be cancelled or not.
    ///
    /// Sent once only, as [`cancel`](RemoteCall::cancel) is: a second answer
    /// would be [`Cancellation::NotRunning`], whatever the first has done. Doing it again is
    /// harmless.
    ///
    /// ```no_run
    /// # async fn example(job: harp_client::RemoteCall) -> Result<(), harp_client::Error> {
    /// use harp_client::Cancellation;
    ///
    /// match job.cancel_confirmed().await? {
    ///     Cancellation::Confirmed => println!("nothing of it is left"),
    ///     Cancellation::Unconfirmed => println!("look at the host"),
    ///     Cancellation::NotRunning => println!("it had ended"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`result`](RemoteCall::result), and
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) from a dispatcher that
    /// cannot confirm: nothing is cancelled then.
    pub fn cancel_confirmed(&self) -> Pending<Cancellation> {
        let dispatcher = self.dispatcher.clone();
        let request = Request::Cancel {
            job: self.id,
            confirm: true,
        };
        Pending::new(async move {
            let reply: Result<CancelReply, Error> = dispatcher.ask_slowly(&request).await;
            let reply = reply.map_err(Error::of_a_question)?;
            Ok(match (reply.cancelled, reply.remote_confirmed) {
                (false, _) => Cancellation::NotRunning,
                (true, Some(true)) => Cancellation::Confirmed,
                (true, _) => Cancellation::Unconfirmed,
            })
        })
    }

    /// The job's call, times and info. Cancel safe.
    ///
    /// ```no_run
    /// # async fn example(job: harp_client::RemoteCall) -> Result<(), harp_client::Error> {
    /// let status = job.status().await?;
    /// println!("{}{} on {}", status.procedure, status.arguments, status.host);
    /// println!("submitted {:?}, for {}", status.submit_time, status.info);
    /// println!("{}", status.state());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`result`](RemoteCall::result).
    pub fn status(&self) -> Pending<JobStatus> {
        let dispatcher = self.dispatcher.clone();
        let request = Request::GetStatus {
            job: self.id,
            evidence: true,
            snapshot: false,
        };
        Pending::new(async move {
            let reply: StatusReply = dispatcher.ask(&request).await?;
            JobStatus::of(reply)
        })
    }

    /// All that is known of the job at one moment: call and times, how many packets there are,
    /// and how it ended. Cancel safe.
    ///
    /// ```no_run
    /// # async fn example(job: harp_client::RemoteCall) -> Result<(), harp_client::Error> {
    /// let now = job.snapshot().await?;
    /// println!("{}, {} packets", now.state(), now.packets);
    /// if let Some(outcome) = now.outcome {
    ///     println!("{outcome}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`result`](RemoteCall::result), and
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) from an older dispatcher.
    #[doc(alias = "progress")]
    pub fn snapshot(&self) -> Pending<JobSnapshot> {
        let dispatcher = self.dispatcher.clone();
        let request = Request::GetStatus {
            job: self.id,
            evidence: true,
            snapshot: true,
        };
        Pending::new(async move {
            let reply: StatusReply = dispatcher.ask(&request).await?;
            JobSnapshot::of(reply)
        })
    }

    fn get_result(&self, wait: bool) -> Request {
        Request::GetResult { job: self.id, wait }
    }
}

/// Waits for a job's end, over as many connections as that takes.
async fn waited(dispatcher: &Dispatcher, request: &Request) -> Result<Outcome, Error> {
    let mut reconnect = dispatcher.reconnect();
    loop {
        let asked_at = tokio::time::Instant::now();
        let deadline = dispatcher.attempt_deadline(&reconnect);
        let error = match dispatcher.ask_and_wait(request, deadline).await {
            Ok(ResultReply::Ended(outcome)) => return Ok(outcome),
            Ok(ResultReply::NoResult) => {
                return Err(Error::protocol(
                    "the dispatcher answered before the job's end where it was to wait",
                ));
            }
            Err(error) => error,
        };
        if error
            .broken_at()
            .is_some_and(|broken| broken.was_connected())
        {
            reconnect.opened(asked_at);
        }
        tokio::time::sleep(reconnect.after(error)?).await;
        dispatcher.count_reconnect();
    }
}

impl IntoFuture for RemoteCall {
    type Output = Result<Outcome, Error>;
    type IntoFuture = Pending<Outcome>;

    fn into_future(self) -> Pending<Outcome> {
        self.wait()
    }
}

impl fmt::Debug for RemoteCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteCall").field(&self.id).finish()
    }
}
