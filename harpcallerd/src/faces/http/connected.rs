//! A connection, as its requests see it.

use std::sync::Arc;

use harp_jobs::client::Client;
use tokio::sync::watch;

use super::Secured;
use super::settings::Door;

/// Longest head of a request, in bytes.
pub(super) const HEAD: usize = 32 * 1024;

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) door: watch::Receiver<Arc<Door>>,
    /// What TLS has brought to light; `None` without TLS.
    pub(super) secured: Option<Secured>,
}
