//! Looking after what nobody sees to: jobs of nodes that are gone, places that nobody has given
//! away; and counting what there is, since others change it, too.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::term::Term;
use super::{Live, Postgres, State};
use crate::connection::Connection;
use crate::fault::Fault;
use crate::told::Told;

/// Of each kind so many are adopted at a time, so that the nodes share them.
const AT_ONCE: i32 = 64;

const ENDED: &str = "select count(*), coalesce(sum(size), 0)::bigint from harp.ended";

fn ended(rows: &[Row]) -> (u64, u64) {
    let number = |place| {
        let row = rows.first();
        row.map_or(0, |row| row.get::<_, i64>(place).cast_unsigned())
    };
    (number(0), number(1))
}

impl Postgres {
    /// Adopts and sweeps up until nothing is left, and counts. Nothing else of this node is under
    /// way meanwhile, so that its news come in the order of the changes.
    pub(super) async fn tend(
        &self,
        connection: Connection,
    ) -> (Option<Connection>, Result<(), Fault>) {
        let tended = self.tend_over(&connection).await;
        (tended.is_ok().then_some(connection), tended)
    }

    async fn tend_over(&self, connection: &Connection) -> Result<(), Fault> {
        let (term, gives) = {
            let state = self.state();
            (state.term, !state.takes_nothing)
        };
        // One that stops leaves them to others.
        if gives {
            self.take_what_is_left(connection, term).await?;
        }
        let live = self.count_live(connection, term).await?;
        let mut state = self.state();
        self.counted(&mut state, live);
        state.is_to_tend = false;
        drop(state);
        self.0.timer.notify_one();
        Ok(())
    }

    async fn take_what_is_left(&self, connection: &Connection, term: Term) -> Result<(), Fault> {
        loop {
            let mut told = self.adopt(connection, term).await?;
            let is_all = told.is_empty();
            if is_all {
                told = self.sweep(connection, term).await?;
            }
            let mut state = self.state();
            for told in told {
                self.take_turn(&mut state, &told);
            }
            if is_all {
                return Ok(());
            }
        }
    }

    /// Makes this node the holder of some of what was held in terms that are over.
    pub(super) async fn adopt(
        &self,
        connection: &Connection,
        term: Term,
    ) -> Result<Vec<Told>, Fault> {
        let adopt = "select * from harp.adopt_1($1, $2, $3)";
        let given: [&(dyn ToSql + Sync); 3] = [&term.node, &term.epoch, &AT_ONCE];
        let rows = connection.rows(adopt, &given).await?;
        rows.iter().map(Told::read).collect()
    }

    /// Gives away the places that nobody has given away.
    pub(super) async fn sweep(
        &self,
        connection: &Connection,
        term: Term,
    ) -> Result<Vec<Told>, Fault> {
        let sweep = "select * from harp.sweep_1($1, $2)";
        let rows = connection.rows(sweep, &[&term.node, &term.epoch]).await?;
        rows.iter().map(Told::read).collect()
    }

    /// How many jobs have not ended, in all and of those that were handed in at this node.
    pub(super) async fn count_live(
        &self,
        connection: &Connection,
        term: Term,
    ) -> Result<Live, Fault> {
        let count = "select count(*), count(*) filter (where taken_in = $1) from harp.live";
        let rows = connection.rows(count, &[&term.node]).await?;
        Ok(rows.first().map_or(Live::default(), |row| {
            let number = |place| usize::try_from(row.get::<_, i64>(place)).unwrap_or_default();
            Live {
                all: number(0),
                of_here: number(1),
            }
        }))
    }

    /// How many jobs have ended, and their bytes.
    pub(super) async fn count_ended(&self, connection: &Connection) -> Result<(u64, u64), Fault> {
        Ok(ended(&connection.rows(ENDED, &[]).await?))
    }

    /// Counts them while others change them too: what ends meanwhile is in the next count.
    pub(super) async fn count_ended_again(self) {
        if let Ok(rows) = self.rows(ENDED, Vec::new()).await {
            let mut state = self.state();
            (state.ended, state.bytes) = ended(&rows);
        }
    }

    /// Nothing is under way: beside those that were counted there are those to be handed in.
    pub(super) fn counted(&self, state: &mut State, mut live: Live) {
        let coming = state.waiting.iter().map(|waiting| waiting.act.calls());
        live.came(coming.sum());
        state.live = live;
    }
}
