//! Saying at intervals that this node is there, and learning how the others are. A beat that is
//! acknowledged is a commit, so it proves that the database takes changes.

use harp_jobs::ledger::News;
use harp_jobs::world::Phase;

use super::Postgres;
use super::nodes::{Suspect, Tidings};
use super::term::Term;
use super::writer::LANES;
use crate::connection::Connection;
use crate::fault::Fault;

/// Its number among the connections that can be in trouble.
const BEATS: usize = LANES;

/// So many beats after the last time this node looks after what nobody may have seen to, and
/// counts what there is.
const TENDING: u32 = 10;

/// So many beats after the last time it counts what has ended, where other nodes end jobs too.
const COUNTING: u32 = 120;

impl Postgres {
    /// Beats until the ledger is closed.
    pub(super) async fn beat(self) {
        let mut connection = None;
        let mut beats = 0;
        loop {
            let is_over = self.state().is_over;
            if is_over {
                return;
            }
            let term = self.state().term;
            match self.beat_once(&mut connection, term).await {
                Ok(()) => {
                    self.well(BEATS);
                    beats += 1;
                    if beats % TENDING == 0 {
                        self.state().is_to_tend = true;
                        self.0.work.notify_one();
                    }
                    let is_alone = {
                        let state = self.state();
                        state.nodes.is_alone(state.term.node)
                    };
                    if beats % COUNTING == 0 && !is_alone {
                        let counting = Box::pin(self.clone().count_ended_again());
                        self.0.world.spawn("counting", Phase::News, counting);
                    }
                }
                Err(Fault::Fenced) => {
                    let mut state = self.state();
                    // It may have joined again meanwhile.
                    state.is_fenced |= state.term == term;
                    state.nodes.look_away();
                    drop(state);
                    self.0.work.notify_one();
                }
                Err(Fault::Busy(_)) => {}
                Err(fault) => {
                    connection = None;
                    self.state().nodes.look_away();
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

    async fn beat_once(
        &self,
        connection: &mut Option<Connection>,
        term: Term,
    ) -> Result<(), Fault> {
        if connection.as_ref().is_none_or(Connection::is_closed) {
            *connection = Some(self.0.server.connect().await?);
        }
        let Some(connection) = connection else {
            return Ok(());
        };
        let beat = "select * from harp.beat_1($1, $2)";
        let rows = connection.rows(beat, &[&term.node, &term.epoch]).await?;
        let suspects = self.heard(&Tidings::read(&rows, self.0.world.now()));
        for Suspect { node, epoch, beat } in suspects {
            tracing::warn!(
                node,
                "a node has given no sign of life: its jobs go to others"
            );
            let over = "select harp.take_over_1($1, $2, $3, $4, $5)";
            let given: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [&term.node, &term.epoch, &node, &epoch, &beat];
            connection.rows(over, &given).await?;
            self.state().is_to_tend = true;
            self.0.work.notify_one();
        }
        Ok(())
    }

    /// What follows from a beat: the terms that are to be ended.
    fn heard(&self, tidings: &Tidings) -> Vec<Suspect> {
        let mut state = self.state();
        for hold in &tidings.wishes {
            if state.held.has(*hold) {
                state.tell(News::Wish(*hold));
            }
        }
        if state.nodes.has_new_offer(tidings) {
            self.offer();
        }
        if tidings.is_something_left {
            state.is_to_tend = true;
            self.0.work.notify_one();
        }
        let me = state.term.node;
        state.nodes.look(tidings, me)
    }

    /// One beat on this connection: whatever was read on it before is as safe as that commit.
    pub(super) async fn acknowledge(&self, connection: &Connection) -> Result<(), Fault> {
        let term = self.state().term;
        let beat = "select 1 from harp.beat_1($1, $2) limit 1";
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
