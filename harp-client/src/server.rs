//! Hosts, their procedures, and the options of a call.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use harp_proto::client::reply::CallReply;
use harp_proto::client::{Call, Queue, Request};
use harp_proto::{Json, QueueName};
use serde::Serialize;

use crate::dispatcher::Dispatcher;
use crate::{Error, Pending, RemoteCall, Repeat, arguments, traceparent};

/// A host behind the dispatcher, with the options of the calls made through it.
///
/// Cheap to clone. Options that cannot be used are reported by the call.
///
/// ```no_run
/// # async fn example(rpc: harp_client::HarpCaller) -> Result<(), harp_client::Error> {
/// use std::time::Duration;
///
/// let web01 = rpc
///     .host("web01")
///     .queue(serde_json::json!({"service": "nginx", "host": "web01"}))
///     .concurrency(2)
///     .timeout(Duration::from_secs(10))
///     .max_exec_time(Duration::from_secs(60))
///     .info("ticket 4711");
/// let job = web01.call("restart", ("nginx",)).await?;
/// println!("{}", job.id());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RemoteServer {
    dispatcher: Dispatcher,
    name: Arc<str>,
    options: Arc<CallOptions>,
}

/// A procedure of a host.
///
/// ```no_run
/// # async fn example(rpc: harp_client::HarpCaller) -> Result<(), harp_client::Error> {
/// let restart = rpc.host("web01").procedure("restart");
/// println!("{} on {}", restart.procedure(), restart.host());
/// for service in ["nginx", "memcached"] {
///     restart.call((service,)).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RemoteProcedure {
    server: RemoteServer,
    name: Arc<str>,
}

#[derive(Debug, Clone, Default)]
struct CallOptions {
    queue: Option<QueueName>,
    concurrency: Option<u64>,
    timeout: Option<u64>,
    max_exec_time: Option<u64>,
    info: Option<Json>,
    key: Option<String>,
    unless_since: Option<u64>,
    start_by: Option<u64>,
    tell_limits: bool,
    traceparent: Option<String>,
    /// Problem with the first option that cannot be used.
    invalid: Option<String>,
}

impl RemoteServer {
    pub(crate) fn new(dispatcher: Dispatcher, name: &str) -> RemoteServer {
        let server = RemoteServer {
            dispatcher,
            name: name.into(),
            options: Arc::default(),
        };
        if name.is_empty() {
            let told = "host: has no name; it is one of the dispatcher's registry".to_owned();
            return server.with(|options| options.refuse(told));
        }
        server
    }

    /// The host's name.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.name
    }

    /// Makes calls wait in a queue of this name, any value that serializes to a JSON
    /// object; the section CALL of harpcaller-protocol(7) says what it may hold.
    #[must_use]
    pub fn queue(self, name: impl Serialize) -> RemoteServer {
        let name = Json::encode(&name)
            .map_err(|error| error.to_string())
            .and_then(|json| QueueName::from_json(&json).map_err(|error| error.to_string()));
        self.with(|options| match name {
            Ok(name) => options.queue = Some(name),
            Err(why) => options.refuse(format!(
                "queue: {why}; a queue's name is an object such as {{\"service\":\"nginx\"}}"
            )),
        })
    }

    /// How many jobs of the queue may run at the same time, 1 unless told otherwise. What
    /// the call says that creates the queue holds for all.
    #[must_use]
    pub fn concurrency(self, jobs: u64) -> RemoteServer {
        self.with(|options| match jobs {
            0 => options.refuse("concurrency: must be 1 or more".to_owned()),
            _ => options.concurrency = Some(jobs),
        })
    }

    /// The longest silence of the host, rounded up to whole seconds.
    #[must_use]
    pub fn timeout(self, limit: Duration) -> RemoteServer {
        self.with(|options| options.timeout = options.seconds("timeout", limit))
    }

    /// The longest execution, rounded up to whole seconds; waiting in a queue does not
    /// count. The dispatcher may have a lower limit of its own.
    #[must_use]
    pub fn max_exec_time(self, limit: Duration) -> RemoteServer {
        self.with(|options| options.max_exec_time = options.seconds("max_exec_time", limit))
    }

    /// Whatever the job's status is to give back.
    #[must_use]
    pub fn info(self, info: impl Serialize) -> RemoteServer {
        let info = Json::encode(&info);
        self.with(|options| match info {
            Ok(info) => options.info = Some(info),
            Err(error) => options.refuse(format!("info: cannot be sent: {error}")),
        })
    }

    /// Makes submitting safe to repeat: calls with the same key give the same job, and the
    /// answer to a repetition [says so](RemoteCall::existing). The same key with another
    /// host, procedure or arguments is refused:
    /// [`ErrorKind::KeyTaken`](crate::ErrorKind::KeyTaken). An empty key is refused by the call.
    ///
    /// A call with a key and without [`unless_since`](Self::unless_since) is made again when
    /// the dispatcher is away, was lost before it has answered or is stopping, within its
    /// [time limit](crate::HarpCallerBuilder::request_timeout) and as
    /// [`repeat`](Self::repeat) says.
    /// A dispatcher that does not know keys gets no such call:
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    ///
    /// ```no_run
    /// # async fn example(rpc: harp_client::HarpCaller) -> Result<(), harp_client::Error> {
    /// let web01 = rpc.host("web01").key("deploy 4711");
    /// let job = web01.call("deploy", ("4711",)).await?;
    /// if job.existing() {
    ///     println!("had been submitted before");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[doc(alias = "idempotency")]
    pub fn key(self, key: impl AsRef<str>) -> RemoteServer {
        let key = key.as_ref();
        self.with(|options| {
            if key.is_empty() {
                options.refuse("key: is empty, so that all calls would be the same".to_owned());
            }
            options.key = Some(key.to_owned());
        })
    }

    /// How calls with a [`key`](Self::key) are made again, in place of what the
    /// [dispatcher's](crate::HarpCallerBuilder::repeat) client says.
    #[must_use]
    #[doc(alias = "retry")]
    pub fn repeat(mut self, repeat: Repeat) -> RemoteServer {
        self.dispatcher.repeat = repeat;
        self
    }

    /// How long submitting one of these calls may take, and asking for what became of its job,
    /// in place of the [dispatcher's](crate::HarpCallerBuilder::request_timeout) limit. It says
    /// nothing of the time that the procedure may take: that is
    /// [`max_exec_time`](Self::max_exec_time).
    #[must_use]
    #[doc(alias = "deadline")]
    pub fn request_timeout(mut self, limit: Duration) -> RemoteServer {
        self.dispatcher.request_timeout = limit;
        self
    }

    /// With a [`key`](Self::key): a new job if the last one of that key was submitted longer
    /// ago than this, rounded up to whole seconds. One that is still live always counts, one
    /// that ended in an exception or error or was cancelled never.
    #[must_use]
    pub fn unless_since(self, age: Duration) -> RemoteServer {
        self.with(|options| options.unless_since = options.seconds("unless_since", age))
    }

    /// How long the job may wait in its queue, rounded up to whole seconds; one that has not
    /// started by then ends with a `timeout` error. A dispatcher that does not know this
    /// gets no such call: [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    #[must_use]
    pub fn start_by(self, limit: Duration) -> RemoteServer {
        self.with(|options| options.start_by = options.seconds("start_by", limit))
    }

    /// The trace that these calls are part of, as W3C's `traceparent` writes it, in place of what
    /// [`HarpCallerBuilder::traceparent`](crate::HarpCallerBuilder::traceparent) says. A
    /// dispatcher that does not know it gets none.
    #[must_use]
    pub fn traceparent(self, text: impl AsRef<str>) -> RemoteServer {
        let text = text.as_ref();
        self.with(|options| match traceparent::check(text) {
            Ok(()) => options.traceparent = Some(text.to_owned()),
            Err(error) => options.refuse(error.to_string()),
        })
    }

    /// Asks the dispatcher which limits of time hold for the job:
    /// [`RemoteCall::limits`]. It may be less than what was asked for. A dispatcher that does
    /// not know the question is not asked.
    ///
    /// ```no_run
    /// # async fn example(rpc: harp_client::HarpCaller) -> Result<(), harp_client::Error> {
    /// use std::time::Duration;
    ///
    /// let hour = Duration::from_secs(3600);
    /// let web01 = rpc.host("web01").max_exec_time(hour).tell_limits();
    /// let job = web01.call("backup", ()).await?;
    /// if let Some(limits) = job.limits()
    ///     && limits.max_exec_time < hour
    /// {
    ///     println!("it will be ended after {:?}", limits.max_exec_time);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn tell_limits(self) -> RemoteServer {
        self.with(|options| options.tell_limits = true)
    }

    /// A procedure of this host, called with these options.
    pub fn procedure(&self, name: impl AsRef<str>) -> RemoteProcedure {
        RemoteProcedure {
            server: self.clone(),
            name: name.as_ref().into(),
        }
    }

    /// Submits a call. Arguments that serialize to a sequence are positional (a tuple, an
    /// array, a `Vec`), those that serialize to a map are named (a struct, a map), `()`
    /// is none.
    ///
    /// ```no_run
    /// # async fn example(rpc: harp_client::HarpCaller) -> Result<(), harp_client::Error> {
    /// #[derive(serde::Serialize)]
    /// struct Rotation {
    ///     service: &'static str,
    ///     keep: u32,
    /// }
    ///
    /// let web01 = rpc.host("web01");
    /// web01.call("uptime", ()).await?;
    /// web01.call("rotate_logs", ("nginx", 7)).await?;
    /// web01.call("restart", vec!["nginx", "memcached"]).await?;
    /// web01.call("rotate_logs", Rotation { service: "nginx", keep: 7 }).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The job is recorded when this returns, and has perhaps not started. If the future
    /// is dropped, the job may exist or not; with a [`key`](Self::key) the same call finds
    /// out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for arguments or
    /// options that cannot be used;
    /// [`ErrorKind::Communication`](crate::ErrorKind::Communication) and
    /// [refusals](crate::ErrorKind::is_refusal) from the dispatcher;
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for an option that it does
    /// not know. With a communication error that is not [retryable](Error::is_retryable)
    /// the job may exist: a call without a key is never sent twice.
    #[doc(alias = "submit")]
    pub fn call(
        &self,
        procedure: impl AsRef<str>,
        arguments: impl Serialize,
    ) -> Pending<RemoteCall> {
        let call = arguments::encode(&arguments).and_then(|arguments| {
            let procedure = procedure.as_ref();
            let mut call = self.options.call(&self.name, procedure, arguments)?;
            let given = call.traceparent.take();
            call.traceparent = given.or_else(|| self.dispatcher.current_trace());
            Ok(call)
        });
        let dispatcher = self.dispatcher.clone();
        Pending::new(async move {
            let request = Request::Call(Box::new(call?));
            let reply: CallReply = dispatcher.submit(&request).await?;
            let job = RemoteCall::new(dispatcher, reply.job_id);
            Ok(job.answered(&reply))
        })
    }

    fn with(mut self, change: impl FnOnce(&mut CallOptions)) -> RemoteServer {
        change(Arc::make_mut(&mut self.options));
        self
    }
}

impl RemoteProcedure {
    /// The name of the host that it is called on.
    #[must_use]
    pub fn host(&self) -> &str {
        self.server.host()
    }

    /// Its name.
    #[must_use]
    pub fn procedure(&self) -> &str {
        &self.name
    }

    /// Submits a call; see [`RemoteServer::call`]. If the future is dropped, the job may
    /// exist or not.
    ///
    /// # Errors
    ///
    /// Those of [`RemoteServer::call`].
    #[doc(alias = "submit")]
    pub fn call(&self, arguments: impl Serialize) -> Pending<RemoteCall> {
        self.server.call(&self.name, arguments)
    }
}

impl CallOptions {
    fn call(&self, host: &str, procedure: &str, arguments: Json) -> Result<Call, Error> {
        if let Some(invalid) = &self.invalid {
            return Err(Error::invalid_input(invalid));
        }
        let queue = match (&self.queue, self.concurrency) {
            (Some(name), concurrency) => Some(Queue {
                name: name.clone(),
                concurrency: concurrency.unwrap_or(1),
            }),
            (None, None) => None,
            (None, Some(_)) => {
                return Err(Error::invalid_input(
                    "concurrency: means nothing without a queue; add .queue(...)",
                ));
            }
        };
        if self.unless_since.is_some() && self.key.is_none() {
            return Err(Error::invalid_input(
                "unless_since: means nothing without a key; add .key(\"...\")",
            ));
        }
        Ok(Call {
            host: host.to_owned(),
            procedure: procedure.to_owned(),
            arguments,
            timeout: self.timeout,
            max_exec_time: self.max_exec_time,
            queue,
            info: self.info.clone().unwrap_or(Json::NULL),
            key: self.key.clone(),
            unless_since: self.unless_since,
            start_by: self.start_by,
            traceparent: self.traceparent.clone(),
            limits: self.tell_limits,
        })
    }

    fn seconds(&mut self, option: &str, limit: Duration) -> Option<u64> {
        let seconds = limit
            .as_secs()
            .saturating_add(u64::from(limit.subsec_nanos() > 0));
        if seconds == 0 {
            self.refuse(format!("{option}: must be longer than 0 s"));
        }
        Some(seconds)
    }

    fn refuse(&mut self, why: String) {
        self.invalid.get_or_insert(why);
    }
}

impl fmt::Debug for RemoteServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteServer")
            .field("host", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The host's name.
impl fmt::Display for RemoteServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(options: impl FnOnce(&mut CallOptions)) -> Result<Call, Error> {
        let mut set = CallOptions::default();
        options(&mut set);
        set.call("h", "p", Json::NULL)
    }

    #[test]
    fn times_are_rounded_up() {
        for (limit, seconds) in [(1, 1), (999, 1), (1000, 1), (1001, 2), (60_000, 60)] {
            let limit = Duration::from_millis(limit);
            let call = call(|options| options.timeout = options.seconds("timeout", limit));
            assert_eq!(call.unwrap().timeout, Some(seconds));
        }
        let error = call(|options| options.timeout = options.seconds("timeout", Duration::ZERO));
        assert!(error.unwrap_err().to_string().starts_with("timeout:"));
        let longest = call(|options| options.timeout = options.seconds("t", Duration::MAX));
        assert_eq!(longest.unwrap().timeout, Some(u64::MAX));
    }

    #[test]
    fn concurrency_needs_a_queue() {
        let error = call(|options| options.concurrency = Some(2)).unwrap_err();
        assert!(error.to_string().contains(".queue("), "{error}");
    }
}
