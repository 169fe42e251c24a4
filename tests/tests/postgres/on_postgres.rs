//! A ledger on a database of its own, as the tests open and kill it.

use std::sync::Arc;
use std::time::Duration;

use harp_jobs::ledger::{Drain, Ledger, NewJob, Room, Token};
use harp_jobs::record::{CallRecord, QueueRecord};
use harp_jobs::transport::Minted;
use harp_jobs::world::{BoxFuture, World};
use harp_postgres::{Options, Postgres, Server, schema};
use harp_sim::contract::Subject;
use harp_tests::postgres::Database;
use harp_values::{JobId, Json};
use harpcallerd::world::Runtime;

use crate::relay::Relay;

/// A ledger and its database.
pub(crate) struct OnPostgres {
    pub(crate) database: Database,
    pub(crate) relay: Relay,
    pub(crate) world: Arc<Runtime>,
    pub(crate) ledger: Postgres,
}

/// So that a start after a kill does not look on for long.
const BEAT: Duration = Duration::from_millis(100);

impl OnPostgres {
    pub(crate) async fn begin(database: Database) -> OnPostgres {
        let world = Arc::new(Runtime::start());
        let any_world: Arc<dyn World> = world.clone();
        let server = Server::new(&database.url(), None, any_world).unwrap();
        schema::make(&server, None).await.unwrap();
        let relay = Relay::new(&database);
        let ledger = open("alpha", &database, &relay, &world).await;
        OnPostgres {
            database,
            relay,
            world,
            ledger,
        }
    }
}

/// A job that is there to be run, in a queue or in none.
pub(crate) fn new_job(world: &dyn World, queue: Option<QueueRecord>) -> NewJob {
    let submitted = world.wall();
    NewJob {
        id: JobId::at(submitted, world.chance()),
        call: CallRecord {
            queue,
            ..CallRecord::new("h", "p", Json::NULL, submitted)
        },
        unless_since: None,
        start_by: None,
        minted: Minted {
            token: Token("new".into()),
            pool: None,
        },
        room: Room {
            live_jobs: 100_000,
            queue_length: 100_000,
        },
    }
}

/// Opens the ledger of a node of this name.
pub(crate) async fn open(
    name: &str,
    database: &Database,
    relay: &Relay,
    world: &Arc<Runtime>,
) -> Postgres {
    let world: Arc<dyn World> = world.clone();
    let url = database.url_by(relay.directory());
    let server = Server::new(&url, None, Arc::clone(&world)).unwrap();
    let options = Options {
        node: name.to_owned(),
        copies: 1,
        beat: BEAT,
    };
    Postgres::open(server, options, world).await.unwrap()
}

impl Subject for OnPostgres {
    fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::new(self.ledger.clone())
    }

    fn reopen(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            // As a kill leaves it: nothing of it reaches the database any more.
            let relay = Relay::new(&self.database);
            self.relay.set_down(true);
            self.ledger.drain(Drain::WaitForNothing);
            drop(self.ledger.shut());
            self.relay = relay;
            self.ledger = open("alpha", &self.database, &self.relay, &self.world).await;
        })
    }

    fn set_down(&mut self, is_down: bool) {
        self.relay.set_down(is_down);
    }

    fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.world.sleep(self.world.now() + time)
    }

    fn wall(&self) -> u64 {
        self.world.wall()
    }
}
