//! What a dispatcher says of itself.

use serde::Serialize;

use crate::dispatcher::Dispatcher;
use crate::{Error, HarpCaller, Pending};

/// What a dispatcher says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServerInfo {
    /// Which of its addresses has answered.
    pub address: String,
    /// Name and version, as `harpcallerd/0.1.0`.
    pub server: String,
    /// The extensions of the protocol that are in force, by their names in
    /// harpcaller-protocol(7).
    pub features: Vec<String>,
}

impl HarpCaller {
    /// Asks the dispatcher whether it is there and knows this client, on a new connection, which
    /// is kept for later requests. Nothing else is done there: a service asks before it says
    /// that it is ready. Cancel safe.
    ///
    /// ```no_run
    /// # async fn example(rpc: harp_client::HarpCaller) -> Result<(), harp_client::Error> {
    /// let info = rpc.ping().await?;
    /// println!("{} at {}", info.server, info.address);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Communication`](crate::ErrorKind::Communication) if it cannot be reached
    /// within the time limit of a request; a [refusal](crate::ErrorKind::is_refusal), such as
    /// `unauthorized`; [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if it is one
    /// that does not know `hello`.
    #[doc(alias = "health")]
    pub fn ping(&self) -> Pending<ServerInfo> {
        let dispatcher = self.dispatcher().clone();
        Pending::new(async move { asked(&dispatcher).await })
    }
}

async fn asked(dispatcher: &Dispatcher) -> Result<ServerInfo, Error> {
    let connection = dispatcher
        .new_connection(dispatcher.request_deadline())
        .await?;
    let (server, features) = connection
        .greeting()
        .ok_or_else(|| Error::unsupported(dispatcher.address(), "hello"))?;
    let info = ServerInfo {
        address: connection.address().to_string(),
        server: server.to_owned(),
        features: features.to_vec(),
    };
    dispatcher.give_back(connection);
    Ok(info)
}
