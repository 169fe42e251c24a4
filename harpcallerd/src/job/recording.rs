//! A job's packets on their way from the host to the disk, and from there to whoever
//! follows.

use std::collections::VecDeque;

use harp_host::{Event, HostCall, HostError, Wanted};
use harp_jobs::output::{Output, Room};
use harp_proto::{Failure, JobId, Outcome};

use crate::clock;
use crate::jobs::LiveJob;
use crate::segment::{Segment, SegmentBuilder};
use crate::store::{Appending, Store, StoreError};

/// Bytes of packets that one job may have on their way to the disk. Beyond that its host
/// is not read.
const MAX_PENDING: usize = 1024 * 1024;

/// Bytes of packets that are handed to the store at once.
const BATCH: usize = 64 * 1024;

/// What a packet counts beside its data, so that tiny ones are bounded too.
const PACKET_COST: usize = 16;

/// The packets of one job that are not shown yet.
pub(super) struct Recording {
    store: Store,
    id: JobId,
    /// The number of the next packet.
    next: u64,
    /// Packets that have been shown.
    shown: u64,
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// The store had no room for the last packets: its memory is full of what the disk
    /// has not taken.
    lacks_room: bool,
    /// Bytes of packets that have come.
    bytes: u64,
    output: Output,
}

struct Pending {
    segments: Vec<Segment>,
    bytes: usize,
    /// `None` if they have to be handed to the store, again or for the first time,
    /// because it could not be written or had no room. So have all behind them, then.
    appending: Option<Appending>,
}

/// Why packets cannot be taken any more.
pub(super) enum Fault {
    Host(HostError),
    Store(StoreError),
    /// The job has more packets than it may.
    TooMuch(Failure),
}

impl Recording {
    pub(super) fn new(store: Store, id: JobId, output: Output) -> Recording {
        Recording {
            store,
            id,
            next: 0,
            shown: 0,
            pending: VecDeque::new(),
            pending_bytes: 0,
            lacks_room: false,
            bytes: 0,
            output,
        }
    }

    /// How many packets there are, those that can never be stored not counted.
    pub(super) fn count(&self) -> u64 {
        self.next
    }

    /// Bytes of packets that have come, those that are not kept too.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True while the host may be read.
    pub(super) fn has_room(&self) -> bool {
        self.pending_bytes < MAX_PENDING && !self.lacks_room
    }

    /// True while packets are on their way to the disk.
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Takes a message and all that arrived with it. `Some` if the call has ended. Waits
    /// for nothing.
    pub(super) fn take(
        &mut self,
        message: Result<Event, HostError>,
        call: &mut HostCall,
    ) -> Result<Option<Outcome>, Fault> {
        let now = clock::now();
        let mut batch = Batch::new(self.next);
        let mut message = Some(message);
        let mut end = Ok(None);
        while let Some(event) = message {
            match event {
                Ok(Event::Packet(data)) => {
                    let output = &mut self.output;
                    let mut too_much = batch.take(output, now, data.as_bytes());
                    if too_much.is_none() {
                        call.take_packets(|data| {
                            too_much = batch.take(output, now, data);
                            match too_much {
                                None => batch.wanted(),
                                Some(_) => Wanted::Enough,
                            }
                        });
                    }
                    if let Some(failure) = too_much {
                        end = Err(Fault::TooMuch(failure));
                        break;
                    }
                }
                Ok(Event::End(outcome)) => {
                    end = Ok(Some(outcome));
                    break;
                }
                Err(error) => {
                    end = Err(Fault::Host(error));
                    break;
                }
            }
            if batch.wanted() == Wanted::Enough {
                break;
            }
            message = call.next_buffered();
        }
        self.append(batch).map_err(Fault::Store)?;
        end
    }

    /// Takes packets that have arrived when the job is cut short: one batch at most,
    /// since a host may be sending faster than they can be taken.
    pub(super) fn take_arrived(&mut self, call: &mut HostCall) {
        if let Some(message) = call.next_buffered() {
            // The job has its outcome already.
            let _ = self.take(message, call);
        }
    }

    fn append(&mut self, batch: Batch) -> Result<(), StoreError> {
        let bytes = batch.bytes;
        self.bytes += bytes as u64;
        let segments = batch.finish();
        let Some(next) = segments.last().map(Segment::end) else {
            return Ok(());
        };
        let is_in_order = self
            .pending
            .back()
            .is_none_or(|last| last.appending.is_some());
        let appending = match is_in_order {
            true => match self.store.try_append(self.id, segments.clone()) {
                Ok(appending) => {
                    self.lacks_room = appending.is_none();
                    appending
                }
                Err(error) if error.is_passing() => None,
                Err(error) => return Err(error),
            },
            false => None,
        };
        self.next = next;
        self.pending_bytes += bytes;
        self.pending.push_back(Pending {
            segments,
            bytes,
            appending,
        });
        Ok(())
    }

    /// Waits until the oldest packets on their way are on disk, and shows them. While the
    /// store cannot be written it waits, and hands them over again afterwards. Cancel
    /// safe. Never completes if none are on their way.
    pub(super) async fn stored(&mut self, live: &LiveJob) -> Result<(), StoreError> {
        loop {
            let Some(oldest) = self.pending.front_mut() else {
                return std::future::pending().await;
            };
            let result = match &mut oldest.appending {
                Some(appending) => appending.await.map(drop),
                None => match self.hand_over_again().await {
                    Ok(()) => continue,
                    Err(error) => Err(error),
                },
            };
            match result {
                Ok(()) => {
                    self.show_oldest(live);
                    return Ok(());
                }
                Err(error) if error.is_passing() => self.not_handed_over(),
                // An end that counts them is on disk, and so are they.
                Err(error @ StoreError::NotLive(_)) => {
                    self.not_handed_over();
                    return Err(error);
                }
                Err(error) => {
                    // Nothing behind them can be stored either: there would be a gap.
                    self.pending.clear();
                    self.pending_bytes = 0;
                    self.next = self.shown;
                    return Err(error);
                }
            }
        }
    }

    /// Waits for all packets on their way.
    ///
    /// # Errors
    ///
    /// If they can never be stored; then they are not counted any more. With
    /// [`StoreError::NotLive`] they still are: the job's end has come to the disk, behind
    /// them.
    pub(super) async fn finish(&mut self, live: &LiveJob) -> Result<(), StoreError> {
        while self.is_pending() {
            self.stored(live).await?;
        }
        Ok(())
    }

    /// Shows all packets: an end that counts them is on disk, and so are they.
    pub(super) fn all_stored(&mut self, live: &LiveJob) {
        while self.is_pending() {
            self.show_oldest(live);
        }
    }

    /// Hands over what could not be handed over, once the store can be written. Cancel
    /// safe.
    async fn hand_over_again(&mut self) -> Result<(), StoreError> {
        self.store.writable().await?;
        self.hand_over().await
    }

    /// Hands over what is not on its way yet, as soon as there is room for it; nothing if
    /// the store cannot be written. Cancel safe.
    ///
    /// # Errors
    ///
    /// If it can never be stored.
    pub(super) async fn hand_over(&mut self) -> Result<(), StoreError> {
        let waiting = self.pending.iter_mut();
        for pending in waiting.filter(|pending| pending.appending.is_none()) {
            match self.store.append(self.id, pending.segments.clone()).await {
                Ok(appending) => pending.appending = Some(appending),
                Err(error) if error.is_passing() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.lacks_room = false;
        Ok(())
    }

    /// None of them is on its way any more.
    fn not_handed_over(&mut self) {
        for pending in &mut self.pending {
            pending.appending = None;
        }
    }

    fn show_oldest(&mut self, live: &LiveJob) {
        if let Some(stored) = self.pending.pop_front() {
            self.pending_bytes -= stored.bytes;
            self.shown = stored.segments.last().map_or(self.shown, Segment::end);
            live.announce_packets(stored.segments);
        }
    }
}

/// Packets that are handed to the store together.
struct Batch {
    bytes: usize,
    full: Vec<Segment>,
    open: SegmentBuilder,
}

impl Batch {
    fn new(first: u64) -> Batch {
        Batch {
            bytes: 0,
            full: Vec::new(),
            open: SegmentBuilder::new(first),
        }
    }

    /// Adds a packet, JSON text.
    fn push(&mut self, time: u64, data: &[u8]) {
        if !self.open.is_empty() && !self.open.has_room_for(data) {
            self.full.push(self.open.finish());
        }
        self.open.push(time, data);
        self.skip(data);
    }

    /// Takes a packet as far as there is room for it in what its job may leave behind;
    /// the job ends with what is returned.
    fn take(&mut self, output: &mut Output, time: u64, data: &[u8]) -> Option<Failure> {
        match output.take(data) {
            Room::Fits => self.push(time, data),
            Room::Marker(marker) => self.push(time, marker.as_bytes()),
            Room::Over => self.skip(data),
            Room::End(failure) => return Some(failure),
        }
        None
    }

    /// Counts a packet that is not kept, so that a host which sends without end does not
    /// keep its job from everything else.
    fn skip(&mut self, data: &[u8]) {
        self.bytes += data.len() + PACKET_COST;
    }

    fn wanted(&self) -> Wanted {
        match self.bytes < BATCH {
            true => Wanted::More,
            false => Wanted::Enough,
        }
    }

    fn finish(mut self) -> Vec<Segment> {
        if !self.open.is_empty() {
            self.full.push(self.open.finish());
        }
        self.full
    }
}

#[cfg(test)]
mod tests {
    use harp_proto::Json;

    use harp_jobs::output::OutputLimits;

    use super::*;
    use crate::record::{CallRecord, EndRecord, LiveRecord};
    use crate::store::{Place, StoreOptions};

    fn call() -> CallRecord {
        CallRecord {
            host: "h".to_owned(),
            procedure: "p".to_owned(),
            arguments: Json::NULL,
            info: Json::NULL,
            timeout: None,
            max_exec_time: None,
            queue: None,
            client: None,
            key: None,
            submitted: 1,
        }
    }

    #[tokio::test]
    async fn packets_before_an_end_that_came_to_the_disk_unnoticed_are_shown() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(directory.path(), StoreOptions::default()).unwrap();
        let record = LiveRecord {
            sequence: 1,
            started: Some(1),
            submitted: 1,
            ..LiveRecord::UNKNOWN
        };
        let live = LiveJob::new(JobId::submitted_at(1));
        store.submit(live.id, &call(), &record).await.unwrap();
        let output = Output::new(OutputLimits::default(), 0);
        let mut recording = Recording::new(store.clone(), live.id, output);
        for number in 0..2 {
            let mut batch = Batch::new(number);
            batch.push(1, b"0");
            recording.append(batch).unwrap();
        }
        let end = EndRecord {
            started: Some(1),
            ended: 2,
            packets: 2,
            outcome: Outcome::Cancelled,
        };
        store.finish(live.id, &end, Place::Free).await.unwrap();
        // As after a round whose sync failed.
        recording.not_handed_over();
        for _ in 0..2 {
            let error = recording.finish(&live).await.unwrap_err();
            assert_eq!(error, StoreError::NotLive(live.id));
        }
        assert_eq!((recording.count(), live.watch().borrow().packets), (2, 0));
        recording.all_stored(&live);
        assert_eq!(live.watch().borrow().packets, 2);
        assert_eq!(live.recent_packets(0, usize::MAX).unwrap().len(), 2);
        store.close().await;
    }
}
