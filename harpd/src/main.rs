//! The command line of harpd.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use harp_exec::Limit;
use harp_files::append;
use harp_service::report::with_causes;
use harp_service::settings::verdict;
use harp_service::signals::Signals;
use harp_service::streams::{Patient, note, say, unless_heard};
use harp_service::systemd::{self, Notifier};
use harp_service::{Pidfile, descriptors, logging, terminal};
use harpd::call_list;
use harpd::config::Config;
use harpd::imports;
use harpd::original;
use harpd::reaper::Reaper;
use harpd::service::Service;
use harpd::state::State;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{info, warn};

/// Threads that serve connections. What harpd does itself is little, and each thread has
/// memory of its own.
const WORKERS: usize = 2;
/// Threads for what blocks: passwords, files, looking for processes. They are made as they are
/// needed, and each has memory of its own. Each procedure, the users file and the certificate
/// take one at most, so some on file systems that hang leave others for all the rest.
const BLOCKING_THREADS: usize = 10;

/// Runs procedures on this host for authenticated callers.
#[derive(Debug, Parser)]
#[command(name = "harpd", version)]
struct Arguments {
    /// The configuration file.
    #[arg(
        short,
        long,
        value_name = "FILE",
        global = true,
        default_value = "/etc/harpd/harpd.toml"
    )]
    config: PathBuf,

    /// Check the configuration and every file it names, then exit.
    #[arg(short, long)]
    test: bool,

    /// Write the process's number to FILE while running.
    #[arg(short, long, value_name = "FILE")]
    pidfile: Option<PathBuf>,

    #[command(flatten)]
    original: OfTheOriginal,

    #[command(subcommand)]
    command: Option<Command>,
}

/// Options that the original harpd had and this one has not.
#[derive(Debug, clap::Args)]
struct OfTheOriginal {
    #[arg(short = 'r', long, hide = true)]
    procedures: Option<PathBuf>,
    #[arg(short, long, hide = true)]
    logging: Option<PathBuf>,
    #[arg(short = 'u', long, hide = true)]
    default_user: Option<String>,
    #[arg(short = 'g', long, hide = true)]
    default_group: Option<String>,
    #[arg(long, hide = true)]
    syslog: bool,
    #[arg(short, long, hide = true)]
    daemon: bool,
}

impl OfTheOriginal {
    /// What is to be done instead, for those that were given.
    fn refuse(&self) -> Result<()> {
        let instead = [
            (
                self.procedures.is_some(),
                "--procedures",
                "the key `module` of [python]",
            ),
            (
                self.logging.is_some(),
                "--logging",
                "the keys `log_handlers`, `log_level` and `log_file`",
            ),
            (
                self.default_user.is_some(),
                "--default-user",
                "the key `user` of [python]",
            ),
            (
                self.default_group.is_some(),
                "--default-group",
                "the key `group` of [python]",
            ),
            (self.syslog, "--syslog", "`log_handlers = [\"syslog\"]`"),
            (
                self.daemon,
                "--daemon",
                "the unit of systemd, or another supervisor: this harpd stays in the foreground",
            ),
        ];
        let told: Vec<_> = instead
            .iter()
            .filter(|(given, ..)| *given)
            .map(|(_, option, instead)| {
                format!("{option} is an option of the original harpd; its place takes {instead}")
            })
            .collect();
        if told.is_empty() {
            return Ok(());
        }
        bail!(
            "{}\n`harpd convert FILE` prints a configuration from one of the original's, see \
             harpcaller-migration(7)",
            told.join("\n")
        );
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the procedures that this configuration exposes, one a line: name, output
    /// and arguments, with tabs between them.
    List {
        /// Print the calls of the running harpd instead: procedure, user, caller's
        /// address, start, how far it is, whether somebody is connected to it, and its id.
        #[arg(long)]
        calls: bool,
    },
    /// Give a user of the users file a password, and add the user if there is none.
    AddUser {
        /// The user.
        name: String,
    },
    /// Print a configuration for this harpd, made of one of the original harpd's (YAML). What
    /// has no counterpart stands in it as comments.
    Convert {
        /// The original's configuration.
        file: PathBuf,
        /// The module of procedures that the original was started with.
        #[arg(long, value_name = "FILE", default_value = "/etc/harpd/harpd.py")]
        procedures: PathBuf,
        /// Whom it ran procedures as.
        #[arg(long, value_name = "USER")]
        default_user: Option<String>,
        /// The group that it ran them with.
        #[arg(long, value_name = "GROUP")]
        default_group: Option<String>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    harp_exec::give_back_large_blocks();
    let limits = vec![Limit::core_dumps_as_here(), Limit::open_files_as_here()];
    refuse_core_dumps();
    let done = arguments
        .original
        .refuse()
        .and_then(|()| match arguments.command {
            Some(Command::List { calls: true }) => list_calls(&arguments.config),
            Some(Command::List { calls: false }) => list(&arguments.config, limits),
            Some(Command::AddUser { name }) => add_user(&arguments.config, &name),
            None if arguments.test => test(&arguments.config, limits),
            Some(Command::Convert {
                file,
                procedures,
                default_user,
                default_group,
            }) => {
                let given = original::Given {
                    procedures,
                    user: default_user,
                    group: default_group,
                };
                convert(&file, &given)
            }
            None => start(arguments.config, arguments.pidfile.as_deref(), limits),
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let message = with_causes(error.as_ref());
            note(format_args!("harpd: {message}"));
            ExitCode::FAILURE
        }
    }
}

/// A dump of this process would hold its private key and passwords. Procedures have what
/// harpd was started with: only the limit in force is lowered, which they get back. At 1 byte
/// the kernel writes no file and hands no dump to a program either (core(5)).
fn refuse_core_dumps() {
    let maximum = getrlimit(Resource::Core).maximum;
    let lowered = |bytes| Rlimit {
        current: Some(bytes),
        maximum,
    };
    let set = setrlimit(Resource::Core, lowered(1));
    // The highest that may be set is 0 already.
    let _ = set.or_else(|_| setrlimit(Resource::Core, lowered(0)));
}

fn list(config_file: &Path, limits: Vec<Limit>) -> Result<()> {
    let (mut config, _) = Config::read(config_file)?;
    let imports = with_processes(limits, async |reaper| {
        imports::import(&mut config, &reaper).await
    })?;
    for told in imports.problems.iter().chain(&imports.warnings) {
        note(told);
    }
    tell_passed_over(&config);
    for (name, procedure) in &config.procedures {
        let output = procedure.output.name();
        let name = terminal::one_line(name);
        let arguments = procedure.runner.arguments();
        say(format_args!("{name}\t{output}\t{arguments}"))?;
    }
    Ok(())
}

fn list_calls(config_file: &Path) -> Result<()> {
    let (config, _) = Config::read(config_file)?;
    let directory = &config.keep.state_directory;
    let calls = call_list::ask(directory).with_context(|| {
        format!(
            "cannot ask a harpd that runs with state_directory {}; does it run, does it keep \
             calls, and is this its user or root?",
            directory.display()
        )
    })?;
    for call in calls {
        let connected = match call.alone_since {
            None => "connected".to_owned(),
            Some(since) => format!("alone since {}", time(since)),
        };
        let fields = [
            call.procedure,
            call.user,
            call.peer,
            time(call.since),
            call.standing,
            connected,
            call.call.unwrap_or_else(|| "-".to_owned()),
        ];
        let fields: Vec<_> = fields
            .iter()
            .map(|field| terminal::one_line(field))
            .collect();
        say(fields.join("\t"))?;
    }
    Ok(())
}

fn convert(file: &Path, given: &original::Given) -> Result<()> {
    let converted = original::convert(file, given)?;
    let mut output = Patient(io::stdout());
    let written = output.write_all(converted.as_bytes());
    Ok(unless_heard(written.and_then(|()| output.flush()))?)
}

/// As in the log.
fn time(seconds: u64) -> String {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(time).to_string()
}

fn add_user(config_file: &Path, name: &str) -> Result<()> {
    let (config, _) = Config::read(config_file)?;
    let file = &config.users_file;
    let done = if harpd::add_user::add_user(file, name)? {
        "added to"
    } else {
        "has a new password in"
    };
    Ok(say(format_args!("{name}: {done} {}", file.display()))?)
}

fn test(config_file: &Path, limits: Vec<Limit>) -> Result<()> {
    let (mut state, warnings) = State::load(config_file)?;
    with_processes(limits, async |reaper| state.import(&reaper).await)?;
    let warnings: Vec<_> = warnings.iter().chain(&state.imports.warnings).collect();
    for warning in &warnings {
        note(warning);
    }
    tell_passed_over(&state.config);
    let mut broken = state.broken_procedures();
    broken.append(&mut state.imports.problems);
    if let Some(file) = &state.config.log.file
        && let Err(error) = append::check(file)
    {
        broken.push(format!(
            "log_file: cannot append to {}: {error}",
            file.display()
        ));
    }
    if !broken.is_empty() {
        bail!("{}", broken.join("\n"));
    }
    let verdict = verdict(warnings.len());
    Ok(say(format_args!("{}: {verdict}", config_file.display()))?)
}

/// Says which files of `procedures_dir` are no procedures.
fn tell_passed_over(config: &Config) {
    for passed_over in &config.passed_over {
        let passed_over = passed_over.to_string();
        note(format_args!(
            "procedures_dir: {}",
            terminal::one_line(&passed_over)
        ));
    }
}

/// Runs something that starts processes and has them reaped. They do not outlive a signal
/// that ends it.
fn with_processes<T>(limits: Vec<Limit>, act: impl AsyncFnOnce(Reaper) -> T) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut signals = Signals::catch().context("cannot catch signals")?;
        tokio::select! {
            done = act(Reaper::start(limits, None)?) => Ok(done),
            () = signals.stopped() => bail!("stopped by a signal"),
        }
    })
}

fn start(config_file: PathBuf, pidfile: Option<&Path>, limits: Vec<Limit>) -> Result<()> {
    let (state, warnings) = State::load(&config_file)?;
    // Before there is any other thread, such as that of the log.
    let sockets = systemd::listening_sockets()?;
    let notifier = Notifier::from_environment()?;
    let log = Arc::new(logging::init("harpd", &state.config.log)?);
    if let Err(error) = descriptors::raise_limit() {
        warn!(%error, "the limit of open files cannot be raised");
    }
    for warning in warnings.into_iter().chain(state.broken_procedures()) {
        warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let served = runtime.block_on(async {
        // Caught from here on, so a stop during the start is not lost.
        let mut signals = Signals::catch().context("cannot catch signals")?;
        let service = tokio::select! {
            started = Service::start(config_file, state, sockets, Arc::clone(&log), limits) => started?,
            () = signals.stopped() => {
                info!("stopped during the start");
                return Ok(());
            }
        };
        // Only now: a start that fails must not touch the file of a harpd that runs.
        let pidfile = pidfile.map(Path::to_owned);
        let writing = tokio::task::spawn_blocking(move || {
            pidfile.as_deref().map(Pidfile::write).transpose()
        });
        let _pidfile = tokio::select! {
            written = writing => written.context("cannot write the pidfile")??,
            () = signals.stopped() => {
                info!("stopped during the start");
                return Ok(());
            }
        };
        service.run(signals, &notifier).await;
        Ok(())
    });
    // Whatever has not ended by now is ended: tasks are dropped, and groups with them.
    runtime.shutdown_timeout(Duration::from_secs(1));
    log.flush();
    served
}
