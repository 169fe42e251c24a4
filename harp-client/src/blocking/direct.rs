//! Calling a host directly.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::driver::Driver;
use crate::{Error, Json, Outcome};

/// A host's `harpd`, called without a dispatcher in between: [`crate::HarpServer`].
///
/// ```no_run
/// # fn main() -> Result<(), harp_client::Error> {
/// use harp_client::HarpServer;
///
/// let web01 = HarpServer::builder("web01.example.net", "rpc", "secret")
///     .ca_file("/etc/harp/ca.pem")
///     .build_blocking()?;
/// for line in web01.call("tail", ("/var/log/messages",))? {
///     println!("{}", line?);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct HarpServer {
    server: crate::HarpServer,
    driver: Arc<Driver>,
}

/// A call that a host has accepted: [`crate::DirectCall`]. Dropping it cancels the call.
#[derive(Debug)]
#[must_use = "dropping a direct call cancels it"]
pub struct DirectCall {
    call: crate::DirectCall,
    driver: Arc<Driver>,
    /// True once an error was given that the call does not know of.
    failed: bool,
}

impl HarpServer {
    pub(super) fn new(server: crate::HarpServer, driver: Arc<Driver>) -> HarpServer {
        HarpServer { server, driver }
    }

    /// [`crate::HarpServer::call`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::HarpServer::call`].
    pub fn call(
        &self,
        procedure: impl AsRef<str>,
        arguments: impl Serialize,
    ) -> Result<DirectCall, Error> {
        let call = self.driver.run(self.server.call(procedure, arguments))?;
        Ok(DirectCall {
            call,
            driver: Arc::clone(&self.driver),
            failed: false,
        })
    }
}

impl DirectCall {
    /// [`crate::DirectCall::streams`].
    #[must_use]
    pub fn streams(&self) -> bool {
        self.call.streams()
    }

    /// [`crate::DirectCall::outcome`].
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.call.outcome()
    }

    /// [`crate::DirectCall::get`].
    ///
    /// # Errors
    ///
    /// Those of [`crate::DirectCall::get`].
    pub fn get<T: DeserializeOwned>(self) -> Result<T, Error> {
        self.driver.run(self.call.get())
    }
}

impl Iterator for DirectCall {
    type Item = Result<Json, Error>;

    fn next(&mut self) -> Option<Result<Json, Error>> {
        if self.failed {
            return None;
        }
        let call = &mut self.call;
        let next = self.driver.run(async { call.next().await.transpose() });
        self.failed = next.is_err();
        next.transpose()
    }
}
