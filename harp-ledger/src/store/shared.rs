//! State that readers and the writer of a store share.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use harp_values::JobId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::contents::Contents;
use super::ends::Ends;
use super::error::StoreError;
use super::layout;
use super::passed_over::PassedOver;
use super::pulse::Pulse;
use super::read;
use super::sled::{Engine, EngineError};
use super::unsynced::Unsynced;

/// How long after the beginning of an outage readers wait for its end. Most are short;
/// in a long one a reader that cannot be answered is told at once.
pub(crate) const READERS_WAIT: Duration = Duration::from_secs(5);

/// The engine as long as the store is open, and why it is not written to if it is not.
pub(crate) struct Shared {
    engine: RwLock<Option<Arc<Engine>>>,
    condition: watch::Sender<Condition>,
    contents: RwLock<Contents>,
    pub(super) ends: Ends,
    /// Whether there may be a job that is held.
    holds_some: AtomicBool,
    /// The version of the engine's layout.
    layout: AtomicU32,
    /// The number of this start of the dispatcher.
    owner: AtomicU32,
    /// All jobs behind this one that have a key are found by it.
    keyed_behind: JobId,
    /// Why nothing can be written at present, if so.
    outage: watch::Sender<Option<Arc<str>>>,
    pub(crate) unsynced: Unsynced,
    pub(crate) passed_over: PassedOver,
    pub(crate) pulse: Pulse,
}

/// How the store is.
#[derive(Debug, Clone, Default)]
struct Condition {
    /// Why nothing can be written, if so.
    failure: Option<Arc<str>>,
    /// Since when it has failed.
    failing_since: Option<Instant>,
    /// How often the engine has been taken away to be opened anew.
    openings: u64,
    /// It is being opened anew: there is none for the moment.
    is_opening: bool,
    is_closed: bool,
}

/// Which opening of the engine something was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Opening(u64);

const CLOSED: &str = "it is closed";
const OPENING: &str = "it is being opened anew";

impl Shared {
    pub(crate) fn new(
        engine: Engine,
        contents: Contents,
        ends: Ends,
        keyed_behind: JobId,
    ) -> Shared {
        Shared {
            engine: RwLock::new(Some(Arc::new(engine))),
            condition: watch::Sender::default(),
            contents: RwLock::new(contents),
            ends,
            holds_some: AtomicBool::new(false),
            layout: AtomicU32::new(layout::VERSION),
            owner: AtomicU32::new(1),
            keyed_behind,
            outage: watch::Sender::new(None),
            unsynced: Unsynced::new(),
            passed_over: PassedOver::default(),
            pulse: Pulse::default(),
        }
    }

    /// The engine, for one operation: kept longer, it would keep the store from closing.
    pub(crate) fn engine(&self) -> Result<Arc<Engine>, StoreError> {
        // A panic with the lock held would have left the place as it was.
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        engine.clone().ok_or_else(|| {
            let why = self.failure().unwrap_or_else(|| OPENING.into());
            StoreError::Unreadable(why.to_string())
        })
    }

    /// The present opening of the engine, once there is one. Cancel safe.
    pub(crate) async fn opening(&self) -> Opening {
        let mut condition = self.condition.subscribe();
        let known = condition.wait_for(|now| !now.is_opening).await;
        // The sender is in `self`, so there is no error.
        Opening(known.map_or(0, |now| now.openings))
    }

    /// Whether that is the present opening. What was read from an earlier one may be
    /// there no more.
    pub(crate) fn is_present(&self, opening: Opening) -> bool {
        self.condition.borrow().openings == opening.0
    }

    /// Waits until there is another opening of the engine, at most until readers have
    /// waited long enough in the present outage; false then. Cancel safe.
    pub(crate) async fn reopened(&self, opening: Opening) -> bool {
        let mut condition = self.condition.subscribe();
        let since = condition.borrow().failing_since;
        let Some(since) = since else {
            return !self.is_present(opening);
        };
        let another = condition.wait_for(|now| now.is_closed || now.openings != opening.0);
        match timeout_at(since + READERS_WAIT, another).await {
            Ok(now) => now.is_ok_and(|now| !now.is_closed),
            Err(_) => false,
        }
    }

    /// Why nothing can be written, if so.
    pub(crate) fn failure(&self) -> Option<Arc<str>> {
        self.condition.borrow().failure.clone()
    }

    /// Whether it is closed for good.
    pub(crate) fn is_closed(&self) -> bool {
        self.condition.borrow().is_closed
    }

    /// Refuses a write that is certain to fail.
    pub(crate) fn check_writable(&self) -> Result<(), StoreError> {
        let now = self.condition.borrow();
        match &now.failure {
            _ if now.is_closed => Err(StoreError::Closed),
            Some(reason) => Err(StoreError::Unavailable(reason.to_string())),
            None => Ok(()),
        }
    }

    /// Waits until the store can be written. False if it has been closed. Cancel safe.
    pub(crate) async fn writable(&self) -> bool {
        let mut condition = self.condition.subscribe();
        let known = condition.wait_for(|now| now.is_closed || now.failure.is_none());
        known.await.is_ok_and(|now| !now.is_closed)
    }

    /// Why nothing can be written at present, as it changes.
    pub(crate) fn outage(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.outage.subscribe()
    }

    /// From now on nothing is written.
    pub(crate) fn fail(&self, reason: &str) {
        if !self.is_closed() {
            self.outage.send_replace(Some(reason.into()));
        }
        self.condition.send_modify(|now| {
            if !now.is_closed {
                now.failure = Some(reason.into());
                now.failing_since.get_or_insert_with(Instant::now);
            }
        });
    }

    /// Takes the engine away from everybody for good.
    pub(crate) fn close(&self) -> Option<Arc<Engine>> {
        self.condition.send_modify(|now| {
            now.failure = Some(CLOSED.into());
            now.is_closed = true;
        });
        self.take()
    }

    /// Takes the engine away to open it anew. Readers wait.
    pub(crate) fn begin_opening(&self) -> Option<Arc<Engine>> {
        self.condition.send_modify(|now| {
            now.openings += 1;
            now.is_opening = true;
        });
        self.take()
    }

    /// Gives readers the engine that has been opened anew, which has this on disk.
    pub(crate) fn opened(&self, engine: Engine, contents: Contents) {
        self.unsynced.forget_failure();
        self.passed_over.clear();
        self.set_contents(contents);
        let engine = Some(Arc::new(engine));
        *self.engine.write().unwrap_or_else(PoisonError::into_inner) = engine;
        self.condition.send_modify(|now| now.is_opening = false);
    }

    /// It could not be opened: readers get this reason.
    pub(crate) fn not_opened(&self, reason: &str) {
        self.condition.send_modify(|now| {
            now.failure = Some(reason.into());
            now.is_opening = false;
        });
    }

    /// Writing is possible again.
    pub(crate) fn recovered(&self) {
        self.condition.send_modify(|now| {
            now.failure = None;
            now.failing_since = None;
        });
        self.outage.send_replace(None);
    }

    /// The version of the engine's layout.
    pub(crate) fn layout(&self) -> u32 {
        self.layout.load(Ordering::Relaxed)
    }

    pub(crate) fn set_layout(&self, layout: u32) {
        self.layout.store(layout, Ordering::Relaxed);
    }

    /// The number of this start of the dispatcher, from 1 on.
    pub(crate) fn owner(&self) -> u32 {
        self.owner.load(Ordering::Relaxed)
    }

    pub(crate) fn set_owner(&self, owner: u32) {
        self.owner.store(owner, Ordering::Relaxed);
    }

    /// All jobs behind this one that have a key are found by it.
    pub(crate) fn keyed_behind(&self) -> JobId {
        self.keyed_behind
    }

    /// Whether there may be a job that is held. Most stores never have one, and their
    /// writer need not look.
    pub(crate) fn holds_some(&self) -> bool {
        self.holds_some.load(Ordering::Relaxed)
    }

    /// From now on there may be a job that is held.
    pub(crate) fn may_hold(&self) {
        self.holds_some.store(true, Ordering::Relaxed);
    }

    /// How much there is on disk.
    pub(crate) fn contents(&self) -> Contents {
        *self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only the writer calls this.
    pub(crate) fn set_contents(&self, contents: Contents) {
        let mut known = self
            .contents
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *known = contents;
    }

    fn take(&self) -> Option<Arc<Engine>> {
        let mut engine = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        engine.take()
    }
}

impl From<EngineError> for StoreError {
    /// The form that an error takes for a reader.
    fn from(error: EngineError) -> StoreError {
        match error {
            EngineError::Value { key, damage } => read::damaged(&key, damage),
            error => StoreError::Unreadable(error.to_string()),
        }
    }
}
