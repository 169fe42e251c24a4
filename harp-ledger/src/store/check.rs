//! Reading everything, to see whether it makes sense, and mending what can be mended.
//!
//! What is found is told one by one; nothing is thrown away that could still be read. A
//! job whose state or end is lost gets an end that says so, so that nobody waits for it.

mod reading;

use std::fs;
use std::path::Path;
use std::time::Duration;

use harp_values::JobId;
use tempfile::TempDir;

pub(super) use self::reading::Check;
use super::StoreOptions;
use super::contents::Contents;
use super::derived::{self, Derived};
use super::directory::Directory;
use super::doubt;
use super::error::OpenError;
use super::image::Image;
use super::layout;
use super::open;
use super::opened::{self, Opened};
use super::sled::{Batch, EngineError};

/// How long the engine may take to let go of its file.
pub(super) const CLOSING: Duration = Duration::from_secs(30);

/// Something that is wrong in a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The job that it is about.
    pub job: Option<JobId>,
    /// What is wrong.
    pub what: String,
    /// What a repair does about it; `None` if nothing can be done.
    pub remedy: Option<&'static str>,
    /// The store can be repaired where it is; else only a new one be made of what is left.
    pub in_place: bool,
}

/// Totals of a check.
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
    if repair {
        mend(path, options, report)
    } else {
        look(path, options, report)
    }
}

/// Looks at a store without changing anything in its directory: the engine gets a copy.
fn look(
    path: &Path,
    options: StoreOptions,
    report: &mut dyn FnMut(Problem),
) -> Result<Checked, OpenError> {
    let directory = Directory::look_at(path)?;
    let failed = |error: EngineError| directory.damaged(error.to_string());
    let found = open::examine(&directory)?;
    let mut checked = Checked::default();
    checked.tell_useless(&found.derived, report);
    let mut damage = found.damage;
    if damage.is_none() {
        match copied(&directory, &found.derived, options) {
            Ok(copy) => {
                let mut told = Vec::new();
                let mut check = Check::new(&copy.opened.engine, checked);
                let doubt = copy.opened.live_differ.then_some(opened::LIVE_DIFFER);
                match check.all(doubt, &mut |problem| told.push(problem)) {
                    Ok(()) => {
                        told.into_iter().for_each(report);
                        return Ok(check.checked);
                    }
                    Err(error) => damage = Some(error.to_string()),
                }
            }
            Err(OpenError::Damaged { why, .. }) => damage = Some(why),
            // No room for a copy, as a rule: the values are looked at all the same.
            Err(OpenError::Io { .. }) => {}
            Err(other) => return Err(other),
        }
    }
    let image =
        Image::read(&directory.data_file()).map_err(directory.io_error("read the file db"))?;
    if let Some(why) = &damage {
        let in_place = found.is_only_short;
        let remedy = in_place.then_some("what is left is taken for all there is");
        checked.tell(Problem::of_all(why.clone(), remedy, in_place), report);
    }
    let mut check = Check::new(&image, checked);
    check.in_place = damage.is_none() || found.is_only_short;
    let doubt = doubt::doubt(&image, &directory, damage.as_deref()).map_err(failed)?;
    check.all(doubt, report).map_err(failed)?;
    check.broken(image.broken(), report);
    Ok(check.checked)
}

/// Repairs a store where it is, if its engine can be trusted.
fn mend(
    path: &Path,
    options: StoreOptions,
    report: &mut dyn FnMut(Problem),
) -> Result<Checked, OpenError> {
    let looking = Directory::look_at(path)?;
    let found = open::examine(&looking)?;
    if let Some(why) = &found.damage
        && !found.is_only_short
    {
        return Err(looking.damaged(why.clone()));
    }
    drop(looking);
    let directory = Directory::prepare(path)?;
    let failed = |error: EngineError| directory.damaged(error.to_string());
    open::tidy(&directory, &found.derived)?;
    let mut checked = Checked::default();
    checked.tell_useless(&found.derived, report);
    let expected = match found.damage {
        Some(_) => Some(0),
        None => directory.inspect()?,
    };
    let Opened {
        engine,
        mark,
        live_differ,
        ..
    } = opened::engine(&directory, options, expected)?;
    // Only now it has been repaired.
    let doubt = match found.damage {
        Some(why) => {
            let remedy = "what is left is taken for all there is";
            checked.tell(Problem::of_all(why, Some(remedy), true), report);
            Some(doubt::END_LOST)
        }
        None => live_differ.then_some(opened::LIVE_DIFFER),
    };
    let mut check = Check::new(&engine, checked);
    check.all(doubt, report).map_err(failed)?;
    let (checked, repairs) = (check.checked, check.repairs);
    let mark = mark + 1;
    let mut batch = Batch::new(mark);
    for (key, value) in repairs {
        match value {
            Some(value) => batch.insert(&key, &value),
            None => batch.remove(&key),
        }
    }
    engine.apply(batch).map_err(failed)?;
    let mut counts = Batch::new(mark);
    let contents = Contents::count(&engine).map_err(failed)?;
    counts.insert(layout::CONTENTS_KEY, contents.encode().as_bytes());
    counts.insert(layout::MARK_KEY, mark.to_string().as_bytes());
    engine
        .apply(counts)
        .and_then(|()| engine.sync())
        .map_err(failed)?;
    if engine.close(CLOSING) {
        directory
            .note_closed(mark)
            .map_err(directory.io_error("write store.json"))?;
    }
    Ok(checked)
}

/// A store's engine over a copy of its files, which goes away with this.
struct Copied {
    opened: Opened,
    _place: TempDir,
}

fn copied(
    directory: &Directory,
    derived: &Derived,
    options: StoreOptions,
) -> Result<Copied, OpenError> {
    let failed = || directory.io_error("copy it for the check (TMPDIR says where)");
    let place = tempfile::tempdir().map_err(failed())?;
    for entry in fs::read_dir(directory.path()).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        // What is of no use, or was put aside, can be of any length.
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_needed = name == "db" || name == "store.json" || derived::is_of_engine(&name);
        if is_needed && !derived.is_useless(&name) {
            fs::copy(entry.path(), place.path().join(&*name)).map_err(failed())?;
        }
    }
    let copy = Directory::prepare(place.path())?;
    let found = open::examine(&copy)?;
    open::tidy(&copy, &found.derived)?;
    let expected = copy.inspect()?;
    let opened = opened::engine(&copy, options, expected)?;
    Ok(Copied {
        opened,
        _place: place,
    })
}

impl Checked {
    pub(super) fn tell(&mut self, problem: Problem, report: &mut dyn FnMut(Problem)) {
        self.problems += 1;
        self.repairable += u64::from(problem.in_place && problem.remedy.is_some());
        report(problem);
    }

    /// Tells of files that can be made anew.
    fn tell_useless(&mut self, derived: &Derived, report: &mut dyn FnMut(Problem)) {
        for (name, why) in &derived.useless {
            let what = format!("its file {name} is of no use: {why}");
            let remedy = "it is put aside and made anew, as at a start";
            self.tell(Problem::of_all(what, Some(remedy), true), report);
        }
    }
}

impl Problem {
    pub(super) fn of_all(what: String, remedy: Option<&'static str>, in_place: bool) -> Problem {
        Problem {
            job: None,
            what,
            remedy,
            in_place,
        }
    }
}
