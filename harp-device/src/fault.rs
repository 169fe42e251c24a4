//! Why a device cannot be talked to, and its form as a job's error.

use std::borrow::Cow;
use std::fmt;
use std::io;

use harp_host::IoCode;
use harp_values::{Failure, error_type};
use harp_zmtp::Violation;
use serde_json::json;

/// How far a call had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing has gone out.
    Connect,
    /// The command has gone out, and its reply has not come.
    Acknowledge,
}

/// Why a device cannot be talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    kind: Kind,
    /// `ADDRESS:PORT`.
    address: String,
    what: Cow<'static, str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Network(&'static str),
    Os(&'static str),
    Protocol,
}

impl Fault {
    /// A fault of the network, under a code of its own.
    pub(crate) fn network(
        address: impl Into<String>,
        code: &'static str,
        what: impl Into<Cow<'static, str>>,
    ) -> Fault {
        Fault {
            kind: Kind::Network(code),
            address: address.into(),
            what: what.into(),
        }
    }

    /// Something that no device says.
    pub(crate) fn protocol(
        address: impl Into<String>,
        what: impl Into<Cow<'static, str>>,
    ) -> Fault {
        Fault {
            kind: Kind::Protocol,
            address: address.into(),
            what: what.into(),
        }
    }

    /// What came in place of a reply is none.
    pub(crate) fn no_reply(address: impl Into<String>) -> Fault {
        let what = "what it sent is no reply: one object in one frame, with a nonce";
        Fault::protocol(address, what)
    }

    /// The registry has another place for it.
    pub(crate) fn moved(address: impl Into<String>) -> Fault {
        let what = "the registry does not have it there any more";
        Fault::network(address, IoCode::Closed.as_str(), what)
    }

    /// A limit of ours was reached.
    pub(crate) fn timed_out(address: impl Into<String>, what: &'static str) -> Fault {
        Fault::network(address, IoCode::TimedOut.as_str(), what)
    }

    /// Its large message had memory that others wait for, and came too slowly.
    pub(crate) fn gave_way(address: impl Into<String>) -> Fault {
        let what = "it was too slow with a large message while others waited for its memory; \
                    host_memory sets how much there is";
        Fault::timed_out(address, what)
    }

    /// What the system reports.
    pub(crate) fn io(address: impl Into<String>, error: &io::Error) -> Fault {
        let code = IoCode::of(error);
        let kind = if code.is_own_fault() {
            Kind::Os(code.as_str())
        } else {
            Kind::Network(code.as_str())
        };
        Fault {
            kind,
            address: address.into(),
            what: error.to_string().into(),
        }
    }

    /// What a connection reports.
    pub(crate) fn of(address: impl Into<String>, error: &harp_zmtp::Error) -> Fault {
        use harp_zmtp::Error;
        match error {
            Error::Io(error) => Fault::io(address, error),
            Error::Closed => Fault::network(address, IoCode::Closed.as_str(), error.to_string()),
            Error::Violation(Violation::TooLarge(limit)) => {
                let what = format!("it sent more than {limit} bytes at once (max_packet_size)");
                Fault::protocol(address, what)
            }
            Error::Violation(_) | Error::Refused(_) | Error::WrongPeer { .. } => {
                Fault::protocol(address, error.to_string())
            }
        }
    }

    /// The job's error.
    pub(crate) fn to_failure(&self, phase: Phase) -> Failure {
        let phase = match phase {
            Phase::Connect => "connect",
            Phase::Acknowledge => "acknowledge",
        };
        let address = &self.address;
        let (error_type, data) = match self.kind {
            Kind::Network(code) => (
                error_type::NETWORK_ERROR,
                json!({"code": code, "phase": phase, "address": address}),
            ),
            Kind::Os(code) => (
                error_type::OS_ERROR,
                json!({"code": code, "phase": phase, "address": address}),
            ),
            Kind::Protocol => (
                error_type::PROTOCOL_ERROR,
                json!({"phase": phase, "address": address}),
            ),
        };
        Failure::new(error_type, self.to_string()).with_data(&data)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the device at {}: {}", self.address, self.what)
    }
}
