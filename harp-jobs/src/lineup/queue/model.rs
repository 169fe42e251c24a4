//! The queues held against a plain list of jobs, over random orders and over starts from
//! the records that a dispatcher leaves behind.

use std::collections::HashSet;

use harp_values::{JobId, QueueName};
use proptest::prelude::*;

use super::{Members, Place, QueueTally, Queues};
use crate::record::{LiveRecord, QueueRecord};

const NAMES: [&str; 2] = ["{}", r#"{"other":1}"#];

/// What happens. Numbers choose among the jobs that it can happen to.
#[derive(Debug, Clone)]
enum Step {
    Join {
        queue: usize,
        concurrency: u64,
    },
    /// A waiting job's record is on disk.
    Ready(usize),
    /// A job is cancelled, or its time to start is over.
    Withdraw(usize),
    /// A whole queue is cancelled.
    WithdrawAll(usize),
    /// A job could not be recorded.
    UndoJoin(usize),
    /// A job is over, and its host done with it.
    Leave(usize),
    /// Once more.
    LeaveAgain(usize),
    /// The dispatcher stops: no job starts any more.
    Close,
    /// A crash and a start: the queues come from the records. One after the other, a bit
    /// says whether the record of a job that was being submitted came to the disk.
    Restart {
        resume_queued: bool,
        recorded: u64,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let which = any::<usize>;
    prop_oneof![
        8 => (0..NAMES.len(), 1..4_u64)
            .prop_map(|(queue, concurrency)| Step::Join { queue, concurrency }),
        8 => which().prop_map(Step::Ready),
        2 => which().prop_map(Step::Withdraw),
        1 => (0..NAMES.len()).prop_map(Step::WithdrawAll),
        1 => which().prop_map(Step::UndoJoin),
        8 => which().prop_map(Step::Leave),
        2 => which().prop_map(Step::LeaveAgain),
        1 => (any::<bool>(), any::<u64>())
            .prop_map(|(resume_queued, recorded)| Step::Restart { resume_queued, recorded }),
        1 => Just(Step::Close),
    ]
}

/// How far a job of the list has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It waits, and is not on disk.
    Entered,
    /// It waits.
    Ready,
    /// It has a place.
    Running,
    /// It ran before a start, and has a place still.
    Kept,
    /// It was taken out, or has left.
    Gone,
}

#[derive(Debug, Clone)]
struct Job {
    queue: usize,
    /// What its record says, which is what was in force in its queue.
    concurrency: u64,
    state: State,
}

/// The real queues, and every job there ever was, by sequence number.
#[derive(Debug, Default)]
struct Both {
    queues: Queues,
    jobs: Vec<Job>,
    /// In force, by queue.
    concurrency: [Option<u64>; NAMES.len()],
    closed: bool,
    started: HashSet<usize>,
}

impl Both {
    fn step(&mut self, step: Step) {
        match step {
            Step::Join { queue, concurrency } => self.join(queue, concurrency),
            Step::Ready(which) => {
                if let Some(job) = self.choose(which, &[State::Entered, State::Ready]) {
                    self.jobs[job].state = State::Ready;
                    let started = self.queues.ready(&self.name_of(job), number(job));
                    self.expect_started(self.jobs[job].queue, started);
                }
            }
            Step::Withdraw(which) => {
                let states = [State::Entered, State::Ready, State::Running, State::Gone];
                if let Some(job) = self.choose(which, &states) {
                    let name = self.name_of(job);
                    let is_ready = self.jobs[job].state == State::Ready;
                    assert_eq!(self.queues.withdraw(&name, number(job)), is_ready);
                    if is_ready {
                        self.jobs[job].state = State::Gone;
                    }
                    let started = self.queues.advance(&name);
                    self.expect_started(self.jobs[job].queue, started);
                }
            }
            Step::WithdrawAll(queue) => {
                let ready = self.of(queue, &[State::Ready]);
                let ids: Vec<JobId> = ready.iter().copied().map(id).collect();
                assert_eq!(self.queues.withdraw_all(&name(queue)), ids);
                for job in ready {
                    self.jobs[job].state = State::Gone;
                }
                let started = self.queues.advance(&name(queue));
                self.expect_started(queue, started);
            }
            Step::UndoJoin(which) => {
                if let Some(job) = self.choose(which, &[State::Entered, State::Running]) {
                    self.jobs[job].state = State::Gone;
                    let started = self
                        .queues
                        .undo_join(&self.name_of(job), id(job), number(job));
                    self.expect_started(self.jobs[job].queue, started);
                }
            }
            Step::Leave(which) => self.leave(which, &[State::Running, State::Kept]),
            Step::LeaveAgain(which) => self.leave(which, &[State::Gone]),
            Step::Close => {
                self.queues.close();
                self.closed = true;
            }
            Step::Restart {
                resume_queued,
                recorded,
            } => self.restart(resume_queued, recorded),
        }
    }

    fn join(&mut self, queue: usize, asked: u64) {
        let concurrency = *self.concurrency[queue].get_or_insert(asked);
        let job = self.jobs.len();
        let waits = !self.of(queue, &[State::Entered, State::Ready]).is_empty();
        let runs = !self.closed && !waits && self.taken(queue) < concurrency;
        let joined = self.queues.join(&name(queue), asked, id(job), number(job));
        assert_eq!((joined.concurrency, joined.runs), (concurrency, runs));
        self.jobs.push(Job {
            queue,
            concurrency,
            state: if runs { State::Running } else { State::Entered },
        });
        if runs {
            assert!(self.started.insert(job));
        }
    }

    fn leave(&mut self, which: usize, states: &[State]) {
        if let Some(job) = self.choose(which, states) {
            let was_gone = self.jobs[job].state == State::Gone;
            self.jobs[job].state = State::Gone;
            let started = self.queues.leave(&self.name_of(job), id(job));
            assert!(!was_gone || started.is_empty(), "{job} left twice");
            self.expect_started(self.jobs[job].queue, started);
        }
    }

    /// As `recovery` does it: places of what ran are kept, the rest waits again in order.
    fn restart(&mut self, resume_queued: bool, recorded: u64) {
        self.queues = Queues::default();
        self.concurrency = Default::default();
        self.closed = false;
        let mut resumed = Vec::new();
        for job in 0..self.jobs.len() {
            let is_recorded = match self.jobs[job].state {
                State::Gone => continue,
                State::Entered => recorded >> (job % 64) & 1 == 1,
                State::Ready | State::Running | State::Kept => true,
            };
            let runs = matches!(self.jobs[job].state, State::Running | State::Kept);
            let record = LiveRecord {
                sequence: number(job),
                queue: Some(QueueRecord {
                    name: self.name_of(job),
                    concurrency: self.jobs[job].concurrency,
                }),
                started: runs.then_some(1),
                ..LiveRecord::UNKNOWN
            };
            let waits_again = is_recorded && record.waits_again(resume_queued);
            if waits_again {
                resumed.push(job);
            }
            self.jobs[job].state = if is_recorded && runs {
                State::Kept
            } else {
                State::Gone
            };
        }
        for job in 0..self.jobs.len() {
            let Job {
                queue,
                concurrency,
                state,
            } = self.jobs[job];
            if state == State::Kept {
                self.concurrency[queue].get_or_insert(concurrency);
                self.queues.hold(&name(queue), concurrency, id(job));
            }
        }
        for job in resumed {
            let Job {
                queue, concurrency, ..
            } = self.jobs[job];
            let in_force = *self.concurrency[queue].get_or_insert(concurrency);
            let waits = !self.of(queue, &[State::Ready]).is_empty();
            let runs = !waits && self.taken(queue) < in_force;
            let joined = self
                .queues
                .join(&name(queue), concurrency, id(job), number(job));
            assert_eq!(joined.runs, runs);
            self.jobs[job].concurrency = in_force;
            if runs {
                self.jobs[job].state = State::Running;
                assert!(self.started.insert(job), "{job} starts twice");
            } else {
                self.jobs[job].state = State::Ready;
                let started = self.queues.ready(&name(queue), number(job));
                self.expect_started(queue, started);
            }
        }
    }

    /// The jobs that start now are those of the list whose turn it is.
    fn expect_started(&mut self, queue: usize, started: Vec<JobId>) {
        let mut expected = Vec::new();
        while let Some(first) = self
            .of(queue, &[State::Entered, State::Ready])
            .first()
            .copied()
            && self.jobs[first].state == State::Ready
            && !self.closed
            && self.taken(queue) < self.concurrency[queue].unwrap_or_default()
        {
            self.jobs[first].state = State::Running;
            assert!(self.started.insert(first), "{first} starts twice");
            expected.push(id(first));
        }
        assert_eq!(started, expected);
    }

    /// Pages have what a copy of all has, and the counts are those of it.
    fn check_looks(&self, queue: usize, members: &Members) {
        let all: Vec<JobId> = members
            .running
            .iter()
            .chain(&members.waiting)
            .copied()
            .collect();
        for most in [1, 2, 100] {
            let (mut after, mut paged) = (None, Vec::new());
            loop {
                let page = self.queues.page(&name(queue), after, most);
                assert!(page.len() <= most);
                let Some((_, last)) = page.last() else { break };
                after = Some(*last);
                paged.extend(page.iter().map(|(job, _)| *job));
            }
            assert_eq!(paged, all, "{most} at a time");
            let holders = members.running.iter().take(most).copied();
            assert!(
                self.queues
                    .holders(&name(queue), most)
                    .into_iter()
                    .eq(holders)
            );
        }
        let kept = self.of(queue, &[State::Kept]);
        let has_ended = |job| kept.iter().any(|one| id(*one) == job);
        let tally = self.queues.tally(&name(queue), has_ended);
        let first = members.waiting.first();
        let oldest = members.running.iter().chain(first).min();
        let expected = oldest.map(|oldest| QueueTally {
            concurrency: self.concurrency[queue].expect("a queue with jobs"),
            running: (members.running.len() - kept.len()) as u64,
            kept: kept.len() as u64,
            queued: members.waiting.len() as u64,
            oldest: *oldest,
        });
        assert_eq!(tally, expected);
    }

    fn check(&mut self) {
        let mut names = Vec::new();
        for queue in 0..NAMES.len() {
            let running = self.of(queue, &[State::Running, State::Kept]);
            let ready = self.of(queue, &[State::Ready]);
            let waiting = self.of(queue, &[State::Entered, State::Ready]);
            let members = Members {
                running: running.iter().copied().map(id).collect(),
                waiting: ready.into_iter().map(id).collect(),
            };
            assert_eq!(self.queues.members(&name(queue)), members);
            self.check_looks(queue, &members);
            assert_eq!(self.queues.waiting(&name(queue)), waiting.len());
            if running.is_empty() && waiting.is_empty() {
                // Its last job takes the concurrency along.
                self.concurrency[queue] = None;
                continue;
            }
            names.push(name(queue));
            let concurrency = self.concurrency[queue].expect("a queue with jobs");
            for job in &running {
                assert_eq!(self.place(*job), Some(Place::Held));
            }
            for (before, job) in waiting.iter().enumerate() {
                let ahead = (running.len() + before + 1) as u64;
                let behind = Place::Behind(ahead.saturating_sub(concurrency));
                assert_eq!(self.place(*job), Some(behind));
            }
            for job in self.of(queue, &[State::Gone]) {
                assert_eq!(self.place(job), None);
            }
            let kept = self.of(queue, &[State::Kept]).len() as u64;
            // What was kept from before may have run under another number.
            assert!(self.taken(queue) <= concurrency.max(kept), "{self:?}");
            let first = waiting.first().map(|first| self.jobs[*first].state);
            let waits_for_nothing =
                first == Some(State::Ready) && self.taken(queue) < concurrency && !self.closed;
            assert!(!waits_for_nothing, "{self:?}");
        }
        names.sort_unstable();
        assert_eq!(self.queues.names(), names);
    }

    /// One of the jobs in these states.
    fn choose(&self, which: usize, states: &[State]) -> Option<usize> {
        let jobs: Vec<usize> = (0..self.jobs.len())
            .filter(|job| states.contains(&self.jobs[*job].state))
            .collect();
        jobs.get(which % jobs.len().max(1)).copied()
    }

    /// The jobs of a queue in these states, in their order.
    fn of(&self, queue: usize, states: &[State]) -> Vec<usize> {
        let is_one =
            |job: &usize| self.jobs[*job].queue == queue && states.contains(&self.jobs[*job].state);
        (0..self.jobs.len()).filter(is_one).collect()
    }

    fn taken(&self, queue: usize) -> u64 {
        self.of(queue, &[State::Running, State::Kept]).len() as u64
    }

    fn place(&self, job: usize) -> Option<Place> {
        self.queues.place(&self.name_of(job), id(job), number(job))
    }

    fn name_of(&self, job: usize) -> QueueName {
        name(self.jobs[job].queue)
    }
}

fn id(job: usize) -> JobId {
    JobId::from_bytes(u128::from(number(job)).to_be_bytes())
}

/// A job's sequence number.
fn number(job: usize) -> u64 {
    job as u64 + 1
}

fn name(queue: usize) -> QueueName {
    NAMES[queue].parse().expect("a name")
}

proptest! {
    #[test]
    fn the_queues_do_as_a_list_would(steps in proptest::collection::vec(any_step(), 1..120)) {
        let mut both = Both::default();
        for step in steps {
            both.step(step);
            both.check();
        }
    }
}
