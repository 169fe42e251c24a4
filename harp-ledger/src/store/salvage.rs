//! Making a new store of what can still be read of one whose engine cannot be trusted.

use std::fs;
use std::path::Path;

use super::StoreOptions;
use super::check::{CLOSING, Check, Checked, Problem};
use super::contents::Contents;
use super::copies;
use super::directory::Directory;
use super::doubt::{doubt, mark};
use super::entries::Entries;
use super::error::OpenError;
use super::image::Image;
use super::layout;
use super::open;
use super::opened;
use super::round::BATCH;
use super::sled::{Batch, Engine, EngineError};

pub(super) fn salvage(
    path: &Path,
    target: &Path,
    options: StoreOptions,
    report: &mut dyn FnMut(Problem),
) -> Result<Checked, OpenError> {
    let from = Directory::look_at(path)?;
    let is_empty = fs::read_dir(target).map(|mut entries| entries.next().is_none());
    if !is_empty.unwrap_or(!target.exists()) {
        return Err(OpenError::NotEmpty {
            path: target.into(),
        });
    }
    let damage = match open::examine(&from) {
        Ok(found) => found.damage,
        Err(OpenError::Damaged { why, .. }) => Some(why),
        Err(other) => return Err(other),
    };
    let unreadable = |error: EngineError| from.damaged(error.to_string());
    let mut image = Image::read(&from.data_file()).map_err(from.io_error("read the file db"))?;
    let doubt = doubt(&image, &from, damage.as_deref()).map_err(unreadable)?;
    let mut checked = Checked::default();
    if let Some(why) = damage {
        let remedy = "all that is intact is taken";
        checked.tell(Problem::of_all(why, Some(remedy), false), report);
    }
    let mut check = Check::new(&image, checked);
    check.in_place = false;
    check.all(doubt, report).map_err(unreadable)?;
    check.broken(image.broken(), report);
    let (checked, repairs) = (check.checked, check.repairs);
    for (key, value) in repairs {
        image.change(key, value);
    }
    let mark = from
        .noted_mark()
        .unwrap_or(0)
        .max(mark(&image).map_err(unreadable)?)
        + 1;
    let to = Directory::prepare(target)?;
    to.make_private_files()?;
    // What is salvaged of a copy is one, too.
    let holds = copies::is_copy(&from, &image).map_err(unreadable)?;
    write(&image, &to, options, mark, holds).map_err(|error| opened::failed(&to, error))?;
    to.close_to_others()?;
    to.note_closed(mark)
        .map_err(to.io_error("write store.json"))?;
    Ok(checked)
}

/// Writes all entries into a new store; what waits is held if `holds` says so.
fn write(
    image: &Image,
    to: &Directory,
    options: StoreOptions,
    mark: u64,
    holds: bool,
) -> Result<(), EngineError> {
    let engine = Engine::open(to, options.cache_size)?;
    let mut batch = Batch::new(mark);
    // The version itself may be damaged; the number of starts is there from then on.
    let version = if image.contains(layout::STARTS_KEY)? {
        layout::NEWEST
    } else {
        layout::VERSION
    };
    batch.insert(layout::VERSION_KEY, version.to_string().as_bytes());
    for entry in image.all() {
        let (key, value) = match entry {
            Err(EngineError::Value { .. }) => continue,
            entry => entry?,
        };
        let own = [layout::VERSION_KEY, layout::MARK_KEY, layout::CONTENTS_KEY];
        if own.contains(&key) {
            continue;
        }
        batch.insert(key, &value);
        if batch.len() >= BATCH {
            engine.apply(batch.take())?;
        }
    }
    engine.apply(batch)?;
    if holds {
        copies::hold_waiting(&engine, mark)?;
    }
    let mut counts = Batch::new(mark);
    let contents = Contents::count(&engine)?;
    counts.insert(layout::CONTENTS_KEY, contents.encode().as_bytes());
    counts.insert(layout::MARK_KEY, mark.to_string().as_bytes());
    engine.apply(counts)?;
    engine.sync()?;
    if engine.close(CLOSING) {
        Ok(())
    } else {
        Err(EngineError::Damaged("the new store does not close".into()))
    }
}
