//! The dispatcher as the user names it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use harp_proto::{JobId, Json, Password};
use serde::Serialize;

use crate::dispatcher::{Address, Dispatcher, OnLost, Options, Protection};
use crate::{Error, RemoteCall, RemoteServer, Tls};

/// A dispatcher: the way to its hosts and to the jobs it knows.
///
/// Cheap to clone; clones share their connections. Nothing is connected before the first
/// request.
///
/// ```no_run
/// # async fn example() -> Result<(), harp_client::Error> {
/// use harp_client::HarpCaller;
///
/// let rpc = HarpCaller::new("dispatcher.example.net")?;
/// let uptime: f64 = rpc.host("web01").call("uptime", ()).await?.get().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct HarpCaller {
    dispatcher: Arc<Dispatcher>,
}

/// Sets up a [`HarpCaller`].
///
/// ```no_run
/// # fn example(token: String) -> Result<(), harp_client::Error> {
/// use std::time::Duration;
///
/// use harp_client::{HarpCaller, Tls};
///
/// let rpc = HarpCaller::builder("dispatcher.example.net:3503")
///     .tls(Tls::ca_file("/etc/harp/ca.pem"))
///     .token(token)
///     .client_name("shop")
///     .connect_timeout(Duration::from_secs(3))
///     .request_timeout(Duration::from_secs(10))
///     .reconnect_for(Duration::from_secs(600))
///     .pool_size(4)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct HarpCallerBuilder {
    address: String,
    options: Options,
    tls: Option<Tls>,
    token_without_tls: bool,
}

impl HarpCaller {
    /// A dispatcher at `HOST`, `HOST:PORT` or `[IPV6]:PORT`; the port is 3502 unless
    /// told otherwise. One on this machine may also be at `unix:/PATH`, the path of a Unix
    /// socket that it listens on; it then knows by itself which user calls.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), harp_client::Error> {
    /// let rpc = harp_client::HarpCaller::new("unix:/run/harpcaller/clients")?;
    /// let job = rpc.host("web01").call("uptime", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the address has
    /// another form.
    pub fn new(address: &str) -> Result<HarpCaller, Error> {
        HarpCaller::builder(address).build()
    }

    /// Begins a dispatcher's description with time limits and other options.
    pub fn builder(address: &str) -> HarpCallerBuilder {
        HarpCallerBuilder {
            address: address.to_owned(),
            options: Options {
                connect_timeout: Duration::from_secs(10),
                request_timeout: Duration::from_secs(60),
                pool_size: 16,
                client_name: None,
                token: None,
                transport: Protection::Plain,
                max_reply_size: 64 * 1024 * 1024,
                reconnect_for: Duration::from_secs(300),
                on_lost: None,
            },
            tls: None,
            token_without_tls: false,
        }
    }

    /// A host by its name in the dispatcher's registry. Whether there is such a host
    /// shows when a job on it is started.
    pub fn host(&self, name: impl Into<Arc<str>>) -> RemoteServer {
        RemoteServer::new(Arc::clone(&self.dispatcher), name.into())
    }

    /// A job by its id, whichever client has submitted it.
    ///
    /// An id is printed and read as text, and stored by whatever knows serde.
    ///
    /// ```no_run
    /// # async fn example(rpc: harp_client::HarpCaller) -> Result<(), Box<dyn std::error::Error>> {
    /// use harp_client::JobId;
    ///
    /// let id: JobId = "3f22e0d4-c8ed-41e5-8d66-001e8c140268".parse()?;
    /// let status = rpc.job(id).status().await?;
    /// println!("{id} was a call of {}", status.procedure);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn job(&self, id: JobId) -> RemoteCall {
        RemoteCall::new(Arc::clone(&self.dispatcher), id)
    }

    /// Sends a request of one's own making on a connection of its own, and returns the
    /// first line of the reply as it is, errors too. The request must be whole, with
    /// `"harpcaller": 1` and all.
    ///
    /// ```no_run
    /// # async fn example(rpc: harp_client::HarpCaller) -> Result<(), harp_client::Error> {
    /// let reply = rpc
    ///     .request(&serde_json::json!({"harpcaller": 1, "get_status": "no such job"}))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Dropping the future closes the connection; the dispatcher may have got the request.
    ///
    /// # Errors
    ///
    /// If the request cannot be serialized, the dispatcher cannot be reached, closes the
    /// connection, answers with what is not JSON, or not within the request time-out.
    pub async fn request(&self, request: &impl Serialize) -> Result<Json, Error> {
        let request = Json::encode(request).map_err(|error| {
            Error::invalid_input(format!("request: cannot be sent: {error}")).with_source(error)
        })?;
        self.dispatcher.raw(&request).await
    }

    /// Closes the connections that carry no request at the moment, those of clones too. The
    /// next request opens one again.
    pub fn close_idle(&self) {
        self.dispatcher.close_idle();
    }
}

impl fmt::Debug for HarpCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HarpCaller")
            .field(&self.dispatcher.address().to_string())
            .finish()
    }
}

impl HarpCallerBuilder {
    /// How long resolving, connecting, the TLS handshake and greeting the dispatcher may take together;
    /// 10 s by default.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.options.connect_timeout = limit;
        self
    }

    /// How long the answer to a request may take that does not wait for a job; 60 s by
    /// default.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.options.request_timeout = limit;
        self
    }

    /// How many requests that do not wait for a job run at the same time, and how many
    /// idle connections are kept; 16 by default, 1 at least. Each wait for a job and
    /// each stream of packets has a connection of its own beside these.
    pub fn pool_size(mut self, connections: usize) -> Self {
        self.options.pool_size = connections.max(1);
        self
    }

    /// Speaks TLS, plain TCP unless this is called.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Authenticates with this token. A dispatcher that knows no tokens is not spoken to:
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported); one that does not accept
    /// it refuses every request with `unauthorized`.
    pub fn token(mut self, token: impl Into<Password>) -> Self {
        self.options.token = Some(token.into());
        self
    }

    /// Sends the token without TLS too, so that anybody on the way can read it. It is not
    /// needed where the dispatcher is on this machine.
    pub fn token_without_tls(mut self) -> Self {
        self.token_without_tls = true;
        self
    }

    /// Sets the name of this client in the dispatcher's log.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.options.client_name = Some(name.into());
        self
    }

    /// The longest line of a reply that is read, in bytes; 64 MiB by default. It bounds
    /// the memory that one connection takes.
    pub fn max_reply_size(mut self, bytes: usize) -> Self {
        self.options.max_reply_size = bytes;
        self
    }

    /// How long a dispatcher that was lost while a job was waited for or followed is
    /// looked for; 5 minutes by default.
    pub fn reconnect_for(mut self, limit: Duration) -> Self {
        self.options.reconnect_for = limit;
        self
    }

    /// Has a function told each time when a dispatcher was lost, or asked to try again later,
    /// and is about to be asked once more: what went wrong, and how long that waits. It is
    /// called within the future that waits, so it must not block.
    pub fn on_lost(mut self, told: impl Fn(&Error, Duration) + Send + Sync + 'static) -> Self {
        self.options.on_lost = Some(OnLost::new(told));
        self
    }

    /// The dispatcher.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the address has
    /// not one of the forms [above](HarpCaller::new), a file of the TLS settings cannot be
    /// used, TLS is wanted on a Unix socket, or a token would go over the network without
    /// TLS.
    pub fn build(self) -> Result<HarpCaller, Error> {
        let address: Address = self.address.parse()?;
        let mut options = self.options;
        if let Some(tls) = self.tls {
            options.transport = tls.build(&address)?;
        } else if options.token.is_some() && !self.token_without_tls && !address.is_loopback() {
            return Err(Error::invalid_input(
                "token: would go over the network without TLS; add .tls(Tls::ca_file(\"...\")), \
                 or .token_without_tls() if nobody else is on that network",
            ));
        }
        Ok(HarpCaller {
            dispatcher: Arc::new(Dispatcher::new(address, options)),
        })
    }
}
