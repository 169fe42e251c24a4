//! All kept calls of this harpd: the [`Book`] with the clock beside it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use harp_proto::host::kept::{CallId, Uptime};
use tokio::sync::Notify;
use tracing::info;

use super::backlog::Backlog;
use super::book::{Answer, Asked, Book, Change};
use super::call::KeptCall;
use super::clock::Clock;
use super::lives::HarpdLife;
use super::settings::KeepSettings;
use super::spool::{Spool, Stock};
use super::standing::{Cause, Stage};
use crate::call::Call;

/// A lease is looked at so often at least: the clock that counts goes on while the machine
/// is suspended, and timers do not.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Calls that outlive their connections.
#[derive(Debug)]
pub struct KeptCalls {
    clock: Clock,
    settings: RwLock<KeepSettings>,
    stock: Arc<Stock>,
    book: Mutex<Book<Arc<KeptCall>>>,
    life: Mutex<HarpdLife>,
    connections: AtomicU64,
    /// A call was accepted or has ended, so time may have something to do earlier.
    hurry: Notify,
    /// No call is kept any more.
    emptied: Notify,
}

impl KeptCalls {
    /// None yet, of this life.
    #[must_use]
    pub fn new(clock: Clock, life: HarpdLife, settings: KeepSettings) -> Arc<KeptCalls> {
        Arc::new(KeptCalls {
            clock,
            stock: Stock::new(settings.state_directory.clone()),
            settings: RwLock::new(settings),
            book: Mutex::new(Book::new(life.name(), life.earlier())),
            life: Mutex::new(life),
            connections: AtomicU64::new(0),
            hurry: Notify::new(),
            emptied: Notify::new(),
        })
    }

    /// Goes by other settings from now on, but for `state_directory`.
    pub fn change_settings(&self, settings: KeepSettings) {
        *self
            .settings
            .write()
            .unwrap_or_else(PoisonError::into_inner) = settings;
    }

    /// The longest that a call is kept.
    #[must_use]
    pub fn max_keep(&self) -> Duration {
        let settings = self.settings.read();
        let max_keep = settings.unwrap_or_else(PoisonError::into_inner).max_keep;
        // As it is told on the wire.
        Duration::from_secs(max_keep.as_secs())
    }

    /// The time since harpd's start.
    #[must_use]
    pub fn now(&self) -> Uptime {
        self.clock.now()
    }

    /// The name of this life.
    #[must_use]
    pub fn boot(&self) -> String {
        self.book().boot().to_owned()
    }

    /// A number for a new connection; none is 0.
    #[must_use]
    pub fn number_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Judges a request as far as it can be without looking at what it asks for; `None` if
    /// it may be accepted.
    #[must_use]
    pub fn look(&self, asked: &Asked, boot: Option<&str>) -> Option<Answer<Arc<KeptCall>>> {
        let now = self.now();
        let mut book = self.book();
        let answer = book.look(now, asked, boot)?;
        self.taken(asked, &answer);
        Some(answer)
    }

    /// Judges a request for this call, to be kept for `keep`. Accepting it and remembering
    /// its id are one step.
    pub fn request(
        &self,
        asked: &Asked,
        boot: Option<&str>,
        keep: Duration,
        call: &Call,
    ) -> Answer<Arc<KeptCall>> {
        let now = self.now();
        let mut book = self.book();
        let answer = book.request(now, asked, boot, keep, || {
            let user = Arc::clone(&asked.user);
            KeptCall::new(
                asked.call,
                call,
                user,
                keep,
                asked.connection,
                self.backlog(),
            )
        });
        self.taken(asked, &answer);
        drop(book);
        self.hurry.notify_one();
        answer
    }

    fn backlog(&self) -> Backlog {
        let settings = self.settings.read();
        let settings = settings.unwrap_or_else(PoisonError::into_inner);
        let stock = Arc::clone(&self.stock);
        let spool = Spool::new(stock, settings.keep_spool, settings.keep_spool_total);
        Backlog::new(settings.keep_memory, spool)
    }

    /// Judges an attach.
    pub fn attach(&self, asked: &Asked) -> Answer<Arc<KeptCall>> {
        let now = self.now();
        let mut book = self.book();
        let answer = book.attach(now, asked);
        self.taken(asked, &answer);
        answer
    }

    /// To be called under the lock of the book, so that the two agree on which caller has a call.
    fn taken(&self, asked: &Asked, answer: &Answer<Arc<KeptCall>>) {
        if let Answer::Known { call, over, .. } = answer {
            call.hand_to(asked.connection);
            if *over {
                call.end(Cause::KeepOver);
            }
        }
    }

    /// An acknowledgement from a connection.
    pub fn acknowledge(
        &self,
        call: &KeptCall,
        connection: u64,
        packets: u64,
        newest: Uptime,
        end: bool,
    ) {
        let now = self.now();
        let mut book = self.book();
        if !call.is_held_by(connection) {
            return;
        }
        let change = book.acknowledge(now, call.id, connection, packets, newest, end);
        call.acknowledge(packets);
        let is_empty = book.calls().next().is_none();
        drop(book);
        if let Some(Change::End(call)) = change {
            call.end(Cause::KeepOver);
        }
        if is_empty {
            self.emptied.notify_waiters();
        }
    }

    /// A cancel from a connection.
    pub fn cancel(&self, call: &KeptCall, connection: u64) {
        if self.book().cancel(call.id, connection) {
            call.end(Cause::Cancelled);
        }
    }

    /// A connection has ended, or lets go of a call.
    pub fn left(&self, call: &KeptCall, connection: u64) {
        let mut book = self.book();
        book.left(call.id, connection);
        call.left_by(connection);
    }

    /// Nothing of a call is left, and its end is there.
    pub fn ended(&self, id: CallId) {
        let now = self.now();
        self.book().ended(now, id);
        self.hurry.notify_one();
    }

    /// From now on no request is accepted. True if calls are kept, so that somebody may
    /// come for them.
    #[must_use]
    pub fn stop(&self) -> bool {
        let mut book = self.book();
        book.stop();
        book.calls().next().is_some()
    }

    /// Notes that nothing is left of any call of this life. Blocks.
    pub fn end_life(&self) {
        let mut life = self.life.lock().unwrap_or_else(PoisonError::into_inner);
        life.end();
    }

    /// Waits until no call is kept. Cancel safe.
    pub async fn emptied(&self) {
        loop {
            let emptied = self.emptied.notified();
            tokio::pin!(emptied);
            emptied.as_mut().enable();
            if self.book().calls().next().is_none() {
                return;
            }
            emptied.await;
        }
    }

    /// Every call that is kept, and how far it is.
    #[must_use]
    pub fn list(&self) -> Vec<(Arc<KeptCall>, Stage)> {
        let book = self.book();
        let calls = book.calls();
        calls
            .map(|(_, held)| (Arc::clone(&held.call), held.standing.stage()))
            .collect()
    }

    /// Ends and forgets calls as their time comes. Does not return.
    pub async fn watch_leases(&self) {
        loop {
            let due = self.book().due();
            let until = due.map_or(LOOK_EVERY, |due| {
                due.since_start()
                    .saturating_sub(self.now().since_start())
                    .min(LOOK_EVERY)
            });
            tokio::select! {
                // What is due is so by the microsecond.
                () = tokio::time::sleep(until + Duration::from_millis(1)) => {}
                () = self.hurry.notified() => {}
            }
            self.look_at_clock();
        }
    }

    fn look_at_clock(&self) {
        let now = self.now();
        let max_keep = self.max_keep();
        let mut book = self.book();
        let changes = book.tick(now, max_keep);
        let is_empty = book.calls().next().is_none();
        drop(book);
        for change in changes {
            match change {
                Change::End(call) => {
                    info!(call = %call.id, procedure = call.procedure, user = &*call.user,
                        "nobody has taken up the call within its keep, ending it");
                    call.end(Cause::KeepOver);
                }
                Change::Forgotten(call) => {
                    info!(call = %call.id, procedure = call.procedure, user = &*call.user,
                        "nobody has fetched the end of the call");
                }
            }
        }
        if is_empty {
            self.emptied.notify_waiters();
        }
    }

    fn book(&self) -> MutexGuard<'_, Book<Arc<KeptCall>>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
