//! Exit codes of the command (harp(1), EXIT STATUS).

use std::process::ExitCode;

use harp_client::{Error, ErrorKind, Outcome};

/// An exit code. Of several hosts' codes the greatest is the command's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Exit {
    /// The procedure returned, or the command did what it was asked to.
    Returned = 0,
    /// The procedure raised an exception.
    Exception = 1,
    /// The command line, the configuration or a file it names is wrong. Nothing was sent.
    Usage = 2,
    /// The job ended with an error: its call could not be made or was not finished.
    Error = 3,
    /// The job was cancelled.
    Cancelled = 4,
    /// The job has not ended, or the host has not confirmed that it has.
    NotFinished = 5,
    /// The dispatcher, or with `direct` the host, could not be reached or broke off.
    Unreachable = 6,
    /// The dispatcher refused the request, or does not know what it asks for.
    Refused = 7,
    /// There was nothing to cancel.
    NothingToCancel = 8,
    /// Standard output could not be written.
    Output = 9,
    /// This machine could not do its part: no descriptor, memory or local address was left.
    OwnFault = 10,
    /// The dispatcher may have accepted a call, or not.
    Unknown = 11,
    /// Given up before the dispatcher had answered.
    Interrupted = 130,
}

impl Exit {
    /// The word that `--json` has for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Exit::Returned => "returned",
            Exit::Exception => "exception",
            Exit::Usage => "usage",
            Exit::Error => "error",
            Exit::Cancelled => "cancelled",
            Exit::NotFinished => "not_finished",
            Exit::Unreachable => "unreachable",
            Exit::Refused => "refused",
            Exit::NothingToCancel => "nothing_to_cancel",
            Exit::Output => "output",
            Exit::OwnFault => "own_fault",
            Exit::Unknown => "unknown",
            Exit::Interrupted => "interrupted",
        }
    }
}

impl From<&Outcome> for Exit {
    fn from(outcome: &Outcome) -> Exit {
        match outcome {
            Outcome::Returned(_) => Exit::Returned,
            Outcome::Exception(_) => Exit::Exception,
            Outcome::Error(_) => Exit::Error,
            Outcome::Cancelled => Exit::Cancelled,
        }
    }
}

impl From<&Error> for Exit {
    fn from(error: &Error) -> Exit {
        if error.is_own_fault() {
            return Exit::OwnFault;
        }
        match error.kind() {
            ErrorKind::InvalidInput => Exit::Usage,
            kind if kind.is_refusal() => Exit::Refused,
            ErrorKind::Unsupported => Exit::Refused,
            ErrorKind::Exception => Exit::Exception,
            ErrorKind::Remote | ErrorKind::UnexpectedResult => Exit::Error,
            ErrorKind::Cancelled => Exit::Cancelled,
            // A peer that speaks another protocol is not the one that was looked for.
            _ => Exit::Unreachable,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
