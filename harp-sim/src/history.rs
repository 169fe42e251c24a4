//! One history: clients, jobs, hosts, crashes, outages and clocks, in an order that a list
//! of numbers decides, judged after each step.

mod clients;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use harp_jobs::jobs::Jobs;
use harp_jobs::ledger::{Drain, Keep, Ledger};
use harp_jobs::limits::{RunLimits, ServiceLimits};
use harp_jobs::output::OutputLimits;
use harp_jobs::runner::Stop;
use harp_jobs::world::{Phase, World};
use tokio::sync::watch;

use crate::book::Book;
use crate::chance::Chance;
use crate::errors::Errors;
use crate::executor::Played;
use crate::memory::{Disk, Faults, Memory};
use crate::script::Hosts;

/// How long a call that was given up is listened to; longer than a host takes for what it
/// still says.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The most that one history may take, in steps.
const MOST_STEPS: usize = 60_000;

/// A history that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What did not hold.
    pub what: String,
    /// The choices that led there.
    pub numbers: Vec<u32>,
}

/// Plays a history to its end.
///
/// # Errors
///
/// What did not hold, and the choices that were made.
pub fn play(chance: Chance) -> Result<usize, Failure> {
    play_into(chance, &Book::default())
}

/// Plays a history as [`play`] does, and tells what happens to a book of the caller's.
///
/// # Errors
///
/// What did not hold, and the choices that were made.
pub fn play_into(chance: Chance, book: &Book) -> Result<usize, Failure> {
    let book = book.clone();
    let world = Played::new(chance);
    let errors = Errors::default();
    let played = {
        let world = world.clone();
        let errors = errors.clone();
        catch_unwind(AssertUnwindSafe(move || {
            errors
                .clone()
                .watch(|| History::new(&world, errors, book).play())
        }))
    };
    let numbers = world.drawn();
    // What is left refers to the world, and the world to it.
    world.drop_tasks();
    match played {
        Ok(Ok(steps)) => Ok(steps),
        Ok(Err(what)) => Err(Failure { what, numbers }),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let what = format!("panic: {}", text.unwrap_or_default());
            Err(Failure { what, numbers })
        }
    }
}

struct History {
    world: Played,
    errors: Errors,
    disk: Disk,
    faults: Faults,
    hosts: Hosts,
    book: Book,
    memory: Memory,
    jobs: Arc<Jobs>,
    limits: watch::Sender<Arc<RunLimits>>,
    /// Those who may leave before they are answered.
    clients: Vec<watch::Sender<bool>>,
    steps: usize,
}

impl History {
    fn new(world: &Played, errors: Errors, book: Book) -> History {
        let limits = watch::Sender::new(Arc::new(RunLimits {
            connect_timeout: Duration::from_secs(10),
            default_timeout: Duration::from_secs(20),
            max_exec_time: Duration::from_secs(300),
            last_words: LAST_WORDS,
            output: OutputLimits::default(),
            services: ServiceLimits::default(),
        }));
        let disk = Disk::default();
        // One history has no faults of the disk, the next has many.
        let faults = match world.draw(3) {
            0 => Faults::default(),
            kind => {
                book.disturbed();
                match kind {
                    1 => Faults::new(4, 0, 0, 6),
                    _ => Faults::new(4, 9, 9, 6),
                }
            }
        };
        let hosts = Hosts::new(world);
        let (memory, jobs) = History::open(world, &disk, &faults, &hosts, &limits);
        let history = History {
            world: world.clone(),
            errors,
            disk,
            faults,
            hosts,
            book,
            memory,
            jobs,
            limits,
            clients: Vec::new(),
            steps: 0,
        };
        history.listen();
        history
    }

    fn open(
        world: &Played,
        disk: &Disk,
        faults: &Faults,
        hosts: &Hosts,
        limits: &watch::Sender<Arc<RunLimits>>,
    ) -> (Memory, Arc<Jobs>) {
        let memory = Memory::open(world, disk, faults.clone());
        let jobs = Jobs::open(
            Arc::new(world.clone()),
            Arc::new(memory.clone()),
            Arc::new(hosts.clone()),
            limits.subscribe(),
            |_| {},
        );
        (memory, jobs)
    }

    /// Writes down the changes that are told.
    fn listen(&self) {
        let (mut changes, book) = (self.jobs.changes(), self.book.clone());
        let listening = async move {
            while let Ok(change) = changes.recv().await {
                book.changed(&change);
            }
        };
        self.world
            .spawn("listener", Phase::News, Box::pin(listening));
    }

    fn play(mut self) -> Result<usize, String> {
        let acts = 1 + self.world.draw(60);
        for _ in 0..acts {
            self.act()?;
            for _ in 0..self.world.draw(30) {
                self.step()?;
            }
        }
        self.come_to_an_end()?;
        Ok(self.steps)
    }

    /// Something happens.
    fn act(&mut self) -> Result<(), String> {
        let act = self.world.draw(20);
        self.book
            .note(|| format!("{:?}: act {act}", self.world.now()));
        match act {
            0..=5 => self.submit(),
            6 => self.advance()?,
            7..=8 => self.cancel(),
            9 => self.wait(),
            10..=11 => self.follow(),
            12 => self.leave(),
            13 => self.cancel_queue(),
            14 => self.set_clock(),
            15 => {
                self.book.disturbed();
                let is_down = self.world.once_in(2);
                self.faults.set_down(is_down);
            }
            16 => self.prune(),
            17 => self.advance()?,
            18 => self.crash(),
            _ => self.stop()?,
        }
        Ok(())
    }

    /// One task goes on, or time does.
    fn step(&mut self) -> Result<bool, String> {
        self.steps += 1;
        if self.steps > MOST_STEPS {
            return Err(format!("it does not end: {:?}", self.world.tasks()));
        }
        let goes_on = self.world.step() || self.world.advance();
        self.check()?;
        Ok(goes_on)
    }

    fn check(&self) -> Result<(), String> {
        if let Some(error) = self.errors.first() {
            return Err(format!("an error was logged: {error}"));
        }
        self.book.check(&self.disk, &self.hosts)
    }

    fn advance(&mut self) -> Result<(), String> {
        self.book.disturbed();
        let seconds = [1, 3, 11, 30][self.world.draw(4)];
        self.world.pass(Duration::from_secs(seconds));
        self.step().map(drop)
    }

    fn set_clock(&self) {
        let hour = 3_600_000;
        let jump = [1000, -1000, hour, -hour][self.world.draw(4)];
        self.world.set_wall(jump);
    }

    fn prune(&self) {
        self.book.prunes();
        let ledger = self.memory.clone();
        let keep = Keep {
            jobs: Some(self.world.draw(6) as u64),
            ..Keep::default()
        };
        let pruning =
            async move { while ledger.prune(keep).await.is_ok_and(|pruned| pruned.more) {} };
        self.world.spawn("pruning", Phase::Verbs, Box::pin(pruning));
    }

    /// Everything is dropped where it stands.
    fn crash(&mut self) {
        self.book.disturbed();
        let kept = self.world.draw(self.memory.pending() + 1);
        self.world.drop_tasks();
        self.memory.crash(kept);
        self.book.crashed();
        self.clients.clear();
        self.restart();
    }

    fn restart(&mut self) {
        let (world, disk, faults) = (&self.world, &self.disk, &self.faults);
        // It is away for a while.
        let seconds = [0, 1, 90][world.draw(3)];
        world.pass(Duration::from_secs(seconds));
        let opened = History::open(world, disk, faults, &self.hosts, &self.limits);
        (self.memory, self.jobs) = opened;
        self.listen();
    }

    /// An orderly stop, and a start.
    fn stop(&mut self) -> Result<(), String> {
        self.book.disturbed();
        self.memory.drain(Drain::NoTurns);
        self.jobs.stop(Stop::Leave);
        for _ in 0..self.world.draw(200) {
            if self.world.tasks_of(Phase::Runs) == 0 {
                break;
            }
            self.step()?;
        }
        self.jobs.stop(Stop::Interrupt);
        self.memory.drain(Drain::WaitForNothing);
        let mut waited = 0;
        while self.world.tasks_of(Phase::Runs) > 0 {
            waited += 1;
            if waited > 20_000 {
                let tasks = self.world.tasks();
                return Err(format!("the stop waits for ever: {tasks:?}"));
            }
            self.step()?;
        }
        self.jobs.stop(Stop::Over);
        let ledger = self.memory.clone();
        let shut = async move {
            let _ = ledger.shut().await;
        };
        self.world.spawn("stop", Phase::Verbs, Box::pin(shut));
        while self.world.tasks().iter().any(|task| *task != "listener") {
            if !self.step()? {
                let tasks = self.world.tasks();
                return Err(format!("after the stop there is still {tasks:?}"));
            }
        }
        let handles = self.jobs.handles();
        if handles > 0 {
            return Err(format!("after the stop there are {handles} handles"));
        }
        self.book.crashed();
        self.clients.clear();
        self.restart();
        Ok(())
    }

    /// Nothing goes wrong any more, and everything comes to its end.
    fn come_to_an_end(&mut self) -> Result<(), String> {
        self.faults.calm_down();
        self.hosts.calm_down();
        let serving = ["news", "ledger", "ledger's timer", "listener"];
        while self.step()? {
            let tasks = self.world.tasks();
            if tasks.iter().all(|task| serving.contains(task)) && !self.world.is_moving() {
                break;
            }
        }
        self.check()?;
        self.book.check_the_end(&self.disk)?;
        let handles = self.jobs.handles();
        if handles > 0 {
            return Err(format!("in the end there are {handles} handles"));
        }
        let queues = self.memory.queue_count();
        if queues > 0 {
            return Err(format!("in the end there are {queues} queues"));
        }
        Ok(())
    }
}
