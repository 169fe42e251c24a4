//! A server's TLS as its files are now: read again when they have changed; and the
//! handshake.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use harp_files::{Kept, Look, Looks};
use rustls::{HandshakeKind, ServerConnection};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use super::{Loaded, Protocols, TlsError, TlsFiles};

/// The certificate and CAs of now.
///
/// The files are looked at before each handshake. When they have changed and cannot be
/// used, the last good ones stay in force, and the log says why.
#[derive(Debug)]
pub struct ServerTls {
    looks: Looks<Loaded>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read, or they do not go together.
    pub fn load(files: TlsFiles, protocols: Protocols) -> Result<ServerTls, TlsError> {
        let kept = Kept::read(files.paths(), |contents| files.load(contents, protocols))?;
        let kept = Mutex::new(kept);
        Ok(ServerTls {
            looks: Looks::new(move || look(&files, protocols, &kept)),
        })
    }

    /// Does the handshake. As long as the client takes, and the file system: to be bounded in
    /// time.
    ///
    /// A client may come without a certificate. One that it shows, or has shown when the
    /// session that it resumes was made, is good at this moment.
    ///
    /// # Errors
    ///
    /// The handshake failed.
    pub async fn handshake(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let loaded = self.looks.look().await;
        let stream = TlsAcceptor::from(Arc::clone(&loaded.config))
            .accept(socket)
            .await?;
        loaded
            .judge_resumed(stream.get_ref().1)
            .map_err(io::Error::other)?;
        Ok(stream)
    }

    /// Whether the certificate that a client has shown, with its chain behind it, is good at
    /// this moment: `false` also where clients are asked for none any more. As long as the
    /// file system takes: to be bounded in time. Cancel safe.
    pub async fn is_good(&self, shown: &[CertificateDer<'_>]) -> bool {
        let loaded = self.looks.look().await;
        let (Some(verifier), [certificate, chain @ ..]) = (&loaded.client_verifier, shown) else {
            return false;
        };
        verifier
            .verify_client_cert(certificate, chain, UnixTime::now())
            .is_ok()
    }

    /// The certificate that is shown at this moment, without its chain. As long as the file
    /// system takes: to be bounded in time. Cancel safe.
    pub async fn certificate(&self) -> CertificateDer<'static> {
        self.looks.look().await.leaf
    }
}

/// Reads the files again if they have changed. Blocks.
fn look(files: &TlsFiles, protocols: Protocols, kept: &Mutex<Kept<Loaded>>) -> Loaded {
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let certificate = files.certificate.display();
    match kept.look(|contents| files.load(contents, protocols)) {
        Look::New => info!(%certificate, "certificate read again"),
        Look::Again => info!(%certificate, "certificate is usable again"),
        Look::Failed {
            error,
            is_news: true,
        } => {
            warn!(%error, "the listener's certificate is unusable, the last good one stays in force");
        }
        Look::Same | Look::Touched | Look::Failed { .. } => {}
    }
    kept.value().clone()
}

impl Loaded {
    /// TLS itself does not look again at the certificate of a session that is resumed,
    /// which may be out of date by now.
    fn judge_resumed(&self, connection: &ServerConnection) -> Result<(), rustls::Error> {
        if connection.handshake_kind() == Some(HandshakeKind::Resumed)
            && let Some(verifier) = &self.client_verifier
            && let Some([shown, chain @ ..]) = connection.peer_certificates()
        {
            verifier.verify_client_cert(shown, chain, UnixTime::now())?;
        }
        Ok(())
    }
}
