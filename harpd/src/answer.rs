//! What is said to a caller: messages, and long ones that do not stay in memory until they
//! are sent.

use std::io;
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;
use harp_proto::host::Message;
use harp_proto::{Failure, Json, error_type};

use crate::stash::{Stash, blocking};

/// JSON text from this length on does not stay in memory until it is sent.
pub const LONG: usize = 32 << 10;

/// Held by whoever has something long in memory for a moment.
static AT_ONCE: Mutex<()> = Mutex::new(());

/// Does something for which something long has to be in memory: one at a time. Blocks.
pub fn one_at_a_time<T>(work: impl FnOnce() -> T) -> T {
    blocking(|| {
        // A panic of another one has left nothing behind.
        let _turn = AT_ONCE.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    })
}

/// A packet on its way to the caller.
#[derive(Debug)]
pub enum Packet {
    /// Its value.
    Short(Json),
    /// Its whole line.
    Long(Stash),
}

/// The last message of a call.
#[derive(Debug)]
pub enum Answer {
    /// It is short.
    Short(Message),
    /// Its whole line.
    Long {
        /// What it says, for the log.
        said: Said,
        /// The line, with its end.
        line: Stash,
    },
}

/// What a last message says, without the values in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The procedure returned.
    Returned,
    /// An exception of this type.
    Exception(String),
    /// An error of this type.
    Error(String),
}

impl Packet {
    /// A packet with this value.
    ///
    /// # Errors
    ///
    /// If there is no room for it.
    pub fn of(value: Json) -> Result<Packet, Failure> {
        if value.as_bytes().len() < LONG {
            return Ok(Packet::Short(value));
        }
        let mut line = Packet::begin()?;
        line.push(value.as_bytes()).map_err(no_room)?;
        Packet::end(line)
    }

    /// The beginning of a long packet's line, behind which its value comes.
    pub(crate) fn begin() -> Result<Stash, Failure> {
        begun(b"{\"stream\":")
    }

    /// The packet of a line that [`Packet::begin`] began and that has its value.
    pub(crate) fn end(line: Stash) -> Result<Packet, Failure> {
        Ok(Packet::Long(ended(line)?))
    }
}

impl Answer {
    /// Says this.
    ///
    /// # Errors
    ///
    /// If there is no room for it.
    pub fn of(message: Message) -> Result<Answer, Failure> {
        match message {
            Message::Result(value) if value.as_bytes().len() >= LONG => {
                let mut line = Answer::begin_result()?;
                line.push(value.as_bytes()).map_err(no_room)?;
                Answer::end_result(line)
            }
            Message::Exception(ref failure) | Message::Error(ref failure)
                if length(failure) >= LONG =>
            {
                let said = Said::of(&message);
                let mut text = BytesMut::new();
                message.encode(&mut text);
                let mut line = Stash::default();
                line.push(&text).map_err(no_room)?;
                Ok(Answer::Long { said, line })
            }
            message => Ok(Answer::Short(message)),
        }
    }

    /// The beginning of a long result's line, behind which its value comes.
    pub(crate) fn begin_result() -> Result<Stash, Failure> {
        begun(b"{\"result\":")
    }

    /// The answer of a line that [`Answer::begin_result`] began and that has its value.
    pub(crate) fn end_result(line: Stash) -> Result<Answer, Failure> {
        Ok(Answer::Long {
            said: Said::Returned,
            line: ended(line)?,
        })
    }

    /// What it says, for the log.
    #[must_use]
    pub fn said(&self) -> Said {
        match self {
            Answer::Short(message) => Said::of(message),
            Answer::Long { said, .. } => said.clone(),
        }
    }
}

impl Said {
    fn of(message: &Message) -> Said {
        match message {
            Message::Exception(failure) => Said::Exception(failure.error_type.clone()),
            Message::Error(failure) => Said::Error(failure.error_type.clone()),
            _ => Said::Returned,
        }
    }

    /// A word for the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Said::Returned => "returned",
            Said::Exception(_) => "exception",
            Said::Error(_) => "error",
        }
    }

    /// The type of an exception or error.
    #[must_use]
    pub fn error_type(&self) -> Option<&str> {
        match self {
            Said::Returned => None,
            Said::Exception(error_type) | Said::Error(error_type) => Some(error_type),
        }
    }
}

/// The error about output that there is no room for, neither in memory nor in a file.
pub(crate) fn no_room(error: io::Error) -> Failure {
    Failure::new(
        error_type::SYSTEM_ERROR,
        format!("harpd has no room for something long of the call: {error}"),
    )
}

fn length(failure: &Failure) -> usize {
    let data = failure.data.as_ref();
    failure.message.len() + failure.error_type.len() + data.map_or(0, |data| data.as_bytes().len())
}

fn begun(text: &[u8]) -> Result<Stash, Failure> {
    let mut line = Stash::default();
    line.push(text).map_err(no_room)?;
    Ok(line)
}

fn ended(mut line: Stash) -> Result<Stash, Failure> {
    line.push(b"}\n").map_err(no_room)?;
    Ok(line)
}
