//! The HTTP face of a build that has none: no listener leads here.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use harp_jobs::client::Client;
use harp_jobs::refusal::Full;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Secured;
use super::settings::Door;
use crate::desk::Desk;
use crate::faces::connection::Socket;
use crate::limits::{ClientLimits, ClientMemory};

/// Nothing.
#[derive(Debug)]
pub struct Face;

impl Face {
    /// Nothing.
    ///
    /// # Errors
    ///
    /// None.
    pub fn open(_: Arc<Desk>, _: Arc<ClientMemory>, _: Option<&Path>) -> std::io::Result<Face> {
        Ok(Face)
    }
}

/// Nothing.
#[derive(Debug)]
pub struct Lobby;

impl Lobby {
    /// Nothing.
    #[must_use]
    pub fn new(_: watch::Receiver<ClientLimits>, _: CancellationToken) -> Lobby {
        Lobby
    }

    /// Does nothing.
    pub fn open(&self, _: Arc<Face>) {}
}

/// Closes the connection.
pub async fn serve<S: Socket>(
    _: S,
    _: Client,
    _: watch::Receiver<Arc<Door>>,
    _: Option<Secured>,
    _: Arc<Lobby>,
) {
}

/// Closes the connection.
pub async fn refuse<S: Socket>(_: S, _: Full, _: Duration) {}
