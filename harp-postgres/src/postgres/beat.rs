//! Saying at intervals that this node is there. A beat that is acknowledged is a commit, so it
//! proves that the database takes changes.

use super::Postgres;
use super::writer::LANES;
use crate::connection::Connection;
use crate::fault::Fault;

/// Its number among the connections that can be in trouble.
const BEATS: usize = LANES;

impl Postgres {
    /// Beats until the ledger is closed.
    pub(super) async fn beat(self) {
        let mut connection = None;
        loop {
            let is_over = self.state().is_over;
            if is_over {
                return;
            }
            match self.beat_once(&mut connection).await {
                Ok(()) => self.well(BEATS),
                Err(Fault::Fenced) => {
                    self.state().is_fenced = true;
                    self.0.work.notify_one();
                }
                Err(Fault::Busy(_)) => {}
                Err(fault) => {
                    connection = None;
                    self.trouble(BEATS, &fault);
                }
            }
            let world = &self.0.world;
            tokio::select! {
                biased;
                () = self.over() => return,
                () = world.sleep(world.now() + self.0.options.beat) => {}
            }
        }
    }

    async fn beat_once(&self, connection: &mut Option<Connection>) -> Result<(), Fault> {
        if connection.as_ref().is_none_or(Connection::is_closed) {
            *connection = Some(self.0.server.connect().await?);
        }
        match connection {
            Some(connection) => self.acknowledge(connection).await,
            None => Ok(()),
        }
    }

    /// One beat on this connection: whatever was read on it before is as safe as that commit.
    pub(super) async fn acknowledge(&self, connection: &Connection) -> Result<(), Fault> {
        let term = self.state().term;
        let beat = "select harp.beat_1($1, $2)";
        connection.rows(beat, &[&term.node, &term.epoch]).await?;
        Ok(())
    }

    /// Completes when the writer has ended.
    pub(super) async fn over(&self) {
        loop {
            let told = self.0.gives_up.notified();
            tokio::pin!(told);
            told.as_mut().enable();
            if self.state().is_over {
                return;
            }
            told.await;
        }
    }
}
