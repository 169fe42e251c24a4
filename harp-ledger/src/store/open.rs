//! Opening a store: every check that stands between a damaged directory and an engine
//! that would take it for a new one.

use std::path::Path;
use std::sync::{Arc, mpsc};

use harp_values::JobId;
use tokio::sync::Semaphore;

use super::aside::Aside;
use super::copies;
use super::derived::Derived;
use super::directory::Directory;
use super::ends::Ends;
use super::error::OpenError;
use super::foreign;
use super::layout::{self, Table};
use super::opened::{self, Opened};
use super::presence::Presence;
use super::read;
use super::shared::Shared;
use super::sled::EngineError;
use super::survey;
use super::undo::Undo;
use super::writer::Writer;
use super::{Store, StoreOptions, WRITE_BUDGET};

pub(super) fn open(path: &Path, options: StoreOptions) -> Result<Store, OpenError> {
    foreign::refuse(path)?;
    let mut directory = Directory::prepare(path)?;
    let expected = directory.inspect()?;
    // Nothing is written before it is known that what is there is good.
    let found = examine(&directory)?;
    if let Some(why) = found.damage {
        return Err(directory.damaged(why));
    }
    let aside = tidy(&directory, &found.derived)?;
    let undo = Undo::before(directory.path(), directory.data_file(), aside);
    // A disk that is full keeps nobody from starting.
    let undo = undo.map_err(|error| {
        tracing::warn!(%error, "should this start be refused, the job store's files will not be as they were");
    });
    directory.make_private_files()?;
    let Ready {
        opened,
        held,
        newest,
        ends,
    } = match ready(&directory, options, expected) {
        Ok(ready) => ready,
        Err(refusal) => {
            if let Ok(undo) = undo
                && let Err(error) = undo.restore()
            {
                tracing::error!(%error, "the files of a job store that is refused are not as they were");
            }
            return Err(refusal);
        }
    };
    let keyed_behind = directory.keyed_behind(newest);
    let presence = Presence::note(&directory).map_err(directory.io_error("open the file db"))?;
    directory
        .note_open(opened.mark)
        .map_err(directory.io_error("write store.json"))?;
    directory.close_to_others()?;
    copies::settle(&opened.engine, opened.mark)
        .map_err(|error| opened::failed(&directory, error))?;

    let (mark, layout) = (opened.mark, opened.layout);
    let shared = Arc::new(Shared::new(
        opened.engine,
        opened.contents,
        ends,
        keyed_behind,
    ));
    shared.set_layout(layout);
    if held {
        shared.may_hold();
    }
    let (requests, received) = mpsc::channel();
    let cannot_spawn = directory.io_error("start its writer");
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

/// An engine that can be worked with, and what a start has to know of it.
struct Ready {
    opened: Opened,
    /// Whether jobs are held.
    held: bool,
    /// The newest job, or none.
    newest: JobId,
    ends: Ends,
}

/// Opens the engine and reads what a start needs: everything that may refuse it.
fn ready(
    directory: &Directory,
    options: StoreOptions,
    expected: Option<u64>,
) -> Result<Ready, OpenError> {
    let opened = opened::engine(directory, options, expected)?;
    if opened.live_differ {
        return Err(directory.damaged(opened::LIVE_DIFFER));
    }
    let held = read::held(&opened.engine);
    let held = held.map_err(|error| directory.damaged(error.to_string()))?;
    let (from, to) = Table::Calls.bounds();
    let newest = match opened.engine.last(&from, &to) {
        Ok(last) => last.and_then(|(key, _)| layout::job_of(&key)),
        // One damaged call keeps nothing from opening.
        Err(EngineError::Value { key, .. }) => layout::job_of(&key),
        Err(error) => return Err(opened::failed(directory, error)),
    };
    let ends = Ends::open(&opened.engine, directory.boot(), opened.mark);
    let ends = ends.map_err(|error| opened::failed(directory, error))?;
    copies::is_settled(&opened.engine).map_err(|error| opened::failed(directory, error))?;
    Ok(Ready {
        opened,
        held: !held.is_empty(),
        newest: newest.unwrap_or(JobId::NONE),
        ends,
    })
}

/// Findings about a store before its engine is opened.
pub(crate) struct Examined {
    pub(crate) derived: Derived,
    /// Why the engine must not be let in.
    pub(crate) damage: Option<String>,
    /// That is only because its end is missing, in a way that a crash could have brought
    /// about.
    pub(crate) is_only_short: bool,
}

/// Looks at a store's files without changing them.
pub(crate) fn examine(directory: &Directory) -> Result<Examined, OpenError> {
    let failed = || directory.io_error("read its files");
    let derived = Derived::inspect(directory.path()).map_err(failed())?;
    match directory.inspect() {
        Ok(_) => {}
        Err(OpenError::Damaged { why, .. }) => {
            return Ok(Examined {
                derived,
                damage: Some(why),
                is_only_short: false,
            });
        }
        Err(other) => return Err(other),
    }
    let orderly = directory.was_closed();
    let survey = survey::survey(&directory.data_file(), derived.known_up_to, orderly);
    let survey = survey.map_err(failed())?;
    Ok(Examined {
        derived,
        is_only_short: survey.damaged.is_empty(),
        damage: survey.problem(directory.noted_mark().unwrap_or(0)),
    })
}

/// Removes and puts aside what would keep the engine from opening.
pub(super) fn tidy(directory: &Directory, derived: &Derived) -> Result<Vec<Aside>, OpenError> {
    directory.remove_unfinished_snapshots()?;
    let put_aside = derived.put_aside(directory.path());
    put_aside.map_err(directory.io_error("put a useless file aside"))
}
