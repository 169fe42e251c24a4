//! TLS of a listener: the handshake, and whom the client's certificate names.

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use harp_jobs::client::{Identity, Proof};
use harp_service::tls::{Protocols, ServerTls, TlsError, TlsFiles};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::server::TlsStream;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use crate::faces::http::Secured;

/// The certificate and CAs of now: files that have changed are read again.
#[derive(Debug)]
pub struct Tls(ServerTls);

impl Tls {
    /// Reads the files. `protocols` are what is offered by ALPN.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read, or they do not go together.
    pub fn load(files: TlsFiles, protocols: Protocols) -> Result<Tls, TlsError> {
        ServerTls::load(files, protocols).map(Tls)
    }

    /// What the HTTP face has to know of a connection.
    pub(super) async fn secured(&self, stream: &TlsStream<TcpStream>) -> Secured {
        Secured {
            names: self.names().await,
            is_http2: stream.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }

    /// The names that the certificate of the moment has for this server. As long as the file
    /// system takes: to be bounded in time.
    async fn names(&self) -> Vec<String> {
        let certificate = self.0.certificate().await;
        let Ok((_, certificate)) = X509Certificate::from_der(&certificate) else {
            return Vec::new();
        };
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let names = alternatives
            .into_iter()
            .flat_map(|found| &found.value.general_names);
        let names = names.filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        });
        names.collect()
    }

    /// Does the handshake. As long as the client takes: to be bounded in time. Says who
    /// the client is, if it has shown a certificate.
    ///
    /// # Errors
    ///
    /// The handshake failed.
    pub async fn handshake(
        self: &Arc<Self>,
        socket: TcpStream,
    ) -> io::Result<(Box<TlsStream<TcpStream>>, Option<(Identity, Shown)>)> {
        let stream = Box::new(self.0.handshake(socket).await?);
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let shown = match shown.first() {
            None => None,
            Some(certificate) => {
                let identity = identity(certificate).map_err(io::Error::other)?;
                let chain = shown
                    .iter()
                    .map(|certificate| certificate.clone().into_owned());
                let shown = Shown {
                    chain: chain.collect(),
                    tls: Arc::clone(self),
                };
                Some((identity, shown))
            }
        };
        Ok((stream, shown))
    }
}

/// A certificate that a client has shown, with its chain behind it.
#[derive(Debug)]
pub struct Shown {
    chain: Vec<CertificateDer<'static>>,
    tls: Arc<Tls>,
}

impl Proof for Shown {
    fn holds(&self) -> BoxFuture<'_, bool> {
        Box::pin(self.tls.0.is_good(&self.chain))
    }
}

/// Whom a certificate names: by the one common name of its subject. Names of
/// subjectAltName are those of machines and people, and there can be many.
fn identity(certificate: &[u8]) -> Result<Identity, &'static str> {
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|_| "the certificate cannot be read")?;
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().and_then(|name| name.as_str().ok());
    match (name, names.next()) {
        (Some(name), None) if !name.is_empty() => Ok(Identity::of_certificate(name)),
        _ => Err("the client certificate's subject must have exactly one common name"),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};

    use super::*;

    fn named(names: &[&str]) -> Vec<u8> {
        let mut params = CertificateParams::new(["web.example.net".to_owned()]).unwrap();
        let mut subject = DistinguishedName::new();
        for name in names {
            subject.push(DnType::CommonName, *name);
        }
        params.distinguished_name = subject;
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_is_known_by_its_common_name() {
        assert_eq!(identity(&named(&["shop"])).unwrap().as_str(), "cert:shop");
        assert!(identity(&named(&[])).is_err());
        assert!(identity(&named(&[""])).is_err());
        assert!(identity(b"nonsense").is_err());
    }
}
