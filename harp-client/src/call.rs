//! A job: its end, its packets, its status.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use harp_proto::client::Request;
use harp_proto::client::reply::{CallReply, CancelReply, ResultReply, StatusReply};
use harp_proto::{Evidence, JobId, Json, Outcome};
use serde::de::DeserializeOwned;

use crate::dispatcher::Dispatcher;
use crate::error::returned;
use crate::{Error, Packets};

/// A job that the dispatcher knows, or is thought to know. Cheap to clone; the job does
/// not depend on it.
#[derive(Clone)]
pub struct RemoteCall {
    dispatcher: Arc<Dispatcher>,
    id: JobId,
    existing: bool,
    limits: Option<CallLimits>,
}

/// Limits of a job's time (client protocol, section 8), in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct CallLimits {
    /// The longest silence of the host.
    pub timeout: Duration,
    /// The longest execution in all, whatever the host says.
    pub max_exec_time: Duration,
}

/// Answer to a confirmed cancel (client protocol, section 8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cancellation {
    /// Nothing was cancelled: the job had ended, or there is no such job.
    NotRunning,
    /// The job is cancelled, and its host has proved that nothing of it is left, or it had
    /// never started.
    Confirmed,
    /// The job is cancelled; whether its host has stopped working on it is not known.
    Unconfirmed,
}

/// The dispatcher's record of a job (client protocol, section 5). Times are
/// whole seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStatus {
    /// The host.
    pub host: String,
    /// The procedure.
    pub procedure: String,
    /// The arguments: an array or an object.
    pub arguments: Json,
    /// Info that the submitter attached, `null` if nothing.
    pub info: Json,
    /// Time of the job's submission.
    pub submit_time: SystemTime,
    /// Time when it left its queue; `None` if it has not, or was cancelled before.
    pub start_time: Option<SystemTime>,
    /// Time of its end, `None` if it has not ended.
    pub end_time: Option<SystemTime>,
    /// What its call had printed, if it was cancelled and the dispatcher knows.
    pub evidence: Option<Evidence>,
}

impl RemoteCall {
    pub(crate) fn new(dispatcher: Arc<Dispatcher>, id: JobId) -> RemoteCall {
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

    /// How the job ended, `None` if it has not. Does not wait for it. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Communication`](crate::ErrorKind::Communication),
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) or
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) from the dispatcher. The job's
    /// own errors are outcomes.
    pub async fn result(&self) -> Result<Option<Outcome>, Error> {
        match self.dispatcher.ask(&self.get_result(false)).await? {
            ResultReply::NoResult => Ok(None),
            ResultReply::Ended(outcome) => Ok(Some(outcome)),
        }
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
    pub async fn wait(&self) -> Result<Outcome, Error> {
        let mut reconnect = self.dispatcher.reconnect();
        loop {
            let asked_at = tokio::time::Instant::now();
            let error = match self.dispatcher.ask_and_wait(&self.get_result(true)).await {
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
        }
    }

    /// Waits for the job's end and gives what it returned, as a type of the caller's
    /// choice ([`Json`] takes anything). Cancel safe.
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
    pub async fn get<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let value = returned(self.wait().await?)?;
        value.decode().map_err(Error::unexpected_result)
    }

    /// The job's packets, from now on unless told otherwise, until its end. [`Packets`] has
    /// an example.
    pub fn follow(&self) -> Packets {
        Packets::follow(Arc::clone(&self.dispatcher), self.id)
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
        Packets::collected(Arc::clone(&self.dispatcher), self.id)
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
    pub async fn cancel(&self) -> Result<bool, Error> {
        let request = Request::Cancel {
            job: self.id,
            confirm: false,
        };
        let reply: Result<CancelReply, Error> = self.dispatcher.ask(&request).await;
        // Cancelled twice is cancelled.
        let reply = reply.map_err(Error::of_a_question)?;
        Ok(reply.cancelled)
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
    pub async fn cancel_confirmed(&self) -> Result<Cancellation, Error> {
        let request = Request::Cancel {
            job: self.id,
            confirm: true,
        };
        let reply: Result<CancelReply, Error> = self.dispatcher.ask_slowly(&request).await;
        let reply = reply.map_err(Error::of_a_question)?;
        Ok(match (reply.cancelled, reply.remote_confirmed) {
            (false, _) => Cancellation::NotRunning,
            (true, Some(true)) => Cancellation::Confirmed,
            (true, _) => Cancellation::Unconfirmed,
        })
    }

    /// The job's call, times and info. Cancel safe.
    ///
    /// ```no_run
    /// # async fn example(job: harp_client::RemoteCall) -> Result<(), harp_client::Error> {
    /// let status = job.status().await?;
    /// println!("{}{} on {}", status.procedure, status.arguments, status.host);
    /// println!("submitted {:?}, for {}", status.submit_time, status.info);
    /// match (status.start_time, status.end_time) {
    ///     (_, Some(end)) => println!("ended {end:?}"),
    ///     (Some(start), None) => println!("running since {start:?}"),
    ///     (None, None) => println!("queued"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`result`](RemoteCall::result).
    pub async fn status(&self) -> Result<JobStatus, Error> {
        let request = Request::GetStatus {
            job: self.id,
            evidence: true,
        };
        let reply: StatusReply = self.dispatcher.ask(&request).await?;
        Ok(JobStatus {
            submit_time: time(reply.time.submit)?,
            start_time: reply.time.start.map(time).transpose()?,
            end_time: reply.time.end.map(time).transpose()?,
            host: reply.host,
            procedure: reply.procedure,
            arguments: reply.arguments,
            info: reply.info,
            evidence: reply.evidence,
        })
    }

    fn get_result(&self, wait: bool) -> Request {
        Request::GetResult { job: self.id, wait }
    }
}

fn time(seconds: u64) -> Result<SystemTime, Error> {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .ok_or_else(|| Error::protocol(format!("the dispatcher sent the time {seconds}")))
}

impl fmt::Debug for RemoteCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteCall").field(&self.id).finish()
    }
}
