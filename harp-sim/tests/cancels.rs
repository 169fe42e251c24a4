//! A cancel in a time in which nothing can be written: it waits while that may pass.

use std::sync::Arc;
use std::time::Duration;

use harp_jobs::jobs::{Jobs, NotKnown, Submission};
use harp_jobs::ledger::{Accepted, Room};
use harp_jobs::limits::{RunLimits, ServiceLimits};
use harp_jobs::output::OutputLimits;
use harp_jobs::record::{CallRecord, QueueRecord};
use harp_jobs::world::World;
use harp_sim::chance::Chance;
use harp_sim::executor::Played;
use harp_sim::memory::{Disk, Faults, Memory};
use harp_sim::script::Hosts;
use harp_values::{JobId, Json};
use tokio::sync::watch;

struct Play {
    world: Played,
    faults: Faults,
    jobs: Arc<Jobs>,
}

impl Play {
    fn new(seed: u64) -> Play {
        let world = Played::new(Chance::of_seed(seed));
        let faults = Faults::default();
        let memory = Memory::open(&world, &Disk::default(), faults.clone());
        let hosts = Hosts::new(&world);
        hosts.calm_down();
        let limits = watch::Sender::new(Arc::new(RunLimits {
            connect_timeout: Duration::from_secs(10),
            default_timeout: Duration::from_secs(600),
            max_exec_time: Duration::from_secs(600),
            last_words: Duration::ZERO,
            output: OutputLimits::default(),
            services: ServiceLimits::default(),
        }));
        let jobs = Jobs::open(
            Arc::new(world.clone()),
            Arc::new(memory),
            Arc::new(hosts),
            limits.subscribe(),
            |_| {},
        );
        Play {
            world,
            faults,
            jobs,
        }
    }

    /// The second of two jobs in a queue for one, which waits.
    async fn waiting(&self) -> JobId {
        let queue = QueueRecord {
            name: "{\"q\":1}".parse().expect("a name"),
            concurrency: 1,
        };
        let mut last = None;
        for _ in 0..2 {
            let call = CallRecord {
                queue: Some(queue.clone()),
                ..CallRecord::new("plain", "p", Json::NULL, 0)
            };
            let new = Submission {
                call,
                unless_since: None,
                start_by: None,
            };
            let room = Room {
                live_jobs: 10,
                queue_length: 10,
            };
            match self.jobs.submit(new, room).await {
                Ok(Accepted::New(job)) => last = Some(job),
                other => panic!("{other:?}"),
            }
        }
        last.expect("a job")
    }

    async fn pass(&self, time: Duration) {
        self.world.sleep(self.world.now() + time).await;
    }
}

/// What came of the cancel of a job that waits, in an outage that lasts so long from its
/// beginning on.
fn cancel_in_an_outage_of(lasts: Duration, seed: u64) -> Result<bool, NotKnown> {
    let play = Arc::new(Play::new(seed));
    let world = play.world.clone();
    world.block_on(async move {
        let job = play.waiting().await;
        play.faults.set_down(true);
        let ends = {
            let play = Arc::clone(&play);
            async move {
                play.pass(lasts).await;
                play.faults.set_down(false);
            }
        };
        let cancel = play.jobs.cancel(job);
        let ((), cancelled) = futures_util::future::join(ends, cancel).await;
        cancelled.map(|cancelled| cancelled.is_some())
    })
}

#[test]
fn a_cancel_waits_out_an_outage_that_passes_and_no_other() {
    for seed in 0..50 {
        let passing = cancel_in_an_outage_of(Duration::from_secs(2), seed);
        assert_eq!(passing, Ok(true), "seed {seed}");
        let lasting = cancel_in_an_outage_of(Duration::from_secs(60), seed);
        assert!(matches!(lasting, Err(NotKnown::Storage(_))), "{lasting:?}");
    }
}
