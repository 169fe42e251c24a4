//! TLS of a listener: its files, read again when they have changed, and the handshake.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use harp_service::tls::{self, TlsError};
use harp_service::watched::Watched;
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::identity::Identity;

/// The files of a listener's TLS, all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate that is shown, with its chain behind it.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
    /// The CAs that sign clients' certificates; without it clients are asked for none.
    pub client_ca_file: Option<PathBuf>,
}

/// The certificate and CAs of now.
///
/// The files are looked at before each handshake. When they have changed and cannot be
/// used, the last good ones stay in force, and the log says why.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    watched: Watched,
    config: Arc<ServerConfig>,
    complaint: Option<String>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read, or they do not go together.
    pub fn load(files: TlsFiles) -> Result<Tls, TlsError> {
        let watched = files.watch();
        let config = files.load()?;
        Ok(Tls {
            files,
            state: Mutex::new(State {
                watched,
                config,
                complaint: None,
            }),
        })
    }

    /// Does the handshake. As long as the client takes: to be bounded in time. Says who
    /// the client is, if it has shown a certificate.
    ///
    /// # Errors
    ///
    /// The handshake failed.
    pub async fn handshake(
        &self,
        socket: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Option<Identity>)> {
        let stream = TlsAcceptor::from(self.config()).accept(socket).await?;
        let shown = stream.get_ref().1.peer_certificates();
        let identity = match shown.and_then(<[_]>::first) {
            None => None,
            Some(certificate) => Some(identity(certificate).map_err(io::Error::other)?),
        };
        Ok((stream, identity))
    }

    fn config(&self) -> Arc<ServerConfig> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.watched.has_changed() {
            match self.files.load() {
                Ok(config) => {
                    info!(certificate = %self.files.certificate.display(), "certificate read again");
                    state.config = config;
                    state.complaint = None;
                }
                Err(error) => {
                    let complaint = error.to_string();
                    if state.complaint.as_ref() != Some(&complaint) {
                        warn!(%error, "the listener's certificate is unusable, the last good one stays in force");
                        state.complaint = Some(complaint);
                    }
                }
            }
        }
        Arc::clone(&state.config)
    }
}

impl TlsFiles {
    fn watch(&self) -> Watched {
        let files = [&self.certificate, &self.private_key];
        let files = files.into_iter().chain(&self.client_ca_file);
        Watched::new(files.map(PathBuf::as_path))
    }

    fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let authorities = self.client_ca_file.as_deref();
        tls::load(&self.certificate, &self.private_key, authorities)
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
