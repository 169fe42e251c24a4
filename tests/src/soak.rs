//! A dispatcher and a host daemon under a load of everything at once, for as long as
//! wanted: what they use does not grow, and every job ends once.
//!
//! The load is that of the crash program ([`crate::crash`]) without the crashes, which
//! knows the order and the packets of its jobs, and beside it clients of every kind with
//! errands to hosts of which most are broken. Meanwhile an operator reloads good and wrong
//! files, changes the hosts registry and breaks its script, changes tokens, cancels
//! queues, prunes and lists, cuts the way to a host that keeps its calls, and lets either
//! daemon stand still for a while. Then the load
//! ends, and it is checked that
//!
//! - memory and descriptors of both daemons did not grow between two parts of the time,
//!   and that the descriptors and processes of before are left when all clients are gone;
//! - no job and no queue is left, every job of which a client was told has ended once, as
//!   a job of its kind may, and the audit log says the same of the same jobs.

mod book;
mod clients;
mod fleet;
mod operator;
mod report;
mod usage;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

pub use report::Report;
pub use usage::{Usage, Window};

use crate::certificates::Authority;
use crate::cluster::Cluster;
use crate::crash::host::CountingHost;
use crate::crash::ledger::Ledger;
use crate::crash::load::Load;
use crate::crash::moment::Signal;
use crate::crash::plan;
use crate::crash::random::Random;
use book::Book;
use clients::Clients;
use fleet::Fleet;
use operator::{Operator, Tokens, ask};
use usage::Sample;

/// How long all jobs that live may take to end when no new ones come.
const DRAIN: Duration = Duration::from_secs(60);

/// How long the daemons may take to give back what they used: longer than an idle thread
/// for blocking calls lives.
const SETTLE: Duration = Duration::from_secs(30);

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Of the load, without the start and the checks at the end.
    pub time: Duration,
    /// Decides which calls are made; what meets what is up to the machine.
    pub seed: u64,
}

/// Runs the load, and says what was found.
///
/// # Panics
///
/// If a daemon does not start.
#[must_use]
pub fn run(options: Options) -> Report {
    Soak::start(options).run(options.time)
}

struct Soak {
    cluster: Cluster,
    /// What the cluster reads that is not of its own making.
    directory: TempDir,
    load: Arc<Load>,
    clients: Arc<Clients>,
    operator: Operator,
    random: Random,
    report: Report,
}

impl Soak {
    fn start(options: Options) -> Soak {
        let mut random = Random::new(options.seed);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (tokens, [token, visitor]) = Tokens::make(directory.path());
        let ledger = Arc::new(Ledger::steady());
        let signal = Arc::new(Signal::default());
        let host = CountingHost::start(Arc::clone(&ledger), Arc::clone(&signal));
        let mut cluster = start_cluster(directory.path());
        // From now on its file names the port that it was given, as a reload has to.
        cluster.restart_dispatcher();
        let listening = cluster.log().all("listening");
        let tls = listening.iter().rev().find_map(|line| {
            let address = line["address"].as_str()?.parse().ok()?;
            (address != cluster.address()).then_some(address)
        });
        let counting = fleet::entry("counting", host.address);
        let fleet = Fleet::start(&cluster.entry("web01"));
        let mut operator = Operator::new(fleet, counting, tokens, random.fork());
        let told = operator.change_registry(&mut cluster);
        told.expect("a registry");
        ask(&cluster, json!({"command": "refresh_hosts"})).expect("a registry");
        let load = Load {
            address: cluster.address(),
            ledger,
            host,
            signal,
            traces: cluster.path(""),
            paused: AtomicBool::new(false),
            submitting: RwLock::default(),
            finished: AtomicBool::new(false),
        };
        let clients = Clients {
            plain: cluster.address(),
            tls: tls.expect("a TLS listener"),
            unix: directory.path().join("socket"),
            token: token.text,
            visitor: visitor.text,
            book: Book::default(),
            paused: AtomicBool::new(false),
            finished: AtomicBool::new(false),
            next: AtomicU64::new(0),
        };
        Soak {
            cluster,
            directory,
            load: Arc::new(load),
            clients: Arc::new(clients),
            operator,
            random,
            report: Report::default(),
        }
    }

    fn run(mut self, time: Duration) -> Report {
        self.report.idle = self.window(0);
        let mut threads = self.load.start(&mut self.random);
        threads.extend(self.clients.start(&mut self.random));
        let samples = self.watch(time);
        self.report.seconds = time.as_secs();
        self.report.take_windows(&samples);

        self.load.paused.store(true, Ordering::Relaxed);
        self.clients.paused.store(true, Ordering::Relaxed);
        self.drain();
        self.load.finished.store(true, Ordering::Relaxed);
        self.clients.finished.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().expect("a client that does not panic");
        }
        self.load.check_traces();
        self.settle(time);
        self.account();
        self.report
    }

    /// Lets the operator work, and looks at the daemons, until the time is over.
    fn watch(&mut self, time: Duration) -> Vec<Sample> {
        let begun = Instant::now();
        let pause = (time / 60).clamp(Duration::from_millis(250), Duration::from_secs(2));
        let mut samples = Vec::new();
        while begun.elapsed() < time {
            thread::sleep(pause);
            samples.push(self.sample(begun.elapsed()));
            if let Err(problem) = self.operator.step(&mut self.cluster) {
                self.report.problems.push(format!("operator: {problem}"));
            }
        }
        self.report.operations = self.operator.steps();
        samples
    }

    fn sample(&self, at: Duration) -> Sample {
        Sample {
            at,
            jobs: self.load.ledger.count() as u64 + self.clients.book.count(),
            dispatcher: Usage::of(self.cluster.dispatcher_id()),
            harpd: Usage::of(self.cluster.host_id("web01")),
        }
    }

    fn window(&self, second: u64) -> Window {
        Window::of(&[self.sample(Duration::from_secs(second))], 0, 100)
    }

    /// Waits until every job has ended that a client was told of.
    fn drain(&self) {
        self.load.drain(DRAIN);
        let give_up = Instant::now() + DRAIN;
        while self.clients.book.live_count() > 0 && Instant::now() < give_up {
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the daemons have given back what is not needed without a load.
    fn settle(&mut self, time: Duration) {
        let give_up = Instant::now() + SETTLE;
        loop {
            self.report.left = self.window(time.as_secs());
            let problems = self.leftovers();
            if problems.is_empty() {
                return;
            }
            if Instant::now() >= give_up {
                self.report.problems.extend(problems);
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// What is left of the load.
    fn leftovers(&self) -> Vec<String> {
        let mut problems = self.report.left_more_than_idle();
        for (command, list) in [("list_jobs", "jobs"), ("list_queues", "queues")] {
            match ask(&self.cluster, json!({"command": command})) {
                Ok(reply) if reply[list].as_array().is_some_and(Vec::is_empty) => {}
                Ok(reply) => problems.push(format!("{list} are left: {reply}")),
                Err(problem) => problems.push(problem),
            }
        }
        problems
    }

    /// Compares what clients were told with what the audit log says.
    fn account(&mut self) {
        // The log is complete after a stop in order.
        self.cluster.stop_dispatcher();
        let audit = Audit::read(&self.directory.path().join("audit"));
        let ledger = &self.load.ledger;
        let book = &self.clients.book;
        let mut ended = book.all_ended();
        for id in ledger.ids() {
            if let Some(name) = ledger.get(&id).and_then(|known| known.outcome_name()) {
                ended.insert(id, name);
            }
        }
        let report = &mut self.report;
        report.jobs = ledger.count() as u64 + book.count();
        report.ended = ended.len() as u64;
        report.kinds = book.by_kind();
        for (outcome, count) in ledger.ended() {
            report.kinds.insert(("ordered load", outcome), count);
        }
        report.audited = audit.jobs.len() as u64;
        report.problems.extend(ledger.all_broken());
        report.problems.extend(book.all_broken());
        report.problems.extend(audit.problems);
        for id in ledger.live().into_iter().chain(book.live()) {
            report.unaccounted.push(format!("job {id} has not ended"));
        }
        for (id, told) in &ended {
            let found = audit.jobs.get(id);
            let told = if told == "result" { "returned" } else { told };
            // One that is submitted again under its key is accepted again.
            if found.is_none_or(|found| found.accepted == 0 || found.ended != [told]) {
                let what = format!("job {id} ended with {told}, in the audit log: {found:?}");
                report.unaccounted.push(what);
            }
        }
        for id in audit.jobs.keys().filter(|id| !ended.contains_key(*id)) {
            let what = format!("job {id} is in the audit log, and no client knows its end");
            report.unaccounted.push(what);
        }
    }
}

/// What the audit log says of all jobs.
#[derive(Debug, Default)]
struct Audit {
    jobs: HashMap<String, Audited>,
    problems: Vec<String>,
}

#[derive(Debug, Default)]
struct Audited {
    accepted: u64,
    /// The outcomes it ended with.
    ended: Vec<String>,
}

impl Audit {
    fn read(file: &Path) -> Audit {
        let mut audit = Audit::default();
        for line in fs::read_to_string(file).unwrap_or_default().lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_default();
            let job = || line["job"].as_str().unwrap_or_default().to_owned();
            match line["event"].as_str() {
                Some("accepted") => audit.jobs.entry(job()).or_default().accepted += 1,
                Some("ended") => {
                    let outcome = line["outcome"].as_str().unwrap_or_default().to_owned();
                    audit.jobs.entry(job()).or_default().ended.push(outcome);
                }
                Some("cancelled" | "refused" | "administered") => {}
                _ => audit.problems.push(format!("in the audit log: {line}")),
            }
        }
        audit
    }
}

fn start_cluster(directory: &Path) -> Cluster {
    let write = |name: &str, text: &str| {
        crate::cluster::replace(&directory.join(name), text, 0o600);
        json!(directory.join(name)).to_string()
    };
    let server = Authority::shared().issue(&["127.0.0.1"]);
    let certificate = write("cert.pem", &server.pem);
    let key = write("key.pem", &server.key_pem);
    let path = |name: &str| json!(directory.join(name)).to_string();
    Cluster::builder()
        .procedure(plan::KEPT.0, plan::KEPT.1, plan::KEPT.2)
        .procedure(fleet::STEADY.0, fleet::STEADY.1, fleet::STEADY.2)
        // As small as it may be, so that it has its size soon.
        .set("cache_size", "\"1M\"")
        .set("connect_timeout", "10")
        // Two hosts keep calls, and what is idle at the end counts as left.
        .set("max_idle_connections", "4")
        .set("default_timeout", "600")
        .set("slot_grace", "5")
        .set("break_grace", "5")
        .set("stop_grace", "1")
        .set("host_db_refresh", "1")
        .set("host_db_script_timeout", "1")
        .set("max_job_size", "\"256K\"")
        .set("job_limit_policy", "\"cancel\"")
        .set("max_jobs", "4000")
        .set("tokens_file", &path("tokens"))
        .set("audit_file", &path("audit"))
        .tables(&format!(
            "[[listener]]\naddress = '127.0.0.1:0'\ncertificate = {certificate}\n\
             private_key = {key}\n[[listener]]\npath = {}\nrequire_authentication = false\n",
            path("socket")
        ))
        .start()
}
