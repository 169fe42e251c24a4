//! What a peer sends, out of bytes that are cut anywhere.

use bytes::{Buf, Bytes, BytesMut};

use crate::command::Command;
use crate::greeting::{GREETING, Greeting};
use crate::message::{COMMAND, LONG, MORE};
use crate::violation::{MAX_PARTS, Violation};

/// Bytes of a command, at most.
pub const MAX_COMMAND: usize = 64 * 1024;

/// What a peer sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// Its greeting, which comes first and once.
    Greeting(Greeting),
    /// A command.
    Command(Command),
    /// A message: its frames, at least one.
    Message(Vec<Bytes>),
}

/// Cuts what a peer sends into items. After a [`Violation`] it has nothing more to say.
#[derive(Debug)]
pub struct Decoder {
    bytes: BytesMut,
    /// Bytes of a message, at most.
    limit: usize,
    is_greeted: bool,
    /// The frames of a message that has not ended.
    parts: Vec<Bytes>,
    /// Their bytes.
    size: usize,
}

impl Decoder {
    /// A decoder of messages of at most so many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Decoder {
        Decoder {
            bytes: BytesMut::new(),
            limit,
            is_greeted: false,
            parts: Vec::new(),
            size: 0,
        }
    }

    /// Where what comes next is to be appended.
    pub fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Bytes that have come and are no whole item yet.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.bytes.len() + self.size
    }

    /// Whether something has come that is no whole item yet.
    #[must_use]
    pub fn is_within(&self) -> bool {
        !self.bytes.is_empty() || !self.parts.is_empty()
    }

    /// The next item; `None` if it has not come whole.
    ///
    /// # Errors
    ///
    /// [`Violation`], as soon as it is seen.
    #[allow(
        clippy::should_implement_trait,
        reason = "it is no iterator: more may come"
    )]
    pub fn next(&mut self) -> Result<Option<Item>, Violation> {
        if !self.is_greeted {
            let Some(greeting) = Greeting::read(&self.bytes)? else {
                return Ok(None);
            };
            self.bytes.advance(GREETING);
            self.is_greeted = true;
            return Ok(Some(Item::Greeting(greeting)));
        }
        while let Some((flags, body)) = self.frame()? {
            if flags & COMMAND != 0 {
                return Ok(Some(Item::Command(Command::read(body)?)));
            }
            self.size += body.len();
            self.parts.push(body);
            if flags & MORE == 0 {
                self.size = 0;
                return Ok(Some(Item::Message(std::mem::take(&mut self.parts))));
            }
        }
        Ok(None)
    }

    /// The next frame: its flags and body.
    fn frame(&mut self) -> Result<Option<(u8, Bytes)>, Violation> {
        let Some(flags) = self.bytes.first().copied() else {
            return Ok(None);
        };
        let is_command = flags & COMMAND != 0;
        if flags & !(MORE | LONG | COMMAND) != 0 || (is_command && flags & MORE != 0) {
            return Err(Violation::Frame);
        }
        let (head, length) = if flags & LONG == 0 {
            (2, self.bytes.get(1).map(|byte| u64::from(*byte)))
        } else {
            let length = self.bytes.get(1..9);
            let length = length.and_then(|bytes| bytes.try_into().ok());
            (9, length.map(u64::from_be_bytes))
        };
        let Some(length) = length else {
            return Ok(None);
        };
        let most = if is_command {
            MAX_COMMAND
        } else {
            self.limit - self.size
        };
        let length = usize::try_from(length)
            .ok()
            .filter(|length| *length <= most);
        let Some(length) = length else {
            let limit = if is_command { MAX_COMMAND } else { self.limit };
            return Err(Violation::TooLarge(limit));
        };
        // A command may stand between messages alone.
        if is_command && !self.parts.is_empty() {
            return Err(Violation::Frame);
        }
        if !is_command && self.parts.len() == MAX_PARTS {
            return Err(Violation::TooManyParts);
        }
        if self.bytes.len() < head + length {
            return Ok(None);
        }
        self.bytes.advance(head);
        Ok(Some((flags, self.bytes.split_to(length).freeze())))
    }
}
