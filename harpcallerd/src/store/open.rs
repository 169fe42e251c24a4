//! Opening a store: every check that stands between a damaged directory and an engine
//! that would take it for a new one.

use std::path::Path;
use std::sync::{Arc, mpsc};

use tokio::sync::Semaphore;

use super::contents::Contents;
use super::directory::Directory;
use super::error::OpenError;
use super::layout;
use super::presence::Presence;
use super::shared::Shared;
use super::sled::{Batch, Engine, EngineError};
use super::writer::Writer;
use super::{Store, StoreOptions, WRITE_BUDGET};

pub(super) fn open(path: &Path, options: StoreOptions) -> Result<Store, OpenError> {
    let directory = Directory::prepare(path)?;
    let expected = directory.inspect()?;
    directory.make_private_files()?;
    let opened = engine(&directory, options, expected)?;
    let presence = Presence::note(&directory).map_err(directory.io_error("open the file db"))?;
    directory
        .note_open(opened.mark)
        .map_err(directory.io_error("write store.json"))?;
    directory.close_to_others()?;

    let shared = Arc::new(Shared::new(opened.engine, opened.contents));
    let (requests, received) = mpsc::channel();
    let cannot_spawn = directory.io_error("start its writer");
    let mark = opened.mark;
    let writer = Writer::new(shared.clone(), directory, options, received, mark, presence);
    std::thread::Builder::new()
        .name("store writer".into())
        .spawn(move || writer.run())
        .map_err(cannot_spawn)?;
    Ok(Store {
        shared,
        requests,
        budget: Arc::new(Semaphore::new(WRITE_BUDGET)),
    })
}

/// An engine that holds what it has to hold.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    pub(crate) mark: u64,
    pub(crate) contents: Contents,
}

/// Opens the engine of a directory that has been inspected.
pub(crate) fn engine(
    directory: &Directory,
    options: StoreOptions,
    expected: Option<u64>,
) -> Result<Opened, OpenError> {
    let failed = |error| failed(directory, error);
    let engine = Engine::open(directory, options.cache_size).map_err(failed)?;
    check_layout(directory, &engine, expected.is_some())?;
    let mark = check_mark(directory, &engine, expected.unwrap_or(0))?;
    let contents = Contents::read(&engine).map_err(failed)?;
    Ok(Opened {
        engine,
        mark,
        contents,
    })
}

/// Opens the engine of a directory whose note does not fit, if it holds a job store.
pub(crate) fn engine_despite(
    directory: &Directory,
    options: StoreOptions,
) -> Result<Opened, OpenError> {
    let length = std::fs::metadata(directory.data_file()).map(|metadata| metadata.len());
    if length.map_err(directory.io_error("look at the file db"))? == 0 {
        return Err(directory.damaged("its file db is empty"));
    }
    engine(directory, options, Some(0))
}

/// Makes sure that the engine holds a job store that this release knows, or nothing at
/// all if there was no store.
fn check_layout(directory: &Directory, engine: &Engine, exists: bool) -> Result<(), OpenError> {
    let failed = |error| failed(directory, error);
    match engine.get(layout::VERSION_KEY).map_err(failed)? {
        Some(version) => {
            let version = decimal(&version)
                .and_then(|version| u32::try_from(version).ok())
                .ok_or_else(|| directory.damaged("its layout version is not readable"))?;
            if version > layout::VERSION {
                return Err(directory.newer(version));
            }
            Ok(())
        }
        None if exists => Err(directory.damaged("its content is gone")),
        None if !engine.is_empty().map_err(failed)? => {
            Err(directory.damaged("it has no layout version: this is no job store"))
        }
        None => {
            let mut batch = Batch::default();
            batch.insert(layout::VERSION_KEY, layout::VERSION.to_string().as_bytes());
            engine
                .apply(batch)
                .and_then(|()| engine.sync())
                .map_err(failed)
        }
    }
}

/// Makes sure that the last writes are there, and returns the mark of the store.
fn check_mark(directory: &Directory, engine: &Engine, expected: u64) -> Result<u64, OpenError> {
    let mark = engine
        .get(layout::MARK_KEY)
        .map_err(|error| failed(directory, error))?;
    let mark = mark.as_deref().map_or(Some(0), decimal);
    match mark {
        Some(mark) if mark >= expected => Ok(mark),
        Some(_) => Err(directory.damaged(
            "what was written last is gone; \"harpcallerd check-store --repair\" accepts the loss",
        )),
        None => Err(directory.damaged("its mark is not readable")),
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn failed(directory: &Directory, error: EngineError) -> OpenError {
    match error {
        EngineError::Io(source) => directory.io_error("open the engine")(source),
        EngineError::Damaged(why) => directory.damaged(why),
    }
}
