//! One kept call: what its task puts in and connections take out.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use harp_proto::host::Message;
use harp_proto::host::kept::CallId;
use harp_proto::{Failure, error_type};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::warn;

use super::backlog::{Backlog, Cursor, Read, Spilled};
use super::standing::Cause;
use crate::answer::{Answer, Packet};
use crate::recipient::{CallerEvent, Recipient};

/// A caller that waits for packets hears of life so often at most.
const SIGN_EVERY: Duration = Duration::from_millis(250);
/// After a failure to write, how long the disk is left alone; and how often it is looked
/// whether there is room again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// A call that is kept, whoever is there for it.
#[derive(Debug)]
pub struct KeptCall {
    /// Its name on the wire.
    pub id: CallId,
    /// The procedure's name.
    pub procedure: String,
    /// The user that has called.
    pub user: Arc<str>,
    /// From where the request came.
    pub peer: SocketAddr,
    /// When it was accepted, for people.
    pub since: SystemTime,
    /// True if the procedure streams.
    pub streams: bool,
    /// How long it goes on alone.
    pub keep: Duration,
    /// Set once it has its slots.
    pub has_slots: Arc<AtomicBool>,
    /// Number of the connection that has it; 0 for none.
    holder: AtomicU64,
    inner: Mutex<Inner>,
    /// Wakes the call's task.
    to_task: Notify,
    /// Wakes connections: goes up with each change.
    to_connections: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    backlog: Backlog,
    /// An order to end that the task has not heard yet.
    cause: Option<Cause>,
    /// How often the procedure has shown life without a packet.
    signs: u64,
    /// Since when nobody has it, for people.
    alone_since: Option<SystemTime>,
}

impl KeptCall {
    /// A call that has just been accepted, held by this connection.
    #[must_use]
    pub fn new(
        id: CallId,
        call: &crate::call::Call,
        user: Arc<str>,
        keep: Duration,
        holder: u64,
        backlog: Backlog,
    ) -> Arc<KeptCall> {
        Arc::new(KeptCall {
            id,
            procedure: call.procedure.name.clone(),
            user,
            peer: call.peer,
            since: SystemTime::now(),
            streams: call.procedure.output.streams(),
            keep,
            has_slots: Arc::clone(&call.has_slots),
            holder: AtomicU64::new(holder),
            inner: Mutex::new(Inner {
                backlog,
                cause: None,
                signs: 0,
                alone_since: None,
            }),
            to_task: Notify::new(),
            to_connections: watch::Sender::new(0),
        })
    }

    /// Hears of each change from now on.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.to_connections.subscribe()
    }

    /// True if it waits until fewer calls run.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.has_slots.load(Ordering::Relaxed)
    }

    /// True as long as this connection has it.
    #[must_use]
    pub fn is_held_by(&self, connection: u64) -> bool {
        self.holder.load(Ordering::Acquire) == connection
    }

    /// Since when nobody has it.
    #[must_use]
    pub fn alone_since(&self) -> Option<SystemTime> {
        self.inner().alone_since
    }

    /// Gives it to a connection; the one before hears of it.
    pub fn hand_to(&self, connection: u64) {
        self.holder.store(connection, Ordering::Release);
        self.inner().alone_since = None;
        self.changed();
    }

    /// The connection has ended, or lets go.
    pub fn left_by(&self, connection: u64) {
        let left = self
            .holder
            .compare_exchange(connection, 0, Ordering::AcqRel, Ordering::Relaxed);
        if left.is_ok() {
            self.inner().alone_since = Some(SystemTime::now());
        }
    }

    /// Has its task end it.
    pub fn end(&self, cause: Cause) {
        self.inner().cause = Some(cause);
        self.to_task.notify_one();
    }

    /// Packets below `packets` are needed no longer.
    pub fn acknowledge(&self, packets: u64) {
        self.inner().backlog.acknowledge(packets);
        self.to_task.notify_one();
    }

    /// How many packets there were up to now.
    #[must_use]
    pub fn packets(&self) -> u64 {
        self.inner().backlog.packets()
    }

    /// How often the procedure has shown life without a packet.
    #[must_use]
    pub fn signs(&self) -> u64 {
        self.inner().signs
    }

    /// Copies what comes next, `most` bytes at most, or says where it is.
    pub fn read(&self, cursor: &mut Cursor, out: &mut BytesMut, most: usize) -> Read {
        self.inner().backlog.read(cursor, out, most)
    }

    /// Where to begin to read for a packet, and how many packets from there on are to be
    /// passed over.
    #[must_use]
    pub fn find(&self, packet: u64) -> (Cursor, u64) {
        self.inner().backlog.find(packet)
    }

    fn changed(&self) {
        self.to_connections.send_modify(|changes| *changes += 1);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side of a kept call's task. Dropped without an end, it gives the call one: its task
/// has panicked.
#[derive(Debug)]
pub struct KeptOutput {
    call: Arc<KeptCall>,
    spilling: Option<JoinHandle<Spilled>>,
    /// After a failure to write.
    disk_again_at: Option<Instant>,
    signed_at: Instant,
    has_ended: bool,
}

impl KeptOutput {
    /// The one side of a call.
    #[must_use]
    pub fn of(call: Arc<KeptCall>) -> KeptOutput {
        KeptOutput {
            call,
            spilling: None,
            disk_again_at: None,
            signed_at: Instant::now(),
            has_ended: false,
        }
    }

    /// Puts the end behind all packets. Large ones go to the disk, if it takes them.
    pub async fn conclude(mut self, end: Answer) {
        while self.spilling.is_some() {
            self.spilled().await;
        }
        self.call.inner().backlog.end(end);
        self.has_ended = true;
        // It need not wait for the disk.
        self.call.changed();
        self.begin_to_spill();
        while self.spilling.is_some() {
            self.spilled().await;
            self.begin_to_spill();
        }
    }

    fn begin_to_spill(&mut self) {
        if self.spilling.is_some() || self.disk_again_at.is_some_and(|at| Instant::now() < at) {
            return;
        }
        let spill = self.call.inner().backlog.take_spill();
        self.spilling = spill.map(|spill| tokio::task::spawn_blocking(move || spill.write()));
    }

    /// Waits until what is being written has been. Cancel safe.
    async fn spilled(&mut self) {
        let Some(spilling) = &mut self.spilling else {
            return std::future::pending().await;
        };
        let spilled = spilling.await;
        self.spilling = None;
        // A panic is in the log; the lines are still in memory.
        let Ok(spilled) = spilled else { return };
        let taken = self.call.inner().backlog.spilled(spilled);
        if let Err(error) = taken {
            warn!(call = %self.call.id, %error, "cannot write to a file of state_directory; \
                the procedure waits until its caller takes what it has said");
            self.disk_again_at = Some(Instant::now() + LOOK_AGAIN);
        }
    }
}

impl Recipient for KeptOutput {
    fn packets(&mut self, packets: Vec<Packet>) {
        self.call.inner().backlog.push(packets);
        self.call.changed();
        self.begin_to_spill();
    }

    fn sign_of_life(&mut self) {
        if self.signed_at.elapsed() < SIGN_EVERY {
            return;
        }
        self.signed_at = Instant::now();
        self.call.inner().signs += 1;
        self.call.changed();
    }

    fn has_slots(&mut self) {
        // Whoever was told that it waits is told that it does not.
        self.call.changed();
    }

    fn has_room(&self) -> bool {
        self.call.inner().backlog.has_room()
    }

    async fn event(&mut self) -> CallerEvent {
        let call = Arc::clone(&self.call);
        loop {
            let cause = call.inner().cause.take();
            match cause {
                Some(Cause::Cancelled) => return CallerEvent::Closed,
                Some(Cause::KeepOver) => return CallerEvent::KeepOver,
                None => {}
            }
            self.begin_to_spill();
            let had_room = self.has_room();
            tokio::select! {
                () = call.to_task.notified() => {}
                () = self.spilled() => {}
                // The disk may take it now, or others' memory have gone.
                () = tokio::time::sleep(LOOK_AGAIN), if !had_room => {}
            }
            if self.has_room() && call.inner().cause.is_none() {
                return CallerEvent::Sent;
            }
        }
    }
}

impl Drop for KeptOutput {
    fn drop(&mut self) {
        if !self.has_ended {
            let failure = Failure::new(
                error_type::SYSTEM_ERROR,
                "harpd has failed while it ran the call; its log says more",
            );
            self.call
                .inner()
                .backlog
                .end(Answer::Short(Message::Error(failure)));
            self.call.changed();
        }
    }
}
