//! A start: a term begins, and this node holds again what it held before. Its first news are what
//! is owed, then what is to be attached to, then those that have their turn.

use std::sync::{Arc, Mutex};

use harp_jobs::ledger::room::Memory;
use harp_jobs::world::{Phase, World};
use tokio::sync::{Notify, mpsc, watch};

use super::read::Readers;
use super::term::{Term, join};
use super::{Options, Postgres, Shared, State};
use crate::connection::{Connection, Server};
use crate::fault::Fault;
use crate::schema::{self, Unfit};
use crate::told::Told;

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum NotOpened {
    /// The database cannot be used.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// A node of this name is there.
    #[error(
        "a dispatcher named {0:?} is running on this database: stop it, or give this one another \
         name (cluster.node)"
    )]
    InUse(String),
    /// What is acknowledged would not be as safe as the configuration says.
    #[error("{0}")]
    Unsafe(String),
}

impl From<Fault> for NotOpened {
    fn from(fault: Fault) -> NotOpened {
        NotOpened::Unfit(Unfit::Fault(fault))
    }
}

impl Postgres {
    /// Opens the ledger of a node.
    ///
    /// # Errors
    ///
    /// [`NotOpened`].
    pub async fn open(
        server: Server,
        options: Options,
        world: Arc<dyn World>,
    ) -> Result<Postgres, NotOpened> {
        schema::check(&server).await?;
        let connection = server.connect().await?.for_start();
        check_safety(&connection, options.copies).await?;
        let term = join(&connection, &options, &*world).await?;
        let (tells, news) = mpsc::unbounded_channel();
        let ledger = Postgres(Arc::new(Shared {
            readers: Readers::new(server.clone()),
            server,
            options,
            world: Arc::clone(&world),
            state: Mutex::new(State {
                term,
                waiting: Default::default(),
                held: Default::default(),
                times: Default::default(),
                live: Default::default(),
                nodes: Default::default(),
                ended: 0,
                bytes: 0,
                troubled: Default::default(),
                news: Some(news),
                tells: Some(tells),
                closing: Vec::new(),
                in_doubt: false,
                is_fenced: false,
                is_to_tend: false,
                takes_nothing: false,
                waits_for_nothing: false,
                is_closed: false,
                is_over: false,
            }),
            memory: Arc::new(Memory::default()),
            pruning: tokio::sync::Mutex::new(()),
            work: Notify::new(),
            timer: Notify::new(),
            gives_up: Notify::new(),
            outage: watch::Sender::new(None),
            offers: watch::Sender::new(0),
        }));
        ledger.take_up(&connection, term).await?;
        world.spawn(
            "ledger",
            Phase::News,
            Box::pin(ledger.clone().write_rounds()),
        );
        world.spawn("beats", Phase::News, Box::pin(ledger.clone().beat()));
        let due = Box::pin(ledger.clone().serve_the_due());
        world.spawn("ledger's timer", Phase::News, due);
        Ok(ledger)
    }

    /// Takes up what this node held before, with what was held in other terms that are over.
    pub(super) async fn take_up(&self, connection: &Connection, term: Term) -> Result<(), Fault> {
        let gives = !self.state().takes_nothing;
        if gives {
            while !self.adopt(connection, term).await?.is_empty() {}
            self.sweep(connection, term).await?;
        }
        let mine = self.mine(connection, term).await?;
        let ended = self.count_ended(connection).await?;
        let live = self.count_live(connection, term).await?;
        let mut state = self.state();
        state.term = term;
        state.times = Default::default();
        self.counted(&mut state, live);
        (state.ended, state.bytes) = ended;
        for told in mine {
            self.take_turn(&mut state, &told);
        }
        drop(state);
        self.0.timer.notify_one();
        Ok(())
    }

    /// All that this node holds by the database.
    pub(super) async fn mine(
        &self,
        connection: &Connection,
        term: Term,
    ) -> Result<Vec<Told>, Fault> {
        let mine = "select * from harp.mine_1($1, $2)";
        let rows = connection.rows(mine, &[&term.node, &term.epoch]).await?;
        rows.iter().map(Told::read).collect()
    }
}

/// Refuses a database that would lose what it has acknowledged.
async fn check_safety(connection: &Connection, copies: u32) -> Result<(), NotOpened> {
    for setting in ["fsync", "full_page_writes"] {
        let rows = connection
            .rows("select current_setting($1)", &[&setting])
            .await?;
        if rows
            .first()
            .is_some_and(|row| row.get::<_, &str>(0) == "off")
        {
            return Err(NotOpened::Unsafe(format!(
                "{setting} is off in PostgreSQL: it would lose what it has acknowledged"
            )));
        }
    }
    if copies <= 1 {
        return Ok(());
    }
    let standbys = connection.rows(
        "select count(*) from pg_stat_replication where sync_state in ('sync', 'quorum')",
        &[],
    );
    let standbys = standbys.await?;
    let standbys = standbys.first().map_or(0, |row| row.get::<_, i64>(0));
    if standbys + 1 < i64::from(copies) {
        return Err(NotOpened::Unsafe(format!(
            "PostgreSQL has {standbys} synchronous standbys that this role can see, and cluster.copies \
             = {copies} asks for {}: configure them (synchronous_standby_names), grant \
             pg_read_all_stats to the role, or set copies = 1 if one copy is enough",
            copies - 1
        )));
    }
    Ok(())
}
