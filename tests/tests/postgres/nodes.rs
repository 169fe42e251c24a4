//! Two nodes of one database: what becomes of the jobs of one that dies, and what each learns of
//! the other.

use std::sync::Arc;
use std::time::Duration;

use harp_jobs::ledger::*;
use harp_jobs::record::QueueRecord;
use harp_jobs::segment::SegmentBuilder;
use harp_jobs::world::World;
use harp_postgres::{Postgres, Server, schema};
use harp_tests::PATIENCE;
use harp_tests::postgres::Database;
use harp_values::{JobId, Json, Outcome};
use harpcallerd::world::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::on_postgres::{new_job, open};
use crate::relay::Relay;

/// A database, and nodes of it in this process.
pub(crate) struct Nodes {
    pub(crate) database: Database,
    pub(crate) world: Arc<Runtime>,
}

/// One node.
pub(crate) struct Node {
    pub(crate) ledger: Postgres,
    pub(crate) relay: Relay,
    pub(crate) news: mpsc::UnboundedReceiver<News>,
}

impl Nodes {
    pub(crate) async fn new() -> Option<Nodes> {
        let database = tokio::task::spawn_blocking(Database::new).await.unwrap()?;
        let world = Arc::new(Runtime::start());
        let any_world: Arc<dyn World> = world.clone();
        let server = Server::new(&database.url(), None, any_world).unwrap();
        schema::make(&server, None).await.unwrap();
        Some(Nodes { database, world })
    }

    pub(crate) async fn start(&self, name: &str) -> Node {
        let relay = Relay::new(&self.database);
        let ledger = open(name, &self.database, &relay, &self.world).await;
        Node {
            news: ledger.news().unwrap(),
            ledger,
            relay,
        }
    }

    pub(crate) fn new_job(&self, queue: Option<(&str, u64)>) -> NewJob {
        let queue = queue.map(|(name, concurrency)| QueueRecord {
            name: format!("{{\"q\":\"{name}\"}}").parse().unwrap(),
            concurrency,
        });
        new_job(&*self.world, queue)
    }
}

impl Node {
    /// Ends it as a crash would: nothing of it reaches the database any more.
    pub(crate) fn kill(self) {
        self.relay.set_down(true);
        self.ledger.drain(Drain::WaitForNothing);
        drop(self.ledger.shut());
    }

    async fn submit(&self, job: &NewJob) -> JobId {
        let accepted = self.ledger.accept(vec![job.clone()]).await;
        assert_eq!(accepted, Ok(vec![Accepted::New(job.id)]));
        job.id
    }

    async fn news(&mut self) -> News {
        let news = timeout(PATIENCE, self.news.recv()).await;
        news.expect("news in time").expect("a ledger that tells")
    }

    async fn turn(&mut self) -> Turn {
        loop {
            if let News::Turn(turn) = self.news().await {
                return turn;
            }
        }
    }

    fn end(&self, hold: Hold, outcome: Outcome, packets: u64) -> Answer<Closed, Lost> {
        let end = End {
            then: Then::End(outcome),
            packets,
            debt: None,
            remarks: Default::default(),
        };
        self.ledger.close_job(hold, end)
    }
}

fn queue() -> Option<(&'static str, u64)> {
    Some(("q", 1))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_jobs_of_a_node_that_dies_go_to_another() {
    let Some(nodes) = Nodes::new().await else {
        return;
    };
    let (mut alpha, mut beta) = (nodes.start("alpha").await, nodes.start("beta").await);
    let running = alpha.submit(&nodes.new_job(queue())).await;
    let waiting = beta.submit(&nodes.new_job(queue())).await;
    let mut timed = nodes.new_job(queue());
    timed.start_by = Some(1);
    let timed = alpha.submit(&timed).await;
    let held = alpha.turn().await.hold;
    let mut packet = SegmentBuilder::new(0);
    packet.push(1, b"1");
    alpha
        .ledger
        .append(held, vec![packet.finish()])
        .await
        .unwrap();
    let places = beta.ledger.whereabouts(&[running, waiting]).await.unwrap();
    assert_eq!(places, [Whereabouts::There(NodeId(1)), Whereabouts::Waits]);
    alpha.kill();
    let turn = beta.turn().await;
    assert_eq!((turn.hold.job, turn.packets), (running, 1));
    assert_eq!(turn.hold.owner, held.owner + 1);
    assert!(matches!(turn.start, Start::Attach { .. }), "{turn:?}");
    // That it had a time within which to start is known, too.
    let end = loop {
        if let Some(end) = beta.ledger.end(timed).await.unwrap() {
            break end;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((end.outcome.name(), end.started), ("timeout", None));
    let closed = beta.end(turn.hold, Outcome::Returned(Json::NULL), 1).await;
    assert!(closed.is_ok());
    let turn = beta.turn().await;
    assert_eq!((turn.hold.job, turn.start), (waiting, Start::ToRecord));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_cut_off_lets_go_and_joins_again() {
    let Some(nodes) = Nodes::new().await else {
        return;
    };
    let (mut alpha, mut beta) = (nodes.start("alpha").await, nodes.start("beta").await);
    let running = alpha.submit(&nodes.new_job(queue())).await;
    let waiting = alpha.submit(&nodes.new_job(queue())).await;
    let held = alpha.turn().await.hold;
    alpha.relay.set_frozen(true);
    let closing = alpha.end(held, Outcome::Cancelled, 0);
    let turn = beta.turn().await;
    assert_eq!(turn.hold.job, running);
    alpha.relay.set_frozen(false);
    // It was too late, and others have the job.
    assert_eq!(closing.await, Err(Lost::Fenced));
    while !matches!(alpha.news().await, News::Fenced) {}
    assert!(beta.end(turn.hold, Outcome::Cancelled, 0).await.is_ok());
    assert_eq!(beta.turn().await.hold.job, waiting);
    // It takes calls again, and runs them.
    let job = nodes.new_job(None);
    let accepting = async {
        loop {
            match alpha.ledger.accept(vec![job.clone()]).await {
                Ok(accepted) => return accepted,
                Err(NotAccepted::Storage { .. }) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(other) => panic!("{other}"),
            }
        }
    };
    let accepted = timeout(PATIENCE, accepting).await.expect("in time");
    assert_eq!(accepted, [Accepted::New(job.id)]);
    assert_eq!(alpha.turn().await.hold.job, job.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_leaves_its_jobs_and_places_to_the_others() {
    let Some(nodes) = Nodes::new().await else {
        return;
    };
    let (mut alpha, mut beta) = (nodes.start("alpha").await, nodes.start("beta").await);
    let one = alpha.submit(&nodes.new_job(queue())).await;
    let two = alpha.submit(&nodes.new_job(queue())).await;
    let kept = alpha.submit(&nodes.new_job(None)).await;
    let (first, second) = (alpha.turn().await.hold, alpha.turn().await.hold);
    assert_eq!((first.job, second.job), (one, kept));
    // Nobody of this node gets the place that is free now.
    alpha.ledger.drain(Drain::NoTurns);
    assert!(alpha.end(first, Outcome::Cancelled, 0).await.is_ok());
    assert_eq!(beta.turn().await.hold.job, two);
    // What runs is taken up at once when the term has ended.
    alpha.ledger.shut().await.unwrap();
    let turn = beta.turn().await;
    assert_eq!(turn.hold.job, kept);
    assert!(matches!(turn.start, Start::Attach { .. }), "{turn:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_reaches_whoever_holds_the_job_and_whoever_comes_to() {
    let Some(nodes) = Nodes::new().await else {
        return;
    };
    let (mut alpha, mut beta) = (nodes.start("alpha").await, nodes.start("beta").await);
    let job = alpha.submit(&nodes.new_job(None)).await;
    let held = alpha.turn().await.hold;
    assert_eq!(beta.ledger.wish(job).await, Ok(true));
    while !matches!(alpha.news().await, News::Wish(hold) if hold == held) {}
    alpha.kill();
    let turn = beta.turn().await;
    assert_eq!(turn.hold.job, job);
    while !matches!(beta.news().await, News::Wish(hold) if hold == turn.hold) {}
    assert!(beta.end(turn.hold, Outcome::Cancelled, 0).await.is_ok());
    assert_eq!(beta.ledger.wish(job).await, Ok(false));
}
