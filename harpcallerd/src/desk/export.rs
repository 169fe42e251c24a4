//! All jobs for a backup, while the daemon serves its clients.

use harp_jobs::audit::Act;
use harp_jobs::client::Client;
use harp_jobs::refusal::Refusal;
use harp_ledger::transfer::{Moved, TransferError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::info;

use super::admin::Started;

/// Pieces of an export that wait to be taken: it goes on as fast as they are.
const PIECES: usize = 4;

/// An export that is under way. Dropping it ends it.
#[derive(Debug)]
pub struct Export {
    pieces: mpsc::Receiver<Vec<u8>>,
    work: JoinHandle<Result<(Moved, Vec<String>), TransferError>>,
}

impl Started {
    /// Begins to hand out all jobs, as the ledger does.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for anybody but administrators.
    pub fn export(&self, by: &Client) -> Result<Export, Refusal> {
        self.desk.administrators_only(by, "export")?;
        info!(
            client = by.name(),
            "jobs to be exported, as an administrator asked"
        );
        let ledger = self.desk.dispatcher.ledger().clone();
        let (audit, by) = (self.desk.audit.clone(), by.clone());
        let (out, pieces) = mpsc::channel(PIECES);
        let work = self.desk.acts.spawn(async move {
            let exported = ledger.export(out).await;
            let refusal = exported.as_ref().err().map(refused);
            audit.administered(&by, Act::Export, refusal.as_ref());
            exported
        });
        Ok(Export { pieces, work })
    }
}

impl Export {
    /// The next lines; `None` when all have been given out, or something went wrong. Cancel safe.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.pieces.recv().await
    }

    /// What has been exported, and what is damaged, a sentence each.
    ///
    /// # Errors
    ///
    /// [`Refusal::Storage`]; what has been given out is no whole export then.
    pub async fn done(self) -> Result<(Moved, Vec<String>), Refusal> {
        match self.work.await {
            Ok(exported) => exported.map_err(|error| refused(&error)),
            // The panic itself is in the log.
            Err(_) => Err(Refusal::Failed {
                why: "harpcallerd met a fault of its own; its log has the details".to_owned(),
            }),
        }
    }
}

fn refused(error: &TransferError) -> Refusal {
    Refusal::storage(error)
}
