//! The embedded ledger is held to the contract of all ledgers, over a real store.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harp_jobs::world::BoxFuture;
use harp_sim::contract::{CONTRACT, Play, Subject};
use tempfile::TempDir;

use super::*;
use crate::clock;
use crate::store::StoreOptions;
use crate::world::Runtime;

/// A ledger in a directory that goes away with it.
struct Embedded {
    directory: TempDir,
    world: Arc<Runtime>,
    ledger: Local,
}

impl Embedded {
    async fn begin() -> Embedded {
        let directory = tempfile::tempdir().unwrap();
        let world = Arc::new(Runtime::start());
        let ledger = open(directory.path(), &world).await;
        Embedded {
            directory,
            world,
            ledger,
        }
    }

    fn data(&self, is_away: bool) -> PathBuf {
        let name = if is_away { "away" } else { "db" };
        self.directory.path().join(name)
    }
}

async fn open(directory: &Path, world: &Arc<Runtime>) -> Local {
    let directory = directory.to_owned();
    let opening = move || Store::open(&directory, StoreOptions::default());
    let store = tokio::task::spawn_blocking(opening).await.unwrap().unwrap();
    let world: Arc<dyn World> = world.clone();
    Local::open(store, world, true).await.unwrap()
}

impl Subject for Embedded {
    fn ledger(&self) -> Arc<dyn Ledger> {
        Arc::new(self.ledger.clone())
    }

    fn reopen(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.ledger.drain(Drain::WaitForNothing);
            // One that is shut already says so.
            let _ = self.ledger.shut().await;
            self.ledger = open(self.directory.path(), &self.world).await;
        })
    }

    fn set_down(&mut self, is_down: bool) {
        if is_down {
            // Before anything is written where no start would find it.
            self.ledger.0.store.fail("the disk is away");
        }
        fs::rename(self.data(!is_down), self.data(is_down)).unwrap();
    }

    fn pass(&self, time: Duration) -> BoxFuture<'_, ()> {
        self.world.sleep(self.world.now() + time)
    }

    fn wall(&self) -> u64 {
        clock::now()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_embedded_ledger_keeps_the_contract() {
    let clauses = CONTRACT.iter().map(|(name, clause)| async move {
        let play = Play::new(Box::new(Embedded::begin().await));
        let kept = tokio::spawn(tokio::time::timeout(Duration::from_secs(120), clause(play)));
        let kept = kept.await.map_err(|panic| panic.to_string());
        kept.and_then(|kept| kept.map_err(|late| late.to_string()))
            .map_err(|why| format!("{name}: {why}"))
    });
    let kept = futures_util::future::join_all(clauses).await;
    let broken: Vec<_> = kept.into_iter().filter_map(Result::err).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}
