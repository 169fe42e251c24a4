//! Errors of calls to hosts, and their form on the client's wire.

use std::fmt;
use std::io;

use bytes::Bytes;
use harp_proto::{Failure, error_type};
use serde_json::json;

use crate::Endpoint;
use crate::line_reader::LineError;
use crate::{IoCode, is_own_fault, tls};

/// How much of a line that is no message goes into the error's data, in characters.
const EXCERPT: usize = 200;

/// How far a call had come (client protocol, section 7, `phase`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Looking the host's address up.
    Resolve,
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Sending the request.
    Request,
    /// Waiting for the request's acknowledgement.
    Acknowledge,
    /// Receiving packets and the end.
    Stream,
}

impl Phase {
    /// The wire's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::Request => "request",
            Phase::Acknowledge => "acknowledge",
            Phase::Stream => "stream",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A call to a host that did not come to an end of its own.
#[derive(Debug)]
pub struct HostError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: HostErrorKind,
    phase: Phase,
    /// As [`Endpoint`] shows itself.
    address: String,
    detail: String,
    source: Option<io::Error>,
}

/// Kind of an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostErrorKind {
    /// The host could not be reached, or the connection ended before the call did.
    Network {
        /// Which fault.
        code: IoCode,
    },
    /// The host sent a complete line that is no message of the protocol at that point,
    /// or one that is too long.
    Protocol {
        /// The line's beginning, at most 200 characters; `None` for one that is too long.
        line: Option<String>,
    },
    /// Our own system cannot: it is out of descriptors or memory, or a file system of its own
    /// does not answer.
    Os {
        /// Which fault.
        code: IoCode,
    },
    /// The host answered the request with this error in place of the acknowledgement.
    Remote(Failure),
}

impl HostError {
    /// Kind of the error.
    #[must_use]
    pub fn kind(&self) -> &HostErrorKind {
        &self.0.kind
    }

    /// How far the call had come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.0.phase
    }

    /// The host, as `ADDRESS:PORT`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// True if the connection is still open: a time limit of ours was reached, or the host
    /// sent what cannot be read on. So the host may be at work, and has to be told.
    #[must_use]
    pub fn leaves_host_busy(&self) -> bool {
        match self.kind() {
            HostErrorKind::Network { code } => *code == IoCode::TimedOut,
            HostErrorKind::Protocol { .. } | HostErrorKind::Os { .. } => true,
            HostErrorKind::Remote(_) => false,
        }
    }

    /// True if the connection broke without a word from the host: its harpd was killed, or
    /// its machine or the way there is gone. The call may still be running.
    #[must_use]
    pub fn is_break(&self) -> bool {
        // A limit of ours and an orderly close have no cause below.
        matches!(self.kind(), HostErrorKind::Network { .. })
            && matches!(self.phase(), Phase::Acknowledge | Phase::Stream)
            && self.0.source.is_some()
    }

    /// True if the host, or its system, has ended the connection of a call that was sent.
    #[must_use]
    pub fn is_end_of_connection(&self) -> bool {
        matches!(self.kind(), HostErrorKind::Network { code } if code.is_end_of_connection())
            && matches!(self.phase(), Phase::Acknowledge | Phase::Stream)
    }

    /// The error in the form of the client's wire: `network_error`, `protocol_error`,
    /// `os_error`, or the host's own error as it came (client protocol, section 7).
    #[must_use]
    pub fn to_failure(&self) -> Failure {
        let Inner { phase, address, .. } = &*self.0;
        let phase = phase.as_str();
        let (error_type, data) = match &self.0.kind {
            HostErrorKind::Remote(failure) => return failure.clone(),
            HostErrorKind::Network { code } => (
                error_type::NETWORK_ERROR,
                json!({ "code": code.as_str(), "phase": phase, "address": address }),
            ),
            HostErrorKind::Os { code } => (
                error_type::OS_ERROR,
                json!({ "code": code.as_str(), "phase": phase, "address": address }),
            ),
            HostErrorKind::Protocol { line: Some(line) } => (
                error_type::PROTOCOL_ERROR,
                json!({ "phase": phase, "address": address, "line": line }),
            ),
            HostErrorKind::Protocol { line: None } => (
                error_type::PROTOCOL_ERROR,
                json!({ "phase": phase, "address": address }),
            ),
        };
        Failure::new(error_type, self.to_string()).with_data(&data)
    }

    fn new(
        endpoint: &Endpoint,
        phase: Phase,
        kind: HostErrorKind,
        detail: impl Into<String>,
    ) -> HostError {
        HostError(Box::new(Inner {
            kind,
            phase,
            address: endpoint.to_string(),
            detail: detail.into(),
            source: None,
        }))
    }

    pub(crate) fn network(
        endpoint: &Endpoint,
        phase: Phase,
        code: IoCode,
        detail: impl Into<String>,
    ) -> HostError {
        HostError::new(endpoint, phase, HostErrorKind::Network { code }, detail)
    }

    /// A limit of ours was reached.
    #[must_use]
    pub fn timed_out(endpoint: &Endpoint, phase: Phase) -> HostError {
        let detail = match phase {
            Phase::Resolve => "the name service did not answer in time",
            Phase::Connect => {
                "no answer in time; is the host up, and does a firewall let this port through?"
            }
            Phase::Tls => "no TLS handshake in time; is it harpd that listens there?",
            Phase::Request => "the host did not take the request in time",
            Phase::Acknowledge => "the host did not acknowledge the request in time",
            Phase::Stream => "the host was silent for too long",
        };
        HostError::network(endpoint, phase, IoCode::TimedOut, detail)
    }

    /// The time was over before the trust files could be read: a file system of our own does
    /// not answer.
    #[must_use]
    pub fn trust_unread(endpoint: &Endpoint) -> HostError {
        HostError::new(
            endpoint,
            Phase::Tls,
            HostErrorKind::Os {
                code: IoCode::TimedOut,
            },
            "the trust files could not be read in time; does the file system that they are on \
             answer?",
        )
    }

    pub(crate) fn closed(endpoint: &Endpoint, phase: Phase) -> HostError {
        let detail = match phase {
            Phase::Stream => "the host closed the connection before the call had ended",
            Phase::Tls => {
                "the host closed the connection during the TLS handshake; \
                 its log may say why"
            }
            _ => "the host closed the connection without an answer; its log may say why",
        };
        HostError::network(endpoint, phase, IoCode::Closed, detail)
    }

    /// A fault that the system or the TLS library reported.
    pub(crate) fn io(endpoint: &Endpoint, phase: Phase, error: io::Error) -> HostError {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let mut error_here = if let Some(tls) = tls {
            HostError::network(
                endpoint,
                phase,
                IoCode::Tls,
                tls::explain(tls, tls::Peer::Host),
            )
        } else if is_own_fault(&error) {
            let code = IoCode::of(&error);
            let detail = match code {
                IoCode::System("eaddrnotavail") => format!(
                    "this system cannot: {error}; it has no address of that kind, or no port \
                     left to connect from"
                ),
                _ => format!("this system cannot: {error}; raise its limits"),
            };
            HostError::new(endpoint, phase, HostErrorKind::Os { code }, detail)
        } else {
            match IoCode::of(&error) {
                IoCode::Closed => HostError::closed(endpoint, phase),
                code => HostError::network(endpoint, phase, code, advice(code, &error)),
            }
        };
        error_here.0.source = Some(error);
        error_here
    }

    /// Why there is no next line from the host.
    pub(crate) fn line(endpoint: &Endpoint, phase: Phase, error: LineError) -> HostError {
        match error {
            LineError::Closed => HostError::closed(endpoint, phase),
            LineError::Io(error) => HostError::io(endpoint, phase, error),
            LineError::TooLong(too_long) => HostError::new(
                endpoint,
                phase,
                HostErrorKind::Protocol { line: None },
                format!("the host sent a {too_long}; max_packet_size sets the limit"),
            ),
            LineError::GaveWay => HostError::network(
                endpoint,
                phase,
                IoCode::TimedOut,
                "the host was too slow with a large line while others waited for its memory; \
                 host_memory sets how much there is",
            ),
        }
    }

    /// A complete line that is not what may come now.
    pub(crate) fn unexpected(
        endpoint: &Endpoint,
        phase: Phase,
        line: &Bytes,
        why: impl fmt::Display,
    ) -> HostError {
        // A character takes at most four bytes.
        let beginning = &line[..line.len().min(4 * EXCERPT)];
        let excerpt = String::from_utf8_lossy(beginning)
            .chars()
            .take(EXCERPT)
            .collect();
        HostError::new(
            endpoint,
            phase,
            HostErrorKind::Protocol {
                line: Some(excerpt),
            },
            format!("the host sent what is no message of the harp protocol at this point: {why}"),
        )
    }

    /// A host has answered with this in place of an acknowledgement.
    #[must_use]
    pub fn remote(endpoint: &Endpoint, failure: Failure) -> HostError {
        let detail = failure.to_string();
        HostError::new(
            endpoint,
            Phase::Acknowledge,
            HostErrorKind::Remote(failure),
            detail,
        )
    }
}

/// The system's message, and what to do where that is known.
fn advice(code: IoCode, error: &io::Error) -> String {
    match code {
        IoCode::NoSuchName | IoCode::NoAddress => {
            format!("{error}; is the address in the hosts registry right?")
        }
        IoCode::NameServiceBusy | IoCode::NameServiceFails => {
            format!("{error}; does this machine reach its name service?")
        }
        IoCode::System("econnrefused") => {
            format!("{error}; does harpd run there, and listen on this address and port?")
        }
        IoCode::System("econnreset") => format!("{error}; the host broke the connection off"),
        IoCode::System("ehostunreach" | "enetunreach") => {
            format!("{error}; is the address right, and the way there up?")
        }
        _ => error.to_string(),
    }
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner {
            phase,
            address,
            detail,
            ..
        } = &*self.0;
        write!(f, "host {address}, phase {phase}: {detail}")
    }
}

impl std::error::Error for HostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|error| error as _)
    }
}
