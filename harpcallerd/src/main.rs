//! The `harpcallerd` command: reads the command line, and nothing else.

mod commands;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use commands::store::Which;
use harp_exec::LargeApart;
use harp_service::report::with_causes;
use harp_service::streams::note;
use harpcallerd::config::DEFAULT_PATH;
use harpcallerd::faces::admin::DEFAULT_SOCKET;
use mimalloc::MiMalloc;

/// What it gives, and costs: PERFORMANCE.md.
#[global_allocator]
static ALLOCATOR: LargeApart<MiMalloc> = LargeApart(MiMalloc);

/// Dispatches procedure calls to hosts and keeps their results.
///
/// `harpcallerd start` runs the daemon. All other commands but check-config,
/// check-store, export, import, new-token, try and completions speak to the running daemon through its administrative socket, which its
/// own user and root may use.
#[derive(Debug, Parser)]
#[command(
    name = "harpcallerd",
    version,
    max_term_width = 100,
    after_help = "Exit status: 0 done, 1 not done (standard error says why), 2 wrong command line.\n\
                  See harpcallerd(8) and harpcaller.toml(5)."
)]
struct Arguments {
    /// The administrative socket.
    #[arg(long, value_name = "PATH", global = true, default_value = DEFAULT_SOCKET)]
    socket: PathBuf,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon in the foreground until `stop`, SIGTERM or SIGINT.
    Start {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// Log debugging messages too, whatever log_level says.
        #[arg(long)]
        debug: bool,
        /// Write the process id to this file.
        #[arg(long, value_name = "FILE")]
        pidfile: Option<PathBuf>,
    },
    /// Say how the daemon is.
    ///
    /// Exit status: 0 it serves clients, 1 it is stopped, 2 something needs an operator, 3 it is
    /// starting or draining.
    Status {
        /// Wait until it has started and serves clients.
        #[arg(long)]
        wait: bool,
        /// Wait at most this long: for its answer 5 without it, with --wait for ever.
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
        /// Print all of it as one JSON object.
        #[arg(long)]
        json: bool,
        /// Tell of its jobs, clients, store, hosts and logs, too.
        #[arg(long, short)]
        verbose: bool,
    },
    /// Stop the daemon and wait for its end.
    ///
    /// Calls that their hosts keep are left to the next start; others have stop_grace to end.
    /// If no daemon runs, that is a success.
    Stop {
        /// Leave nothing to the next start that runs: all calls have stop_grace to end.
        #[arg(long)]
        end_calls: bool,
        /// Wait at most this long for the end; for ever without it.
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u64>,
        /// Print the process id of the daemon that was asked.
        #[arg(long)]
        print_pid: bool,
    },
    /// Stop when the running calls have ended, however long they take.
    ///
    /// No new calls are taken, and queued ones are kept for the next start. Waits for the end.
    Drain,
    /// Read the configuration file again and apply what can change while running.
    Reload,
    /// List jobs, one JSON object a line: those that have not ended, unless told otherwise.
    List(commands::list::List),
    /// Show one job as `list` does.
    Info {
        /// The job's id.
        #[arg(value_name = "JOB")]
        job: String,
    },
    /// Cancel a queued or running job.
    Cancel {
        /// The job's id.
        #[arg(value_name = "JOB")]
        job: String,
    },
    /// Let the held jobs wait in their queues again.
    ///
    /// Jobs that waited in a store are held if that was restored from a backup, moved to
    /// another disk or imported, since they may have been run where it comes from.
    Resume,
    /// List the names of the queues that have jobs, or the jobs of one queue.
    QueueList {
        /// The queue's name, a JSON object.
        #[arg(value_name = "QUEUE-NAME-JSON")]
        queue: Option<String>,
    },
    /// List the dispatchers that share a database.
    Nodes,
    /// Cancel all jobs of a queue; none of those that wait starts in between.
    QueueCancel {
        /// The queue's name, a JSON object.
        #[arg(value_name = "QUEUE-NAME-JSON")]
        queue: String,
    },
    /// List the hosts that can be called, without their credentials.
    HostsList,
    /// Run the script of the hosts registry now, and wait for it.
    HostsRefresh,
    /// Delete jobs that have ended, with their packets and results.
    PruneJobs {
        /// Those that ended longer ago than this.
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        age: u64,
    },
    /// Open the log files anew, after they have been moved away.
    ReopenLogs,
    /// Of the Erlang daemon; not supported here.
    DistErlStart,
    /// Of the Erlang daemon; not supported here.
    DistErlStop,
    /// Make the database that jobs are kept in ready for dispatchers.
    #[cfg(feature = "cluster")]
    Cluster {
        #[command(subcommand)]
        command: commands::cluster::Command,
    },
    /// Check a configuration file and say what is wrong with it.
    CheckConfig {
        /// The configuration file.
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// Run the script of the hosts registry, connect to each host, and say which would
        /// fail and why. Nothing is called.
        #[arg(long)]
        hosts: bool,
    },
    /// Say what is wrong with the job store, while no daemon has it open.
    CheckStore {
        #[command(flatten)]
        which: Which,
        /// Repair what can be repaired.
        #[arg(long)]
        repair: bool,
        /// Make a new store, in this directory, of all that is intact.
        #[arg(long, value_name = "NEW-DIRECTORY", conflicts_with = "repair")]
        salvage: Option<PathBuf>,
    },
    /// Write all jobs of the store into a file, while no daemon has it open, or with --online
    /// while it serves its clients.
    Export {
        #[command(flatten)]
        which: Which,
        /// Of a store that is damaged: all that is intact.
        #[arg(long)]
        salvage: bool,
        /// Have the running daemon tell all jobs, through its administrative socket.
        #[arg(long, conflicts_with_all = ["salvage", "store", "config"])]
        online: bool,
        /// The file; `-` for standard output.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Take the jobs of an exported file into the store, while no daemon has it open.
    Import {
        #[command(flatten)]
        which: Which,
        /// The file; `-` for standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Let jobs that waited be run at the next start, as `resume` does: where they come
        /// from they are not run any more.
        #[arg(long)]
        resume: bool,
    },
    /// Make a token for a client, and print it with its line for the tokens file.
    NewToken {
        /// The client's name: letters, digits and the characters . _ - @
        name: String,
        /// Until when it is known, in UTC: 2030-12-31, or 2030-12-31T23:59:59Z.
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
        /// Add the line to this tokens file, made with mode 0600 if it is missing, and print
        /// the token alone.
        #[arg(long, value_name = "FILE")]
        append: Option<PathBuf>,
    },
    /// Run a dispatcher and a host on this machine, to see them work.
    ///
    /// Makes certificates, a token, procedures and configurations, unless they are there; says
    /// what to open and to type; goes on until SIGINT or SIGTERM, which end both.
    Try {
        /// Where all of it is kept.
        #[arg(value_name = "DIRECTORY", default_value = commands::trial::DEFAULT_DIRECTORY)]
        directory: PathBuf,
    },
    /// Print the completions of this command line for a shell.
    Completions {
        /// The shell.
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    harp_exec::give_back_large_blocks();
    let Arguments { socket, command } = Arguments::parse();
    let done = match command {
        Command::Start {
            config,
            debug,
            pidfile,
        } => commands::start::run(config, debug, pidfile, socket),
        Command::Status {
            wait,
            timeout,
            json,
            verbose,
        } => commands::status::run(
            &socket,
            &commands::status::Options {
                wait,
                timeout,
                json,
                verbose,
            },
        ),
        Command::Stop {
            end_calls,
            timeout,
            print_pid,
        } => commands::stop::run(&socket, end_calls, timeout, print_pid),
        Command::Drain => commands::stop::drain(&socket),
        Command::Reload => commands::reload::run(&socket),
        Command::List(list) => commands::list::run(&socket, &list),
        Command::Info { job } => commands::job::info(&socket, &job),
        Command::Cancel { job } => commands::job::cancel(&socket, &job),
        Command::Resume => commands::resume::run(&socket),
        Command::QueueList { queue: None } => commands::queue::names(&socket),
        Command::QueueList { queue: Some(queue) } => commands::queue::list(&socket, &queue),
        Command::QueueCancel { queue } => commands::queue::cancel(&socket, &queue),
        Command::Nodes => commands::nodes::list(&socket),
        Command::HostsList => commands::hosts::list(&socket),
        Command::HostsRefresh => commands::hosts::refresh(&socket),
        Command::PruneJobs { age } => commands::prune::run(&socket, age),
        Command::ReopenLogs => commands::logs::reopen(&socket),
        Command::DistErlStart | Command::DistErlStop => commands::erlang::run(),
        #[cfg(feature = "cluster")]
        Command::Cluster {
            command: commands::cluster::Command::Init(init),
        } => commands::cluster::init(&init),
        Command::CheckConfig { config, hosts } => commands::check_config::run(&config, hosts),
        Command::CheckStore {
            which,
            salvage: Some(target),
            ..
        } => commands::store::salvage(which, &target),
        Command::CheckStore { which, repair, .. } => commands::store::check(which, repair),
        Command::Export {
            online: true, file, ..
        } => commands::export::online(&socket, &file),
        Command::Export {
            which,
            salvage,
            file,
            ..
        } => commands::store::export(which, &file, salvage),
        Command::Import {
            which,
            file,
            resume,
        } => commands::store::import(which, &file, resume),
        Command::NewToken {
            name,
            expires,
            append,
        } => commands::token::run(&name, expires.as_deref(), append.as_deref()),
        Command::Try { directory } => commands::trial::run(&directory),
        Command::Completions { shell } => commands::completions::run::<Arguments>(shell),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let message = with_causes(error.as_ref());
            note(format_args!("harpcallerd: {message}"));
            ExitCode::FAILURE
        }
    }
}
