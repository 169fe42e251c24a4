//! Reading from the engine. Whatever takes more than a point read is for a thread that
//! may block.

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};
use harp_jobs::record::{EndRecord, JobRecord, LiveRecord, Stage};
use harp_jobs::segment::{self, Segment};
use harp_values::JobId;

use super::codec;
use super::entries::Entries;
use super::error::StoreError;
use super::frame::Damage;
use super::layout::{self, Beginning, Key, Table};
use super::sled::Value;

/// How much text of calls a page of jobs holds at most, in bytes, unless one call alone
/// has more.
const PAGE_SIZE: usize = 1024 * 1024;

/// A long value, of which perhaps only the beginning has been read.
pub(crate) struct Long {
    id: JobId,
    what: &'static str,
    key: Key,
    beginning: Beginning,
}

impl Long {
    /// Reads the beginning of a job's entry in this table: a point read.
    pub(crate) fn read(
        engine: &dyn Entries,
        table: Table,
        id: JobId,
    ) -> Result<Option<Long>, StoreError> {
        let key = table.key(id);
        let Some(entry) = engine.get(&key)? else {
            return Ok(None);
        };
        Long::decode(id, name(table), key, entry).map(Some)
    }

    fn decode(id: JobId, what: &'static str, key: Key, entry: Bytes) -> Result<Long, StoreError> {
        let beginning =
            Beginning::decode(entry).ok_or_else(|| corrupt(id, what, "its length does not fit"))?;
        Ok(Long {
            id,
            what,
            key,
            beginning,
        })
    }

    /// As much of the value as has been read.
    pub(crate) fn beginning(&self) -> &Bytes {
        &self.beginning.first
    }

    /// The entry of a job's end, which has been read.
    pub(crate) fn of_end(id: JobId, entry: Bytes) -> Result<Long, StoreError> {
        Long::decode(id, name(Table::Ends), Table::Ends.key(id), entry)
    }

    /// The entry of a job's call, which has been read.
    pub(crate) fn of_call(id: JobId, entry: Bytes) -> Result<Long, StoreError> {
        Long::decode(id, name(Table::Calls), Table::Calls.key(id), entry)
    }

    /// How long the value is, in bytes.
    pub(crate) fn length(&self) -> usize {
        self.beginning.total
    }

    /// Whether there is nothing more to read.
    pub(crate) fn is_whole(&self) -> bool {
        self.beginning.is_whole()
    }

    /// The value, whose further pieces are read if there are any.
    pub(crate) fn join(self, engine: &dyn Entries) -> Result<Bytes, StoreError> {
        if self.is_whole() {
            return Ok(self.beginning.first);
        }
        let mut value = BytesMut::from(&self.beginning.first[..]);
        let mut n = 0;
        while value.len() < self.beginning.total {
            match engine.get(&layout::piece_key(&self.key, n))? {
                Some(piece) if !piece.is_empty() => value.extend_from_slice(&piece),
                _ => return Err(corrupt(self.id, self.what, "a piece of it is missing")),
            }
            n += 1;
        }
        if value.len() > self.beginning.total {
            return Err(corrupt(self.id, self.what, "its pieces do not fit"));
        }
        Ok(value.freeze())
    }
}

/// Reads the stage of a job; `None` if there is no such job. Point reads.
pub(crate) fn stage(engine: &dyn Entries, id: JobId) -> Result<Option<Stage>, StoreError> {
    // In the order in which a job moves, so that it is not missed between the two.
    if let Some(record) = engine.get(&Table::Live.key(id))? {
        let live = decode_live(id, &record)?;
        return Ok(Some(match live.started {
            None => Stage::Queued {
                sequence: live.sequence,
            },
            Some(started) => Stage::Running { started },
        }));
    }
    let Some(end) = Long::read(engine, Table::Ends, id)? else {
        return Ok(None);
    };
    let end = end_fields(&end)?;
    Ok(Some(Stage::Ended {
        started: end.started,
        ended: end.ended,
    }))
}

/// The record of a job whose call has been found.
pub(crate) fn job(
    engine: &dyn Entries,
    id: JobId,
    stage: Stage,
    call: Long,
) -> Result<JobRecord, StoreError> {
    let call = codec::decode_call(&call.join(engine)?)
        .map_err(|error| corrupt(id, name(Table::Calls), error))?;
    Ok(JobRecord { id, call, stage })
}

/// How the job ended, from the record that has been found.
pub(crate) fn end(engine: &dyn Entries, end: Long) -> Result<EndRecord, StoreError> {
    let id = end.id;
    codec::decode_end(&end.join(engine)?).map_err(|error| corrupt(id, name(Table::Ends), error))
}

/// How many packets the job has. Point reads.
pub(crate) fn packet_count(engine: &dyn Entries, id: JobId) -> Result<u64, StoreError> {
    match Long::read(engine, Table::Ends, id)? {
        Some(end) => Ok(end_fields(&end)?.packets),
        None => packets_end(engine, id),
    }
}

/// The number after the last packet that is stored.
pub(crate) fn packets_end(engine: &dyn Entries, id: JobId) -> Result<u64, StoreError> {
    let (from, to) = (
        layout::packets_key(id, 0),
        layout::packets_key(id, u64::MAX),
    );
    let Some((key, entry)) = engine.last(&from, &to)? else {
        return Ok(0);
    };
    let last = packets(id, &key, entry)?;
    segment::end_of(&last.beginning.first).map_err(|error| corrupt(id, name(Table::Packets), error))
}

/// Segments of a job, the first of which has the packet with this number, together at
/// most `max_bytes` long unless the first alone is longer.
pub(crate) fn segments(
    engine: &dyn Entries,
    id: JobId,
    from: u64,
    max_bytes: usize,
) -> Result<Vec<Segment>, StoreError> {
    let first = layout::packets_key(id, 0);
    let Some((key, _)) = engine.last(&first, &layout::packets_key(id, from))? else {
        return Ok(Vec::new());
    };
    let mut segments = Vec::new();
    let mut size = 0;
    let mut failure = None;
    let to = layout::packets_key(id, u64::MAX);
    engine.scan(&key, &to, &mut |key, entry| {
        let segment = intact(key, entry).and_then(|()| packets(id, key, entry.share()));
        let segment = segment.and_then(|packets| {
            if !segments.is_empty() && size + packets.beginning.total > max_bytes {
                return Ok(None);
            }
            size += packets.beginning.total;
            let segment = Segment::decode(packets.join(engine)?)
                .map_err(|error| corrupt(id, name(Table::Packets), error))?;
            Ok(Some(segment))
        });
        match segment {
            Ok(Some(segment)) => {
                // The one before `from` can end before it too, and is not wanted then.
                if segment.end() > from {
                    segments.push(segment);
                }
                ControlFlow::Continue(())
            }
            Ok(None) => ControlFlow::Break(()),
            Err(error) => {
                failure = Some(error);
                ControlFlow::Break(())
            }
        }
    })?;
    match failure {
        // What could be read is given out first.
        Some(error) if segments.is_empty() => Err(error),
        _ => Ok(segments),
    }
}

/// The live records of a table.
pub(crate) struct LiveRows {
    /// In the order of their sequence numbers.
    pub(crate) jobs: Vec<(JobId, LiveRecord)>,
    /// Those whose records cannot be read.
    pub(crate) damaged: Vec<JobId>,
}

/// All jobs of a table that tells where they stand.
pub(crate) fn live_rows(engine: &dyn Entries, table: Table) -> Result<LiveRows, StoreError> {
    let (from, to) = table.bounds();
    let (mut jobs, mut damaged) = (Vec::new(), Vec::new());
    engine.scan(&from, &to, &mut |key, record| {
        let id = layout::job_of(key).unwrap_or(JobId::NONE);
        match intact(key, record).and_then(|()| decode_live(id, record)) {
            Ok(live) => jobs.push((id, live)),
            Err(error) => {
                tracing::error!(job = %id, "{error}");
                damaged.push(id);
            }
        }
        ControlFlow::Continue(())
    })?;
    jobs.sort_by_key(|(_, live)| live.sequence);
    Ok(LiveRows { jobs, damaged })
}

/// The jobs that are held, by id.
pub(crate) fn held(engine: &dyn Entries) -> Result<Vec<JobId>, StoreError> {
    let (from, to) = Table::Held.bounds();
    let mut held = Vec::new();
    engine.scan(&from, &to, &mut |key, _| {
        held.extend(layout::job_of(key));
        ControlFlow::Continue(())
    })?;
    Ok(held)
}

/// How many packets from the first on can be read, where some are damaged.
pub(crate) fn readable_packets(engine: &dyn Entries, id: JobId) -> Result<u64, StoreError> {
    let mut next = 0;
    loop {
        match segments(engine, id, next, PAGE_SIZE) {
            Ok(segments) => {
                let before = next;
                for segment in segments.iter().filter(|segment| segment.end() > before) {
                    if segment.first() > next {
                        return Ok(next);
                    }
                    next = segment.end();
                }
                if next == before {
                    return Ok(next);
                }
            }
            Err(StoreError::Corrupt { .. }) => return Ok(next),
            Err(error) => return Err(error),
        }
    }
}

/// Jobs that have ended, by id, from the one behind `after`.
pub(crate) fn ended_page(
    engine: &dyn Entries,
    after: Option<JobId>,
    limit: usize,
) -> Result<Vec<JobRecord>, StoreError> {
    let (first, to) = Table::Ends.bounds();
    let from = after.map_or(first, |id| Table::Ends.key(id));
    let mut jobs = Vec::new();
    let mut size = 0;
    let mut failure = None;
    engine.scan(&from, &to, &mut |key, entry| {
        let id = layout::job_of(key).unwrap_or(JobId::NONE);
        if Some(id) == after {
            return ControlFlow::Continue(());
        }
        let entry = intact(key, entry).map(|()| Bytes::copy_from_slice(entry));
        match entry.and_then(|entry| ended(engine, id, entry)) {
            Ok(Some((job, len))) => {
                jobs.push(job);
                size += len;
            }
            Ok(None) => {}
            // One bad record does not take the others away.
            Err(error @ StoreError::Corrupt { .. }) => tracing::error!(job = %id, "{error}"),
            Err(error) => failure = Some(error),
        }
        if failure.is_some() || jobs.len() >= limit || size >= PAGE_SIZE {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    failure.map_or(Ok(jobs), Err)
}

/// An ended job, and how long its call is.
fn ended(
    engine: &dyn Entries,
    id: JobId,
    entry: Bytes,
) -> Result<Option<(JobRecord, usize)>, StoreError> {
    let end = Long::of_end(id, entry)?;
    let end = end_fields(&end)?;
    let Some(call) = Long::read(engine, Table::Calls, id)? else {
        // Pruned since the entry was read.
        if !engine.contains(&Table::Ends.key(id))? {
            return Ok(None);
        }
        return Err(missing_call(id));
    };
    let len = call.beginning.total;
    let stage = Stage::Ended {
        started: end.started,
        ended: end.ended,
    };
    Ok(Some((job(engine, id, stage, call)?, len)))
}

/// Refuses a value that is not what was written.
pub(crate) fn intact(key: &[u8], value: &Value) -> Result<(), StoreError> {
    value
        .damage()
        .map_or(Ok(()), |damage| Err(damaged(key, damage)))
}

fn packets(id: JobId, key: &[u8], entry: Bytes) -> Result<Long, StoreError> {
    let what = name(Table::Packets);
    let first = layout::number_of(key).ok_or_else(|| corrupt(id, what, "its key is cut short"))?;
    Long::decode(id, what, layout::packets_key(id, first), entry)
}

fn end_fields(end: &Long) -> Result<codec::EndFields, StoreError> {
    codec::end_fields(&end.beginning.first).map_err(|error| corrupt(end.id, end.what, error))
}

pub(crate) fn decode_live(id: JobId, record: &[u8]) -> Result<LiveRecord, StoreError> {
    codec::decode_live(record).map_err(|error| corrupt(id, name(Table::Live), error))
}

/// The error about a job that has a state, but no call.
pub(crate) fn missing_call(id: JobId) -> StoreError {
    corrupt(id, name(Table::Calls), "it is missing")
}

/// The error about a value that is not what was written.
pub(crate) fn damaged(key: &[u8], damage: Damage) -> StoreError {
    match (layout::table_of(key), layout::job_of(key)) {
        (Some(table), Some(id)) => corrupt(id, name(table), damage),
        _ => StoreError::Unreadable(damage.to_string()),
    }
}

fn corrupt(id: JobId, what: &'static str, why: impl ToString) -> StoreError {
    StoreError::Corrupt {
        id,
        what,
        why: why.to_string(),
    }
}

pub(crate) fn name(table: Table) -> &'static str {
    match table {
        Table::Calls => "the call",
        Table::Live => "the state",
        Table::Ends => "the end",
        Table::Places => "the place in its queue",
        Table::Keys => "the job of its key",
        Table::Packets => "a segment of packets",
        Table::Pruned => "the note of its pruning",
        Table::Held => "the note that it is held",
        Table::Order => "the time of its end",
        Table::Boots => "a life of the machine",
    }
}
