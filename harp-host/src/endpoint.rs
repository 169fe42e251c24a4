//! Which host is meant, and which certificate it has to show.

use std::fmt;
use std::net::IpAddr;

use rustls_pki_types::{InvalidDnsNameError, ServerName};

use crate::fingerprint::Fingerprint;

/// Address of a host's `harpd`, and the certificate that it has to show.
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

    /// The `tls_name` if it can be no certificate's name.
    #[must_use]
    pub fn wrong_tls_name(&self) -> Option<&str> {
        let name = self.tls_name.as_deref()?;
        ServerName::try_from(name).is_err().then_some(name)
    }

    /// The name that the certificate is held against. An address that resolves but is
    /// no DNS name is held against as the IP address it resolved to.
    ///
    /// # Errors
    ///
    /// If [`Endpoint::wrong_tls_name`] has one.
    pub fn server_name(&self, peer: IpAddr) -> Result<ServerName<'static>, InvalidDnsNameError> {
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
        if self.address.contains(':') {
            write!(f, "[{}]:{}", self.address, self.port)
        } else {
            write!(f, "{}:{}", self.address, self.port)
        }
    }
}
