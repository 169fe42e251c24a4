//! Calling a host directly, without a dispatcher.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_core::Stream;
use harp_proto::host::Request;
use harp_proto::{HOST_PORT, Json, Outcome, Password};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::direct::{Connection, Endpoint, Event, HostCall, Limits};
use crate::tls::{Fingerprint, Trust, TrustFiles};
use crate::{Error, Pending, arguments, deadline};

/// A host's `harpd`, called without a dispatcher in between: nothing is recorded, and a
/// call ends with the connection. Cheap to clone.
///
/// ```no_run
/// # async fn example() -> Result<(), harp_client::Error> {
/// use harp_client::HarpServer;
///
/// let web01 = HarpServer::builder("web01.example.net", "rpc", "secret")
///     .ca_file("/etc/harp/ca.pem")
///     .build()?;
/// let mut log = web01.call("tail", ("/var/log/messages",)).await?;
/// while let Some(line) = log.next().await {
///     println!("{}", line?);
/// }
/// println!("{:?}", log.outcome());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct HarpServer {
    endpoint: Endpoint,
    user: String,
    password: Password,
    trust: Arc<Trust>,
    limits: Limits,
    connect_timeout: Duration,
}

/// Sets up a [`HarpServer`]. One of [`ca_file`](Self::ca_file),
/// [`known_certs_file`](Self::known_certs_file), [`fingerprint`](Self::fingerprint) and
/// [`accept_any_certificate`](Self::accept_any_certificate) has to be chosen.
///
/// ```no_run
/// # fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use harp_client::HarpServer;
///
/// // The host's certificate as it is, by its SHA-256:
/// let pin = "3f5a02b1c4d6e8f7a9b0c1d2e3f405162738495a6b7c8d9eaf0b1c2d3e4f5061".parse()?;
/// let pinned = HarpServer::builder("192.0.2.7", "rpc", "secret").fingerprint(pin).build()?;
///
/// // One of those in a file:
/// let known = HarpServer::builder("192.0.2.7", "rpc", "secret")
///     .known_certs_file("/etc/harp/known_certs.pem")
///     .build()?;
///
/// // Whoever answers there, in a network where nobody else can:
/// let anybody = HarpServer::builder("127.0.0.1", "rpc", "secret")
///     .port(4307)
///     .accept_any_certificate()
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct HarpServerBuilder {
    endpoint: Endpoint,
    user: String,
    password: Password,
    files: TrustFiles,
    accept_any: bool,
    limits: Limits,
    connect_timeout: Duration,
}

/// A call that a host has accepted: a [`Stream`] of its packets, and then its
/// [outcome](DirectCall::outcome). Dropping it cancels the call.
#[derive(Debug)]
#[must_use = "dropping a direct call cancels it"]
pub struct DirectCall {
    /// `None` once the call has ended or failed.
    call: Option<HostCall>,
    streams: bool,
    outcome: Option<Outcome>,
}

impl HarpServer {
    /// A host at this address, called by this user.
    pub fn builder(
        address: impl AsRef<str>,
        user: impl AsRef<str>,
        password: impl Into<Password>,
    ) -> HarpServerBuilder {
        HarpServerBuilder {
            endpoint: Endpoint::new(address.as_ref(), HOST_PORT),
            user: user.as_ref().to_owned(),
            password: password.into(),
            files: TrustFiles {
                ca_file: None,
                known_certs_file: None,
                verify_hostname: true,
            },
            accept_any: false,
            limits: Limits::default(),
            connect_timeout: Duration::from_secs(10),
        }
    }

    /// Calls a procedure. Arguments are as for
    /// [`RemoteServer::call`](crate::RemoteServer::call). Dropping the future cancels the
    /// call.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for arguments that
    /// cannot be sent; [`ErrorKind::Communication`](crate::ErrorKind::Communication),
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol), and
    /// [`ErrorKind::Remote`](crate::ErrorKind::Remote) if the host refuses the request.
    pub fn call(
        &self,
        procedure: impl AsRef<str>,
        arguments: impl Serialize,
    ) -> Pending<DirectCall> {
        let arguments = arguments::encode(&arguments);
        let procedure = procedure.as_ref().to_owned();
        let server = self.clone();
        Pending::new(async move {
            let request = Request {
                procedure,
                arguments: arguments?,
                user: server.user,
                password: server.password,
            };
            let deadline = deadline::after(server.connect_timeout);
            let connection =
                Connection::open(&server.endpoint, &server.trust, server.limits, deadline).await?;
            let call = connection.request(&request, deadline).await?;
            Ok(DirectCall {
                streams: call.streams(),
                call: Some(call),
                outcome: None,
            })
        })
    }
}

impl HarpServerBuilder {
    /// The port, 4306 by default.
    pub fn port(mut self, port: u16) -> Self {
        self.endpoint.port = port;
        self
    }

    /// Accepts certificates that a CA in this PEM file has signed.
    pub fn ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.files.ca_file = Some(file.into());
        self
    }

    /// Accepts the certificates in this PEM file as they are.
    pub fn known_certs_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.files.known_certs_file = Some(file.into());
        self
    }

    /// Accepts the certificate of this fingerprint and no other.
    pub fn fingerprint(mut self, fingerprint: Fingerprint) -> Self {
        self.endpoint.fingerprint = Some(fingerprint);
        self
    }

    /// With a CA file: the name that the certificate must have, when it is not the
    /// address.
    pub fn tls_name(mut self, name: impl Into<String>) -> Self {
        self.endpoint.tls_name = Some(name.into());
        self
    }

    /// With a CA file: accepts its certificates whatever name they have.
    pub fn ignore_name(mut self) -> Self {
        self.files.verify_hostname = false;
        self
    }

    /// Accepts any certificate, so that anybody on the way can read the password.
    pub fn accept_any_certificate(mut self) -> Self {
        self.accept_any = true;
        self
    }

    /// How long it may take from resolving the address to the host's acknowledgement;
    /// 10 s by default.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Greatest size of a packet or result in bytes of JSON text; 16 MiB by default.
    pub fn max_packet_size(mut self, bytes: usize) -> Self {
        self.limits.max_packet_size = bytes;
        self
    }

    /// The host. Reads the files.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if nothing says which
    /// certificates to accept, or a file cannot be used.
    pub fn build(self) -> Result<HarpServer, Error> {
        let chosen = self.files.ca_file.is_some()
            || self.files.known_certs_file.is_some()
            || self.endpoint.fingerprint.is_some();
        if chosen == self.accept_any {
            return Err(Error::invalid_input(if chosen {
                "accept_any_certificate contradicts ca_file, known_certs_file and \
                     fingerprint"
            } else {
                "nothing says which certificate the host may have: set ca_file, \
                     known_certs_file or fingerprint, or accept_any_certificate"
            }));
        }
        let trust = Trust::new(self.files)
            .map_err(|error| Error::invalid_input(error.to_string()).with_source(error))?;
        Ok(HarpServer {
            endpoint: self.endpoint,
            user: self.user,
            password: self.password,
            trust: Arc::new(trust),
            limits: self.limits,
            connect_timeout: self.connect_timeout,
        })
    }
}

impl DirectCall {
    /// True if the procedure streams, so that packets may come.
    #[must_use]
    pub fn streams(&self) -> bool {
        self.streams
    }

    /// The next packet, `None` after the last. Cancel safe. A host that is silent is
    /// waited for without limit.
    ///
    /// # Errors
    ///
    /// As an item, and then it is the last: the connection ended before the call, or the
    /// host sent what is none of the protocol.
    pub async fn next(&mut self) -> Option<Result<Json, Error>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// How the call ended, once the stream has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Passes over the packets that are left and gives what the procedure returned.
    /// Dropping the future cancels the call.
    ///
    /// ```no_run
    /// # async fn example(web01: harp_client::HarpServer) -> Result<(), harp_client::Error> {
    /// let uptime: f64 = web01.call("uptime", ()).await?.get().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`next`](DirectCall::next),
    /// [`ErrorKind::Exception`](crate::ErrorKind::Exception),
    /// [`ErrorKind::Remote`](crate::ErrorKind::Remote) and
    /// [`ErrorKind::UnexpectedResult`](crate::ErrorKind::UnexpectedResult).
    pub async fn get<T: DeserializeOwned>(mut self) -> Result<T, Error> {
        while let Some(packet) = self.next().await {
            packet?;
        }
        let outcome = self
            .outcome
            .ok_or_else(|| Error::protocol("the call had failed before"))?;
        Ok(outcome.into_result()?)
    }
}

impl Stream for DirectCall {
    type Item = Result<Json, Error>;

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Json, Error>>> {
        let this = self.get_mut();
        let Some(call) = &mut this.call else {
            return Poll::Ready(None);
        };
        let event = ready!(call.poll_event(context));
        Poll::Ready(match event {
            Ok(Event::Packet(data)) => Some(Ok(data)),
            Ok(Event::End(outcome)) => {
                this.call = None;
                this.outcome = Some(outcome);
                None
            }
            Err(error) => {
                this.call = None;
                Some(Err(error.into()))
            }
        })
    }
}
