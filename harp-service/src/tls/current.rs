//! A server's TLS as its files are now: read again when they have changed; and the
//! handshake.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{self, Digest};
use rustls::{HandshakeKind, ServerConnection};
use rustls_pki_types::UnixTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tracing::{info, warn};

use super::{Loaded, TlsError, TlsFiles};
use crate::watched::Watched;

/// The certificate and CAs of now.
///
/// The files are looked at before each handshake. When they have changed and cannot be
/// used, the last good ones stay in force, and the log says why.
#[derive(Debug)]
pub struct ServerTls {
    files: TlsFiles,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    watched: Watched,
    /// Of what is loaded: files that only look changed must not end sessions.
    fingerprint: Option<Digest>,
    loaded: Loaded,
    complaint: Option<String>,
}

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// If one of them cannot be read, or they do not go together.
    pub fn load(files: TlsFiles) -> Result<ServerTls, TlsError> {
        let watched = Watched::new(files.paths());
        let fingerprint = files.fingerprint();
        let loaded = files.load()?;
        Ok(ServerTls {
            files,
            state: Mutex::new(State {
                watched,
                fingerprint,
                loaded,
                complaint: None,
            }),
        })
    }

    /// Does the handshake. As long as the client takes: to be bounded in time.
    ///
    /// A client may come without a certificate. One that it shows, or has shown when the
    /// session that it resumes was made, is good at this moment.
    ///
    /// # Errors
    ///
    /// The handshake failed.
    pub async fn handshake(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let loaded = self.loaded();
        let stream = TlsAcceptor::from(Arc::clone(&loaded.config))
            .accept(socket)
            .await?;
        loaded
            .judge_resumed(stream.get_ref().1)
            .map_err(io::Error::other)?;
        Ok(stream)
    }

    fn loaded(&self) -> Loaded {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.watched.has_changed() {
            state.read_again(&self.files);
        }
        state.loaded.clone()
    }
}

impl State {
    fn read_again(&mut self, files: &TlsFiles) {
        // Before the reading: a change in between is seen at the next look.
        let fingerprint = files.fingerprint();
        let is_same = match (&fingerprint, &self.fingerprint) {
            (Some(now), Some(loaded)) => now.as_ref() == loaded.as_ref(),
            _ => false,
        };
        if is_same && self.complaint.is_none() {
            return;
        }
        let certificate = files.certificate.display();
        match files.load() {
            Ok(loaded) => {
                info!(%certificate, "certificate read again");
                self.loaded = loaded;
                self.fingerprint = fingerprint;
                self.complaint = None;
            }
            Err(error) => {
                // It may have been no fault of the files, such as too many open ones.
                self.watched.look_again();
                let complaint = error.to_string();
                if self.complaint.as_ref() != Some(&complaint) {
                    warn!(%error, "the listener's certificate is unusable, the last good one stays in force");
                    self.complaint = Some(complaint);
                }
            }
        }
    }
}

impl TlsFiles {
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let files = [&self.certificate, &self.private_key];
        let files = files.into_iter().chain(&self.client_ca_file);
        files.map(PathBuf::as_path)
    }

    /// `None` if one of them cannot be read.
    fn fingerprint(&self) -> Option<Digest> {
        let mut all = digest::Context::new(&digest::SHA256);
        for path in self.paths() {
            let content = std::fs::read(path).ok()?;
            all.update(&content.len().to_be_bytes());
            all.update(&content);
        }
        Some(all.finish())
    }
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
