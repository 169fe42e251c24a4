//! Where a conversation with the dispatcher broke off.

use harp_host::IoCode;

/// Phase in which the connection to the dispatcher broke.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broken {
    pub(crate) phase: Phase,
    /// Which fault it was.
    pub(crate) code: IoCode,
    /// True for a connection to a dispatcher that takes one request each, and closes
    /// without a word on requests that it does not like.
    pub(crate) taciturn: bool,
}

/// How far a request to the dispatcher had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waited for its turn among the requests of this client.
    Turn,
    Resolve,
    Connect,
    Tls,
    Hello,
    /// The request's line was not handed over whole: the dispatcher has not taken it.
    Request,
    /// From here on it may have.
    Reply,
}

impl Phase {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Phase::Turn => "turn",
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::Hello => "hello",
            Phase::Request => "request",
            Phase::Reply => "reply",
        }
    }
}

impl Broken {
    /// True if there was a connection for the request to go over.
    pub(crate) fn was_connected(&self) -> bool {
        matches!(self.phase, Phase::Request | Phase::Reply)
    }

    /// True if it may be otherwise the next time.
    pub(crate) fn may_pass(&self) -> bool {
        self.code.may_pass()
    }

    /// True if the connection ended without a single line.
    pub(crate) fn without_a_word(&self) -> bool {
        self.phase == Phase::Reply && self.code == IoCode::Closed
    }
}
