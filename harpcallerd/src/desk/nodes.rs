//! Looking at the dispatchers that share a database.

use harp_jobs::client::Client;
use harp_jobs::refusal::Refusal;

use super::Desk;
use crate::cluster::Node;

impl Desk {
    /// The dispatchers that share the database, this one included; none if jobs are kept in a
    /// directory. Cancel safe.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for anybody but administrators, [`Refusal::Storage`].
    pub async fn nodes(&self, by: &Client) -> Result<Vec<Node>, Refusal> {
        self.administrators_only(by, "nodes")?;
        Ok(self.dispatcher.ledger().nodes().await?)
    }
}
