//! Stores that are copies of others: in one, the calls that wait may have been made by the
//! dispatcher of the original, so they are held ([`Table::Held`]) until the operator says
//! that they are to be made here.

use std::io::BufReader;

use harp_files::regular;
use serde::Deserialize;

use super::directory::Directory;
use super::entries::Entries;
use super::error::StoreError;
use super::home::Home;
use super::layout::{self, Table};
use super::read;
use super::sled::{Batch, Engine, EngineError};

/// Jobs that are held in one step.
const AT_ONCE: usize = 1000;

/// What counts of a note here. It is read by itself, since a damaged one is no hindrance.
#[derive(Deserialize)]
struct Note {
    #[serde(default)]
    home: Option<Home>,
}

/// Holds the calls that wait in a store if that is a copy. What is held is on disk when
/// this returns, so the note may be written anew.
pub(super) fn hold_if_copy(
    directory: &Directory,
    engine: &Engine,
    mark: u64,
) -> Result<(), EngineError> {
    if !is_copy(directory, engine)? {
        return Ok(());
    }
    let held = hold_waiting(engine, mark)?;
    if held > 0 {
        tracing::warn!(
            jobs = held,
            "this job store is a copy of another, restored or moved: jobs that waited in it are \
             held until \"harpcallerd resume\" or a cancel, since the other may have run them"
        );
    }
    Ok(())
}

/// Whether a store does not stand where its note was written.
pub(super) fn is_copy(directory: &Directory, entries: &dyn Entries) -> Result<bool, EngineError> {
    let file = regular::open(&directory.note_file()).ok();
    let noted = file.as_ref().and_then(|file| {
        let note: Note = serde_json::from_reader(BufReader::new(file)).ok()?;
        note.home
    });
    let found = file.as_ref().and_then(|file| file.metadata().ok());
    match (noted, found) {
        (Some(noted), Some(found)) => Ok(!noted.is(&Home::from(&found, directory.boot()))),
        // A store of an earlier release does not say where it is; one of this release whose
        // note is gone has been put together from parts.
        _ => match entries.contains(layout::HOME_KEY) {
            // It is there, though damaged.
            Err(EngineError::Value { .. }) => Ok(true),
            found => found,
        },
    }
}

/// Holds all calls that wait, and returns how many there are.
pub(super) fn hold_waiting(engine: &Engine, mark: u64) -> Result<usize, EngineError> {
    let live = read::live_rows(engine, Table::Live);
    let live = live.map_err(|error: StoreError| EngineError::Damaged(error.to_string()))?;
    let waiting = live.jobs.iter().filter(|(_, job)| job.started.is_none());
    let waiting: Vec<_> = waiting.map(|(id, _)| *id).collect();
    for jobs in waiting.chunks(AT_ONCE) {
        let mut batch = Batch::new(mark);
        for id in jobs {
            batch.insert(&Table::Held.key(*id), b"");
        }
        engine.apply(batch)?;
    }
    engine.sync()?;
    Ok(waiting.len())
}

/// Whether the store knows that its note on disk says where it is.
pub(super) fn is_settled(engine: &Engine) -> Result<bool, EngineError> {
    engine.contains(layout::HOME_KEY)
}

/// Notes in the store that its note on disk says where it is.
pub(super) fn settle(engine: &Engine, mark: u64) -> Result<(), EngineError> {
    if is_settled(engine)? {
        return Ok(());
    }
    let mut batch = Batch::new(mark);
    batch.insert(layout::HOME_KEY, b"");
    engine.apply(batch)?;
    engine.sync()
}
