//! Problems that keep the command from doing its work, and advice about them.

use harp_client::Error;
use harp_service::report::with_causes;

use crate::exit::Exit;

/// What to do about a fault of this machine.
const OWN_FAULT: &str = "That is a fault of this machine, and of nobody else: lower --parallel, \
                         raise `ulimit -n`, or see what uses up its descriptors, memory and ports.";

/// What to do about a call of which nobody here knows whether it was accepted.
const UNKNOWN: &str = "It is not known whether there is a job now. `harp jobs --host HOST` shows \
                       the newest of the host, and the dispatcher's audit log has each call. With \
                       --key the same call can be made again safely.";

/// True if the dispatcher may have accepted a call, or not.
fn is_unknown(error: &Error) -> bool {
    let lost = error.phase() == Some("reply") && !error.is_retryable();
    let half_recorded = error.data().is_some_and(|data| {
        let data = serde_json::from_str::<serde_json::Value>(data.as_str());
        data.is_ok_and(|data| data["outcome"] == "unknown")
    });
    lost || half_recorded
}

/// A problem to be told to the operator.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) exit: Exit,
    /// The failure, and the thing that failed.
    pub(crate) message: String,
    /// Advice.
    pub(crate) advice: Option<String>,
    /// How far a request had come.
    pub(crate) phase: Option<&'static str>,
    /// The error as it came over the wire.
    pub(crate) failure: Option<Box<harp_client::Failure>>,
    broken_pipe: bool,
}

impl Problem {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Problem {
        Problem {
            exit,
            message: message.into(),
            advice: None,
            phase: None,
            failure: None,
            broken_pipe: false,
        }
    }

    /// A wrong command line or a file that it names.
    pub(crate) fn usage(message: impl Into<String>) -> Problem {
        Problem::new(Exit::Usage, message)
    }

    pub(crate) fn with_advice(mut self, advice: impl Into<String>) -> Problem {
        self.advice = Some(advice.into());
        self
    }

    /// Standard output cannot be written.
    pub(crate) fn output(error: &std::io::Error) -> Problem {
        let mut problem = Problem::new(
            Exit::Output,
            format!("cannot write to standard output: {error}"),
        );
        problem.broken_pipe = error.kind() == std::io::ErrorKind::BrokenPipe;
        problem
    }

    /// True if the reader of standard output has gone, which is no news to anybody.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        self.broken_pipe
    }

    /// Why there is no conversation with a dispatcher, whose address came from `origin`.
    pub(crate) fn of_dispatcher(error: &Error, origin: &str) -> Problem {
        if error.is_own_fault() {
            return Problem::from(error).with_advice(OWN_FAULT);
        }
        if is_unknown(error) {
            let problem = Problem {
                exit: Exit::Unknown,
                ..Problem::from(error)
            };
            return problem.with_advice(UNKNOWN);
        }
        let advice = match (error.phase(), error.wire_type()) {
            (Some("resolve"), _) => Some(format!(
                "The name came {origin}. Is it right, and does `getent hosts` know it?"
            )),
            (Some("connect"), _) => Some(format!(
                "The address came {origin}; --dispatcher or HARPCALLER name another. If it is \
                 right, look at `listen` and [[listener]] in harpcaller.toml, and at firewalls."
            )),
            (Some("tls"), _) => Some(format!(
                "The address came {origin}. Does that port speak TLS, and is its certificate \
                 one that the CA file vouches for?"
            )),
            (Some("hello"), _) => Some(format!(
                "The address came {origin}. Something answers there that is no dispatcher, or \
                 one that expects TLS (--ca-file FILE). Is it the right port (3502 by default)?"
            )),
            (_, Some("invalid_jobid")) => Some(format!(
                "Is the id complete, and is it of this dispatcher (its address came {origin})? \
                 Old jobs may have been pruned."
            )),
            (_, Some("shutdown" | "overloaded")) => Some("Try again later.".to_owned()),
            (_, Some("forbidden")) => Some(
                "The rules in harpcaller.toml ([[allow]]) do not let this client do that; the \
                 dispatcher's log says as whom it knows you."
                    .to_owned(),
            ),
            (_, Some("unauthorized")) => Some(
                "The dispatcher wants to know who calls: --token-file FILE, or \
                 --client-certificate FILE with TLS, say so."
                    .to_owned(),
            ),
            _ => None,
        };
        Problem {
            advice,
            ..Problem::from(error)
        }
    }

    /// Why a direct call failed.
    pub(crate) fn of_host(error: &Error) -> Problem {
        if error.is_own_fault() {
            return Problem::from(error).with_advice(OWN_FAULT);
        }
        let advice = match (error.phase(), error.wire_type()) {
            (Some("resolve"), _) => Some("Is the name right, and does `getent hosts` know it?"),
            (Some("connect"), _) => Some(
                "Does harpd run there and listen on that port (4306 by default)? Does a firewall \
                 let it through?",
            ),
            (Some("tls"), _) => Some(
                "Is that a harpd, and is its certificate one of those you named (--ca-file, \
                 --known-certs, --fingerprint, --tls-name)?",
            ),
            (_, Some("auth_error")) => {
                Some("Are user and password those of the host's users file?")
            }
            (_, Some("no_such_procedure")) => {
                Some("`harpd list` on the host prints the procedures it has.")
            }
            _ => None,
        };
        Problem {
            advice: advice.map(str::to_owned),
            ..Problem::from(error)
        }
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Problem {
        Problem {
            exit: error.into(),
            message: with_causes(error),
            advice: None,
            phase: error.phase(),
            failure: error.failure().cloned().map(Box::new),
            broken_pipe: false,
        }
    }
}
