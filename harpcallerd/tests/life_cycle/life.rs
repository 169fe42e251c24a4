//! One life of a dispatcher, from its start over a store to its stop or crash.

mod rest;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use harp_host::Endpoint;
use harp_jobs::audit::Audit;
use harp_jobs::call::{NewCall, QueueChoice};
use harp_jobs::client::{Client, Peer, Via};
use harp_jobs::jobs::{Jobs, NotKnown};
use harp_jobs::record::EndRecord;
use harp_jobs::transport::Proof;
use harp_jobs::world::World;
use harp_ledger::store::{Store, StoreOptions};
use harp_proto::{JobId, Json, Password, QueueName};
use harpcallerd::any_ledger::Opened;
use harpcallerd::desk::Desk;
use harpcallerd::dispatcher::Dispatcher;
use harpcallerd::hosts::{Harpd, Host as Registered, Hosts, Registry};
use harpcallerd::rules::ExecutionLimits;
use harpcallerd::world::Runtime;
use tokio::task::JoinHandle;

use super::book::{Book, Entry};
use super::host::{Host, Order};
use super::inside::{self, Senders};
use super::limits::unlimited;
use super::{Death, QUEUES, Step};

/// More seconds than all steps of a life take together.
const SLOT_GRACE: u64 = 1000;

/// How long it may take, on a busy machine, until nothing moves any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a life is for.
#[derive(Debug)]
pub(crate) enum Next {
    Story(Vec<Vec<Step>>, Death),
    /// Everything that there still is comes to its end.
    EndAll,
}

pub(crate) struct Life {
    store: Store,
    dispatcher: Arc<Dispatcher>,
    desk: Arc<Desk>,
    /// The client that asks for everything: an administrator, who may cancel queues, too.
    client: Client,
    host: Arc<Host>,
    book: Arc<Book>,
    /// Seconds by which the clock was moved.
    seconds: u64,
    /// Jobs that ran when the last dispatcher died, and whose places are kept.
    held: HashSet<JobId>,
    /// By queue, the greatest sequence number of a job that was run.
    begun: BTreeMap<usize, u64>,
    /// Queues of which a cancel may still be on its way: it takes along what comes meanwhile.
    being_cancelled: HashSet<usize>,
    requests: Vec<JoinHandle<()>>,
    /// Those that wait until a host is done.
    confirms: Vec<JoinHandle<()>>,
    _senders: Senders,
}

impl Life {
    pub(crate) async fn start(directory: &Path, host: Arc<Host>, book: Arc<Book>) -> Life {
        let store = open(directory);
        let unfinished = store.live().await.unwrap();
        let address = host.serve().await;
        let entrance = Harpd {
            endpoint: Endpoint::new(address.ip().to_string(), address.port()),
            user: "u".to_owned(),
            password: Password::new("p".to_owned()),
            keep: true,
            procedures: Default::default(),
        };
        let registry: Registry =
            [("host".to_owned(), Registered::Harpd(Arc::new(entrance)))].into();
        for (id, _) in &unfinished {
            // One whose client was never told is known by what it was given.
            let job = store.job(*id).await.unwrap().expect("a live job");
            let tag = job.call.info.decode().unwrap();
            book.change(tag, |entry| entry.id = Some(*id));
        }
        let ran = unfinished.iter().filter(|(_, job)| job.started.is_some());
        let mut held: HashSet<JobId> = ran.map(|(id, _)| *id).collect();
        for (id, _) in store.kept_places().await.unwrap() {
            held.insert(id);
        }
        let world = Arc::new(Runtime::start());
        let hosts = Hosts::from(registry);
        // A cancel is answered while the host lingers.
        let limits = ExecutionLimits {
            slot_grace: Duration::from_secs(SLOT_GRACE),
            ..unlimited()
        };
        let any_world: Arc<dyn World> = Arc::clone(&world) as Arc<dyn World>;
        let kept = Opened::over(store.clone(), &any_world, true).await.unwrap();
        let inside = inside::open(world, kept, hosts, limits, Audit::default()).await;
        let peer = Peer::Local { uid: 0, pid: None };
        Life {
            store,
            dispatcher: inside.dispatcher,
            desk: Arc::new(inside.desk),
            client: Client::unknown(peer, Via::Administration, true),
            host,
            book,
            seconds: 0,
            held,
            being_cancelled: HashSet::new(),
            begun: BTreeMap::new(),
            requests: Vec::new(),
            confirms: Vec::new(),
            _senders: inside.senders,
        }
    }

    pub(crate) async fn run(&mut self, next: Next) {
        // What an earlier dispatcher left is as good as anything from the first moment.
        self.settle().await;
        match next {
            Next::Story(batches, death) => {
                let count = batches.len();
                for (index, batch) in batches.into_iter().enumerate() {
                    for step in batch {
                        self.step(step).await;
                    }
                    match death {
                        Death::Crash { turns } if index + 1 == count => turn(turns).await,
                        _ => self.settle().await,
                    }
                }
                if let Death::Stop = death {
                    self.stop().await;
                }
            }
            Next::EndAll => self.end_all().await,
        }
    }

    async fn step(&mut self, step: Step) {
        let count = self.book.count();
        let one_of = |which: usize| which as u64 % count.max(1);
        match step {
            Step::Submit {
                queue,
                start_by,
                with_key,
            } => {
                let tag = self.book.enter(Entry {
                    queue: (queue < QUEUES.len()).then_some(queue),
                    start_by,
                    key: with_key.then(|| format!("key {count}")),
                    ..Entry::default()
                });
                self.submit(tag);
            }
            _ if count == 0 => {}
            Step::SubmitAgain(which) => {
                let tag = one_of(which);
                if self.book.all()[tag as usize].key.is_some() {
                    self.submit(tag);
                }
            }
            Step::Cancel { which, confirm } => self.cancel(one_of(which), confirm),
            Step::CancelQueue(queue) => self.cancel_queue(queue),
            Step::Order(which, order) => self.order(which, order),
            Step::Second => self.advance(1).await,
            Step::SlotGrace => {
                // What is being given up has its time from then on.
                Box::pin(self.settle()).await;
                self.host.slot_grace_is_over();
                self.held.clear();
                self.advance(SLOT_GRACE + 1).await;
            }
        }
    }

    fn submit(&mut self, tag: u64) {
        let entry = &self.book.all()[tag as usize];
        let call = call(tag, entry);
        if entry
            .queue
            .is_some_and(|queue| self.being_cancelled.contains(&queue))
        {
            self.book.change(tag, |entry| entry.cancel_asked = true);
        }
        let dispatcher = Arc::clone(&self.dispatcher);
        let (desk, client) = (Arc::clone(&self.desk), self.client.clone());
        let (host, book) = (Arc::clone(&self.host), Arc::clone(&self.book));
        self.requests.push(tokio::spawn(async move {
            let accepted = match desk.submit(&client, call).await {
                Ok(accepted) => accepted,
                Err(fault) => return host.broken(format!("call {tag} was refused: {fault:?}")),
            };
            let mut before = None;
            book.change(tag, |entry| before = entry.id.replace(accepted.job));
            if before.is_some_and(|before| before != accepted.job) {
                host.broken(format!(
                    "call {tag} has jobs {before:?} and {}",
                    accepted.job
                ));
            }
            // Somebody waits for each job.
            let jobs = Arc::clone(dispatcher.jobs());
            tokio::spawn(async move {
                if let Some(end) = end_of(&jobs, accepted.job).await
                    && let Err(what) = book.shown(tag, &end.outcome)
                {
                    host.broken(what);
                }
            });
        }));
    }

    fn cancel(&mut self, tag: u64, confirm: bool) {
        let Some(id) = self.book.all()[tag as usize].id else {
            return;
        };
        self.book.change(tag, |entry| entry.cancel_asked = true);
        let (desk, client) = (Arc::clone(&self.desk), self.client.clone());
        let (host, book) = (Arc::clone(&self.host), Arc::clone(&self.book));
        let request = async move {
            match desk.cancel(&client, id, confirm).await {
                Err(refusal) => host.broken(format!("cancel of call {tag}: {refusal:?}")),
                Ok(told) if told.cancelled => {
                    book.change(tag, |entry| entry.cancel_told = true);
                    if told.host == Some(Proof::Confirmed) && host.get(tag).is_busy {
                        host.broken(format!("call {tag} runs after a confirmed cancel"));
                    }
                }
                Ok(_) => {}
            }
        };
        let request = tokio::spawn(request);
        if confirm {
            self.confirms.push(request);
        } else {
            self.requests.push(request);
        }
    }

    fn cancel_queue(&mut self, queue: usize) {
        for (tag, entry) in (0..).zip(self.book.all()) {
            if entry.queue == Some(queue) {
                self.book.change(tag, |entry| entry.cancel_asked = true);
            }
        }
        self.being_cancelled.insert(queue);
        let (desk, client) = (Arc::clone(&self.desk), self.client.clone());
        let host = Arc::clone(&self.host);
        self.requests.push(tokio::spawn(async move {
            if let Err(refusal) = desk.cancel_queue(&client, &name(queue)).await {
                host.broken(format!("cancel of queue {queue}: {refusal:?}"));
            }
        }));
    }

    fn order(&mut self, which: usize, order: Order) {
        let of_order = match order {
            Order::Release => self.host.lingering(),
            _ => self.host.busy(),
        };
        if of_order.is_empty() {
            return;
        }
        let tag = of_order[which % of_order.len()];
        self.book.change(tag, |entry| match order {
            Order::Finish => entry.finish_ordered = true,
            Order::Break => entry.break_ordered = true,
            Order::Packet | Order::Release => {}
        });
        self.host.order(tag, order);
    }

    async fn advance(&mut self, seconds: u64) {
        self.seconds += seconds;
        // In steps: a clock that jumps is that of a process which stood still.
        for _ in 0..10 * seconds {
            tokio::time::advance(Duration::from_millis(100)).await;
        }
    }

    /// Stops in order. Running calls are interrupted, and their hosts let go.
    async fn stop(&mut self) {
        self.book.interrupted();
        self.dispatcher.close();
        self.dispatcher.leave();
        self.dispatcher.interrupt();
        let dispatcher = Arc::clone(&self.dispatcher);
        let idle = tokio::spawn(async move { dispatcher.idle().await });
        let give_up = Instant::now() + PATIENCE;
        while !idle.is_finished() {
            assert!(
                Instant::now() < give_up,
                "the dispatcher does not come to rest"
            );
            turn(5).await;
            for tag in self.host.lingering() {
                self.host.order(tag, Order::Release);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        self.dispatcher.over();
        self.dispatcher.shut().await;
    }
}

/// How a job ends. `None` if the dispatcher goes before.
async fn end_of(jobs: &Jobs, job: JobId) -> Option<Arc<EndRecord>> {
    match jobs.wait(job).await {
        Ok(end) => end,
        Err(NotKnown::Closing) => None,
        Err(error) => panic!("{job}: {error}"),
    }
}

/// Lets all tasks go on for so many turns, and sockets and the disk be heard of.
async fn turn(turns: usize) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

/// The store of the dispatcher before may not be quite closed.
fn open(directory: &Path) -> Store {
    let options = StoreOptions {
        cache_size: 1024 * 1024,
    };
    let give_up = Instant::now() + PATIENCE;
    loop {
        match Store::open(&directory.join("jobs"), options) {
            Ok(store) => return store,
            Err(error) if Instant::now() > give_up => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

fn name(queue: usize) -> QueueName {
    format!(r#"{{"q":{queue}}}"#).parse().unwrap()
}

fn call(tag: u64, entry: &Entry) -> NewCall {
    let arguments = serde_json::json!({"tag": tag, "queue": entry.queue});
    NewCall {
        host: "host".to_owned(),
        procedure: "p".to_owned(),
        arguments: Json::encode(&arguments).unwrap(),
        timeout: None,
        max_exec_time: None,
        queue: entry.queue.map(|queue| QueueChoice {
            name: name(queue),
            concurrency: QUEUES[queue],
        }),
        info: Json::encode(&tag).unwrap(),
        key: entry.key.clone(),
        unless_since: None,
        start_by: entry.start_by,
        trace: None,
    }
}
