//! The `harpcallerd` command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use harp_service::logging;
use harp_service::report::with_causes;
use harpcallerd::config::{Config, DEFAULT_PATH};
use harpcallerd::daemon;
use harpcallerd::identity::tokens::NewToken;
use tracing::level_filters::LevelFilter;
use tracing::warn;

/// Dispatches procedure calls to hosts and keeps their results.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon in the foreground until SIGTERM or SIGINT.
    Start {
        /// Configuration file.
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
        /// Log debugging messages too, whatever log_level says.
        #[arg(long)]
        debug: bool,
        /// Write the process id to this file.
        #[arg(long, value_name = "FILE")]
        pidfile: Option<PathBuf>,
    },
    /// Make a token for a client, and print it with its line for the tokens file.
    NewToken {
        /// The client's name: letters, digits and the characters . _ - @
        name: String,
    },
    /// Check a configuration file and print what is wrong with it.
    CheckConfig {
        /// Configuration file.
        #[arg(long, value_name = "FILE", default_value = DEFAULT_PATH)]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Start {
            config,
            debug,
            pidfile,
        } => start(&config, debug, pidfile.as_deref()),
        Command::NewToken { name } => new_token(&name),
        Command::CheckConfig { config } => check_config(&config),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("harpcallerd: {}", with_causes(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn start(config: &Path, debug: bool, pidfile: Option<&Path>) -> anyhow::Result<()> {
    let (mut config, warnings) = Config::read(config)?;
    if debug {
        config.log.level = LevelFilter::DEBUG;
    }
    logging::init(&config.log)?;
    for warning in warnings {
        warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let ended = runtime.block_on(daemon::run(config, pidfile));
    // What blocks in a thread of its own by now is a read that nobody waits for.
    runtime.shutdown_background();
    ended
}

fn new_token(name: &str) -> anyhow::Result<()> {
    let made = NewToken::make(name)?;
    println!("token, for the client alone:");
    println!("{}", made.token.reveal());
    println!("line, for the tokens file:");
    println!("{}", made.line);
    Ok(())
}

fn check_config(path: &Path) -> anyhow::Result<()> {
    let (_, warnings) = Config::read(path)?;
    for warning in warnings {
        println!("warning: {warning}");
    }
    println!("{}: good", path.display());
    Ok(())
}
