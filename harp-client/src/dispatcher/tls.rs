//! How the dispatcher is known over TLS, and how it knows us.

use std::path::PathBuf;
use std::sync::Arc;

use harp_host::Endpoint;
use harp_host::tls::{Fingerprint, Pem, Sources, Trust};

use super::Address;
use crate::Error;

/// TLS to the dispatcher: which certificate it must have, and what this client shows.
///
/// It begins with the one choice that has to be made; files are looked at again before
/// each new connection, so that a renewed certificate is used without a restart.
///
/// ```no_run
/// # fn example() -> Result<(), harp_client::Error> {
/// use harp_client::{HarpCaller, Tls};
///
/// let tls = Tls::ca_file("/etc/harp/ca.pem")
///     .client_certificate("/etc/shop/client.pem", "/etc/shop/client.key");
/// let rpc = HarpCaller::builder("dispatcher.example.net:3503")
///     .tls(tls)
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct Tls {
    sources: Sources,
    fingerprint: Option<Fingerprint>,
    server_name: Option<String>,
    /// The authorities are those of this system.
    of_system: bool,
}

impl Tls {
    /// Accepts a certificate that a CA in this PEM file has signed and that names the
    /// dispatcher.
    pub fn ca_file(file: impl Into<PathBuf>) -> Tls {
        Tls::authorities(Pem::File(file.into()))
    }

    /// Trusts authorities as [`Tls::ca_file`] does, by the PEM text itself.
    pub fn ca_pem(text: impl AsRef<[u8]>) -> Tls {
        Tls::authorities(Pem::Text("ca_pem", text.as_ref().into()))
    }

    /// Accepts the certificate of this fingerprint and no other; names and dates are of no
    /// matter.
    pub fn fingerprint(fingerprint: Fingerprint) -> Tls {
        Tls {
            fingerprint: Some(fingerprint),
            ..Tls::accept_any_certificate()
        }
    }

    /// Accepts a certificate that one of the CAs has signed which this system trusts, and that
    /// names the dispatcher: those of `SSL_CERT_FILE`, or else of the file that the system
    /// keeps them in. What `harps://` means where nothing else is said.
    pub fn system() -> Tls {
        Tls {
            of_system: true,
            ..Tls::accept_any_certificate()
        }
    }

    /// Accepts any certificate, so that anybody on the way can read and change what is
    /// said.
    pub fn accept_any_certificate() -> Tls {
        Tls {
            sources: Sources::default(),
            fingerprint: None,
            server_name: None,
            of_system: false,
        }
    }

    /// The name that the certificate must have, when it is not the one that is connected
    /// to.
    pub fn server_name(mut self, name: impl Into<String>) -> Tls {
        self.server_name = Some(name.into());
        self
    }

    /// Shows this certificate (PEM, with its chain behind it) to a dispatcher that asks who
    /// is there; the second file has its private key.
    pub fn client_certificate(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Tls {
        self.sources.own = Some((Pem::File(certificate.into()), Pem::File(key.into())));
        self
    }

    /// Shows a certificate as [`Tls::client_certificate`] does, by the PEM texts themselves.
    pub fn client_certificate_pem(
        mut self,
        certificate: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Tls {
        let certificate = Pem::Text("client_certificate_pem", certificate.as_ref().into());
        let key = Pem::Text("the key of client_certificate_pem", key.as_ref().into());
        self.sources.own = Some((certificate, key));
        self
    }

    fn authorities(pem: Pem) -> Tls {
        Tls {
            sources: Sources {
                authorities: Some(pem),
                verify_hostname: true,
                ..Sources::default()
            },
            fingerprint: None,
            server_name: None,
            of_system: false,
        }
    }

    pub(crate) fn build(&self, address: &Address) -> Result<Protection, Error> {
        let Address::Tcp { host, port } = address else {
            return Err(Error::invalid_input(format!(
                "tls: {address} is a Unix socket, which has none and needs none; leave it out \
                 there, or name HOST:PORT"
            )));
        };
        let mut sources = self.sources.clone();
        if self.of_system {
            sources.authorities = Some(Pem::File(authorities_of_system()?));
            sources.verify_hostname = true;
        }
        let trust = Trust::from_sources(sources)
            .map_err(|error| Error::invalid_input(format!("tls: {error}")).with_source(error))?;
        let endpoint = Endpoint {
            address: host.clone(),
            port: *port,
            tls_name: self.server_name.clone(),
            fingerprint: self.fingerprint,
        };
        if let Some(name) = endpoint.wrong_tls_name() {
            return Err(Error::invalid_input(format!(
                "server_name {name:?}: neither a DNS name nor an address; it is written as in \
                 dispatcher.example.net"
            )));
        }
        Ok(Protection::Tls(Arc::new(Encrypted { trust, endpoint })))
    }
}

/// The file of the CAs that this system trusts.
fn authorities_of_system() -> Result<PathBuf, Error> {
    openssl_probe::probe().cert_file.ok_or_else(|| {
        Error::invalid_input(
            "tls: this system keeps no file of the CAs that it trusts; install its package \
             ca-certificates, set SSL_CERT_FILE, or name the dispatcher's own with \
             Tls::ca_file(\"...\")",
        )
    })
}

/// Layer over TCP connections to the dispatcher.
#[derive(Debug, Clone)]
pub(crate) enum Protection {
    Plain,
    Tls(Arc<Encrypted>),
}

#[derive(Debug)]
pub(crate) struct Encrypted {
    pub(crate) trust: Trust,
    pub(crate) endpoint: Endpoint,
}
