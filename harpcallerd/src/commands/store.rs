//! `check-store`, `export` and `import`: commands that work on the store itself, while no
//! daemon has it open.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use harp_ledger::store::{Checked, Problem, Store, StoreOptions};
use harp_ledger::transfer::{self, Moved, TransferError};
use harp_service::private_file::Replacement;
use harp_service::streams::Patient;
use harpcallerd::config::{Config, DEFAULT_PATH};
use nix::unistd::{Uid, User};
use rustix::process::geteuid;

use super::Done;
use super::printing::{note, say};

/// Which store a command works on.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// The store's directory, instead of the configuration's stream_directory.
    #[arg(long, value_name = "DIRECTORY")]
    store: Option<PathBuf>,
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
    config: PathBuf,
}

impl Which {
    fn directory(self) -> anyhow::Result<PathBuf> {
        match self.store {
            Some(directory) => Ok(directory),
            None => Ok(Config::read(&self.config)?.0.jobs_directory()?.to_owned()),
        }
    }
}

/// Reads everything and tells what is wrong, one line a problem.
pub(crate) fn check(which: Which, repair: bool) -> Done {
    let directory = which.directory()?;
    refuse_root(&directory, "check-store")?;
    let mut lines = Lines::default();
    let mut is_in_place = true;
    let mut report = |problem: Problem| {
        is_in_place &= problem.in_place;
        lines.tell(&problem, repair);
    };
    let checked = Store::check(&directory, StoreOptions::default(), repair, &mut report)?;
    lines.end(&directory, &checked)?;
    let left = if repair {
        checked.problems - checked.repairable
    } else {
        checked.problems
    };
    if left > 0 && is_in_place {
        bail!(
            "{left} problems are left in job store {}",
            directory.display()
        );
    }
    if left > 0 {
        bail!(
            "job store {} cannot be repaired where it is, and was not changed; \
             \"harpcallerd check-store --salvage NEW-DIRECTORY\" makes a new store of what is intact",
            directory.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a new store of all that is intact, and tells what is gone, one line a problem.
pub(crate) fn salvage(which: Which, target: &Path) -> Done {
    let directory = which.directory()?;
    refuse_root(&directory, "check-store")?;
    let mut lines = Lines::default();
    let mut report = |problem: Problem| lines.tell(&problem, true);
    let checked = Store::salvage(&directory, target, StoreOptions::default(), &mut report)?;
    lines.end(target, &checked)?;
    say(format_args!(
        "{} is as it was; to go on with the new store, move it there, or name it as stream_directory",
        directory.display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Lines about problems. The work goes on to its end even if nobody reads them any more.
#[derive(Default)]
struct Lines(Option<anyhow::Error>);

impl Lines {
    fn tell(&mut self, problem: &Problem, is_done: bool) {
        let job = problem.job.map(|job| format!("job {job}: "));
        let remedy = match (problem.remedy, problem.in_place, is_done) {
            (Some(remedy), true, true) => format!("repaired: {remedy}"),
            (Some(remedy), true, false) => format!("--repair: {remedy}"),
            (Some(remedy), false, true) => format!("in the new store: {remedy}"),
            (Some(remedy), false, false) => format!("--salvage: {remedy}"),
            (None, true, _) => "cannot be repaired".to_owned(),
            (None, false, _) => "it cannot be brought back".to_owned(),
        };
        let line = format!("{}{} ({remedy})", job.unwrap_or_default(), problem.what);
        if self.0.is_none() {
            self.0 = say(line).err().map(Into::into);
        }
    }

    fn end(self, directory: &Path, checked: &Checked) -> anyhow::Result<()> {
        self.0.map_or(Ok(()), Err)?;
        say(format_args!(
            "{}: {} jobs, {} of them live, {} packets, {} problems",
            directory.display(),
            checked.jobs,
            checked.live,
            checked.packets,
            checked.problems
        ))?;
        Ok(())
    }
}

/// Writes all jobs into a file, or to standard output if that is `-`.
/// With `salvage`, of a store that is damaged: by way of a new one that goes away again.
pub(crate) fn export(which: Which, file: &Path, salvage: bool) -> Done {
    let mut directory = existing(which.directory()?)?;
    refuse_root(&directory, "export")?;
    let file = (file != Path::new("-")).then_some(file);
    file.map_or(Ok(()), refuse_special)?;
    let place = tempfile::tempdir().context("cannot make a directory (TMPDIR says where)")?;
    let mut lost = 0;
    if salvage {
        let target = place.path().join("jobs");
        let mut report = |problem: Problem| {
            let job = problem.job.map(|job| format!("job {job}: "));
            note(format_args!(
                "harpcallerd: {}{}",
                job.unwrap_or_default(),
                problem.what
            ));
        };
        let options = StoreOptions::default();
        lost = Store::salvage(&directory, &target, options, &mut report)?.problems;
        directory = target;
    }
    let store = Store::open(&directory, StoreOptions::default())?;
    let mut problem = |what: String| note(format_args!("harpcallerd: {what}"));
    let moved = block_on(async {
        let moved = if let Some(file) = file {
            // The file appears under its name when it is whole.
            let out = BufWriter::new(Replacement::begin(file)?);
            let (out, moved) = transfer::export(&store, out, &mut problem).await?;
            let new = out.into_inner().map_err(|error| error.into_error())?;
            new.finish()?;
            moved
        } else {
            let (mut out, moved) = {
                let out = Patient(io::stdout());
                transfer::export(&store, out, &mut problem).await?
            };
            out.flush()?;
            moved
        };
        store.close().await;
        anyhow::Ok(moved)
    })??;
    note(format_args!("{} jobs exported", moved.jobs));
    if moved.others > 0 {
        bail!(
            "of {} jobs something is left out, because it is damaged",
            moved.others
        );
    }
    if lost > 0 {
        bail!("all that is intact is exported; {lost} things are not, told above");
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes in the jobs of a file that `export` wrote, or of standard input if that is `-`.
/// Those that waited are held unless `resume` says that they are to be run.
pub(crate) fn import(which: Which, file: &Path, resume: bool) -> Done {
    let directory = which.directory()?;
    refuse_root(&directory, "import")?;
    let input: Box<dyn io::Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let opened = File::open(file);
        Box::new(opened.with_context(|| format!("cannot read {}", file.display()))?)
    };
    let store = Store::open(&directory, StoreOptions::default())?;
    let (moved, held) = block_on(async {
        let moved = import_into(&store, input, resume).await;
        store.close().await;
        moved
    })?
    .with_context(|| format!("cannot import {}", file.display()))?;
    note(format_args!(
        "{} jobs imported, {} were there already",
        moved.jobs, moved.others
    ));
    if held > 0 {
        note(format_args!(
            "{held} jobs that wait are held until \"harpcallerd resume\", since they may have been \
             run where they come from"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns what was moved, and how many jobs of the store are held then.
async fn import_into(
    store: &Store,
    input: Box<dyn io::Read>,
    resume: bool,
) -> Result<(Moved, usize), TransferError> {
    let moved = transfer::import(store, input).await?;
    if resume {
        store.release_held().await?;
    }
    Ok((moved, store.held().await?.len()))
}

/// Refuses to work as root on a store of another user, or in a place of another user's
/// where one is to be made: it would leave files that the daemon cannot open.
fn refuse_root(directory: &Path, command: &str) -> anyhow::Result<()> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let inside = directory.join("db");
    let there = [inside.as_path()].into_iter().chain(directory.ancestors());
    for path in there {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let Ok(found) = fs::metadata(path) else {
            continue;
        };
        if found.uid() != 0 {
            let user = User::from_uid(Uid::from_raw(found.uid())).ok().flatten();
            let user = user.map_or_else(|| found.uid().to_string(), |user| user.name);
            bail!(
                "{} belongs to the user {user}, who could not open what root writes there; \
                 run this as that user: runuser -u {user} -- harpcallerd {command}",
                path.display()
            );
        }
        // What is above a store's own directory may be anybody's.
        if path != inside {
            break;
        }
    }
    Ok(())
}

/// Refuses to put a file in the place of something else, such as a device.
pub(super) fn refuse_special(file: &Path) -> anyhow::Result<()> {
    match fs::symlink_metadata(file) {
        Ok(found) if !found.is_file() => bail!(
            "{} is no regular file and is not replaced; - writes to standard output",
            file.display()
        ),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error).with_context(|| format!("cannot write {}", file.display())),
    }
}

/// A store that is there; it is not made by looking at it.
fn existing(directory: PathBuf) -> anyhow::Result<PathBuf> {
    if !directory.join("db").exists() {
        bail!("there is no job store in {}", directory.display());
    }
    Ok(directory)
}

fn block_on<T>(work: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    Ok(runtime.block_on(work))
}
