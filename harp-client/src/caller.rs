//! The dispatcher as the user names it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use harp_proto::{JobId, Json, Password};
use serde::Serialize;

use crate::dispatcher::{Addresses, Dispatcher, OnLost, Options, Protection, Target};
use crate::traceparent::CurrentTrace;
use crate::{Error, Pending, RemoteCall, RemoteServer, Repeat, Stats, Tls, token};

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
    dispatcher: Dispatcher,
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
    token_file: Option<PathBuf>,
    token_without_tls: bool,
}

impl HarpCaller {
    /// A dispatcher at `HOST`, `HOST:PORT` or `[IPV6]:PORT`; the port is 3502 unless
    /// told otherwise. One on this machine may also be at `unix:/PATH`, the path of a Unix
    /// socket that it listens on; it then knows by itself which user calls.
    ///
    /// `harps://` before it has TLS spoken, with the port 3503 unless told otherwise and the
    /// certificates that [this system trusts](Tls::system) unless [`tls`](HarpCallerBuilder::tls)
    /// says which; `harp://` has it not spoken. Several addresses, with commas between them,
    /// are dispatchers that keep their jobs in one place: they are tried in turn, beginning
    /// with the one that was there last, each with its share of the time for connecting.
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
    #[doc(alias = "connect")]
    pub fn new(address: impl AsRef<str>) -> Result<HarpCaller, Error> {
        HarpCaller::builder(address).build()
    }

    /// Begins a dispatcher's description with time limits and other options.
    pub fn builder(address: impl AsRef<str>) -> HarpCallerBuilder {
        HarpCallerBuilder {
            address: address.as_ref().to_owned(),
            options: Options {
                connect_timeout: Duration::from_secs(10),
                request_timeout: Duration::from_secs(60),
                repeat: Repeat::always(),
                pool_size: 16,
                client_name: None,
                token: None,
                max_reply_size: 64 * 1024 * 1024,
                reconnect_for: Duration::from_secs(300),
                on_lost: None,
                trace: None,
            },
            tls: None,
            token_file: None,
            token_without_tls: false,
        }
    }

    /// A host by its name in the dispatcher's registry. Whether there is such a host
    /// shows when a job on it is started.
    /// An empty name is refused by the call.
    pub fn host(&self, name: impl AsRef<str>) -> RemoteServer {
        RemoteServer::new(self.dispatcher.clone(), name.as_ref())
    }

    /// This dispatcher with another time limit for what is asked through it and through the
    /// hosts and jobs that it gives; see
    /// [`HarpCallerBuilder::request_timeout`]. The connections are the same.
    ///
    /// ```no_run
    /// # async fn example(rpc: harp_client::HarpCaller) -> Result<(), harp_client::Error> {
    /// use std::time::Duration;
    ///
    /// let hasty = rpc.clone().request_timeout(Duration::from_millis(500));
    /// let job = hasty.host("web01").call("uptime", ()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    #[doc(alias = "deadline")]
    pub fn request_timeout(mut self, limit: Duration) -> HarpCaller {
        self.dispatcher.request_timeout = limit;
        self
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
        RemoteCall::new(self.dispatcher.clone(), id)
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
    pub fn request(&self, request: &impl Serialize) -> Pending<Json> {
        let request = Json::encode(request).map_err(|error| {
            Error::invalid_input(format!("request: cannot be sent: {error}")).with_source(error)
        });
        let dispatcher = self.dispatcher.clone();
        Pending::new(async move { dispatcher.raw(&request?).await })
    }

    /// What this client and its clones have done, in numbers.
    #[must_use]
    #[doc(alias = "metrics")]
    pub fn stats(&self) -> Stats {
        self.dispatcher.stats()
    }

    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
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

    /// How long a request may take that does not wait for a job, 60 s by default: all of it,
    /// from the moment it is first polled. That includes its turn among the requests of this
    /// client, resolving and connecting (at most [`connect_timeout`](Self::connect_timeout) of
    /// it), the answer, and the [repetitions](Self::repeat) of a call with a key with their
    /// pauses. A request that waits for a job is to be on its way by then.
    ///
    /// [`HarpCaller::request_timeout`], [`RemoteServer::request_timeout`] and
    /// [`RemoteCall::request_timeout`] set another limit for some requests. A time limit of the
    /// program's own around any request, such as `tokio::time::timeout`, drops its future.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.options.request_timeout = limit;
        self
    }

    /// How a call with a [key](RemoteServer::key) is made again when the dispatcher is away;
    /// as often as the time limit of the request allows by default.
    /// [`RemoteServer::repeat`] says so for some calls.
    #[doc(alias = "retry")]
    pub fn repeat(mut self, repeat: Repeat) -> Self {
        self.options.repeat = repeat;
        self
    }

    /// How many requests that do not wait for a job run at the same time, and how many
    /// idle connections are kept; 16 by default, 1 at least. Each wait for a job and
    /// each stream of packets has a connection of its own beside these.
    pub fn pool_size(mut self, connections: usize) -> Self {
        self.options.pool_size = connections.max(1);
        self
    }

    /// Speaks TLS, plain TCP unless this is called or the address begins with `harps://`.
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Authenticates with this token. A dispatcher that knows no tokens is not spoken to:
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported); one that does not accept
    /// it refuses every request with `unauthorized`. A token has no white space in it: one
    /// that was read from a file with its line end is refused by [`build`](Self::build).
    pub fn token(mut self, token: impl Into<Password>) -> Self {
        self.options.token = Some(token.into());
        self.token_file = None;
        self
    }

    /// Authenticates with the [token](Self::token) in the first line of this file, which is
    /// read by [`build`](Self::build).
    pub fn token_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.token_file = Some(file.into());
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
    /// looked for, pauses and attempts to connect included; 5 minutes by default. One that was
    /// never reached is not looked for: its address may be wrong.
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

    /// Has a function say, at each call, which trace the program works on: the `traceparent` of
    /// W3C Trace Context, or `None`. The dispatcher's log and spans, and the host's procedure
    /// (`TRACEPARENT` in its environment) go on with it; one that does not know it gets none.
    /// The function is called by [`call`](RemoteServer::call) itself, within the current span.
    ///
    /// With the crates `tracing-opentelemetry` and `opentelemetry` it is, in a program,
    ///
    /// ```ignore
    /// builder.traceparent(|| {
    ///     let context = tracing::Span::current().context();
    ///     let mut carrier = std::collections::HashMap::new();
    ///     opentelemetry::global::get_text_map_propagator(|to| to.inject_context(&context, &mut carrier));
    ///     carrier.remove("traceparent")
    /// })
    /// ```
    #[doc(alias = "opentelemetry")]
    pub fn traceparent(
        mut self,
        current: impl Fn() -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.options.trace = Some(CurrentTrace::new(current));
        self
    }

    /// The dispatcher.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the address has
    /// not one of the forms [above](HarpCaller::new), a file of the TLS settings cannot be
    /// used, TLS is wanted on a Unix socket, a token has white space in it or would go over
    /// the network without TLS.
    pub fn build(self) -> Result<HarpCaller, Error> {
        let addresses: Addresses = self.address.parse()?;
        let tls = match (self.tls, addresses.is_tls) {
            (Some(_), Some(false)) => {
                return Err(Error::invalid_input(format!(
                    "dispatcher address {:?}: has no TLS, and .tls(...) says that it has; write \
                     harps:// there, or no scheme",
                    self.address
                )));
            }
            (None, Some(true)) => Some(Tls::system()),
            (tls, _) => tls,
        };
        let mut options = self.options;
        if let Some(file) = &self.token_file {
            options.token = Some(token::read(file)?);
        }
        if let Some(token) = &options.token {
            token::check(token)?;
            let is_open = addresses.all.iter().any(|address| !address.is_loopback());
            if is_open && tls.is_none() && !self.token_without_tls {
                return Err(Error::invalid_input(
                    "token: would go over the network without TLS; add \
                     .tls(Tls::ca_file(\"...\")), or .token_without_tls() if nobody else is on \
                     that network",
                ));
            }
        }
        let target = |address| {
            let protection = match &tls {
                Some(tls) => tls.build(&address)?,
                None => Protection::Plain,
            };
            Ok(Target::new(address, protection))
        };
        let targets: Result<Vec<Target>, Error> = addresses.all.into_iter().map(target).collect();
        Ok(HarpCaller {
            dispatcher: Dispatcher::new(targets?, options),
        })
    }
}
