//! `try`: both daemons on this machine, with everything that they need, for somebody who wants
//! to see them work. What it writes can be grown into a real configuration.

mod daemons;
mod directory;
mod first_call;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use harp_service::signals::{ServiceSignal, Signals};

use self::daemons::Daemons;
use self::directory::Directory;
use super::Done;
use super::control::Control;
use super::printing::say;

/// Where all of it is kept unless somebody says otherwise.
pub(crate) const DEFAULT_DIRECTORY: &str = "harpcaller-try";

pub(crate) fn run(path: &Path) -> Done {
    let harpd = program("harpd").context(
        "there is no program harpd beside harpcallerd or in PATH: build it with \
         `cargo build -p harpd`, or install its package",
    )?;
    let directory = Directory::open(path, &harpd)?;
    if Control::find(&directory.control())?.is_some() {
        bail!(
            "what is in {} runs already; stop it by `harpcallerd --socket {} stop`",
            directory.path().display(),
            directory.control().display()
        );
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(go_on(&directory, &harpd))
}

/// Runs both daemons until a signal, or until one of them ends.
async fn go_on(directory: &Directory, harpd: &Path) -> Done {
    let mut signals = Signals::catch().context("cannot catch signals")?;
    let mut daemons = Daemons::default();
    let ended = tokio::select! {
        ended = serve(directory, harpd, &mut daemons) => Some(ended),
        () = stopped(&mut signals) => None,
    };
    daemons.stop().await;
    match ended {
        Some(Err(error)) => Err(error),
        Some(Ok(())) | None => Ok(ExitCode::SUCCESS),
    }
}

async fn stopped(signals: &mut Signals) {
    // A terminal that is closed ends it as well.
    match signals.next().await {
        ServiceSignal::Stop | ServiceSignal::Reload => {}
    }
}

/// Starts both daemons, says what to do with them, and waits until one of them ends, which is
/// an error.
async fn serve(directory: &Directory, harpd: &Path, daemons: &mut Daemons) -> anyhow::Result<()> {
    daemons.start(directory, harpd).await?;
    let job = if directory.is_new() {
        Some(first_call::make(&directory.socket()).await?)
    } else {
        None
    };
    tell(directory, job.as_deref())?;
    daemons.ended().await
}

/// Says where everything is, and what to type next.
fn tell(directory: &Directory, job: Option<&str>) -> anyhow::Result<()> {
    let page = directory.page();
    let screen = match job {
        Some(job) => format!("{page}#/jobs/{job}"),
        None => page.clone(),
    };
    let harp = program("harp").map_or_else(|| "harp".to_owned(), |path| as_typed(&path));
    let follow = job.map_or_else(
        || "jobs'".to_owned(),
        |job| format!("jobs/{job}/output?follow=true'"),
    );
    say(format!(
        "A dispatcher and a host named demo run. All that is theirs is in {at}\n\
         \n\
         Open this in a browser, and log in with the token:\n\
         \n    {screen}\n    {token}\n\
         \n\
         Or type in another terminal:\n\
         \n    export HARPCALLER=unix:{socket}\
         \n    {harp} call demo deploy release-8\
         \n    {harp} call demo migrate\
         \n    {harp} jobs\
         \n    curl -sN -H \"Authorization: Bearer $(cat {token_file})\" '{page}api/v1/{follow}\n\
         \n\
         Ctrl-C ends both. The same command starts them again, with all that they have kept.",
        at = directory.path().display(),
        token = directory.token()?,
        socket = directory.socket().display(),
        token_file = directory.token_file().display(),
    ))?;
    Ok(())
}

/// A program of the project: beside this one, or in PATH.
fn program(name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok();
    let beside = own.as_deref().and_then(Path::parent);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = beside.map(Path::to_owned).into_iter();
    let mut folders = folders.chain(std::env::split_paths(&path));
    folders.find_map(|folder| Some(folder.join(name)).filter(|file| file.is_file()))
}

/// A program as it has to be typed.
fn as_typed(program: &Path) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_in_path =
        std::env::split_paths(&path).any(|folder| program.parent() == Some(folder.as_path()));
    match program.file_name() {
        Some(name) if is_in_path => name.to_string_lossy().into_owned(),
        _ => program.display().to_string(),
    }
}
