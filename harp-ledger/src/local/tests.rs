//! The embedded ledger is held to the contract of all ledgers, over a real store.

mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harp_jobs::record::QueueRecord;
use harp_jobs::transport::Minted;
use harp_jobs::world::BoxFuture;
use harp_sim::contract::{CONTRACT, Play, Subject};
use harp_time::clock;
use tempfile::TempDir;

use self::world::Runtime;
use super::*;
use crate::store::StoreOptions;

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

fn new_job(token: &'static str) -> NewJob {
    let submitted = clock::now();
    let arguments = "[]".parse().unwrap();
    NewJob {
        id: JobId::submitted_at(submitted),
        call: CallRecord::new("h", "p", arguments, submitted),
        unless_since: None,
        start_by: None,
        minted: Minted {
            token: Token(token.into()),
            pool: None,
        },
        room: Room {
            live_jobs: 10,
            queue_length: 10,
        },
    }
}

fn returned() -> End {
    End {
        then: Then::End(Outcome::Cancelled),
        packets: 0,
        debt: None,
        remarks: Default::default(),
    }
}

/// What the ledger has told, up to the first news that are like this.
async fn told(
    news: &mut mpsc::UnboundedReceiver<News>,
    is_last: impl Fn(&News) -> bool,
) -> Vec<News> {
    let mut told = Vec::new();
    let patience = Duration::from_secs(60);
    while told.last().is_none_or(|last| !is_last(last)) {
        let next = tokio::time::timeout(patience, news.recv()).await;
        told.push(next.unwrap().unwrap());
    }
    told
}

/// A round that was made, but in a file that no start would find, may be on disk or not.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_on_disk_is_made_sure_of_and_told_once() {
    let embedded = Embedded::begin().await;
    let ledger = &embedded.ledger;
    let mut news = ledger.news().unwrap();
    let move_data = |is_away: bool| {
        fs::rename(embedded.data(!is_away), embedded.data(is_away)).unwrap();
    };
    move_data(true);
    let job = new_job("");
    let is_late = match ledger.accept(vec![job.clone()]).await {
        Err(NotAccepted::Storage { may_exist, .. }) => {
            // The writer may have looked at its directory first.
            let is_made = may_exist;
            move_data(false);
            ledger.outage().wait_for(Option::is_none).await.unwrap();
            if !is_made {
                let accepted = ledger.accept(vec![job.clone()]).await;
                assert_eq!(accepted, Ok(vec![Accepted::New(job.id)]));
            }
            is_made
        }
        other => panic!("{other:?}"),
    };
    let begun = told(&mut news, |news| matches!(news, News::Turn(_))).await;
    let Some(News::Turn(turn)) = begun.last() else {
        panic!("{begun:?}");
    };
    assert_eq!((turn.hold.job, begun.len()), (job.id, 3), "{begun:?}");
    // Whoever was told that it may exist is told that it does.
    let submitted = What::Submitted { is_late };
    let is_told = |news: &News| matches!(news, News::Change(change) if change.what == submitted);
    assert!(begun.iter().any(is_told), "{begun:?}");
    move_data(true);
    let closed = ledger.close_job(turn.hold, returned());
    ledger.outage().wait_for(Option::is_some).await.unwrap();
    move_data(false);
    let end = closed.await.unwrap().end.unwrap();
    assert_eq!(ledger.end(job.id).await, Ok(Some(Arc::clone(&end))));
    let other = new_job("");
    let accepted = ledger.accept(vec![other.clone()]).await;
    assert_eq!(accepted, Ok(vec![Accepted::New(other.id)]));
    let ended = told(&mut news, |news| matches!(news, News::Turn(_))).await;
    let of_job = ended
        .iter()
        .filter(|news| matches!(news, News::Change(change) if change.job == job.id));
    let of_job: Vec<_> = of_job.collect();
    assert_eq!(of_job.len(), 1, "{ended:?}");
    ledger.shut().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_of_the_newest_layout_from_the_first_token_on() {
    let mut embedded = Embedded::begin().await;
    let mut owners = Vec::new();
    for (token, layout) in [("", 2), ("a note", 3), ("", 3)] {
        let ledger = &embedded.ledger;
        let mut news = ledger.news().unwrap();
        let job = new_job(token);
        let accepted = ledger.accept(vec![job.clone()]).await;
        assert_eq!(accepted, Ok(vec![Accepted::New(job.id)]));
        let is_its = |news: &News| matches!(news, News::Turn(turn) if turn.hold.job == job.id);
        let News::Turn(turn) = told(&mut news, is_its).await.pop().unwrap() else {
            panic!("no turn");
        };
        owners.push(turn.hold.owner);
        embedded.reopen().await;
        assert_eq!(embedded.ledger.0.store.layout(), layout, "{token:?}");
    }
    assert!(owners[1] < owners[2], "{owners:?}");
    embedded.ledger.shut().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_in_a_copy_is_held_until_it_is_resumed() {
    let embedded = Embedded::begin().await;
    let queue = QueueRecord {
        name: r#"{"name":"q"}"#.parse().unwrap(),
        concurrency: 1,
    };
    let mut jobs = Vec::new();
    for _ in 0..3 {
        let mut job = new_job("");
        job.call.queue = Some(queue.clone());
        let accepted = embedded.ledger.accept(vec![job.clone()]).await;
        assert_eq!(accepted, Ok(vec![Accepted::New(job.id)]));
        jobs.push(job.id);
    }
    embedded.ledger.shut().await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(embedded.directory.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
    }
    let ledger = open(copy.path(), &embedded.world).await;
    let mut news = ledger.news().unwrap();
    let turn = |news: &News| matches!(news, News::Turn(_));
    let News::Turn(attached) = told(&mut news, turn).await.pop().unwrap() else {
        panic!("no turn");
    };
    assert!(matches!(attached.start, Start::Attach { .. }));
    assert_eq!(ledger.held_members(&queue.name), jobs[1..]);
    let tally = ledger.queue_tally(&queue.name).await.unwrap().unwrap();
    assert_eq!((tally.running, tally.queued), (1, jobs.len() as u64 - 1));
    assert_eq!(
        (tally.concurrency, Some(tally.oldest)),
        // Ids of one millisecond are in any order.
        (queue.concurrency, jobs.iter().copied().min())
    );
    let (mut after, mut paged) = (None, Vec::new());
    while let [(job, spot)] = ledger.queue_page(&queue.name, after, 1).await.unwrap()[..] {
        after = Some(spot);
        paged.push(job);
    }
    assert_eq!(paged, jobs);
    assert_eq!(ledger.queues().await, Ok(vec![queue.name.clone()]));
    assert!(ledger.close_job(attached.hold, returned()).await.is_ok());
    // The place is free, and none of them takes it.
    let withdrawn = ledger.withdraw(Which::Jobs(vec![jobs[1]]), Outcome::Cancelled);
    assert_eq!(withdrawn.await, Ok(vec![jobs[1]]));
    assert_eq!(
        ledger.whereabouts(&[jobs[2]]).await,
        Ok(vec![Whereabouts::Waits])
    );
    assert_eq!((ledger.held_count(), ledger.is_held(jobs[2])), (1, true));
    assert_eq!(ledger.resume_held().await, Ok(1));
    let News::Turn(resumed) = told(&mut news, turn).await.pop().unwrap() else {
        panic!("no turn");
    };
    assert_eq!(
        (resumed.hold.job, resumed.start),
        (jobs[2], Start::ToRecord)
    );
    assert_eq!(ledger.held_count(), 0);
    ledger.shut().await.unwrap();
}
