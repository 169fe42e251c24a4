//! What a peer must not send.

/// Frames of one message, at most.
pub const MAX_PARTS: usize = 64;

/// What a peer must not send. Nothing behind it can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Its first bytes are none of ZeroMQ.
    #[error("it does not speak ZeroMQ's protocol")]
    NotZmtp,
    /// It speaks a version before 3.
    #[error("it speaks a version of ZeroMQ's protocol before 3")]
    Version,
    /// It wants encryption or authentication.
    #[error("it wants encryption or authentication, which is not known of such devices")]
    Mechanism,
    /// A frame has flags that there are not, or stands where it must not.
    #[error("it sent a frame that is none")]
    Frame,
    /// A command is cut short.
    #[error("it sent a command that is none")]
    Command,
    /// A message or command is too large.
    #[error("it sent more than {0} bytes at once")]
    TooLarge(usize),
    /// A message has too many frames.
    #[error("it sent a message of more than {MAX_PARTS} frames")]
    TooManyParts,
}
