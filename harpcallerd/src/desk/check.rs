//! What would become of a call, without making it.

use harp_jobs::call::NewCall;
use harp_jobs::client::Client;
use harp_jobs::refusal::{Refusal, SchemaOf};

use super::Desk;
use crate::procedures::Source;

/// A call could be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Whether the hosts registry has its host at present.
    pub host_known: bool,
    /// The source of the schema that its arguments were held against, if there is one.
    pub schema: Option<Source>,
}

impl Desk {
    /// Says whether a call could be accepted; nothing of it is recorded.
    ///
    /// # Errors
    ///
    /// Those of [`Desk::submit`] that can be told before the call is to be recorded.
    pub async fn check(&self, by: &Client, call: &NewCall) -> Result<Checked, Refusal> {
        let call = &self.addressed(call.clone());
        self.may_submit(by, call).await?;
        if self.winding_down.is_cancelled() {
            return Err(Refusal::Closing);
        }
        let is_service = self.dispatcher.services().is_host(&call.host);
        Ok(Checked {
            host_known: is_service || self.hosts.get(&call.host).is_some(),
            schema: {
                let (host, procedure) = (&call.host, &call.procedure);
                let known = (self.knowledge).schema(SchemaOf::Arguments, host, procedure);
                known.map(|(_, source)| source)
            },
        })
    }
}
