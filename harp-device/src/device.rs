//! One device: how its two sockets stand, whose turn it is, who waits for what of it.
//!
//! Its tasks ([`listening`](crate::listening), [`commanding`](crate::commanding)) tell it what
//! has come, attempts ask it; nobody waits while the lock is held.

mod standing;
mod state;
mod turn;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use harp_jobs::world::{Moment, World};
use harp_values::JobId;
use tokio::sync::watch;
use tracing::{debug, info};

pub use self::standing::Standing;
use self::state::{InFlight, Line, State, Waiting};
pub(crate) use self::turn::{CommandTurn, Look, Outgoing};

use crate::backoff::SHORTEST;
use crate::entry::Entry;
use crate::fault::Fault;
use crate::health::{Beat, Known};
use crate::inbox::{Ended, Inbox, Wanted};
use crate::procedure::is_same;
use crate::published::{self, Event, Published};
use crate::reply::{Answer, Verdict};
use crate::room::Room;
use crate::tally::Tally;

/// Events that came under one topic and are expected under the other, at most.
const TWINS: usize = 64;

/// A device of the registry, or one that a job waits for.
pub(crate) struct Device {
    name: String,
    world: Arc<dyn World>,
    tally: Arc<Tally>,
    /// Rung when there is something to keep of it.
    learned: Arc<tokio::sync::Notify>,
    room: Arc<Room>,
    state: Mutex<State>,
    /// Rung when something has changed that somebody may wait for.
    changed: watch::Sender<()>,
}

impl Device {
    pub(crate) fn new(
        name: &str,
        world: Arc<dyn World>,
        tally: Arc<Tally>,
        learned: Arc<tokio::sync::Notify>,
        room: Arc<Room>,
        known: Known,
    ) -> Device {
        Device {
            name: name.to_owned(),
            world,
            tally,
            learned,
            room,
            state: Mutex::new(State::new(known)),
            changed: watch::Sender::new(()),
        }
    }

    /// What the registry says of it now. Without an entry everybody who waits for something is
    /// told that it has gone.
    pub(crate) fn enter(&self, entry: Option<Entry>) {
        let mut state = self.state();
        let had_one = state.entry.is_some();
        let records = entry.as_ref().is_some_and(|entry| entry.record);
        state.entry = entry;
        if records && state.recording.is_none() {
            let inbox = Arc::new(Inbox::new(Wanted::ALL, &self.room));
            state.streams.push(Arc::downgrade(&inbox));
            state.recording = Some(inbox);
        } else if !records && let Some(inbox) = state.recording.take() {
            inbox.end(Ended::Unwanted);
        }
        if !records && state.health.record(None).is_some() {
            self.learned.notify_one();
        }
        if had_one && state.entry.is_none() {
            state.events = Line::Down(None);
            state.commands = Line::Down(None);
            let waiting = state.results.values().map(|waiting| &waiting.inbox);
            waiting.for_each(|inbox| inbox.end(Ended::Gone));
            let streams = state.streams.iter().filter_map(Weak::upgrade);
            streams.for_each(|inbox| inbox.end(Ended::Gone));
            state.fail_in_flight(&Fault::network(
                self.name.clone(),
                "closed",
                "the registry does not have it any more",
            ));
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// What the registry says of it.
    pub(crate) fn entry(&self) -> Option<Entry> {
        self.state().entry.clone()
    }

    /// Waits until the registry has it. Cancel safe.
    pub(crate) async fn entered(&self) -> Entry {
        let mut changes = self.changed.subscribe();
        loop {
            if let Some(entry) = self.entry() {
                return entry;
            }
            changed(&mut changes).await;
        }
    }

    /// Waits until the registry does not have it at this place any more. Cancel safe.
    pub(crate) async fn moved(&self, from: &Entry) {
        let mut changes = self.changed.subscribe();
        while self.entry().is_some_and(|entry| entry.is_at(from)) {
            changed(&mut changes).await;
        }
    }

    /// Waits before it is connected to again: for this long, and only for a moment while a call
    /// waits for it. Cancel safe.
    pub(crate) async fn pause(&self, pause: Duration) {
        let begun = self.world.now();
        let mut changes = self.changed.subscribe();
        loop {
            let pause = match self.state().wishes {
                0 => pause,
                _ => pause.min(SHORTEST),
            };
            tokio::select! {
                () = self.world.sleep(begun + pause) => return,
                () = changed(&mut changes) => {}
            }
        }
    }

    /// Has it connected to sooner while this is held.
    pub(crate) fn wish(self: &Arc<Self>) -> Wish {
        self.state().wishes += 1;
        self.changed.send_replace(());
        Wish(Arc::clone(self))
    }

    /// What is to be kept of it.
    pub(crate) fn known(&self) -> Known {
        self.state().health.known().clone()
    }

    /// Seen when something has changed that somebody may wait for.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn world(&self) -> &Arc<dyn World> {
        &self.world
    }

    /// Its publisher was asked for everything.
    pub(crate) fn subscribed(&self) {
        let mut state = self.state();
        state.events = Line::Settling;
        state.health.connected(self.world.now());
        info!(device = self.name, "the device's events are subscribed to");
    }

    /// Whatever it publishes from now on comes here.
    pub(crate) fn settled(&self) {
        let wall = self.world.wall();
        let mut state = self.state();
        state.events = Line::Up;
        state.streams().for_each(|inbox| inbox.found(wall));
        drop(state);
        self.changed.send_replace(());
    }

    /// What it publishes does not come here.
    pub(crate) fn unheard(&self, fault: Option<Fault>) {
        let wall = self.world.wall();
        let mut state = self.state();
        if state.events == Line::Up {
            let fault = fault.as_ref().map(tracing::field::display);
            info!(
                device = self.name,
                fault, "the device's events are not heard"
            );
            let since = state.heard.map_or(wall, |(_, heard)| heard);
            state.streams().for_each(|inbox| inbox.lost(since));
        }
        state.events = Line::Down(fault);
        drop(state);
        self.changed.send_replace(());
    }

    /// It has published something.
    pub(crate) fn published(&self, parts: &[Bytes]) {
        let (now, wall) = (self.world.now(), self.world.wall());
        let published = published::read(parts);
        let mut state = self.state();
        state.heard = Some((now, wall));
        match published {
            Some(Published::Event(event)) => {
                self.tally.events.add(1);
                self.event(&mut state, &event, wall);
                return;
            }
            Some(Published::Heartbeat(heartbeat)) => {
                let beat = Beat { at: now, wall };
                let told = state.health.heard(heartbeat, beat);
                if told.is_another {
                    self.restarted(&mut state, "another identifier or version in a heartbeat");
                }
                if told.is_new {
                    self.learned.notify_one();
                }
            }
            Some(Published::Result(answer)) => self.result(&mut state, answer),
            Some(Published::Other) => return,
            None => {
                self.tally.unreadable.add(1);
                debug!(device = self.name, "a message of the device is none");
                return;
            }
        }
        drop(state);
        self.changed.send_replace(());
    }

    fn event(&self, state: &mut State, event: &Event, wall: u64) {
        let twin = (event.kind, event.index);
        let mut is_second = false;
        if event.is_twin() {
            let before = state.twins.iter().position(|known| *known == twin);
            is_second = before
                .and_then(|before| state.twins.remove(before))
                .is_some();
            if !is_second {
                if state.twins.len() == TWINS {
                    state.twins.pop_front();
                }
                state.twins.push_back(twin);
            }
        }
        if event.is_launch() && !is_second {
            self.restarted(state, "it says that it was launched");
        }
        // The second of two may come behind a later event.
        if let Some(index) = event.index.filter(|_| !is_second) {
            if state.last_index.is_some_and(|last| index < last) && !event.is_launch() {
                self.restarted(state, "an event's index lower than the last one's");
            }
            state.last_index = Some(index);
        }
        state
            .streams()
            .for_each(|inbox| inbox.event(event, is_second, wall));
    }

    fn restarted(&self, state: &mut State, sign: &str) {
        info!(device = self.name, sign, "the device was started anew");
        self.tally.restarts.add(1);
        state.last_index = None;
        let pending = state.results.values().filter(|waiting| waiting.is_pending);
        pending.for_each(|waiting| waiting.inbox.end(Ended::Restarted));
    }

    fn result(&self, state: &mut State, answer: Answer) {
        let waiting = answer.nonce.and_then(|nonce| state.results.get(&nonce));
        match (waiting, answer.verdict) {
            (Some(waiting), Verdict::Ended(outcome))
                if is_same(waiting.command, answer.command) =>
            {
                waiting.inbox.end(Ended::Result(outcome));
            }
            _ => {
                self.tally.strays.add(1);
                debug!(device = self.name, "a result that nobody waits for");
            }
        }
    }

    /// Commands can be sent.
    pub(crate) fn commanded(&self) {
        let mut state = self.state();
        state.commands = Line::Up;
        state.reset = false;
        drop(state);
        self.changed.send_replace(());
    }

    /// Commands cannot be sent, and no reply to the last one will come. Without a fault the
    /// connection was given up on purpose.
    pub(crate) fn unreplied(&self, fault: Option<Fault>) {
        let mut state = self.state();
        if let Some(fault) = &fault {
            state.fail_in_flight(fault);
        }
        state.commands = Line::Down(fault);
        drop(state);
        self.changed.send_replace(());
    }

    /// The command that is to be sent now; its reply is waited for from now on.
    pub(crate) fn take_outgoing(&self) -> Option<Outgoing> {
        let mut state = self.state();
        let (turn, outgoing) = state.outgoing.take()?;
        state.in_flight = Some(InFlight {
            turn,
            nonce: outgoing.nonce,
            inbox: Arc::clone(&outgoing.inbox),
        });
        Some(outgoing)
    }

    /// Whether the commands' connection is to be opened anew.
    pub(crate) fn is_to_reset(&self) -> bool {
        self.state().reset
    }

    /// A message has come over the commands' connection. False if it is no reply, and nothing
    /// that comes behind it can be trusted.
    pub(crate) fn replied(&self, parts: &[Bytes]) -> bool {
        let answer = Answer::of_reply(parts);
        let mut state = self.state();
        let Some(in_flight) = &state.in_flight else {
            self.tally.strays.add(1);
            return answer.is_some();
        };
        let Some(answer) = answer else {
            let fault = Fault::no_reply(state.command_address());
            state.fail_in_flight(&fault);
            return false;
        };
        let nonce = in_flight.nonce;
        if answer.nonce != Some(nonce) && !answer.is_of_the_unread() {
            self.tally.strays.add(1);
            debug!(device = self.name, "a reply that nobody waits for");
            return true;
        }
        if let Some(in_flight) = state.in_flight.take() {
            state.turns.retain(|turn| *turn != in_flight.turn);
            if answer.verdict != Verdict::Later {
                state.results.remove(&nonce);
            } else if let Some(waiting) = state.results.get_mut(&nonce) {
                waiting.is_pending = true;
            }
            in_flight.inbox.reply(Ok(answer));
        }
        drop(state);
        self.changed.send_replace(());
        true
    }

    /// Whether its publisher is listened to.
    pub(crate) fn is_heard(&self) -> Result<bool, Fault> {
        let state = self.state();
        match &state.events {
            Line::Up => Ok(true),
            Line::Down(Some(fault)) => Err(fault.clone()),
            Line::Down(None) | Line::Settling => Ok(false),
        }
    }

    /// When it was heard last.
    pub(crate) fn heard(&self) -> Option<Moment> {
        self.state().heard.map(|(at, _)| at)
    }

    /// Events go there from now on.
    pub(crate) fn stream(&self, inbox: &Arc<Inbox>) {
        self.state().streams.push(Arc::downgrade(inbox));
    }

    /// Events go on going there, as before a start of the dispatcher: what comes until the
    /// device is listened to is missed. Returns from when on they come, or are missed.
    pub(crate) fn stream_again(&self, inbox: &Arc<Inbox>) -> u64 {
        let wall = self.world.wall();
        let mut state = self.state();
        if !state.streams().any(|known| Arc::ptr_eq(&known, inbox)) {
            state.streams.push(Arc::downgrade(inbox));
        }
        if state.events != Line::Up {
            inbox.lost(wall);
        }
        wall
    }

    /// What is recorded, if the device is to be.
    pub(crate) fn recording(&self) -> Option<Arc<Inbox>> {
        self.state().recording.clone()
    }

    /// This job records it from now on. Gives the one that did before the start of the
    /// dispatcher, if this is the first since then.
    pub(crate) fn recorded_by(&self, job: JobId) -> Option<JobId> {
        let mut state = self.state();
        let before = state.health.record(Some(job));
        let is_first = !std::mem::replace(&mut state.has_recorder, true);
        before.filter(|before| is_first && *before != job)
    }

    /// Waits for the result of a command. `is_pending`: the device has said that it will come.
    pub(crate) fn await_result(
        &self,
        nonce: u64,
        command: i64,
        inbox: &Arc<Inbox>,
        is_pending: bool,
    ) {
        let waiting = Waiting {
            command,
            inbox: Arc::clone(inbox),
            is_pending,
        };
        self.state().results.insert(nonce, waiting);
    }

    /// Nobody waits for the result any more.
    pub(crate) fn forget_result(&self, nonce: u64) {
        self.state().results.remove(&nonce);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call waits until its device can be reached.
pub(crate) struct Wish(Arc<Device>);

impl Drop for Wish {
    fn drop(&mut self) {
        self.0.state().wishes -= 1;
    }
}

/// Completes with the next change.
pub(crate) async fn changed(changes: &mut watch::Receiver<()>) {
    if changes.changed().await.is_err() {
        // Nothing changes any more.
        std::future::pending().await
    }
}
