//! `check-store`, `export` and `import`: commands that work on the store itself, while no
//! daemon has it open.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use harpcallerd::config::{Config, DEFAULT_PATH};
use harpcallerd::store::{Store, StoreOptions};
use harpcallerd::transfer;

use super::Done;

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
            None => Ok(Config::read(&self.config)?.0.stream_directory),
        }
    }
}

/// Reads everything and tells what is wrong, one line a problem.
pub(crate) fn check(which: Which, repair: bool) -> Done {
    let directory = which.directory()?;
    let mut report = |problem: harpcallerd::store::Problem| {
        let job = problem.job.map(|job| format!("job {job}: "));
        let remedy = match (problem.remedy, repair) {
            (Some(remedy), true) => format!("repaired: {remedy}"),
            (Some(remedy), false) => format!("--repair: {remedy}"),
            (None, _) => "cannot be repaired".to_owned(),
        };
        println!("{}{} ({remedy})", job.unwrap_or_default(), problem.what);
    };
    let checked = Store::check(&directory, StoreOptions::default(), repair, &mut report)?;
    println!(
        "{}: {} jobs, {} of them live, {} packets, {} problems",
        directory.display(),
        checked.jobs,
        checked.live,
        checked.packets,
        checked.problems
    );
    let left = match repair {
        true => checked.problems - checked.repairable,
        false => checked.problems,
    };
    if left > 0 {
        bail!(
            "{left} problems are left in job store {}",
            directory.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes all jobs into a file, or to standard output if that is `-`.
pub(crate) fn export(which: Which, file: &Path) -> Done {
    let store = Store::open(&existing(which.directory()?)?, StoreOptions::default())?;
    let mut problem = |what: String| eprintln!("harpcallerd: {what}");
    let moved = block_on(async {
        let moved = if file == Path::new("-") {
            let (mut out, moved) = transfer::export(&store, io::stdout(), &mut problem).await?;
            out.flush()?;
            moved
        } else {
            // The file appears under its name when it is whole.
            let mut new = file.as_os_str().to_owned();
            new.push(".new");
            let new = PathBuf::from(new);
            let opened = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&new)
                .with_context(|| format!("cannot write {}", new.display()))?;
            let out = BufWriter::new(opened);
            let (out, moved) = transfer::export(&store, out, &mut problem).await?;
            out.into_inner()
                .map_err(|error| error.into_error())?
                .sync_all()?;
            std::fs::rename(&new, file)
                .with_context(|| format!("cannot write {}", file.display()))?;
            moved
        };
        store.close().await;
        anyhow::Ok(moved)
    })??;
    eprintln!("{} jobs exported", moved.jobs);
    if moved.others > 0 {
        bail!(
            "of {} jobs something is left out, because it is damaged",
            moved.others
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Takes in the jobs of a file that `export` wrote, or of standard input if that is `-`.
pub(crate) fn import(which: Which, file: &Path) -> Done {
    let directory = which.directory()?;
    let input: Box<dyn io::Read> = match file == Path::new("-") {
        true => Box::new(io::stdin()),
        false => {
            let opened = File::open(file);
            Box::new(opened.with_context(|| format!("cannot read {}", file.display()))?)
        }
    };
    let store = Store::open(&directory, StoreOptions::default())?;
    let moved = block_on(async {
        let moved = transfer::import(&store, input).await;
        store.close().await;
        moved
    })?
    .with_context(|| format!("cannot import {}", file.display()))?;
    eprintln!(
        "{} jobs imported, {} were there already",
        moved.jobs, moved.others
    );
    Ok(ExitCode::SUCCESS)
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
