//! How it was proved who asks.

/// How it was proved who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// By a token.
    Token,
    /// By both halves of a session.
    Session,
    /// By a client certificate.
    Certificate,
    /// By being on a Unix socket.
    Unix,
    /// Not at all.
    Anonymous,
}

impl How {
    /// The word of the API.
    pub(super) fn name(self) -> &'static str {
        match self {
            How::Token => "token",
            How::Session => "session",
            How::Certificate => "certificate",
            How::Unix => "unix",
            How::Anonymous => "anonymous",
        }
    }
}
