//! Killing the dispatcher again and again, and checking from the client's side that it
//! keeps its promises (ARCHITECTURE.md, "What is promised").
//!
//! Clients submit calls to queues and beside them, with keys and with `start_by`, follow
//! jobs, ask, cancel, and submit again; they go on as soon as a dispatcher is there. Each
//! round waits for one [`Moment`] of a job's life, kills the dispatcher with SIGKILL
//! there, starts it again, and checks:
//!
//! - every job id that a client was told names its job;
//! - an end that anybody was shown is still the same, and so is every packet: same
//!   number, same bytes;
//! - a job that ran when the dispatcher died has ended, or goes on at a host that keeps it:
//!   there none is lost or run twice, and its packets are all there, each once; the others
//!   are queued or running, and all of them come to an end;
//! - a key has one job, and the job that a client was told;
//! - no call was run twice, none that was not started, none out of its queue's order, and
//!   never more of a queue at once than its concurrency: the hosts count, over crashes too;
//! - nothing of a call is left when its cancel was confirmed.
//!
//! With [`run_power_cuts`] the power goes instead: the dispatcher is stopped where it is, and
//! goes on with a copy of its disk as it was in that moment, without what the system had
//! in memory and had not given to the disk.
//!
//! Steps on the wire are reached by hosts that stop there; steps of the store by clients
//! that have just sent a request or read its answer, since a write lies between the two.

mod check;
pub(crate) mod host;
pub(crate) mod ledger;
mod link;
pub(crate) mod load;
pub(crate) mod moment;
pub(crate) mod plan;
pub(crate) mod random;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant};

pub use moment::Moment;
use serde_json::json;
use tempfile::TempDir;

use crate::cluster::{Cluster, ClusterBuilder};
use crate::disk::Mount;
use host::CountingHost;
use ledger::Ledger;
use load::Load;
use moment::Signal;
use random::Random;

/// How long the load may take to come to a moment. Most come within milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take until one more job has ended, when no new ones come and some live.
const DRAIN: Duration = Duration::from_secs(60);

/// Of so many jobs more clients are told before each crash, at least, and the counting host
/// has begun so many more runs: a crash of a dispatcher that does nothing shows nothing.
const LOAD: (usize, usize) = (5, 3);

/// Rounds between two times when all jobs come to an end.
const DRAIN_EVERY: u64 = 12;

/// How long to go on. Whatever comes first ends it.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// At most so many crashes.
    pub rounds: u64,
    /// No new round after this time.
    pub time: Duration,
    /// Decides which calls are made; what meets what is up to the machine.
    pub seed: u64,
}

/// What has been done, and what was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Crashes.
    pub rounds: u64,
    /// Jobs that clients were told of.
    pub jobs: usize,
    /// Calls that a host has run.
    pub runs: usize,
    /// How often the dispatcher was killed at which moment.
    pub moments: BTreeMap<Moment, u64>,
    /// Rounds whose moment did not come in time, so that it was any other.
    pub missed: u64,
    /// Promises that were broken, each in words.
    pub broken: Vec<String>,
}

/// Crashes dispatchers until the options say that it is enough.
///
/// # Panics
///
/// If a dispatcher does not start, which is a broken promise too.
#[must_use]
pub fn run(options: Options) -> Report {
    run_on(options, Cluster::builder(), None)
}

/// Cuts the power of dispatchers instead of killing them. `None`, and says why, where a test
/// cannot have a disk of its own.
///
/// # Panics
///
/// As [`run`].
#[must_use]
pub fn run_power_cuts(options: Options) -> Option<Report> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let at = directory.path().join("disk");
    let mount = Mount::with_journal(&directory.path().join("image"), &at)?;
    let builder = Cluster::builder().set("stream_directory", &json!(at.join("jobs")).to_string());
    let disk = Disk {
        mount,
        _directory: directory,
    };
    Some(run_on(options, builder, Some(disk)))
}

fn run_on(options: Options, builder: ClusterBuilder, disk: Option<Disk>) -> Report {
    let mut random = Random::new(options.seed);
    // With few rounds, each run has other moments.
    let first = match disk {
        Some(_) => random.below(Moment::ALL.len() as u64),
        None => 0,
    };
    let ledger = Arc::new(Ledger::default());
    let signal = Arc::new(Signal::default());
    let host = CountingHost::start(Arc::clone(&ledger), Arc::clone(&signal));
    let cluster = builder
        .set("slot_grace", "2")
        .set("break_grace", "2")
        .set("stop_grace", "1")
        .other_host("counting", host.address)
        .procedure(plan::KEPT.0, plan::KEPT.1, plan::KEPT.2)
        .start();
    let load = Arc::new(Load {
        address: cluster.address(),
        ledger,
        host,
        signal,
        traces: cluster.path(""),
        paused: AtomicBool::new(false),
        submitting: RwLock::default(),
        finished: AtomicBool::new(false),
    });
    let clients = load.start(&mut random);
    let mut crashes = Crashes {
        cluster,
        disk,
        first,
        load,
        random,
        report: Report::default(),
    };
    let begun = Instant::now();
    while crashes.report.rounds < options.rounds && begun.elapsed() < options.time {
        crashes.round();
    }
    crashes.finish();
    for client in clients {
        client.join().expect("a client that does not panic");
    }
    crashes.report
}

struct Crashes {
    // Declared, and so dropped, before its disk.
    cluster: Cluster,
    /// What the store is on, if the power is cut.
    disk: Option<Disk>,
    /// The place of the first round's moment among all.
    first: u64,
    load: Arc<Load>,
    random: Random,
    report: Report,
}

struct Disk {
    // Declared, and so dropped, before its directory.
    mount: Mount,
    _directory: TempDir,
}

impl Crashes {
    fn round(&mut self) {
        let round = self.report.rounds;
        self.await_load();
        thread::sleep(Duration::from_millis(100) + self.random.up_to(1500));
        // Each in its turn.
        let moment = Moment::ALL[(self.first + round) as usize % Moment::ALL.len()];
        self.crash(moment);
        self.report.rounds += 1;
        let started = self.start(moment);
        let ids = self.load.ledger.to_check(Some(100), &mut self.random);
        self.check(&ids, started);
        if (round + 1).is_multiple_of(DRAIN_EVERY) {
            self.drain();
        }
    }

    /// Waits until clients and the counting host have something to do with this dispatcher,
    /// however slow the machine is.
    fn await_load(&self) {
        let load = || (self.load.ledger.count(), self.load.host.total());
        let (jobs, runs) = load();
        let enough = (jobs + LOAD.0, runs + LOAD.1);
        let give_up = Instant::now() + DRAIN;
        loop {
            let (jobs, runs) = load();
            if jobs >= enough.0 && runs >= enough.1 {
                return;
            }
            if Instant::now() >= give_up {
                let broken = format!("calls are not taken, or not run: {jobs} jobs, {runs} runs");
                self.load.ledger.broken(broken);
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills the dispatcher at a moment.
    fn crash(&mut self, moment: Moment) {
        let came = match moment {
            Moment::Random | Moment::Starting => true,
            Moment::Frozen => {
                self.cluster.freeze_dispatcher();
                thread::sleep(self.random.up_to(300));
                if self.random.one_in(2) {
                    self.cluster.thaw_dispatcher();
                    thread::sleep(self.random.up_to(5));
                }
                true
            }
            Moment::HostFrozen => {
                self.cluster.freeze_host("web01");
                thread::sleep(self.random.up_to(1500));
                if self.random.one_in(2) {
                    self.cluster.thaw_host("web01");
                    thread::sleep(self.random.up_to(5));
                }
                true
            }
            Moment::Stopping => {
                self.cluster.ask_dispatcher_to_stop();
                thread::sleep(self.random.up_to(1500));
                true
            }
            moment => self.load.signal.wait(moment, PATIENCE),
        };
        match moment {
            Moment::StartByOver => {
                // The shortest is a second, and most jobs have been told a little before.
                self.load.signal.release();
                thread::sleep(Duration::from_millis(980) + self.random.up_to(40));
            }
            // Half of the time at once, half of the time a little later.
            _ if self.random.one_in(2) => thread::sleep(self.random.up_to(6)),
            _ => {}
        }
        self.end_dispatcher();
        self.load.signal.release();
        if moment == Moment::HostFrozen {
            self.cluster.thaw_host("web01");
        }
        if came {
            *self.report.moments.entry(moment).or_default() += 1
        } else {
            self.report.missed += 1
        }
    }

    fn end_dispatcher(&mut self) {
        match &mut self.disk {
            None => self.cluster.kill_dispatcher(),
            Some(disk) => {
                self.cluster.halt_dispatcher();
                disk.mount.cut_power(|| self.cluster.kill_dispatcher());
            }
        }
    }

    /// Starts the dispatcher; the second in which that began.
    fn start(&mut self, moment: Moment) -> u64 {
        // The disk is a copy, in the same life of the machine: what waits is held. A call that
        // is submitted before the word of the operator would come before those.
        let load = Arc::clone(&self.load);
        let _nobody_submits = self.disk.is_some().then(|| load.submitting.write());
        if moment == Moment::Starting {
            for _ in 0..3 {
                let after = self.random.up_to(120);
                self.cluster.start_and_kill_dispatcher(after);
            }
        }
        let started = check::now();
        self.cluster.start_dispatcher();
        if self.disk.is_some() {
            // It is asserted that this succeeds.
            let _ = self.cluster.lines(&["resume"]);
        }
        started
    }

    fn check(&self, ids: &[String], started: u64) {
        if let Err(error) = self.load.check(ids, started) {
            let broken = format!("the dispatcher does not answer after a crash: {error}");
            self.load.ledger.broken(broken);
        }
        self.load.check_traces();
    }

    /// Lets all jobs come to their ends.
    fn drain(&self) {
        self.load.paused.store(true, Ordering::Relaxed);
        self.load.drain(DRAIN);
        self.load.paused.store(false, Ordering::Relaxed);
    }

    /// A last crash with nothing left to do, and a look at everything there was.
    fn finish(&mut self) {
        self.load.paused.store(true, Ordering::Relaxed);
        self.load.drain(DRAIN);
        self.load.finished.store(true, Ordering::Relaxed);
        self.end_dispatcher();
        let started = self.start(Moment::Random);
        let ids = self.load.ledger.to_check(None, &mut self.random);
        self.check(&ids, started);
        self.report.jobs = self.load.ledger.count();
        self.report.runs = self.load.host.total();
        self.report.broken = self.load.ledger.all_broken();
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} crashes, {} jobs, {} runs on the counting host, {} moments missed",
            self.rounds, self.jobs, self.runs, self.missed
        )?;
        for (moment, count) in &self.moments {
            writeln!(f, "  {count:6}  {moment:?}")?;
        }
        writeln!(f, "{} promises broken", self.broken.len())?;
        for broken in self.broken.iter().take(50) {
            writeln!(f, "  {broken}")?;
        }
        Ok(())
    }
}
