//! Calling a host's `harpd` (host protocol): the dispatcher does it for every job, and a
//! program can do it without a dispatcher.
//!
//! A [`Connection`] is opened under a deadline, carries one [`Request`], and becomes a
//! [`HostCall`], which gives the packets and the end. Whatever goes wrong is a
//! [`HostError`], with the [`Phase`] it went wrong in.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use harp_client::direct::{Connection, Endpoint, Event, Limits};
//! use harp_client::tls::{Trust, TrustFiles};
//! use harp_proto::host::Request;
//! use tokio::time::Instant;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let trust = Trust::new(TrustFiles {
//!     ca_file: Some("/etc/harp/ca.pem".into()),
//!     known_certs_file: None,
//!     verify_hostname: true,
//! })?;
//! let deadline = Instant::now() + Duration::from_secs(10);
//! let host = Endpoint::new("web01.example.net", harp_proto::HOST_PORT);
//! let connection = Connection::open(&host, &trust, Limits::default(), deadline).await?;
//! let request = Request {
//!     procedure: "uptime".to_owned(),
//!     arguments: "[]".parse()?,
//!     user: "rpc".to_owned(),
//!     password: "secret".into(),
//! };
//! let mut call = connection.request(&request, deadline).await?;
//! loop {
//!     match call.next().await? {
//!         Event::Packet(data) => println!("{data}"),
//!         Event::End(outcome) => break println!("{outcome:?}"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! [`Request`]: harp_proto::host::Request

mod call;
mod connection;
mod error;
mod read_ahead;

use std::fmt;
use std::net::IpAddr;

use rustls_pki_types::{InvalidDnsNameError, ServerName};

pub use call::{Cancel, Event, HostCall};
pub use connection::Connection;
pub use error::{HostError, HostErrorKind, Phase};

use crate::tls::Fingerprint;

/// Where a host's `harpd` is, and what its certificate has to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// A host name, an IPv4 or an IPv6 address (without brackets).
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// The name that the certificate must have, when it is not `address`.
    pub tls_name: Option<String>,
    /// The certificate that it must be, whatever the trust files say.
    pub fingerprint: Option<Fingerprint>,
}

impl Endpoint {
    /// An endpoint whose certificate is judged by the trust files alone.
    pub fn new(address: impl Into<String>, port: u16) -> Endpoint {
        Endpoint {
            address: address.into(),
            port,
            tls_name: None,
            fingerprint: None,
        }
    }

    /// The name that the certificate is held against. An address that resolves but is
    /// no DNS name is held against as the IP address it resolved to.
    fn server_name(&self, peer: IpAddr) -> Result<ServerName<'static>, InvalidDnsNameError> {
        match &self.tls_name {
            Some(name) => ServerName::try_from(name.clone()),
            None => Ok(ServerName::try_from(self.address.clone())
                .unwrap_or_else(|_| ServerName::IpAddress(peer.into()))),
        }
    }
}

/// `ADDRESS:PORT`, an IPv6 address in brackets.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address.contains(':') {
            true => write!(f, "[{}]:{}", self.address, self.port),
            false => write!(f, "{}:{}", self.address, self.port),
        }
    }
}

/// What a host may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Greatest size of one packet or result, in bytes of its JSON text. The line around
    /// it may be [`harp_proto::LINE_ALLOWANCE`] longer.
    pub max_packet_size: usize,
}

impl Default for Limits {
    /// 16 MiB.
    fn default() -> Limits {
        Limits {
            max_packet_size: 16 * 1024 * 1024,
        }
    }
}
