//! The queues, held against a plain model of them.

use harp_jobs::lineup::queue::Queues;
use harp_proto::{JobId, QueueName};

use crate::input::Input;

/// Names of the queues that the jobs are in.
const NAMES: [&str; 3] = ["{}", r#"{"name":"backup"}"#, r#"{"name":["x",1.0]}"#];

/// Orders, two bytes each: what happens, and to which job or queue.
pub(crate) fn queues(data: &[u8]) {
    let mut input = Input::new(data);
    let mut both = Both::new();
    while !input.is_empty() {
        let (what, which) = (input.byte(), input.byte());
        both.step(what, usize::from(which));
        both.check();
    }
    both.end();
}

/// The queues and the model of them.
struct Both {
    queues: Queues,
    names: Vec<QueueName>,
    model: [Model; NAMES.len()],
    is_closed: bool,
    /// Sequence number of the last job; also its id.
    last: u64,
}

/// A queue as plain lists.
#[derive(Default)]
struct Model {
    /// None as long as there is no job.
    concurrency: Option<u64>,
    running: Vec<u64>,
    waiting: Vec<(u64, bool)>,
    /// The last job that started here.
    last_started: u64,
}

impl Both {
    fn new() -> Both {
        Both {
            queues: Queues::default(),
            names: NAMES.map(|name| name.parse().expect("a name")).into(),
            model: Default::default(),
            is_closed: false,
            last: 0,
        }
    }

    fn step(&mut self, what: u8, which: usize) {
        let queue = which % NAMES.len();
        let name = self.names[queue].clone();
        let place = which / NAMES.len();
        match what % 16 {
            0..=4 => self.join(queue, u64::from(what / 16)),
            5..=7 => {
                if let Some(sequence) = self.model[queue].waits(place) {
                    self.model[queue].ready(sequence);
                    let started = self.queues.ready(&name, sequence);
                    self.started(queue, &started);
                }
            }
            8..=10 => {
                if let Some(sequence) = self.model[queue].runs(place) {
                    self.model[queue].remove(sequence);
                    let started = self.queues.leave(&name, id(sequence));
                    self.started(queue, &started);
                }
            }
            11 => {
                if let Some(sequence) = self.model[queue].waits(place) {
                    let is_ready = self.model[queue].waiting.contains(&(sequence, true));
                    assert_eq!(self.queues.withdraw(&name, sequence), is_ready);
                    if is_ready {
                        self.model[queue].remove(sequence);
                    }
                    let started = self.queues.advance(&name);
                    self.started(queue, &started);
                }
            }
            12 => {
                let model = &mut self.model[queue];
                if let Some(sequence) = model.waits(place).or(model.runs(place)) {
                    model.remove(sequence);
                    let started = self.queues.undo_join(&name, id(sequence), sequence);
                    self.started(queue, &started);
                }
            }
            13 => {
                let model = &mut self.model[queue];
                let ready = model.waiting.iter().filter(|waiting| waiting.1);
                let ready: Vec<_> = ready.map(|waiting| id(waiting.0)).collect();
                model.waiting.retain(|waiting| !waiting.1);
                assert_eq!(self.queues.withdraw_all(&name), ready);
                let started = self.queues.advance(&name);
                self.started(queue, &started);
            }
            14 => {
                // A job from before the start: it runs, whatever the concurrency.
                self.last += 1;
                let concurrency = u64::from(what / 16);
                self.model[queue].enter(concurrency);
                self.model[queue].running.push(self.last);
                self.queues.hold(&name, concurrency, id(self.last));
            }
            _ if which == 255 => {
                self.queues.close();
                self.is_closed = true;
            }
            // A job that is not there.
            _ => {
                let unknown = self.last + 1;
                assert!(!self.queues.withdraw(&name, unknown));
                assert!(self.queues.leave(&name, id(unknown)).is_empty());
                assert!(self.queues.ready(&name, unknown).is_empty());
            }
        }
    }

    fn join(&mut self, queue: usize, concurrency: u64) {
        self.last += 1;
        let model = &mut self.model[queue];
        let in_force = model.enter(concurrency);
        let runs = !self.is_closed && model.waiting.is_empty() && model.has_place();
        if runs {
            model.start(self.last)
        } else {
            model.waiting.push((self.last, false))
        }
        let name = &self.names[queue];
        let joined = self
            .queues
            .join(name, concurrency, id(self.last), self.last);
        assert_eq!((joined.runs, joined.concurrency), (runs, in_force));
    }

    /// The model starts whom it would, and they have to be these.
    fn started(&mut self, queue: usize, started: &[JobId]) {
        let model = &mut self.model[queue];
        let mut expected = Vec::new();
        while !self.is_closed
            && model.has_place()
            && let Some((first, true)) = model.waiting.first().copied()
        {
            model.waiting.remove(0);
            model.start(first);
            expected.push(id(first));
        }
        assert_eq!(started, expected);
        if model.running.is_empty() && model.waiting.is_empty() {
            model.concurrency = None;
        }
    }

    fn check(&self) {
        let there = self.names.iter().zip(&self.model);
        let there = there.filter(|(_, model)| model.concurrency.is_some());
        let mut there: Vec<_> = there.map(|(name, _)| name.clone()).collect();
        there.sort_unstable();
        assert_eq!(self.queues.names(), there);
        for (name, model) in self.names.iter().zip(&self.model) {
            let members = self.queues.members(name);
            let mut running: Vec<_> = model.running.iter().copied().map(id).collect();
            running.sort_unstable();
            assert_eq!(members.running, running);
            let ready = model.waiting.iter().filter(|waiting| waiting.1);
            assert!(
                members
                    .waiting
                    .iter()
                    .copied()
                    .eq(ready.map(|waiting| id(waiting.0)))
            );
            assert_eq!(self.queues.waiting(name), model.waiting.len());
        }
    }

    /// Everybody leaves, and nothing is left behind.
    fn end(mut self) {
        for queue in 0..NAMES.len() {
            let name = self.names[queue].clone();
            while let Some(sequence) = self.model[queue].waits(0) {
                self.model[queue].remove(sequence);
                let started = self.queues.undo_join(&name, id(sequence), sequence);
                self.started(queue, &started);
            }
            while let Some(sequence) = self.model[queue].runs(0) {
                self.model[queue].remove(sequence);
                let started = self.queues.leave(&name, id(sequence));
                self.started(queue, &started);
            }
        }
        assert!(self.queues.names().is_empty());
    }
}

impl Model {
    /// The concurrency in force once a job has come that asks for this one.
    fn enter(&mut self, concurrency: u64) -> u64 {
        *self.concurrency.get_or_insert(concurrency.max(1))
    }

    fn has_place(&self) -> bool {
        let concurrency = self.concurrency.unwrap_or(0);
        (self.running.len() as u64) < concurrency
    }

    /// First come, first started; never more than the concurrency.
    fn start(&mut self, sequence: u64) {
        assert!(sequence > self.last_started);
        self.last_started = sequence;
        self.running.push(sequence);
        assert!(Some(self.running.len() as u64) <= self.concurrency);
    }

    fn waits(&self, place: usize) -> Option<u64> {
        let place = place.checked_rem(self.waiting.len())?;
        Some(self.waiting[place].0)
    }

    fn runs(&self, place: usize) -> Option<u64> {
        let place = place.checked_rem(self.running.len())?;
        Some(self.running[place])
    }

    fn ready(&mut self, sequence: u64) {
        for waiting in &mut self.waiting {
            waiting.1 |= waiting.0 == sequence;
        }
    }

    fn remove(&mut self, sequence: u64) {
        self.running.retain(|running| *running != sequence);
        self.waiting.retain(|waiting| waiting.0 != sequence);
    }
}

fn id(sequence: u64) -> JobId {
    JobId::from_bytes(u128::from(sequence).to_be_bytes())
}
