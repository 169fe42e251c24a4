//! The engine of a directory, opened once it is known that it holds what it has to hold.

use super::StoreOptions;
use super::contents::Contents;
use super::copies;
use super::directory::Directory;
use super::error::OpenError;
use super::layout;
use super::live_sum::LiveSum;
use super::sled::{Batch, Engine, EngineError};
use super::survey;

/// An engine that holds what it has to hold.
pub(crate) struct Opened {
    pub(crate) engine: Engine,
    pub(crate) mark: u64,
    pub(crate) contents: Contents,
    /// The version of its layout.
    pub(crate) layout: u32,
    /// The jobs that are found live are not those that should be.
    pub(crate) live_differ: bool,
}

/// Told of a store that shows jobs as live that have ended, or as waiting that have
/// started, or lacks some.
pub(crate) const LIVE_DIFFER: &str =
    "the jobs that are found live are not those that it notes as live";

/// Opens the engine of a directory that has been inspected.
pub(crate) fn engine(
    directory: &Directory,
    options: StoreOptions,
    expected: Option<u64>,
) -> Result<Opened, OpenError> {
    let failed = |error| failed(directory, error);
    let engine = Engine::open(directory, options.cache_size).map_err(failed)?;
    let found = check_layout(directory, &engine, expected.is_some())?;
    let mut mark = check_mark(directory, &engine, expected.unwrap_or(0))?;
    // Before the note is written anew, by which a copy is known.
    copies::hold_if_copy(directory, &engine, mark).map_err(failed)?;
    let mut contents = Contents::read(&engine).map_err(failed)?;
    let noted = contents.live;
    contents.live = LiveSum::count(&engine).map_err(failed)?;
    let live_differ = noted
        .zip(contents.live)
        .is_some_and(|(noted, found)| noted != found);
    if found < layout::VERSION {
        mark += 1;
        take_over(&engine, mark, contents).map_err(failed)?;
    }
    Ok(Opened {
        engine,
        mark,
        contents,
        layout: found.max(layout::VERSION),
        live_differ,
    })
}

/// Makes a store of an earlier layout one of this release's. What is in it stays as it is:
/// this release reads that too.
fn take_over(engine: &Engine, mark: u64, contents: Contents) -> Result<(), EngineError> {
    let mut batch = Batch::new(mark);
    batch.insert(layout::VERSION_KEY, layout::VERSION.to_string().as_bytes());
    batch.insert(layout::MARK_KEY, mark.to_string().as_bytes());
    batch.insert(layout::CONTENTS_KEY, contents.encode().as_bytes());
    engine.apply(batch)?;
    engine.sync()
}

/// Makes sure that the engine holds a job store that this release knows, or nothing at
/// all if there was no store. Returns the layout that it has.
fn check_layout(directory: &Directory, engine: &Engine, exists: bool) -> Result<u32, OpenError> {
    let failed = |error| failed(directory, error);
    match engine.get(layout::VERSION_KEY).map_err(failed)? {
        Some(version) => {
            let version = decimal(&version)
                .and_then(|version| u32::try_from(version).ok())
                .ok_or_else(|| directory.damaged("its layout version is not readable"))?;
            if version > layout::NEWEST {
                return Err(directory.newer(version));
            }
            Ok(version)
        }
        None if exists => Err(directory.damaged("its content is gone")),
        None if !engine.is_empty().map_err(failed)? => {
            Err(directory.damaged("it has no layout version: this is no job store"))
        }
        None => {
            let mut batch = Batch::default();
            batch.insert(layout::VERSION_KEY, layout::VERSION.to_string().as_bytes());
            let nothing = Contents {
                live: Some(LiveSum::default()),
                ..Contents::default()
            };
            batch.insert(layout::CONTENTS_KEY, nothing.encode().as_bytes());
            engine
                .apply(batch)
                .and_then(|()| engine.sync())
                .map_err(failed)?;
            Ok(layout::VERSION)
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
        Some(_) => Err(directory.damaged(survey::LAST_GONE)),
        None => Err(directory.damaged("its mark is not readable")),
    }
}

pub(super) fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

pub(super) fn failed(directory: &Directory, error: EngineError) -> OpenError {
    match error {
        EngineError::Io(source) => directory.io_error("open the engine")(source),
        EngineError::Damaged(why) => directory.damaged(why),
        damaged @ EngineError::Value { .. } => directory.damaged(damaged.to_string()),
    }
}
