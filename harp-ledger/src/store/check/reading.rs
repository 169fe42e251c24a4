//! One reading of all entries: each problem of a job, and what is done about it.

use std::collections::HashSet;
use std::ops::ControlFlow;

use bytes::Bytes;
use harp_jobs::record::{EndRecord, Remarks};
use harp_time::clock;
use harp_values::{Failure, JobId, Outcome, error_type};

use super::super::codec;
use super::super::contents::Contents;
use super::super::ends::Moment;
use super::super::entries::Entries;
use super::super::error::StoreError;
use super::super::layout::{self, Table};
use super::super::papers;
use super::super::read::{self, Long};
use super::super::round;
use super::super::sled::{EngineError, Value};
use super::{Checked, Problem};

/// Changes of entries: keys, and values or removals.
pub(in crate::store) type Repairs = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// One reading of all entries.
pub(in crate::store) struct Check<'a> {
    entries: &'a dyn Entries,
    pub(in crate::store) checked: Checked,
    pub(in crate::store) repairs: Repairs,
    /// Repairs are made where the store is.
    pub(in crate::store) in_place: bool,
    told: Vec<Problem>,
    /// Why live jobs may have ended.
    doubt: Option<&'static str>,
    /// Jobs that have a place in the order of ends.
    ordered: HashSet<JobId>,
}

impl<'a> Check<'a> {
    pub(in crate::store) fn new(entries: &'a dyn Entries, checked: Checked) -> Check<'a> {
        Check {
            entries,
            checked,
            repairs: Vec::new(),
            in_place: true,
            told: Vec::new(),
            doubt: None,
            ordered: HashSet::new(),
        }
    }

    /// Looks at all there is. With a `doubt` it is not known of any live job whether it has
    /// started or ended, so none may be run.
    pub(in crate::store) fn all(
        &mut self,
        doubt: Option<&'static str>,
        report: &mut dyn FnMut(Problem),
    ) -> Result<(), EngineError> {
        self.doubt = doubt;
        self.entries(report)?;
        self.unordered()?;
        self.contents()?;
        self.told.drain(..).for_each(report);
        Ok(())
    }

    /// Tells of values that were found damaged, of jobs of which nothing else is known to
    /// be.
    pub(in crate::store) fn broken<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k [u8]>,
        report: &mut dyn FnMut(Problem),
    ) {
        for key in keys {
            if let (Some(table), Some(id)) = (layout::table_of(key), layout::job_of(key))
                && table != Table::Keys
            {
                let what = format!("{} is damaged", read::name(table));
                self.problem(id, what, None);
            }
        }
        self.told.drain(..).for_each(report);
    }

    fn problem(
        &mut self,
        job: impl Into<Option<JobId>>,
        what: impl ToString,
        remedy: Option<&'static str>,
    ) {
        let problem = Problem {
            job: job.into(),
            what: what.to_string(),
            remedy,
            in_place: self.in_place,
        };
        self.checked
            .tell(problem, &mut |problem| self.told.push(problem));
    }

    /// Looks at every entry there is.
    fn entries(&mut self, report: &mut dyn FnMut(Problem)) -> Result<(), EngineError> {
        let mut failure = None;
        self.entries.scan(b"", &[0xff], &mut |key, value| {
            let seen = self.entry(key, value);
            self.told.drain(..).for_each(&mut *report);
            match seen {
                Ok(()) => return ControlFlow::Continue(()),
                Err(StoreError::Unreadable(why)) => failure = Some(why),
                Err(error) => failure = Some(error.to_string()),
            }
            ControlFlow::Break(())
        })?;
        failure.map_or(Ok(()), |why| Err(EngineError::Damaged(why)))
    }

    fn entry(&mut self, key: &[u8], value: &Value) -> Result<(), StoreError> {
        let table = key.first().copied().unwrap_or_default();
        let id = layout::job_of(key);
        match (table, id) {
            (b'v' | b'm' | b'n' | b's', _) if key.len() == 1 => Ok(()),
            (b'h', _) if key.len() == 1 => self.note(None, key, value),
            (b'c', Some(id)) => self.call(id),
            (b'l', Some(id)) => self.live(id, key, value),
            (b'e', Some(id)) => self.end(id, key, value),
            (b'q', Some(id)) => self.place(id, key, value),
            (b'p', Some(id)) => self.packets(id, key),
            (b'C' | b'E' | b'P', Some(id)) => self.piece(id, key),
            (b'k', _) => self.key(key, value),
            (b'd', Some(_)) => Ok(()),
            (b'o', _) => self.order(key, value),
            (b'b', _) => self.boot(key, value),
            (b'w', Some(id)) => self.held(id, key, value),
            (b'a', _) if papers::is_key(key) => self.paper(key),
            _ => {
                let what = format!("an entry that no release has written: {key:02x?}");
                self.problem(None, what, None);
                Ok(())
            }
        }
    }

    fn call(&mut self, id: JobId) -> Result<(), StoreError> {
        self.checked.jobs += 1;
        let call = Long::read(self.entries, Table::Calls, id)
            .and_then(|call| call.map(|call| call.join(self.entries)).transpose());
        let why = match call {
            Ok(Some(call)) => codec::decode_call(&call).err().map(|why| why.to_string()),
            Ok(None) => None,
            Err(StoreError::Corrupt { why, .. }) => Some(why),
            Err(error) => return Err(error),
        };
        let is_live = self.has(Table::Live, id)?;
        if let Some(why) = why {
            let what = format!("its call cannot be read: {why}");
            let remedy = "it is ended with storage_error";
            self.problem(id, what, is_live.then_some(remedy));
            if is_live {
                self.end_anew(id, "the job's call is damaged", None)?;
            }
        }
        if !is_live && !self.has(Table::Ends, id)? {
            let what = "it is neither live nor ended";
            self.problem(id, what, Some("it is ended with storage_error"));
            self.end_anew(id, "the record of where the job stood is lost", None)?;
        }
        Ok(())
    }

    fn live(&mut self, id: JobId, key: &[u8], value: &Value) -> Result<(), StoreError> {
        self.checked.live += 1;
        if self.has(Table::Ends, id)? {
            self.problem(id, "it is both live and ended", Some("it has ended"));
            self.remove(&Table::Live.key(id));
        } else if !self.has(Table::Calls, id)? {
            self.checked.jobs += 1;
            let what = "its call is missing";
            self.problem(id, what, Some("it is ended with storage_error"));
            self.end_anew(id, "the job's call is lost", None)?;
        } else if let Err(error) =
            read::intact(key, value).and_then(|()| read::decode_live(id, value))
        {
            self.problem(id, why(error)?, Some("it is ended with storage_error"));
            let lost = "the record of where the job stood is damaged";
            self.end_anew(id, lost, None)?;
        } else if let Some(doubt) = self.doubt {
            let what = format!("it is found live and may have ended: {doubt}");
            self.problem(id, what, Some("it is ended with storage_error"));
            let lost = "the store was damaged, and the job may have ended before";
            self.end_anew(id, lost, None)?;
        } else {
            let readable = read::readable_packets(self.entries, id)?;
            self.checked.packets += readable;
        }
        Ok(())
    }

    fn end(&mut self, id: JobId, key: &[u8], value: &Value) -> Result<(), StoreError> {
        if !self.has(Table::Calls, id)? {
            self.checked.jobs += 1;
            self.problem(id, "its call is missing", None);
        }
        let end = read::intact(key, value)
            .and_then(|()| Long::of_end(id, Bytes::copy_from_slice(value)))
            .and_then(|end| read::end(self.entries, end));
        let readable = read::readable_packets(self.entries, id)?;
        match end {
            Ok(end) if readable < end.packets => {
                let lost = end.packets - readable;
                let what = format!("{lost} of its {} packets are lost", end.packets);
                let remedy = "its end counts those before them";
                self.problem(id, what, Some(remedy));
                let end = EndRecord {
                    packets: readable,
                    ..end
                };
                self.write_end(id, &end)?;
            }
            Ok(_) => {}
            Err(error) => {
                let what = format!("its end cannot be read: {}", why(error)?);
                self.problem(id, what, Some("its end becomes storage_error"));
                self.end_anew(id, "the job's end is damaged", Some(readable))?;
            }
        }
        self.checked.packets += readable;
        Ok(())
    }

    fn place(&mut self, id: JobId, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let what = match read::decode_live(id, value) {
            Err(error) => why(error)?,
            // One that is tried again can owe something of the attempt before.
            Ok(_) if !self.has(Table::Ends, id)? && !self.is_tried_again(id)? => {
                "a place of a job that has not ended".into()
            }
            Ok(_) => return Ok(()),
        };
        self.problem(id, what, Some("its place in its queue is free"));
        self.remove(key);
        Ok(())
    }

    fn is_tried_again(&self, id: JobId) -> Result<bool, StoreError> {
        let live = self.entries.get(&Table::Live.key(id))?;
        let live = live.and_then(|live| read::decode_live(id, &live).ok());
        Ok(live.is_some_and(|live| live.attempt > 1))
    }

    /// Packets are read with the end of their job; here those are found that have none.
    fn packets(&mut self, id: JobId, key: &[u8]) -> Result<(), StoreError> {
        let known = self.has(Table::Live, id)?
            || self.has(Table::Ends, id)?
            || self.has(Table::Calls, id)?
            || self.has(Table::Pruned, id)?;
        if !known {
            let what = "packets without a job, as an import that broke off leaves them";
            self.problem(id, what, Some("they are removed"));
            self.remove(key);
        }
        Ok(())
    }

    /// An entry without a value, which says what it says by being there.
    fn note(&mut self, job: Option<JobId>, key: &[u8], value: &Value) -> Result<(), StoreError> {
        if let Some(damage) = value.damage() {
            let what = format!("a note of the store is damaged: {damage}");
            self.problem(job, what, Some("it is written anew"));
            self.write(key, b"");
        }
        Ok(())
    }

    fn order(&mut self, key: &[u8], value: &Value) -> Result<(), StoreError> {
        let id = layout::order_of(key).map(|(_, id)| id);
        let has_ended = match id {
            Some(id) => self.has(Table::Ends, id)?,
            None => false,
        };
        if !has_ended || value.damage().is_some() || Moment::decode(value).is_none() {
            let what = "the time of an end that is not there, or is not readable";
            self.problem(id, what, Some("it is removed"));
            self.remove(key);
        } else {
            self.ordered.extend(id);
        }
        Ok(())
    }

    fn paper(&mut self, key: &[u8]) -> Result<(), StoreError> {
        if let Some(what) = papers::problem(self.entries, key)? {
            self.problem(None, what, Some("it is removed"));
            self.remove(key);
        }
        Ok(())
    }

    fn boot(&mut self, key: &[u8], value: &Value) -> Result<(), StoreError> {
        if let Some(damage) = value.damage() {
            let what = format!("when the machine was started once is damaged: {damage}");
            let remedy = "jobs that ended then count as old by the time of their submission";
            self.problem(None, what, Some(remedy));
            self.remove(key);
        }
        Ok(())
    }

    /// Whether each end has its place in the order of ends; it would never be pruned.
    fn unordered(&mut self) -> Result<(), EngineError> {
        // A store of an earlier release gets an order when it is opened.
        if !self.entries.contains(&layout::boot_key(0))? {
            return Ok(());
        }
        let (from, to) = Table::Ends.bounds();
        let mut unordered = Vec::new();
        let ordered = &self.ordered;
        self.entries.scan(&from, &to, &mut |key, _| {
            unordered.extend(layout::job_of(key).filter(|id| !ordered.contains(id)));
            ControlFlow::Continue(())
        })?;
        for id in unordered {
            let what = "its place in the order of ends is lost";
            self.problem(id, what, Some("it gets one by its submission"));
            self.put_in_order(id, layout::submitted(id));
        }
        Ok(())
    }

    fn put_in_order(&mut self, id: JobId, ended: u64) {
        let moment = Moment::elsewhere(ended).encode();
        self.write(&layout::order_key(ended, id), &moment);
    }

    fn held(&mut self, id: JobId, key: &[u8], value: &Value) -> Result<(), StoreError> {
        if !self.has(Table::Live, id)? {
            let what = "a held job that does not wait";
            self.problem(id, what, Some("it is not held any more"));
            self.remove(key);
            return Ok(());
        }
        self.note(Some(id), key, value)
    }

    fn piece(&mut self, id: JobId, key: &[u8]) -> Result<(), StoreError> {
        let known = match layout::entry_of_piece(key) {
            Some(entry) => self.entries.contains(&entry)? || self.has(Table::Pruned, id)?,
            None => false,
        };
        if !known {
            let what = "a piece of a value that was never completed";
            self.problem(id, what, Some("it is removed"));
            self.remove(key);
        }
        Ok(())
    }

    fn key(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let job = round::holder_of(value);
        let what = match job {
            None => "the job of a submission's key is not readable",
            Some(id) if !self.has(Table::Calls, id)? => "a submission's key whose job is gone",
            Some(_) => return Ok(()),
        };
        self.problem(job, what, Some("the key is removed"));
        self.remove(key);
        Ok(())
    }

    /// Whether the store knows how much it holds.
    fn contents(&mut self) -> Result<(), EngineError> {
        let Some(noted) = Contents::noted(self.entries)? else {
            let what = "its note of how much it holds is lost or damaged";
            self.problem(None, what, Some("it is counted anew"));
            return Ok(());
        };
        let counted = Contents::count(self.entries)?;
        if (noted.ended, noted.bytes) != (counted.ended, counted.bytes) {
            let what = format!(
                "it notes {} ended jobs and {} bytes, and has {} and {}",
                noted.ended, noted.bytes, counted.ended, counted.bytes
            );
            self.problem(None, what, Some("it is counted anew"));
        }
        Ok(())
    }

    fn has(&self, table: Table, id: JobId) -> Result<bool, StoreError> {
        Ok(self.entries.contains(&table.key(id))?)
    }

    /// Ends a job whose records do not say how it stands.
    fn end_anew(&mut self, id: JobId, why: &str, packets: Option<u64>) -> Result<(), StoreError> {
        let packets = match packets {
            Some(packets) => packets,
            None => read::readable_packets(self.entries, id)?,
        };
        let failure = Failure::new(error_type::STORAGE_ERROR, format!("job store: {why}"));
        let end = EndRecord {
            started: None,
            ended: clock::now(),
            outcome: Outcome::Error(failure),
            packets,
            remarks: Remarks::default(),
        };
        self.remove(&Table::Live.key(id));
        if self.has(Table::Held, id)? {
            self.remove(&Table::Held.key(id));
        }
        self.write_end(id, &end)
    }

    fn write_end(&mut self, id: JobId, end: &EndRecord) -> Result<(), StoreError> {
        let ended = end.ended;
        let end = codec::encode_end(end).map_err(|error| StoreError::Refused {
            id,
            why: error.to_string(),
        })?;
        self.put_in_order(id, ended);
        let key = Table::Ends.key(id);
        let (entry, pieces) = layout::cut(&end);
        for (n, piece) in (0..).zip(pieces) {
            self.write(&layout::piece_key(&key, n), piece);
        }
        self.write(&key, &entry);
        Ok(())
    }

    fn write(&mut self, key: &[u8], value: &[u8]) {
        self.repairs.push((key.to_vec(), Some(value.to_vec())));
    }

    fn remove(&mut self, key: &[u8]) {
        self.repairs.push((key.to_vec(), None));
    }
}

/// Explains the problem with a record; an error that is not about the record is passed on.
fn why(error: StoreError) -> Result<String, StoreError> {
    match error {
        StoreError::Corrupt { what, why, .. } => Ok(format!("{what} is damaged: {why}")),
        other => Err(other),
    }
}
