//! Three nodes of one database that are killed, cut off and held up, and lose answers, under load:
//! nothing acknowledged is lost, nothing runs twice, no queue has more running than it may, its
//! jobs start in their order, and nothing is left over.
//!
//! What stands for hosts counts. It goes on with calls whose node is gone, and obeys the greatest
//! owner that it has heard of, as those do that speak `harp/2`.
//!
//! The guards that this rests on are taken out by hand, one by one:
//!
//!     cargo test -p harp-tests --test postgres guards -- --ignored --nocapture

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use harp_jobs::ledger::*;
use harp_jobs::segment::SegmentBuilder;
use harp_tests::PATIENCE;
use harp_values::{JobId, Json, Outcome};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::nodes::{Node, Nodes};

const NODES: [&str; 3] = ["alpha", "beta", "gamma"];

/// The queues, and how many may run in each.
const QUEUES: [(&str, u64); 4] = [("a", 1), ("b", 1), ("c", 2), ("d", 3)];

/// Calls that are handed in at least.
const ENOUGH: usize = 40;

/// What is done, for how long at least.
#[derive(Debug, Clone, Copy)]
struct Options {
    time: Duration,
    seed: u64,
    /// Hosts refuse whoever has lost a call.
    hosts_fence: bool,
    /// A node that adopts a call which runs asks its host for it.
    attaches: bool,
    /// One in so many runs stands still before its request.
    pauses: u64,
}

/// A call at its host.
#[derive(Debug, Default)]
struct AtHost {
    /// The greatest owner that has asked for it.
    owner: u32,
    runs: u32,
    is_over: watch::Sender<bool>,
}

/// What stands for all hosts, and what has been seen.
#[derive(Debug, Default)]
struct Hosts {
    calls: HashMap<JobId, AtHost>,
    running: BTreeMap<String, u64>,
    /// The jobs of each queue with a concurrency of 1, as they were started.
    started: BTreeMap<String, Vec<JobId>>,
    faults: BTreeSet<String>,
    /// Requests that came from an owner who had lost the call.
    refused: u64,
    attached: u64,
}

struct Chaos {
    nodes: Nodes,
    options: Options,
    hosts: Mutex<Hosts>,
    /// Jobs that were acknowledged, with their numbers: each was handed in when those of its queue
    /// that are before it had been acknowledged.
    acknowledged: Mutex<HashMap<JobId, u64>>,
    chance: Mutex<u64>,
}

impl Chaos {
    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap()
    }

    /// A number below this one.
    fn chance(&self, below: u64) -> u64 {
        let mut chance = self.chance.lock().unwrap();
        *chance = chance
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (*chance >> 33) % below
    }

    /// A host is asked to run a call. What completes when it is over; `None` if it refuses.
    fn request(
        self: &Arc<Self>,
        job: JobId,
        owner: u32,
        queue: &(String, u64),
    ) -> Option<watch::Receiver<bool>> {
        let mut hosts = self.hosts();
        let hosts = &mut *hosts;
        let call = hosts.calls.entry(job).or_default();
        if self.options.hosts_fence && call.owner >= owner {
            hosts.refused += 1;
            return None;
        }
        call.owner = owner;
        call.runs += 1;
        if call.runs > 1 {
            hosts.faults.insert(format!("{job} has run twice"));
        }
        let running = hosts.running.entry(queue.0.clone()).or_default();
        *running += 1;
        if *running > queue.1 {
            hosts
                .faults
                .insert(format!("{running} run in queue {}", queue.0));
        }
        if queue.1 == 1 {
            hosts.started.entry(queue.0.clone()).or_default().push(job);
        }
        let over = call.is_over.subscribe();
        let (chaos, name) = (Arc::clone(self), queue.0.clone());
        let time = Duration::from_millis(2 + self.chance(25));
        // It goes on whatever becomes of the node.
        tokio::spawn(async move {
            sleep(time).await;
            let mut hosts = chaos.hosts();
            *hosts.running.get_mut(&name).unwrap() -= 1;
            hosts.calls[&job].is_over.send_replace(true);
        });
        Some(over)
    }

    /// Somebody attaches to a call: `None` if its host has no such call, and will have none.
    fn attach(&self, job: JobId, owner: u32) -> Option<watch::Receiver<bool>> {
        let mut hosts = self.hosts();
        let call = hosts.calls.entry(job).or_default();
        call.owner = call.owner.max(owner);
        let over = (call.runs > 0).then(|| call.is_over.subscribe());
        hosts.attached += u64::from(over.is_some());
        over
    }

    /// Runs a job that has its turn.
    async fn run(self: Arc<Self>, ledger: Arc<dyn Ledger>, turn: Turn) {
        let (hold, mut packets) = (turn.hold, turn.packets);
        let Ok(Some(call)) = turn.call.await else {
            self.hosts()
                .faults
                .insert("a call cannot be read".to_owned());
            return;
        };
        let queue = call
            .queue
            .map(|queue| (queue.name.as_str().to_owned(), queue.concurrency));
        let queue = queue.unwrap();
        let over = match turn.start {
            Start::Settle { .. } => {
                if let Some(over) = self.attach(hold.job, hold.owner) {
                    wait_over(over).await;
                }
                _ = ledger.settle(hold).await;
                return;
            }
            Start::Attach { .. } if !self.options.attaches => None,
            Start::Attach { .. } => self.attach(hold.job, hold.owner),
            Start::ToRecord => {
                sleep(Duration::from_millis(self.chance(5))).await;
                if ledger.started(hold, Token("t".into())).await.is_err() {
                    return;
                }
                self.pause().await;
                match self.request(hold.job, hold.owner, &queue) {
                    Some(over) => Some(over),
                    None => return,
                }
            }
            Start::Recorded { .. } => {
                self.pause().await;
                match self.request(hold.job, hold.owner, &queue) {
                    Some(over) => Some(over),
                    None => return,
                }
            }
        };
        let is_known = over.is_some();
        // Some are given up, and their hosts have to be waited for.
        let owes = is_known && self.chance(5) == 0;
        if let Some(over) = over.clone().filter(|_| !owes) {
            wait_over(over).await;
        }
        if is_known && packets == 0 {
            let mut packet = SegmentBuilder::new(0);
            packet.push(1, b"1");
            if ledger.append(hold, vec![packet.finish()]).await.is_err() {
                return;
            }
            packets = 1;
        }
        let end = End {
            then: Then::End(Outcome::Returned(Json::NULL)),
            packets,
            debt: owes.then(|| Token("debt".into())),
            remarks: Default::default(),
        };
        let closed = ledger.close_job(hold, end).await;
        if let (Ok(Closed { debt: true, .. }), Some(over)) = (closed, over) {
            wait_over(over).await;
            _ = ledger.settle(hold).await;
        }
    }

    /// Now and then a process stands still between its commit and its first byte to the host.
    async fn pause(&self) {
        if self.chance(self.options.pauses) == 0 {
            sleep(Duration::from_millis(1200)).await;
        }
    }

    /// Serves a node until it is to end; its runs end with it.
    async fn serve(self: Arc<Self>, mut node: Node, mut ends: watch::Receiver<bool>) {
        let ledger: Arc<dyn Ledger> = Arc::new(node.ledger.clone());
        let mut runs = JoinSet::new();
        loop {
            tokio::select! {
                _ = ends.wait_for(|ends| *ends) => break,
                news = node.news.recv() => match news {
                    Some(News::Turn(turn)) => {
                        runs.spawn(Arc::clone(&self).run(Arc::clone(&ledger), turn));
                    }
                    Some(_) => {}
                    None => break,
                },
            }
        }
        // Those that stand still before their request go out with it all the same.
        runs.detach_all();
        node.kill();
    }

    /// Hands in calls at whichever node is there, one behind the other in each queue.
    async fn submit(
        self: Arc<Self>,
        ledgers: Ledgers,
        queue: usize,
        mut ends: watch::Receiver<bool>,
    ) {
        let mut number = 0;
        while !*ends.borrow_and_update() {
            let ledger = ledgers.lock().unwrap()[self.chance(3) as usize].clone();
            let job = self.nodes.new_job(Some(QUEUES[queue]));
            let accepted = match ledger {
                Some(ledger) => {
                    timeout(Duration::from_secs(2), ledger.accept(vec![job.clone()])).await
                }
                None => Ok(Err(NotAccepted::Closed)),
            };
            match accepted {
                Ok(Ok(_)) => {
                    self.acknowledged.lock().unwrap().insert(job.id, number);
                    number += 1;
                }
                // It may come to be there all the same, behind others.
                _ => sleep(Duration::from_millis(10)).await,
            }
            sleep(Duration::from_millis(self.chance(8))).await;
        }
    }

    /// Does harm to one node after the other.
    async fn harm(
        self: Arc<Self>,
        place: usize,
        ledgers: Ledgers,
        mut over: watch::Receiver<bool>,
    ) {
        loop {
            let node = self.nodes.start(NODES[place]).await;
            ledgers.lock().unwrap()[place] = Some(Arc::new(node.ledger.clone()));
            node.relay.lose(60);
            let (end, ends) = watch::channel(false);
            let relay = Arc::clone(node.relay.control());
            let serving = tokio::spawn(Arc::clone(&self).serve(node, ends));
            let time = Duration::from_millis(300 + self.chance(1200));
            let is_over = timeout(time, over.wait_for(|over| *over)).await.is_ok();
            if is_over {
                relay.lose(0);
                // It goes on until all is at rest.
                over.wait_for(|_| false).await.unwrap_err();
                return end.send(true).map_or((), drop);
            }
            match self.chance(3) {
                0 => {
                    relay.set_frozen(true);
                    sleep(Duration::from_millis(100 + self.chance(1400))).await;
                    relay.set_frozen(false);
                    sleep(Duration::from_millis(300)).await;
                }
                1 => {
                    relay.set_down(true);
                    sleep(Duration::from_millis(self.chance(1200))).await;
                    relay.set_down(false);
                    sleep(Duration::from_millis(300)).await;
                }
                _ => {}
            }
            ledgers.lock().unwrap()[place] = None;
            end.send_replace(true);
            serving.await.unwrap();
            sleep(Duration::from_millis(self.chance(500))).await;
        }
    }
}

type Ledgers = Arc<Mutex<[Option<Arc<dyn Ledger>>; 3]>>;

async fn wait_over(mut over: watch::Receiver<bool>) {
    _ = over.wait_for(|over| *over).await;
}

/// What was not as promised.
async fn play(options: Options, breaks: &str) -> Option<BTreeSet<String>> {
    let nodes = Nodes::new().await?;
    if !breaks.is_empty() {
        _ = nodes.database.ask(breaks);
    }
    let chaos = Arc::new(Chaos {
        nodes,
        options,
        hosts: Mutex::default(),
        acknowledged: Mutex::default(),
        chance: Mutex::new(options.seed),
    });
    let ledgers = Ledgers::default();
    let (set_over, over) = watch::channel(false);
    let (stop, stops) = watch::channel(false);
    let mut harming = JoinSet::new();
    for place in 0..NODES.len() {
        harming.spawn(Arc::clone(&chaos).harm(place, Arc::clone(&ledgers), over.clone()));
    }
    let mut submitting = JoinSet::new();
    for queue in 0..QUEUES.len() {
        submitting.spawn(Arc::clone(&chaos).submit(Arc::clone(&ledgers), queue, stops.clone()));
    }
    sleep(options.time).await;
    // On a machine that has much else to do it goes on until there is something to see.
    let enough = async {
        while chaos.acknowledged.lock().unwrap().len() < ENOUGH {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, enough).await.expect("calls are taken");
    stop.send_replace(true);
    while submitting.join_next().await.is_some() {}
    set_over.send_replace(true);
    let rest = "select (select count(*) from harp.live) + (select count(*) from harp.debt) \
                + (select count(*) from harp.queue)";
    let since = Instant::now();
    let mut faults = BTreeSet::new();
    while chaos.nodes.database.ask(rest) != "0" {
        if since.elapsed() > PATIENCE {
            faults.insert("something is left that lives".to_owned());
            break;
        }
        sleep(Duration::from_millis(50)).await;
    }
    drop(set_over);
    while harming.join_next().await.is_some() {}
    let ended = chaos.nodes.database.ask("select id from harp.ended");
    let ended: BTreeSet<&str> = ended.lines().collect();
    let acknowledged = chaos.acknowledged.lock().unwrap().clone();
    for job in acknowledged.keys() {
        if !ended.contains(job.to_string().as_str()) {
            faults.insert(format!("{job} is lost"));
        }
    }
    let hosts = chaos.hosts();
    faults.extend(hosts.faults.iter().cloned());
    for (queue, jobs) in &hosts.started {
        let numbers = jobs.iter().filter_map(|job| acknowledged.get(job));
        if !numbers.is_sorted() {
            faults.insert(format!("queue {queue} is out of order"));
        }
    }
    let acknowledged = acknowledged.len();
    println!(
        "acknowledged {acknowledged}, ended {}, attached to {}, refused by hosts {}, faults {}",
        ended.len(),
        hosts.attached,
        hosts.refused,
        faults.len()
    );
    Some(faults)
}

fn options() -> Options {
    let seconds = std::env::var("HARP_CHAOS_SECONDS");
    let seconds = seconds.ok().and_then(|seconds| seconds.parse().ok());
    Options {
        time: Duration::from_secs(seconds.unwrap_or(3)),
        seed: 1,
        hosts_fence: true,
        attaches: true,
        pauses: 40,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_that_are_harmed_lose_nothing_and_do_nothing_twice() {
    if let Some(faults) = play(options(), "").await {
        assert_eq!(faults, BTreeSet::new());
    }
}

/// Takes the fence of the database out.
const NO_FENCE: &str = "create or replace function harp.fence_1(me int, mine bigint) returns void \
                        language sql as $$ select $$;
    create or replace function harp.holds_1(me int, mine bigint, a harp.act_1, l harp.live) \
    returns boolean language sql immutable as $$ select true $$";

/// A function of the database without this in it, but with that.
fn altered(function: &str, this: &str, that: &str) -> String {
    format!(
        "do $do$ declare was text := pg_get_functiondef('harp.{function}'::regproc); begin \
         if was not like '%{this}%' then raise exception 'it is not there'; end if; \
         execute replace(was, '{this}', '{that}'); end $do$"
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "by hand: guards that are taken out are missed, which takes a minute or two"]
async fn guards_that_are_taken_out_are_missed() {
    let options = Options {
        time: Duration::from_secs(10),
        pauses: 6,
        ..options()
    };
    let no_host_fence = Options {
        hosts_fence: false,
        ..options
    };
    let no_attaching = Options {
        attaches: false,
        ..options
    };
    let order = "order by w.sequence limit";
    for (name, options, breaks) in [
        (
            "the fences of hosts and database",
            no_host_fence,
            NO_FENCE.to_owned(),
        ),
        ("the fence of hosts", no_host_fence, String::new()),
        ("attaching to what is adopted", no_attaching, String::new()),
        (
            "the order of a queue",
            options,
            altered("promote_1", order, "order by w.sequence desc limit"),
        ),
    ] {
        let Some(mut faults) = play(options, &breaks).await else {
            return;
        };
        // That not all have ended says only that there was much to do.
        faults.retain(|fault| !fault.contains("is lost") && !fault.contains("is left"));
        println!("without {name}: {:?}", faults.first());
        assert!(!faults.is_empty(), "nothing is missed without {name}");
    }
}
