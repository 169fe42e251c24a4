//! `start`: the daemon itself.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use harp_exec::Limit;
use harp_service::systemd::{self, Notifier};
use harp_service::{descriptors, logging};
use harpcallerd::config::{self, Config};
use harpcallerd::daemon::{self, Setup};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread;
use tracing::level_filters::LevelFilter;
use tracing::warn;

use super::Done;

pub(crate) fn run(
    config_file: PathBuf,
    debug: bool,
    pidfile: Option<PathBuf>,
    socket: PathBuf,
) -> Done {
    // Before there is any other thread.
    bequeath_no_capabilities().context("cannot give up inheritable capabilities")?;
    let handed_over = systemd::listening_sockets()?;
    let notifier = Notifier::from_environment().context("NOTIFY_SOCKET cannot be used")?;
    let (mut config, warnings) = Config::read(&config_file)?;
    if debug {
        config.log.level = LevelFilter::DEBUG;
    }
    let log = Arc::new(logging::init("harpcallerd", &config.log)?);
    refuse_core_dumps();
    let script_limits = vec![Limit::open_files_as_here()];
    let descriptors = descriptors::raise_limit();
    let descriptors = descriptors.unwrap_or_else(|error| {
        warn!(%error, "the limit of open files cannot be raised");
        getrlimit(Resource::Nofile).current
    });
    for warning in warnings {
        warn!("{warning}");
    }
    for exposed in config::exposed(&config_file, &config).map_err(anyhow::Error::msg)? {
        warn!("{exposed}");
    }
    if let Some(too_many) = config::too_many_descriptors(&config, descriptors) {
        warn!("{too_many}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(daemon::run(Setup {
        config_file,
        config,
        script_limits,
        most_connections: config::connections_that_fit(descriptors),
        debug,
        log: Arc::clone(&log),
        socket,
        pidfile,
        handed_over,
        notifier,
    }));
    // What blocks in a thread of its own by now is a read that nobody waits for.
    runtime.shutdown_background();
    log.flush();
    ended.map(|()| ExitCode::SUCCESS)
}

/// What the dispatcher may do beyond its user, such as to listen on a port below 1024, is
/// not for the registry script: ambient and inheritable capabilities are given up. Those are
/// a thread's, and handed on to the threads it starts.
fn bequeath_no_capabilities() -> rustix::io::Result<()> {
    match thread::clear_ambient_capability_set() {
        // A kernel that does not know the set has none.
        Ok(()) | Err(Errno::INVAL) => {}
        Err(error) => return Err(error),
    }
    let mut sets = thread::capabilities(None)?;
    if !sets.inheritable.is_empty() {
        sets.inheritable = thread::CapabilitySet::empty();
        thread::set_capabilities(None, sets)?;
    }
    Ok(())
}

/// A dump of this process would hold every host's password.
///
/// A limit of 0 keeps the kernel from writing a file, but not from handing the dump to a
/// program (core(5), "Piping core dumps to a program"); a limit of 1 byte keeps it from
/// both. Where the limit is 0 for good already, as by the unit, it stays: the programs that
/// distributions have there heed it.
fn refuse_core_dumps() {
    let limit = |bytes| Rlimit {
        current: Some(bytes),
        maximum: Some(bytes),
    };
    let set = setrlimit(Resource::Core, limit(1)).or_else(|_| setrlimit(Resource::Core, limit(0)));
    if let Err(error) = set {
        warn!(%error, "core dumps cannot be turned off; one would hold the hosts' passwords");
    }
}
