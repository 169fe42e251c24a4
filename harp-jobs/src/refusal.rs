//! Why the front door refuses, in words of its own. Each face has one `match` from here to
//! its wire.

use std::collections::BTreeMap;
use std::fmt;

use harp_values::{Violation, error_type};

use crate::jobs::NotKnown;
use crate::ledger::{Lost, Unreadable};

/// Why something was not done that a client or an administrator asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The client has to say who it is before anything else.
    #[error("the client has not authenticated")]
    Stranger,
    /// The token with which the client wants to authenticate is not known.
    #[error("the token is not known")]
    UnknownToken,
    /// The client's identity does not count any more.
    #[error("what the client authenticated with is not valid any more")]
    Lapsed,
    /// It cannot be found out whether the client still is who it was.
    #[error("the file that the client's identity rests on cannot be read at present")]
    Unproved,
    /// The access rules do not allow it. What exactly, is in the log alone.
    #[error("not allowed")]
    Forbidden,
    /// There is no such job.
    #[error("there is no such job")]
    NoSuchJob,
    /// There is no such service, or several have the name.
    #[error("there is no such service")]
    NoSuchService,
    /// There is no such claim, or it is another's.
    #[error("there is no such claim")]
    NoSuchClaim,
    /// Another worker has the job, or is offered it.
    #[error("another worker has the job, or is offered it")]
    Claimed,
    /// The worker's job has ended.
    #[error("the job has ended")]
    Ended,
    /// Packets before those that were sent are missing.
    #[error("packet {next} is missing")]
    Hole {
        /// The number of the first that is missing.
        next: u64,
    },
    /// Something is wrong with one value of the request.
    #[error("{field}: {why}")]
    Invalid {
        /// Its name.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Arguments or a result are not what their schema wants.
    #[error("{what} not what the schema wants")]
    Violations {
        /// Which of them.
        what: SchemaOf,
        /// Each place that is wrong, some of many.
        errors: Vec<Violation>,
    },
    /// The request is longer than so many bytes.
    #[error("longer than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// There is no room for more.
    #[error("{0}")]
    Full(Full),
    /// The key stands for a call to another host, of another procedure or with other
    /// arguments.
    #[error("the key stands for another call")]
    KeyTaken,
    /// The daemon is stopping and takes nothing new.
    #[error("harpcallerd is stopping")]
    Closing,
    /// The daemon's start is not complete.
    #[error("harpcallerd is starting")]
    Starting,
    /// The call could not be recorded.
    #[error("{why}")]
    CallNotRecorded {
        /// True if the job may exist all the same; false if it certainly does not.
        may_exist: bool,
        /// What the store says.
        why: String,
    },
    /// A job has ended, or is to be ended, and that cannot be recorded at present.
    #[error("{why}")]
    EndNotRecorded {
        /// The record that could not be made.
        why: &'static str,
    },
    /// The store cannot be read, or what is in it not be changed.
    #[error("{why}")]
    Storage {
        /// What the store says.
        why: String,
    },
    /// The configuration has not been applied.
    #[error("{0}")]
    NotReloaded(NotReloaded),
    /// It was tried and did not succeed.
    #[error("{why}")]
    Failed {
        /// The reason for the failure.
        why: String,
    },
}

/// What of a procedure a schema is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaOf {
    /// The arguments of a call.
    Arguments,
    /// A result.
    Result,
}

impl SchemaOf {
    /// What there is for the arguments, or for the result.
    pub fn either<T>(self, arguments: T, result: T) -> T {
        match self {
            SchemaOf::Arguments => arguments,
            SchemaOf::Result => result,
        }
    }
}

impl fmt::Display for SchemaOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SchemaOf::Arguments => "the arguments are",
            SchemaOf::Result => "the result is",
        })
    }
}

/// The limit that leaves no room for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// Connections, in all.
    Connections,
    /// Connections of one peer.
    ConnectionsOfPeer,
    /// Jobs that are queued or running: there are so many.
    LiveJobs(usize),
    /// Jobs that wait in one queue: there are so many.
    Queue(usize),
    /// Services: there are so many.
    Services(usize),
}

/// The configuration has not been applied; the one in force stays, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotReloaded {
    /// The file is wrong: every problem with its line, key and what was expected.
    File(String),
    /// The file is right, but what it asks for cannot be had, by the part of the daemon
    /// that it is for.
    Parts(BTreeMap<&'static str, String>),
}

impl Refusal {
    /// The word for it in log and audit log: that of the client protocol, where it has one.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Refusal::Stranger | Refusal::UnknownToken | Refusal::Lapsed | Refusal::Unproved => {
                error_type::UNAUTHORIZED
            }
            Refusal::Forbidden => error_type::FORBIDDEN,
            Refusal::NoSuchJob => error_type::INVALID_JOB_ID,
            Refusal::NoSuchService => "unknown_service",
            Refusal::NoSuchClaim => "unknown_claim",
            Refusal::Claimed => "claimed",
            Refusal::Ended => "ended",
            Refusal::Hole { .. } => "hole",
            Refusal::Invalid { .. } => error_type::INVALID_REQUEST,
            Refusal::Violations { what, .. } => match what {
                SchemaOf::Arguments => error_type::INVALID_ARGUMENTS,
                SchemaOf::Result => "invalid_result",
            },
            Refusal::TooLarge { .. } => error_type::REQUEST_TOO_LARGE,
            Refusal::Full(_) => error_type::OVERLOADED,
            Refusal::KeyTaken => error_type::INVALID_REQUEST,
            Refusal::Closing => error_type::SHUTDOWN,
            Refusal::Starting => "starting",
            Refusal::CallNotRecorded { .. }
            | Refusal::EndNotRecorded { .. }
            | Refusal::Storage { .. } => error_type::STORAGE_ERROR,
            Refusal::NotReloaded(_) => "not_reloaded",
            Refusal::Failed { .. } => "failed",
        }
    }

    /// The store said so when it was asked.
    pub fn storage(why: impl fmt::Display) -> Refusal {
        Refusal::Storage {
            why: why.to_string(),
        }
    }
}

/// What cannot be read because the daemon stops is no trouble with the store.
impl From<Unreadable> for Refusal {
    fn from(error: Unreadable) -> Refusal {
        match error {
            Unreadable::Closed => Refusal::Closing,
            error @ (Unreadable::Outage(_) | Unreadable::Damaged(_)) => Refusal::storage(error),
        }
    }
}

/// Nor is what cannot be written then.
impl From<Lost> for Refusal {
    fn from(lost: Lost) -> Refusal {
        match lost {
            Lost::Closed => Refusal::Closing,
            lost @ (Lost::Taken(_) | Lost::Fenced | Lost::Refused(_)) => Refusal::storage(lost),
        }
    }
}

impl From<NotKnown> for Refusal {
    fn from(error: NotKnown) -> Refusal {
        match error {
            NotKnown::Closing => Refusal::Closing,
            NotKnown::Storage(why) => Refusal::storage(why),
        }
    }
}

impl Full {
    /// The key of the configuration that sets the limit.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Full::Connections => "max_connections",
            Full::ConnectionsOfPeer => "max_connections_per_peer",
            Full::LiveJobs(_) => "max_live_jobs",
            Full::Queue(_) => "max_queue_length",
            Full::Services(_) => "services",
        }
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key();
        match self {
            Full::Connections => {
                write!(
                    f,
                    "the dispatcher has as many connections as it may have ({key})"
                )
            }
            Full::ConnectionsOfPeer => {
                write!(
                    f,
                    "this peer has as many connections as it may have ({key})"
                )
            }
            Full::LiveJobs(count) => {
                write!(
                    f,
                    "{count} jobs are queued or running, which is the limit ({key})"
                )
            }
            Full::Services(count) => {
                write!(f, "{count} services are registered, which is the limit")
            }
            Full::Queue(count) => {
                write!(
                    f,
                    "{count} jobs wait in this queue, which is the limit ({key})"
                )
            }
        }
    }
}

impl fmt::Display for NotReloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotReloaded::File(why) => f.write_str(why),
            NotReloaded::Parts(parts) => {
                let parts: Vec<_> = parts
                    .iter()
                    .map(|(part, why)| format!("{part}: {why}"))
                    .collect();
                f.write_str(&parts.join("; "))
            }
        }
    }
}
