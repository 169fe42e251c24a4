//! The crate's verbs for programs that know no async: scripts, tests, tools.
//!
//! Every function here waits until the async one of the same name is done; what that says
//! about arguments, limits and errors holds here too. Packets come as iterators.
//!
//! ```no_run
//! use harp_client::blocking::HarpCaller;
//!
//! # fn main() -> Result<(), harp_client::Error> {
//! let rpc = HarpCaller::new("dispatcher.example.net")?;
//! let job = rpc.host("web01").call("rotate_logs", ("nginx", 7))?;
//! let mut packets = job.follow().since(0);
//! for packet in &mut packets {
//!     println!("{}", packet?.data);
//! }
//! println!("{:?}", packets.outcome());
//! # Ok(())
//! # }
//! ```
//!
//! Inside an async runtime, on its threads for blocking work too, these functions fail
//! with [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) and send nothing: the
//! async ones are there for that.
//!
//! Nothing runs in the background: connections stand still between two calls.

mod direct;
mod driver;
mod jobs;
mod packets;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use direct::{DirectCall, HarpServer};
use driver::Driver;
pub use jobs::Jobs;
pub use packets::{Events, Packets};

use crate::{
    CallLimits, Cancellation, Error, HarpCallerBuilder, HarpServerBuilder, JobId, JobSnapshot,
    JobStatus, Json, Outcome, Repeat, ServerInfo, Stats,
};

/// A dispatcher: [`crate::HarpCaller`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct HarpCaller {
    caller: crate::HarpCaller,
    driver: Arc<Driver>,
}

/// A host behind the dispatcher, with the options of the calls made through it:
/// [`crate::RemoteServer`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RemoteServer {
    server: crate::RemoteServer,
    driver: Arc<Driver>,
}

/// A procedure of a host: [`crate::RemoteProcedure`].
#[derive(Debug, Clone)]
pub struct RemoteProcedure {
    server: RemoteServer,
    name: Arc<str>,
}

/// A job: [`crate::RemoteCall`]. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RemoteCall {
    call: crate::RemoteCall,
    driver: Arc<Driver>,
}

impl HarpCallerBuilder {
    /// The dispatcher, for programs that know no async.
    ///
    /// # Errors
    ///
    /// Those of [`build`](HarpCallerBuilder::build).
    pub fn build_blocking(self) -> Result<HarpCaller, Error> {
        Ok(HarpCaller {
            caller: self.build()?,
            driver: Driver::start()?,
        })
    }
}

impl HarpServerBuilder {
    /// The host, for programs that know no async.
    ///
    /// # Errors
    ///
    /// Those of [`build`](HarpServerBuilder::build).
    pub fn build_blocking(self) -> Result<HarpServer, Error> {
        Ok(HarpServer::new(self.build()?, Driver::start()?))
    }
}

impl HarpCaller {
    /// [`crate::HarpCaller::new`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::HarpCaller::new`].
    pub fn new(address: impl AsRef<str>) -> Result<HarpCaller, Error> {
        crate::HarpCaller::builder(address).build_blocking()
    }

    /// [`crate::HarpCaller::host`].
    pub fn host(&self, name: impl AsRef<str>) -> RemoteServer {
        RemoteServer {
            server: self.caller.host(name),
            driver: Arc::clone(&self.driver),
        }
    }

    /// [`crate::HarpCaller::request_timeout`].
    #[must_use]
    pub fn request_timeout(self, limit: Duration) -> HarpCaller {
        HarpCaller {
            caller: self.caller.request_timeout(limit),
            driver: self.driver,
        }
    }

    /// [`crate::HarpCaller::ping`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::HarpCaller::ping`].
    pub fn ping(&self) -> Result<ServerInfo, Error> {
        self.driver.run(self.caller.ping())
    }

    /// [`crate::HarpCaller::jobs`], as an iterator: what must hold of them is said before.
    ///
    /// ```no_run
    /// # fn example(rpc: harp_client::blocking::HarpCaller) -> Result<(), harp_client::Error> {
    /// for job in rpc.jobs(|jobs| jobs.host("web*").limit(20)) {
    ///     println!("{}", job?.id);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn jobs(&self, narrowed: impl FnOnce(crate::Jobs) -> crate::Jobs) -> Jobs {
        Jobs::new(narrowed(self.caller.jobs()), Arc::clone(&self.driver))
    }

    /// [`crate::HarpCaller::job_of_key`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::HarpCaller::job_of_key`].
    pub fn job_of_key(&self, key: impl AsRef<str>) -> Result<Option<RemoteCall>, Error> {
        let found = self.driver.run(self.caller.job_of_key(key))?;
        let driver = &self.driver;
        Ok(found.map(|call| RemoteCall {
            call,
            driver: Arc::clone(driver),
        }))
    }

    /// [`crate::HarpCaller::stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.caller.stats()
    }

    /// [`crate::HarpCaller::close_idle`].
    pub fn close_idle(&self) {
        self.caller.close_idle();
    }

    /// [`crate::HarpCaller::job`].
    #[must_use]
    pub fn job(&self, id: JobId) -> RemoteCall {
        RemoteCall {
            call: self.caller.job(id),
            driver: Arc::clone(&self.driver),
        }
    }

    /// [`crate::HarpCaller::request`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::HarpCaller::request`].
    pub fn request(&self, request: &impl Serialize) -> Result<Json, Error> {
        self.driver.run(self.caller.request(request))
    }
}

impl RemoteServer {
    /// [`crate::RemoteServer::host`].
    #[must_use]
    pub fn host(&self) -> &str {
        self.server.host()
    }

    /// [`crate::RemoteServer::queue`].
    #[must_use]
    pub fn queue(self, name: impl Serialize) -> RemoteServer {
        self.with(|server| server.queue(name))
    }

    /// [`crate::RemoteServer::concurrency`].
    #[must_use]
    pub fn concurrency(self, jobs: u64) -> RemoteServer {
        self.with(|server| server.concurrency(jobs))
    }

    /// [`crate::RemoteServer::timeout`].
    #[must_use]
    pub fn timeout(self, limit: Duration) -> RemoteServer {
        self.with(|server| server.timeout(limit))
    }

    /// [`crate::RemoteServer::max_exec_time`].
    #[must_use]
    pub fn max_exec_time(self, limit: Duration) -> RemoteServer {
        self.with(|server| server.max_exec_time(limit))
    }

    /// [`crate::RemoteServer::info`].
    #[must_use]
    pub fn info(self, info: impl Serialize) -> RemoteServer {
        self.with(|server| server.info(info))
    }

    /// [`crate::RemoteServer::key`].
    #[must_use]
    pub fn key(self, key: impl AsRef<str>) -> RemoteServer {
        self.with(|server| server.key(key))
    }

    /// [`crate::RemoteServer::repeat`].
    #[must_use]
    pub fn repeat(self, repeat: Repeat) -> RemoteServer {
        self.with(|server| server.repeat(repeat))
    }

    /// [`crate::RemoteServer::request_timeout`].
    #[must_use]
    pub fn request_timeout(self, limit: Duration) -> RemoteServer {
        self.with(|server| server.request_timeout(limit))
    }

    /// [`crate::RemoteServer::unless_since`].
    #[must_use]
    pub fn unless_since(self, age: Duration) -> RemoteServer {
        self.with(|server| server.unless_since(age))
    }

    /// [`crate::RemoteServer::start_by`].
    #[must_use]
    pub fn start_by(self, limit: Duration) -> RemoteServer {
        self.with(|server| server.start_by(limit))
    }

    /// [`crate::RemoteServer::traceparent`].
    #[must_use]
    pub fn traceparent(self, text: impl AsRef<str>) -> RemoteServer {
        self.with(|server| server.traceparent(text))
    }

    /// [`crate::RemoteServer::tell_limits`].
    #[must_use]
    pub fn tell_limits(self) -> RemoteServer {
        self.with(crate::RemoteServer::tell_limits)
    }

    /// [`crate::RemoteServer::procedure`].
    pub fn procedure(&self, name: impl AsRef<str>) -> RemoteProcedure {
        RemoteProcedure {
            server: self.clone(),
            name: name.as_ref().into(),
        }
    }

    /// [`crate::RemoteServer::call`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::RemoteServer::call`].
    pub fn call(
        &self,
        procedure: impl AsRef<str>,
        arguments: impl Serialize,
    ) -> Result<RemoteCall, Error> {
        let call = self.driver.run(self.server.call(procedure, arguments))?;
        Ok(RemoteCall {
            call,
            driver: Arc::clone(&self.driver),
        })
    }

    fn with(self, change: impl FnOnce(crate::RemoteServer) -> crate::RemoteServer) -> RemoteServer {
        RemoteServer {
            server: change(self.server),
            driver: self.driver,
        }
    }
}

impl RemoteProcedure {
    /// [`crate::RemoteProcedure::host`].
    #[must_use]
    pub fn host(&self) -> &str {
        self.server.host()
    }

    /// [`crate::RemoteProcedure::procedure`].
    #[must_use]
    pub fn procedure(&self) -> &str {
        &self.name
    }

    /// [`crate::RemoteProcedure::call`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::RemoteProcedure::call`].
    pub fn call(&self, arguments: impl Serialize) -> Result<RemoteCall, Error> {
        self.server.call(&self.name, arguments)
    }
}

impl RemoteCall {
    /// [`crate::RemoteCall::id`].
    #[must_use]
    pub fn id(&self) -> JobId {
        self.call.id()
    }

    /// [`crate::RemoteCall::existing`].
    #[must_use]
    pub fn existing(&self) -> bool {
        self.call.existing()
    }

    /// [`crate::RemoteCall::limits`].
    #[must_use]
    pub fn limits(&self) -> Option<CallLimits> {
        self.call.limits()
    }

    /// [`crate::RemoteCall::result`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::RemoteCall::result`].
    pub fn result(&self) -> Result<Option<Outcome>, Error> {
        self.driver.run(self.call.result())
    }

    /// [`crate::RemoteCall::wait`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::RemoteCall::wait`].
    pub fn wait(&self) -> Result<Outcome, Error> {
        self.driver.run(self.call.wait())
    }

    /// [`crate::RemoteCall::request_timeout`].
    #[must_use]
    pub fn request_timeout(self, limit: Duration) -> RemoteCall {
        RemoteCall {
            call: self.call.request_timeout(limit),
            driver: self.driver,
        }
    }

    /// [`crate::RemoteCall::try_get`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::RemoteCall::try_get`].
    pub fn try_get<T: DeserializeOwned + 'static>(&self) -> Result<Option<T>, Error> {
        self.driver.run(self.call.try_get())
    }

    /// [`crate::RemoteCall::get`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::RemoteCall::get`].
    pub fn get<T: DeserializeOwned + 'static>(&self) -> Result<T, Error> {
        self.driver.run(self.call.get())
    }

    /// [`crate::RemoteCall::follow`], as an iterator.
    pub fn follow(&self) -> Packets {
        Packets::new(self.call.follow(), Arc::clone(&self.driver))
    }

    /// [`crate::RemoteCall::stream`], as an iterator.
    pub fn stream(&self) -> Packets {
        Packets::new(self.call.stream(), Arc::clone(&self.driver))
    }

    /// [`crate::RemoteCall::cancel`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::RemoteCall::cancel`].
    pub fn cancel(&self) -> Result<bool, Error> {
        self.driver.run(self.call.cancel())
    }

    /// [`crate::RemoteCall::cancel_confirmed`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::RemoteCall::cancel_confirmed`].
    pub fn cancel_confirmed(&self) -> Result<Cancellation, Error> {
        self.driver.run(self.call.cancel_confirmed())
    }

    /// [`crate::RemoteCall::status`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::RemoteCall::status`].
    pub fn status(&self) -> Result<JobStatus, Error> {
        self.driver.run(self.call.status())
    }

    /// [`crate::RemoteCall::snapshot`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::RemoteCall::snapshot`].
    pub fn snapshot(&self) -> Result<JobSnapshot, Error> {
        self.driver.run(self.call.snapshot())
    }
}
