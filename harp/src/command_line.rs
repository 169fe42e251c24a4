//! The words of the command line, and what help says about them.

pub(crate) mod jobs;
pub(crate) mod serve;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use harp_client::tls::Fingerprint;
use harp_client::{JobId, Json};

use crate::{arguments, duration};

/// Calls procedures on hosts through HarpCaller's dispatcher, and looks after their jobs.
///
/// Packets and results go to standard output, everything else to standard error.
#[derive(Debug, Parser)]
#[command(version, about, after_help = AFTER_HELP)]
pub(crate) struct CommandLine {
    #[command(flatten)]
    pub(crate) shared: Shared,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 returned, 1 exception, 2 usage, 3 error, 4 cancelled, 5 not finished,
6 dispatcher or host unreachable, 7 refused, 8 nothing to cancel, 9 output not
written. Of several hosts' codes it is the greatest. More in harp(1).";

/// The heading of what every command takes.
const ANYWHERE: &str = "With every command";

/// What every command takes.
#[derive(Debug, Args)]
pub(crate) struct Shared {
    /// Read this configuration [default: harp/config.toml in $XDG_CONFIG_HOME or ~/.config].
    #[arg(long, global = true, help_heading = ANYWHERE, value_name = "FILE")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Print one JSON object a line, for programs.
    #[arg(long, global = true, help_heading = ANYWHERE)]
    pub(crate) json: bool,
    /// Print packets, results and errors, nothing else.
    #[arg(long, short, global = true, help_heading = ANYWHERE)]
    pub(crate) quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Call a procedure on one host, or on several.
    Call(Box<Call>),
    /// Print a job's packets until it ends, then its result.
    Follow(Follow),
    /// Print a job's packets collected so far.
    Stream(Stream),
    /// Print how a job ended.
    Result(ResultOf),
    /// Print what the dispatcher has on record of a job.
    Status(Status),
    /// List jobs, the newest first.
    #[command(after_help = LIST_HELP)]
    Jobs(Box<jobs::Jobs>),
    /// List the queues.
    Queues(List),
    /// List the hosts of the registry.
    Hosts(List),
    /// List the procedures that may be called, on all hosts or on one.
    List(ListProcedures),
    /// Print what is known of a procedure: what it does, its arguments, its result.
    Describe(Describe),
    /// Cancel a job.
    Cancel(Cancel),
    /// Fetch the jobs of a service and answer them by a command.
    #[command(after_help = serve::HELP)]
    Serve(Box<serve::Serve>),
    /// Call a procedure of a harpd directly, without a dispatcher; nothing is recorded.
    Direct(Direct),
    /// Print a completion script for a shell.
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

const COMPLETIONS_HELP: &str = "\
bash:  harp completions bash > ~/.local/share/bash-completion/completions/harp
zsh:   harp completions zsh > ~/.zfunc/_harp     (with ~/.zfunc in fpath)
fish:  harp completions fish > ~/.config/fish/completions/harp.fish";

/// Which dispatcher.
#[derive(Debug, Args, Clone)]
#[command(next_help_heading = "Dispatcher")]
pub(crate) struct DispatcherOptions {
    /// The dispatcher, HOST, HOST:PORT, [IPV6]:PORT or unix:/PATH [default: $HARPCALLER,
    /// the configuration, or 127.0.0.1:3502].
    #[arg(long, short, value_name = "ADDRESS", value_hint = ValueHint::Hostname)]
    pub(crate) dispatcher: Option<String>,
    /// Do not speak TLS, whatever the configuration says.
    #[arg(long, conflicts_with_all = ["ca_file", "fingerprint", "insecure", "tls_name", "client_certificate"])]
    pub(crate) no_tls: bool,
    #[command(flatten)]
    pub(crate) security: Security,
}

/// How the dispatcher is known, and how it knows us.
#[derive(Debug, Args, Clone)]
#[command(next_help_heading = "Dispatcher")]
pub(crate) struct Security {
    /// Speak TLS; a CA in this PEM file has signed the dispatcher's certificate.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca_file: Option<PathBuf>,
    /// Speak TLS; the dispatcher's certificate has this SHA-256, 64 hexadecimal digits.
    #[arg(long, value_name = "SHA256", conflicts_with = "ca_file")]
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Speak TLS with whoever answers: anybody on the way can read and change everything.
    #[arg(long, conflicts_with_all = ["ca_file", "fingerprint"])]
    pub(crate) insecure: bool,
    /// The name that the certificate must have, when it is not the one in the address.
    #[arg(long, value_name = "NAME")]
    pub(crate) tls_name: Option<String>,
    /// Show this certificate (PEM) to the dispatcher.
    #[arg(long, value_name = "FILE", requires = "client_key", value_hint = ValueHint::FilePath)]
    pub(crate) client_certificate: Option<PathBuf>,
    /// The certificate's private key (PEM).
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) client_key: Option<PathBuf>,
    /// The first line of this file is the token that says who calls.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
}

/// The call, whatever it goes to.
#[derive(Debug, Args)]
pub(crate) struct Words {
    /// Take every value as a string: 7, true and {} too.
    #[arg(long, short)]
    pub(crate) strings: bool,
    /// The arguments as a whole, a JSON array or object; - reads it from standard input.
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    pub(crate) args: Option<String>,
}

/// Several hosts at once.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several hosts")]
pub(crate) struct Hosts {
    /// Call all of these hosts: a,b,c, or @FILE with one a line (@- is standard input).
    /// May be given more than once.
    #[arg(long, value_name = "LIST", value_hint = ValueHint::FilePath)]
    pub(crate) hosts: Vec<String>,
    /// How many of them are called at the same time [default: 32].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) parallel: Option<u16>,
}

#[derive(Debug, Args)]
#[command(override_usage = "harp call [OPTIONS] HOST PROCEDURE [ARGUMENT]...
       harp call [OPTIONS] --hosts LIST PROCEDURE [ARGUMENT]...")]
#[command(after_help = CALL_HELP)]
pub(crate) struct Call {
    /// The host, by its name in the dispatcher's registry; left out with --hosts.
    #[arg(value_name = "HOST", allow_negative_numbers = true)]
    pub(crate) first: String,
    /// The procedure.
    #[arg(value_name = "PROCEDURE", allow_negative_numbers = true)]
    pub(crate) second: Option<String>,
    /// Positional (7, nginx, '[1, 2]') or named (lines=7, list:='[1, 2]') arguments.
    #[arg(value_name = "ARGUMENT", allow_negative_numbers = true)]
    pub(crate) arguments: Vec<String>,
    #[command(flatten)]
    pub(crate) words: Words,
    /// Print packets as they come, then the result (the default).
    #[arg(long, group = "until")]
    pub(crate) follow: bool,
    /// Wait for the result and print that alone.
    #[arg(long, group = "until")]
    pub(crate) wait: bool,
    /// Print the job's id and leave it to itself.
    #[arg(long, group = "until")]
    pub(crate) detach: bool,
    /// Wait in this queue: a JSON object, or NAME for {"name":"NAME"}.
    #[arg(long, value_name = "NAME|JSON", value_parser = queue)]
    pub(crate) queue: Option<Json>,
    /// How many jobs of the queue may run at the same time, if this call creates it
    /// [default: 1].
    #[arg(long, value_name = "N", requires = "queue", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) concurrency: Option<u64>,
    /// The longest silence of the host: 30, 90s, 5m.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) timeout: Option<Duration>,
    /// The longest execution: 30, 90s, 5m.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) max_exec_time: Option<Duration>,
    /// What the job's status is to give back: JSON or a text.
    #[arg(long, value_name = "JSON", value_parser = arguments::json_or_text, allow_hyphen_values = true)]
    pub(crate) info: Option<Json>,
    /// End with an error if the job still waits in its queue after this time.
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    pub(crate) start_by: Option<Duration>,
    /// Calls with the same key are one job, so that a call can be repeated safely.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) key: Option<String>,
    /// With a key: make a new job if its last one was submitted longer ago, or failed.
    #[arg(long, value_name = "TIME", requires = "key", value_parser = duration::parse)]
    pub(crate) unless_since: Option<Duration>,
    #[command(flatten)]
    pub(crate) interrupt: Interrupt,
    #[command(flatten)]
    pub(crate) hosts: Hosts,
    #[command(flatten)]
    pub(crate) dispatcher: DispatcherOptions,
}

const CALL_HELP: &str = "\
Arguments:
  harp call web01 restart nginx 7          positional: [\"nginx\", 7]
  harp call web01 tail file=/var/log/syslog lines=7
                                           named: {\"file\": \"/var/log/syslog\", \"lines\": 7}
  harp call web01 deploy hosts:='[\"a\"]'    JSON, insisted on
  harp call web01 echo '\"7\"' '\"a=b\"'       texts that look like something else
  harp call web01 grep -- -i error         words with a dash go behind --";

/// What Ctrl-C does.
#[derive(Debug, Args, Clone, Copy)]
pub(crate) struct Interrupt {
    /// What Ctrl-C does with jobs that have not ended: ask (on a terminal; else detach),
    /// cancel or detach.
    #[arg(
        long,
        value_name = "ACTION",
        default_value = "ask",
        hide_possible_values = true
    )]
    pub(crate) on_interrupt: OnInterrupt,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnInterrupt {
    Ask,
    Cancel,
    Detach,
}

/// Where in a job's packets to begin.
#[derive(Debug, Args, Clone, Copy)]
pub(crate) struct Start {
    /// Begin with packet N [default: 0].
    #[arg(long, value_name = "N", conflicts_with = "recent")]
    pub(crate) since: Option<u64>,
    /// Begin N before the end of the packets collected so far.
    #[arg(long, value_name = "N")]
    pub(crate) recent: Option<u64>,
}

/// A job, and the dispatcher that knows it.
#[derive(Debug, Args)]
pub(crate) struct WhichJob {
    /// The job's id.
    #[arg(value_name = "JOB", value_parser = job)]
    pub(crate) job: JobId,
    #[command(flatten)]
    pub(crate) dispatcher: DispatcherOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Follow {
    #[command(flatten)]
    pub(crate) start: Start,
    #[command(flatten)]
    pub(crate) interrupt: Interrupt,
    #[command(flatten)]
    pub(crate) which: WhichJob,
}

#[derive(Debug, Args)]
pub(crate) struct Stream {
    #[command(flatten)]
    pub(crate) start: Start,
    #[command(flatten)]
    pub(crate) which: WhichJob,
}

#[derive(Debug, Args)]
pub(crate) struct ResultOf {
    /// Wait for the job's end.
    #[arg(long)]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) interrupt: Interrupt,
    #[command(flatten)]
    pub(crate) which: WhichJob,
}

const LIST_HELP: &str = "\
  harp jobs --host 'web*' --outcome error --since yesterday
Further filters are those of harpcaller-http(7), NAME=VALUE: state, failed, key, ended_since, q
and others:  harp jobs state=running q=deploy";

/// What is listed, and from which dispatcher.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// What has to hold of them: NAME=VALUE.
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
    /// At most so many [default: 100 jobs, all queues and hosts].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: Option<u64>,
    #[command(flatten)]
    pub(crate) dispatcher: DispatcherOptions,
}

/// Whose procedures are listed.
#[derive(Debug, Args)]
pub(crate) struct ListProcedures {
    /// The host, or a pattern such as 'web*'.
    pub(crate) host: Option<String>,
    /// Have the dispatcher ask the hosts first what they have.
    #[arg(long)]
    pub(crate) refresh: bool,
    #[command(flatten)]
    pub(crate) dispatcher: DispatcherOptions,
}

/// Which procedure is described.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// The host.
    pub(crate) host: String,
    /// The procedure.
    pub(crate) procedure: String,
    /// Have the dispatcher ask the host first what it has.
    #[arg(long)]
    pub(crate) refresh: bool,
    #[command(flatten)]
    pub(crate) dispatcher: DispatcherOptions,
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) which: WhichJob,
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    /// Wait until the host has said that nothing of the call is left.
    #[arg(long)]
    pub(crate) confirm: bool,
    #[command(flatten)]
    pub(crate) which: WhichJob,
}

#[derive(Debug, Args)]
#[command(
    override_usage = "harp direct [OPTIONS] HOST[:PORT] PROCEDURE [ARGUMENT]...
       harp direct [OPTIONS] --hosts LIST PROCEDURE [ARGUMENT]..."
)]
#[command(after_help = "\
The password is taken from --password-file, $HARP_PASSWORD or the configuration, or asked
for on a terminal; never from the command line. Ctrl-C cancels the call.")]
pub(crate) struct Direct {
    /// Where the host's harpd listens, HOST, HOST:PORT or [IPV6]:PORT (port 4306); left
    /// out with --hosts.
    #[arg(value_name = "HOST:PORT", allow_negative_numbers = true, value_hint = ValueHint::Hostname)]
    pub(crate) first: String,
    /// The procedure.
    #[arg(value_name = "PROCEDURE", allow_negative_numbers = true)]
    pub(crate) second: Option<String>,
    /// Its arguments; see harp call --help.
    #[arg(value_name = "ARGUMENT", allow_negative_numbers = true)]
    pub(crate) arguments: Vec<String>,
    #[command(flatten)]
    pub(crate) words: Words,
    /// The user [default: $HARP_USER or the configuration].
    #[arg(long, short, value_name = "NAME", value_hint = ValueHint::Username)]
    pub(crate) user: Option<String>,
    /// The first line of this file is the password.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) password_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) trust: Trust,
    #[command(flatten)]
    pub(crate) hosts: Hosts,
}

/// Which certificate the host may have.
#[derive(Debug, Args, Clone)]
#[command(next_help_heading = "The host's certificate (one of the first four)")]
pub(crate) struct Trust {
    /// Signed by a CA in this PEM file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ca_file: Option<PathBuf>,
    /// One of the certificates in this PEM file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) known_certs: Option<PathBuf>,
    /// The one with this SHA-256, 64 hexadecimal digits.
    #[arg(long, value_name = "SHA256")]
    pub(crate) fingerprint: Option<Fingerprint>,
    /// Any: whoever is on the way can read the password.
    #[arg(long, conflicts_with_all = ["ca_file", "known_certs", "fingerprint"])]
    pub(crate) insecure: bool,
    /// The name that the certificate must have, when it is not the address.
    #[arg(long, value_name = "NAME")]
    pub(crate) tls_name: Option<String>,
}

fn job(text: &str) -> Result<JobId, String> {
    text.parse()
        .map_err(|error: harp_proto::NotAJobId| error.to_string())
}

fn queue(text: &str) -> Result<Json, String> {
    let name = if text.trim_start().starts_with('{') {
        text.parse()
            .map_err(|error| format!("{error}; write {{\"service\": \"nginx\"}} or a plain name"))?
    } else {
        Json::encode(&serde_json::json!({ "name": text })).map_err(|error| error.to_string())?
    };
    match harp_proto::QueueName::from_json(&name) {
        Ok(_) => Ok(name),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn a_queue_is_named_by_an_object_or_a_word() {
        assert_eq!(queue("nginx").unwrap().as_str(), r#"{"name":"nginx"}"#);
        assert_eq!(queue(r#"{"a": 1}"#).unwrap().as_str(), r#"{"a":1}"#);
        assert!(queue("{a}").unwrap_err().contains("plain name"));
    }
}
