//! The one thread that writes.
//!
//! It works in rounds: whatever has arrived while the last round was brought to the disk
//! is applied in batches, synced once, and answered. A change that must not be torn
//! apart is in one batch; the pieces of a long value go before the entry that makes them
//! known, in the same batch or an earlier one.
//!
//! When the engine fails, the writes of that round are of unknown outcome and later ones
//! are certainly not done. The engine is of no use for writes then, and stays as it is
//! for reads, until it is opened anew (`writer/reopen.rs`).

mod reopen;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use harp_values::JobId;

use super::StoreOptions;
use super::contents::Contents;
use super::directory::Directory;
use super::error::StoreError;
use super::outage::Outage;
use super::presence::{LOOK_EVERY, Presence};
use super::pulse::Pending;
use super::reply::Told;
use super::round::{Change, Done, Round, Trouble};
use super::shared::Shared;
use super::sled::{Batch, Engine};

/// How much a round takes in, in bytes, so that those who came first need not wait for
/// all that came after them.
const ROUND: usize = 16 * 1024 * 1024;

/// How often the mark is raised while there are writes. Each is covered by a mark on disk
/// 200 ms after it at the latest; the rest of the time is for bringing that mark there.
const MARKING: Duration = Duration::from_millis(150);

/// How long the engine may take to let go of its file when it is closed.
pub(super) const CLOSING: Duration = Duration::from_secs(10);

/// Request to the writer.
#[expect(clippy::large_enum_variant, reason = "nearly all are writes")]
pub(crate) enum WriterRequest {
    Write(Write),
    /// Nothing waits for the end of an outage from now on.
    GiveUp,
    /// Bring everything before this to the disk, let go of the engine, and do this.
    Close(Box<dyn FnOnce() + Send>),
}

/// One change of one job.
pub(crate) struct Write {
    pub(crate) id: JobId,
    pub(crate) change: Change,
    /// The change's length in bytes.
    pub(crate) size: usize,
    /// Told once the change is on disk, or why it is not.
    pub(crate) told: Told,
    /// Counts it as long as it waits.
    pub(crate) _pending: Pending,
}

pub(crate) struct Writer {
    pub(super) shared: Arc<Shared>,
    pub(super) directory: Directory,
    pub(super) options: StoreOptions,
    requests: Receiver<WriterRequest>,
    /// Of live jobs that packets have been appended to: the next packet's number.
    pub(super) next_packet: HashMap<JobId, u64>,
    pub(super) contents: Contents,
    /// The mark that is on disk.
    pub(super) mark: u64,
    marked: Option<Instant>,
    pub(super) presence: Presence,
    /// Time when the directory was looked at.
    looked: Instant,
    /// Whether there are writes that no mark on disk covers.
    is_uncovered: bool,
    /// While the engine has failed.
    outage: Option<Outage>,
    /// Changes that wait for the end of the outage, in their order.
    put_off: Vec<Write>,
    /// No change waits for the end of an outage any more.
    gives_up: bool,
}

impl Writer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        directory: Directory,
        options: StoreOptions,
        requests: Receiver<WriterRequest>,
        mark: u64,
        presence: Presence,
    ) -> Writer {
        Writer {
            contents: shared.contents(),
            shared,
            directory,
            options,
            requests,
            next_packet: HashMap::new(),
            mark,
            marked: None,
            presence,
            looked: Instant::now(),
            is_uncovered: false,
            outage: None,
            put_off: Vec::new(),
            gives_up: false,
        }
    }

    /// Writes until the store is closed, or nobody has it any more.
    pub(crate) fn run(mut self) {
        let mut closing = None;
        while closing.is_none() {
            let mut request = match self.next() {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => {
                    self.try_again();
                    self.look();
                    if self.until_marking().is_zero() {
                        self.cover();
                    }
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let mut writes = Vec::new();
            let mut size = 0;
            while let Some(taken) = request.take() {
                match taken {
                    WriterRequest::Write(write) => {
                        size += write.size;
                        writes.push(write);
                        if size < ROUND {
                            request = self.requests.try_recv().ok();
                        }
                    }
                    WriterRequest::GiveUp => {
                        self.gives_up = true;
                        for write in std::mem::take(&mut self.put_off) {
                            answer(write, Err(StoreError::Closed));
                        }
                        request = self.requests.try_recv().ok();
                    }
                    WriterRequest::Close(closed) => closing = Some(closed),
                }
            }
            self.round(writes);
            self.look();
        }
        self.cover();
        self.close();
        if let Some(closed) = closing {
            closed();
        }
    }

    /// Waits for a request; not longer than until the mark is to be raised, the directory
    /// to be looked at, or the engine to be opened anew.
    fn next(&self) -> Result<WriterRequest, RecvTimeoutError> {
        let looking = LOOK_EVERY.saturating_sub(self.looked.elapsed());
        let longest = match &self.outage {
            Some(outage) => outage.pause_left(),
            None if self.is_uncovered => looking.min(self.until_marking()),
            None => looking,
        };
        self.requests.recv_timeout(longest)
    }

    /// How long until the mark is to be raised.
    fn until_marking(&self) -> Duration {
        let since = self.marked.map_or(MARKING, |marked| marked.elapsed());
        MARKING.saturating_sub(since)
    }

    /// Raises the mark if there are writes that none covers.
    fn cover(&mut self) {
        if self.is_uncovered && self.outage.is_none() {
            self.write(Vec::new(), true);
        }
    }

    /// Looks at the directory if it is time to, and begins an outage if it is not the one
    /// that the engine has open.
    fn look(&mut self) {
        if self.outage.is_some() || self.looked.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked = Instant::now();
        let found = self.presence.check_directory(&self.directory);
        let found = found
            .and_then(|()| self.keep_beside())
            .and_then(|()| self.note_clock());
        if let Err(reason) = found {
            self.fail(&reason);
        }
    }

    /// Sees to the files of ours beside the engine's, which somebody may have removed.
    fn keep_beside(&mut self) -> Result<(), String> {
        let missing = self.directory.missing();
        let missing = missing.map_err(|error| error.to_string())?;
        if missing.lock {
            tracing::warn!("the file lock of the job store was removed and is made anew");
            self.directory.lock_again().map_err(|why| why.to_string())?;
        }
        if missing.about {
            warn_of_missing_about();
            let noted = self.directory.note_open(self.mark);
            noted.map_err(|error| format!("cannot write store.json: {error}"))?;
        }
        Ok(())
    }

    /// Notes it in the store if the wall clock has been set.
    fn note_clock(&mut self) -> Result<(), String> {
        let Some((key, life)) = self.shared.ends.correction(self.directory.boot()) else {
            return Ok(());
        };
        let engine = self.shared.engine().map_err(|error| error.to_string())?;
        let mut batch = Batch::new(self.mark + 1);
        batch.insert(&key, &life);
        self.is_uncovered = true;
        let noted = engine.apply(batch).and_then(|()| engine.sync());
        noted.map_err(|error| error.to_string())
    }

    /// From now on nothing is written, until the engine has been opened anew.
    fn fail(&mut self, reason: &str) {
        self.shared.fail(reason);
        self.shared.pulse.outage();
        self.outage = Some(Outage::begin(reason));
    }

    /// Tries to end an outage.
    fn try_again(&mut self) {
        let Some(mut outage) = self.outage.take() else {
            return;
        };
        match self.reopen() {
            Ok(()) => {
                self.shared.recovered();
                tracing::info!(
                    seconds = outage.lasted().as_secs_f32(),
                    "the job store can be written again"
                );
                self.make_up();
            }
            Err(reason) => {
                self.shared.fail(&reason);
                outage.goes_on(&reason);
                self.outage = Some(outage);
            }
        }
    }

    /// Makes the changes that have waited for the end of an outage.
    fn make_up(&mut self) {
        let mut put_off = std::mem::take(&mut self.put_off).into_iter().peekable();
        while put_off.peek().is_some() {
            let (mut round, mut size) = (Vec::new(), 0);
            while size < ROUND
                && let Some(write) = put_off.next()
            {
                size += write.size;
                round.push(write);
            }
            // In another outage they are put off again, each behind those before it.
            self.round(round);
        }
    }

    /// Nothing can be written: tells so, and keeps the change if it is to be made later.
    fn put_off(&mut self, mut write: Write, error: StoreError) {
        if self.gives_up && matches!(write.told, Told::Patient(_)) {
            return answer(write, Err(StoreError::Closed));
        }
        match &mut write.told {
            Told::Patient(reply) if error != StoreError::Closed => {
                if reply.put_off(&error) {
                    self.put_off.push(write);
                }
            }
            _ => answer(write, Err(error)),
        }
    }

    fn round(&mut self, writes: Vec<Write>) {
        if !writes.is_empty() {
            self.write(writes, self.until_marking().is_zero());
        }
    }

    /// Makes these changes, with the mark behind them if `marking` says so.
    fn write(&mut self, writes: Vec<Write>, marking: bool) {
        let writable = self.shared.check_writable();
        let engine = writable.and_then(|()| self.shared.engine());
        let engine = match engine {
            Ok(engine) => engine,
            Err(error) => {
                self.is_uncovered = false;
                for write in writes {
                    self.put_off(write, error.clone());
                }
                return;
            }
        };

        let mut round = Round::new(
            &engine,
            &self.shared,
            &mut self.next_packet,
            &mut self.contents,
            self.mark + 1,
        );
        let mut made = Vec::with_capacity(writes.len());
        let mut writes = writes.into_iter();
        // A file that was cut off would be as long as before behind what is written to it.
        let mut failure = self.presence.check(&self.directory).err();
        while failure.is_none()
            && let Some(write) = writes.next()
        {
            match round.write(write.id, &write.change) {
                Ok(done) => made.push((write, Ok(done))),
                Err(Trouble::Refused(error)) => {
                    // Either it is damaged, or the engine has failed: the mark shows which.
                    round.in_doubt |= matches!(error, StoreError::Unreadable(_));
                    made.push((write, Err(error)));
                }
                Err(Trouble::Failed(error)) => {
                    failure = Some(error.to_string());
                    made.push((write, Ok(Done::Recorded)));
                }
            }
        }
        let marking = marking || round.in_doubt;
        if failure.is_none() {
            let applied = round.apply();
            if marking {
                // In a batch of its own: where it is, all before it is.
                round.mark(self.mark + 1);
            }
            let (packets, bytes) = round.packets();
            let applied = applied.and_then(|()| round.apply());
            let begun = Instant::now();
            let synced = applied.and_then(|()| engine.sync());
            if synced.is_ok() {
                let pulse = &self.shared.pulse;
                pulse.synced(begun.elapsed(), packets, bytes);
            }
            // Nobody is answered for what stands in files that no start would find.
            failure = match synced {
                Ok(()) => self.presence.check(&self.directory).err(),
                Err(error) => Some(error.to_string()),
            };
        }

        match &failure {
            None => {
                self.shared.unsynced.round_done();
                self.shared.set_contents(self.contents);
            }
            Some(reason) => {
                self.fail(reason);
                self.shared.unsynced.round_failed();
            }
        }
        for (write, done) in made {
            match (&failure, done) {
                (None, done) => answer(write, done),
                (Some(reason), Ok(_)) => {
                    self.put_off(write, StoreError::UnknownOutcome(reason.clone()));
                }
                (Some(reason), Err(_)) => {
                    self.put_off(write, StoreError::Unavailable(reason.clone()));
                }
            }
        }
        if let Some(reason) = &failure {
            for write in writes {
                self.put_off(write, StoreError::Unavailable(reason.clone()));
            }
        }
        self.is_uncovered = failure.is_none() && !marking;
        if marking && failure.is_none() {
            self.note_mark();
        }
    }

    /// After the raised mark has come to the disk.
    fn note_mark(&mut self) {
        self.mark += 1;
        self.marked = Some(Instant::now());
        if self.directory.missing().is_ok_and(|missing| missing.about) {
            warn_of_missing_about();
        }
        if let Err(error) = self.directory.note_open(self.mark) {
            tracing::warn!(%error, "cannot write store.json of the job store");
        }
    }

    fn close(self) {
        let failed = self.shared.failure().is_some();
        // Later writes are refused from here on.
        let engine = self.shared.close();
        for write in self.put_off {
            answer(write, Err(StoreError::Closed));
        }
        for request in self.requests.try_iter() {
            match request {
                WriterRequest::Write(write) => answer(write, Err(StoreError::Closed)),
                WriterRequest::Close(closed) => closed(),
                WriterRequest::GiveUp => {}
            }
        }
        let Some(engine) = engine else {
            return;
        };
        if alone(engine).close(CLOSING)
            && !failed
            && let Err(error) = self.directory.note_closed(self.mark)
        {
            tracing::warn!(%error, "cannot note that the job store is closed");
        }
    }
}

/// Tells what has become of a change.
fn answer(write: Write, done: Result<Done, StoreError>) {
    match write.told {
        Told::Caller { answer, permit } => {
            // A caller that does not wait any more does not want to know.
            let _ = answer.send(done);
            drop(permit);
        }
        Told::Patient(reply) => reply.done(done),
    }
}

fn warn_of_missing_about() {
    tracing::warn!("store.json of the job store was removed and is written anew");
}

/// The engine once no reader has it any more: each holds it for one operation.
pub(super) fn alone(mut engine: Arc<Engine>) -> Engine {
    loop {
        match Arc::try_unwrap(engine) {
            Ok(engine) => return engine,
            Err(shared) => engine = shared,
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
