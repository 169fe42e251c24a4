//! Reading everything, to see whether it makes sense, and mending what can be mended.
//!
//! What is found is told one by one; nothing is thrown away that could still be read. A
//! job whose state or end is lost gets an end that says so, so that nobody waits for it.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use harp_proto::{Failure, JobId, Outcome, error_type};

use super::StoreOptions;
use super::codec;
use super::contents::Contents;
use super::directory::Directory;
use super::error::{OpenError, StoreError};
use super::layout::{self, Table};
use super::open::{self, Opened};
use super::read::{self, Long};
use super::sled::{Batch, Engine, EngineError};
use crate::clock;
use crate::record::EndRecord;

/// How long the engine may take to let go of its file.
const CLOSING: Duration = Duration::from_secs(30);

/// Something that is wrong in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The job that it is about.
    pub job: Option<JobId>,
    /// What is wrong.
    pub what: String,
    /// What a repair does about it; `None` if nothing can be done.
    pub remedy: Option<&'static str>,
}

/// What a check has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Checked {
    /// Jobs, live and ended.
    pub jobs: u64,
    /// Live ones among them.
    pub live: u64,
    /// Packets that can be read.
    pub packets: u64,
    /// Problems that were told.
    pub problems: u64,
    /// Those that were, or could be, repaired.
    pub repairable: u64,
}

pub(super) fn check(
    path: &Path,
    options: StoreOptions,
    repair: bool,
    report: &mut dyn FnMut(Problem),
) -> Result<Checked, OpenError> {
    if !path.join("db").exists() {
        return Err(OpenError::Io {
            path: path.into(),
            action: "find a store there",
            source: std::io::ErrorKind::NotFound.into(),
        });
    }
    let directory = Directory::prepare(path)?;
    let mut checked = Checked::default();
    let opened = match directory
        .inspect()
        .and_then(|expected| open::engine(&directory, options, expected))
    {
        Err(OpenError::Damaged { why, .. }) => {
            let problem = Problem {
                job: None,
                what: why,
                remedy: Some("what is left is taken for all there is"),
            };
            if !repair {
                checked.problems += 1;
                checked.repairable += 1;
                report(problem);
                return Ok(checked);
            }
            // Only if this succeeds it has been repaired.
            let opened = open::engine_despite(&directory, options)?;
            checked.problems += 1;
            checked.repairable += 1;
            report(problem);
            opened
        }
        opened => opened?,
    };
    let Opened { engine, mark, .. } = opened;
    let mut check = Check {
        engine: &engine,
        report,
        checked,
        repairs: Batch::default(),
    };
    let failed = |error: EngineError| directory.damaged(error.to_string());
    check.entries().map_err(failed)?;
    check.contents().map_err(failed)?;
    let (checked, repairs) = (check.checked, check.repairs);
    if repair {
        engine.apply(repairs).map_err(failed)?;
        let mut counts = Batch::default();
        let contents = Contents::count(&engine).map_err(failed)?;
        counts.insert(layout::CONTENTS_KEY, contents.encode().as_bytes());
        engine
            .apply(counts)
            .and_then(|()| engine.sync())
            .map_err(failed)?;
    }
    if engine.close(CLOSING) {
        directory
            .note_closed(mark)
            .map_err(directory.io_error("write store.json"))?;
    }
    Ok(checked)
}

struct Check<'a> {
    engine: &'a Engine,
    report: &'a mut dyn FnMut(Problem),
    checked: Checked,
    repairs: Batch,
}

impl Check<'_> {
    fn problem(
        &mut self,
        job: impl Into<Option<JobId>>,
        what: impl ToString,
        remedy: Option<&'static str>,
    ) {
        self.checked.problems += 1;
        self.checked.repairable += u64::from(remedy.is_some());
        (self.report)(Problem {
            job: job.into(),
            what: what.to_string(),
            remedy,
        });
    }

    /// Looks at every entry there is.
    fn entries(&mut self) -> Result<(), EngineError> {
        let engine = self.engine;
        let mut failure = None;
        engine.scan(b"", &[0xff], |key, value| {
            match self.entry(key, value) {
                Ok(()) => return ControlFlow::Continue(()),
                Err(StoreError::Unreadable(why)) => failure = Some(why),
                Err(error) => failure = Some(error.to_string()),
            }
            ControlFlow::Break(())
        })?;
        failure.map_or(Ok(()), |why| Err(EngineError::Damaged(why)))
    }

    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let table = key.first().copied().unwrap_or_default();
        let id = layout::job_of(key);
        match (table, id) {
            (b'v' | b'm' | b'n', _) if key.len() == 1 => Ok(()),
            (b'c', Some(id)) => self.call(id),
            (b'l', Some(id)) => self.live(id, value),
            (b'e', Some(id)) => self.end(id, value),
            (b'q', Some(id)) => self.place(id, key, value),
            (b'p', Some(id)) => self.packets(id, key),
            (b'C' | b'E' | b'P', Some(id)) => self.piece(id, key),
            (b'k', _) => self.key(key, value),
            (b'd', Some(_)) => Ok(()),
            _ => {
                let what = format!("an entry that no release has written: {key:02x?}");
                self.problem(None, what, None);
                Ok(())
            }
        }
    }

    fn call(&mut self, id: JobId) -> Result<(), StoreError> {
        self.checked.jobs += 1;
        let call = Long::read(self.engine, Table::Calls, id)
            .and_then(|call| call.map(|call| call.join(self.engine)).transpose());
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

    fn live(&mut self, id: JobId, value: &[u8]) -> Result<(), StoreError> {
        self.checked.live += 1;
        if self.has(Table::Ends, id)? {
            self.problem(id, "it is both live and ended", Some("it has ended"));
            self.repairs.remove(&Table::Live.key(id));
        } else if !self.has(Table::Calls, id)? {
            self.checked.jobs += 1;
            let what = "its call is missing";
            self.problem(id, what, Some("it is ended with storage_error"));
            self.end_anew(id, "the job's call is lost", None)?;
        } else if let Err(error) = read::decode_live(id, value) {
            self.problem(id, why(error)?, Some("it is ended with storage_error"));
            let lost = "the record of where the job stood is damaged";
            self.end_anew(id, lost, None)?;
        } else {
            let readable = read::readable_packets(self.engine, id)?;
            self.checked.packets += readable;
        }
        Ok(())
    }

    fn end(&mut self, id: JobId, value: &[u8]) -> Result<(), StoreError> {
        if !self.has(Table::Calls, id)? {
            self.checked.jobs += 1;
            self.problem(id, "its call is missing", None);
        }
        let end = Long::of_end(id, Bytes::copy_from_slice(value))
            .and_then(|end| read::end(self.engine, end));
        let readable = read::readable_packets(self.engine, id)?;
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
            Ok(_) if !self.has(Table::Ends, id)? => "a place of a job that has not ended".into(),
            Ok(_) => return Ok(()),
        };
        self.problem(id, what, Some("its place in its queue is free"));
        self.repairs.remove(key);
        Ok(())
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
            self.repairs.remove(key);
        }
        Ok(())
    }

    fn piece(&mut self, id: JobId, key: &[u8]) -> Result<(), StoreError> {
        let known = match layout::entry_of_piece(key) {
            Some(entry) => self.engine.contains(&entry)? || self.has(Table::Pruned, id)?,
            None => false,
        };
        if !known {
            let what = "a piece of a value that was never completed";
            self.problem(id, what, Some("it is removed"));
            self.repairs.remove(key);
        }
        Ok(())
    }

    fn key(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        let job = value.first_chunk().filter(|_| value.len() == 16);
        let job = job.map(|id| JobId::from_bytes(*id));
        let what = match job {
            None => "the job of a submission's key is not readable",
            Some(id) if !self.has(Table::Calls, id)? => "a submission's key whose job is gone",
            Some(_) => return Ok(()),
        };
        self.problem(job, what, Some("the key is removed"));
        self.repairs.remove(key);
        Ok(())
    }

    /// Whether the store knows how much it holds.
    fn contents(&mut self) -> Result<(), EngineError> {
        let (noted, counted) = (Contents::read(self.engine)?, Contents::count(self.engine)?);
        if noted != counted {
            let what = format!(
                "it notes {} ended jobs and {} bytes, and has {} and {}",
                noted.ended, noted.bytes, counted.ended, counted.bytes
            );
            self.problem(None, what, Some("it is counted anew"));
        }
        Ok(())
    }

    fn has(&self, table: Table, id: JobId) -> Result<bool, StoreError> {
        Ok(self.engine.contains(&table.key(id))?)
    }

    /// Ends a job whose records do not say how it stands.
    fn end_anew(&mut self, id: JobId, why: &str, packets: Option<u64>) -> Result<(), StoreError> {
        let packets = match packets {
            Some(packets) => packets,
            None => read::readable_packets(self.engine, id)?,
        };
        let failure = Failure::new(error_type::STORAGE_ERROR, format!("job store: {why}"));
        let end = EndRecord {
            started: None,
            ended: clock::now(),
            outcome: Outcome::Error(failure),
            packets,
        };
        self.repairs.remove(&Table::Live.key(id));
        self.write_end(id, &end)
    }

    fn write_end(&mut self, id: JobId, end: &EndRecord) -> Result<(), StoreError> {
        let end = codec::encode_end(end).map_err(|error| StoreError::Refused {
            id,
            why: error.to_string(),
        })?;
        let key = Table::Ends.key(id);
        let (entry, pieces) = layout::cut(&end);
        for (n, piece) in (0..).zip(pieces) {
            self.repairs.insert(&layout::piece_key(&key, n), piece);
        }
        self.repairs.insert(&key, &entry);
        Ok(())
    }
}

/// What is wrong with a record; an error that is not about the record is passed on.
fn why(error: StoreError) -> Result<String, StoreError> {
    match error {
        StoreError::Corrupt { what, why, .. } => Ok(format!("{what} is damaged: {why}")),
        other => Err(other),
    }
}
