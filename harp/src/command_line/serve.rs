//! The words of `harp serve`.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, ValueEnum, ValueHint};

use super::Security;
use crate::duration;

pub(crate) const HELP: &str = "\
The command gets the job's arguments as one line of JSON on standard input, and the
variables HARP_JOB and HARP_SERVICE. What it prints becomes packets or the result;
another exit code than 0 is an exception. Ctrl-C finishes the job at hand and fetches
no further one, a second one ends it.

  harp serve spectrometer -- ./measure.sh
  harp serve --url https://dispatcher:3580 --ca-file ca.pem --output json thumbs -- ./thumb";

#[derive(Debug, Args)]
#[command(override_usage = "harp serve [OPTIONS] SERVICE -- COMMAND [WORD]...")]
pub(crate) struct Serve {
    /// The service: its id, or its name if no other has it.
    pub(crate) service: String,
    /// The command and its words.
    #[arg(value_name = "COMMAND", required = true, last = true)]
    #[arg(value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
    /// What the command's output becomes: lines (each is a packet, a string), json-lines
    /// (each is a packet), json (one value, the result), text (all of it, the result) or
    /// harp (lines with stream, and one with result or exception).
    #[arg(
        long,
        value_name = "MODE",
        default_value = "lines",
        hide_possible_values = true
    )]
    pub(crate) output: OutputMode,
    /// The name that people know this worker by [default: the name of this machine].
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// How long the dispatcher may hear nothing of this worker before it ends its job.
    #[arg(long, value_name = "TIME", default_value = "60", value_parser = duration::parse)]
    pub(crate) lease: Duration,
    /// End after so many jobs.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) jobs: Option<u64>,
    /// The dispatcher's HTTP listener, http://HOST:PORT, https://HOST:PORT or unix:/PATH
    /// [default: $HARPCALLER_URL, the configuration, or http://127.0.0.1:3580].
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url, help_heading = "Dispatcher")]
    pub(crate) url: Option<String>,
    #[command(flatten)]
    pub(crate) security: Security,
}

/// What the output of a worker's command becomes, in the words of harpd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputMode {
    Lines,
    JsonLines,
    Json,
    Text,
    Harp,
}
