//! The commands, one room each.

mod call;
mod cancel;
mod completions;
mod direct;
mod follow;
mod list;
mod procedures;
mod result;
mod serve;
mod status;

use crate::arguments;
use crate::command_line::{Command, CommandLine, Hosts, Words};
use crate::exit::Exit;
use crate::hosts;
use crate::problem::Problem;
use crate::screen::Screen;
use crate::settings::Settings;

/// Does what the command line says.
///
/// # Errors
///
/// Runs a command; its exit code, or a problem to tell the operator.
pub(crate) async fn run(line: CommandLine, screen: Screen) -> Result<Exit, Problem> {
    if let Command::Completions { shell } = line.command {
        return completions::run(shell);
    }
    let (settings, warnings) = Settings::read(line.shared.config.as_deref())?;
    for warning in warnings {
        screen.warn(warning);
    }
    match line.command {
        Command::Call(call) => call::run(*call, &settings, screen).await,
        Command::Follow(follow) => follow::run(follow, &settings, &screen).await,
        Command::Stream(stream) => follow::run_stream(stream, &settings, &screen).await,
        Command::Result(result) => result::run(result, &settings, &screen).await,
        Command::Status(status) => status::run(status, &settings, &screen).await,
        Command::Jobs(words) => {
            list::run(list::What::Jobs, words.into_list(), &settings, &screen).await
        }
        Command::Queues(words) => list::run(list::What::Queues, words, &settings, &screen).await,
        Command::Hosts(words) => list::run(list::What::Hosts, words, &settings, &screen).await,
        Command::List(words) => procedures::list(words, &settings, &screen).await,
        Command::Describe(words) => procedures::describe(words, &settings, &screen).await,
        Command::Cancel(cancel) => cancel::run(cancel, &settings, &screen).await,
        Command::Serve(serve) => serve::run(*serve, &settings, &screen).await,
        Command::Direct(direct) => direct::run(direct, &settings, screen).await,
        Command::Completions { shell } => completions::run(shell),
    }
}

/// Procedure, arguments and hosts out of the words of `call` and `direct`.
struct Target {
    hosts: Vec<String>,
    procedure: String,
    arguments: harp_client::Json,
}

impl Target {
    /// With `--hosts` the first word is the procedure.
    fn new(
        command: &str,
        first: String,
        second: Option<String>,
        mut rest: Vec<String>,
        words: &Words,
        hosts: &Hosts,
    ) -> Result<Target, Problem> {
        let (hosts, procedure) = if hosts.hosts.is_empty() {
            let procedure = second.ok_or_else(|| {
                Problem::usage(format!(
                    "PROCEDURE is missing: harp {command} {first} PROCEDURE [ARGUMENT]..."
                ))
            })?;
            (vec![first], procedure)
        } else {
            rest.splice(0..0, second);
            if words.args.as_deref() == Some("-") && hosts.hosts.iter().any(|list| list == "@-") {
                return Err(Problem::usage(
                    "--args - and --hosts @- both want standard input; put one into a file",
                ));
            }
            (hosts::read(&hosts.hosts, std::io::stdin())?, first)
        };
        let arguments = match &words.args {
            None => arguments::from_words(&rest, words.strings),
            Some(_) if !rest.is_empty() => Err(format!(
                "argument 1 `{}`: --args gives all arguments, so that there are no others",
                rest[0]
            )),
            Some(whole) => arguments::whole(whole, std::io::stdin()),
        };
        Ok(Target {
            hosts,
            procedure,
            arguments: arguments.map_err(Problem::usage)?,
        })
    }
}
