//! An executor of which the choices decide whose turn it is, and a clock that is stepped.
//!
//! Tasks that can go on stand in a sorted set, and one of them is chosen: so each point
//! where a task waits is one where any other may come between, and nothing depends on the
//! order in which wakers are called. Time moves when nobody can go on, or when it is told
//! to.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use harp_jobs::world::{BoxFuture, Moment, Phase, World};
use harp_values::standstill;

use crate::chance::Chance;

/// When the wall clock stands in the beginning, in milliseconds since 1970.
const WALL: u64 = 1_800_000_000_000;

/// A world in which everything is played. Clones are the same world.
#[derive(Clone)]
pub struct Played(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

struct Inner {
    tasks: BTreeMap<u64, Task>,
    next: u64,
    now: Moment,
    /// How much of the time has passed by order.
    skipped: Duration,
    /// By how much that may have put limits off.
    put_off: Duration,
    /// The wall clock in the beginning, with all its jumps.
    wall: u64,
    sleepers: BTreeMap<(Moment, u64), Waker>,
    chance: Chance,
    /// For ids, which must not be of the choices: their order would change with each cut.
    ids: u128,
}

struct Task {
    name: &'static str,
    phase: Phase,
    work: BoxFuture<'static, ()>,
}

struct Awake {
    task: u64,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        lock(&self.ready).insert(self.task);
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Played {
    /// A world that goes by these choices.
    #[must_use]
    pub fn new(chance: Chance) -> Played {
        Played(Arc::new(Shared {
            inner: Mutex::new(Inner {
                tasks: BTreeMap::new(),
                next: 0,
                now: Moment::START + Duration::from_secs(1),
                skipped: Duration::ZERO,
                put_off: Duration::ZERO,
                wall: WALL,
                sleepers: BTreeMap::new(),
                chance,
                ids: 0,
            }),
            ready: Arc::default(),
        }))
    }

    /// One of so many possibilities.
    pub fn draw(&self, among: usize) -> usize {
        lock(&self.0.inner).chance.draw(among)
    }

    /// True once in so many times.
    pub fn once_in(&self, times: usize) -> bool {
        lock(&self.0.inner).chance.once_in(times)
    }

    /// What has been drawn so far.
    #[must_use]
    pub fn drawn(&self) -> Vec<u32> {
        lock(&self.0.inner).chance.drawn().to_vec()
    }

    /// Lets a task go on that can. False if there is none.
    pub fn step(&self) -> bool {
        let task = {
            let mut ready = lock(&self.0.ready);
            let chosen = lock(&self.0.inner).chance.draw(ready.len());
            let Some(task) = ready.iter().nth(chosen).copied() else {
                return false;
            };
            ready.remove(&task);
            task
        };
        self.poll(task);
        true
    }

    fn poll(&self, number: u64) {
        // It is out of the world while it is polled: it may spawn others and look at the
        // clock.
        let Some(mut task) = lock(&self.0.inner).tasks.remove(&number) else {
            return;
        };
        let waker = Waker::from(Arc::new(Awake {
            task: number,
            ready: Arc::clone(&self.0.ready),
        }));
        let poll = task.work.as_mut().poll(&mut Context::from_waker(&waker));
        if poll.is_pending() {
            lock(&self.0.inner).tasks.insert(number, task);
        }
    }

    /// Whether anybody can go on, or will.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        let inner = lock(&self.0.inner);
        let sleeps = inner
            .sleepers
            .keys()
            .any(|(until, _)| *until != Moment::NEVER);
        sleeps || !lock(&self.0.ready).is_empty()
    }

    /// Moves the clock to the next moment that somebody sleeps for. False if nobody does.
    pub fn advance(&self) -> bool {
        let mut inner = lock(&self.0.inner);
        let Some(((first, _), _)) = inner.sleepers.first_key_value() else {
            return false;
        };
        let first = *first;
        if first == Moment::NEVER {
            return false;
        }
        inner.move_to(first);
        true
    }

    /// Moves the clock on.
    pub fn pass(&self, time: Duration) {
        let mut inner = lock(&self.0.inner);
        let later = inner.now + time;
        inner.skipped += time;
        inner.put_off += time.min(standstill::LONGEST_PUT_OFF);
        inner.move_to(later);
    }

    /// The time that has passed while nobody could go on: what was passed by order does not
    /// count.
    #[must_use]
    pub fn lived(&self) -> Duration {
        let inner = lock(&self.0.inner);
        inner.now.since(Moment::START) - inner.skipped
    }

    /// By how much a limit may have been put off since the start: a standstill is noticed late.
    #[must_use]
    pub fn put_off(&self) -> Duration {
        lock(&self.0.inner).put_off
    }

    /// Sets the wall clock alone, forwards or back.
    pub fn set_wall(&self, milliseconds: i64) {
        let mut inner = lock(&self.0.inner);
        inner.wall = inner.wall.saturating_add_signed(milliseconds);
    }

    /// Runs one future beside all tasks until it is over.
    ///
    /// # Panics
    ///
    /// If nobody can go on and nobody sleeps while it is not over.
    pub fn block_on<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> T {
        let (told, mut outcome) = tokio::sync::oneshot::channel();
        self.spawn(
            "main",
            Phase::Verbs,
            Box::pin(async move {
                let _ = told.send(work.await);
            }),
        );
        loop {
            if let Ok(outcome) = outcome.try_recv() {
                return outcome;
            }
            assert!(
                self.step() || self.advance(),
                "everybody waits: {:?}",
                self.tasks()
            );
        }
    }

    /// The names of the tasks that are not over.
    #[must_use]
    pub fn tasks(&self) -> Vec<&'static str> {
        let inner = lock(&self.0.inner);
        inner.tasks.values().map(|task| task.name).collect()
    }

    /// How many tasks of a phase are not over.
    #[must_use]
    pub fn tasks_of(&self, phase: Phase) -> usize {
        let inner = lock(&self.0.inner);
        inner
            .tasks
            .values()
            .filter(|task| task.phase == phase)
            .count()
    }

    /// Drops all tasks where they stand, as a crash does.
    pub fn drop_tasks(&self) {
        let tasks = std::mem::take(&mut lock(&self.0.inner).tasks);
        // Outside of the lock: what they drop may look at this world.
        drop(tasks);
        lock(&self.0.ready).clear();
    }
}

impl Inner {
    fn move_to(&mut self, moment: Moment) {
        self.now = self.now.max(moment);
        while let Some(first) = self.sleepers.first_entry()
            && first.key().0 <= self.now
        {
            first.remove().wake();
        }
    }
}

impl World for Played {
    fn now(&self) -> Moment {
        lock(&self.0.inner).now
    }

    fn wall(&self) -> u64 {
        let inner = lock(&self.0.inner);
        inner.wall + inner.now.since(Moment::START).as_millis() as u64
    }

    fn chance(&self) -> u128 {
        let mut inner = lock(&self.0.inner);
        inner.ids += 1;
        inner.ids
    }

    fn spawn(&self, name: &'static str, phase: Phase, work: BoxFuture<'static, ()>) {
        let mut inner = lock(&self.0.inner);
        let number = inner.next;
        inner.next += 1;
        inner.tasks.insert(number, Task { name, phase, work });
        drop(inner);
        lock(&self.0.ready).insert(number);
    }

    fn sleep(&self, until: Moment) -> BoxFuture<'static, ()> {
        Box::pin(Sleep {
            world: self.clone(),
            until,
            entered: None,
        })
    }
}

struct Sleep {
    world: Played,
    until: Moment,
    entered: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let world = self.world.clone();
        let mut inner = lock(&world.0.inner);
        if inner.now >= self.until {
            return Poll::Ready(());
        }
        let number = self.entered.unwrap_or(inner.next);
        if self.entered.is_none() {
            inner.next += 1;
        }
        self.entered = Some(number);
        let key = (self.until, number);
        inner.sleepers.insert(key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(number) = self.entered {
            let key = (self.until, number);
            let sleeper = lock(&self.world.0.inner).sleepers.remove(&key);
            drop(sleeper);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In which order three tasks go on that each wait twice.
    fn order(chance: Chance) -> Vec<u8> {
        let world = Played::new(chance);
        let order: Arc<Mutex<Vec<u8>>> = Arc::default();
        for number in 0..3 {
            let (world_of_it, order) = (world.clone(), Arc::clone(&order));
            let work = async move {
                for second in [2, 3] {
                    lock(&order).push(number);
                    world_of_it
                        .sleep(Moment::START + Duration::from_secs(second))
                        .await;
                }
            };
            world.spawn("task", Phase::Runs, Box::pin(work));
        }
        while world.step() || world.advance() {}
        assert!(world.tasks().is_empty());
        Arc::try_unwrap(order).unwrap().into_inner().unwrap()
    }

    #[test]
    fn the_choices_decide_the_order_and_lead_to_the_same_again() {
        assert_eq!(order(Chance::of_list(vec![])), [0, 1, 2, 0, 1, 2]);
        let orders: BTreeSet<_> = (0..50).map(|seed| order(Chance::of_seed(seed))).collect();
        assert!(orders.len() > 10, "{orders:?}");
        assert_eq!(order(Chance::of_seed(3)), order(Chance::of_seed(3)));
    }

    #[test]
    fn time_moves_when_nobody_can_go_on() {
        let world = Played::new(Chance::of_list(vec![]));
        let begun = (world.now(), world.wall());
        let hour = Duration::from_secs(3600);
        let asleep = world.sleep(begun.0 + hour);
        world.block_on(asleep);
        assert_eq!(world.now().since(begun.0), hour);
        assert_eq!(world.wall(), begun.1 + 3_600_000);
        world.set_wall(-1_000_000);
        assert_eq!(world.wall(), begun.1 + 2_600_000);
        assert!(!world.advance(), "nobody sleeps any more");
    }

    #[test]
    fn a_crash_drops_what_was_under_way() {
        let world = Played::new(Chance::of_list(vec![]));
        let (told, hears) = tokio::sync::oneshot::channel::<()>();
        let world_of_it = world.clone();
        let work = async move {
            world_of_it.sleep(Moment::NEVER).await;
            drop(told);
        };
        world.spawn("task", Phase::Runs, Box::pin(work));
        assert!(world.step() && !world.step() && !world.advance());
        world.drop_tasks();
        assert!(world.tasks().is_empty() && world.tasks_of(Phase::Runs) == 0);
        assert!(world.block_on(hears).is_err());
    }
}
