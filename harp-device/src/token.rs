//! What is on record of a call at a device.
//!
//! A token is two letters and numbers in network order. The first letter is this transport's
//! alone.

use bytes::{Buf, BufMut, BytesMut};
use harp_jobs::hold::Token;

/// The first letter of all of them.
const MARK: u8 = b'A';
const SENT: u8 = b's';
const PENDING: u8 = b'p';
const STREAM: u8 = b'e';

/// What is on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    /// The command goes out with this nonce, or has: no reply is on record.
    Sent {
        /// The nonce.
        nonce: u64,
    },
    /// The device has said that the result will be published.
    Pending {
        /// The command's nonce.
        nonce: u64,
        /// The command, as the device calls it.
        command: i64,
    },
    /// Events are streamed.
    Stream {
        /// Since when, in milliseconds since 1970.
        since: u64,
    },
}

impl Note {
    /// Reads a token; `None` if it is not of this transport.
    pub(crate) fn read(token: &Token) -> Option<Note> {
        let mut text = token.0.clone();
        if text.len() < 10 || text.get_u8() != MARK {
            return None;
        }
        let kind = text.get_u8();
        let number = text.get_u64();
        Some(match kind {
            SENT => Note::Sent { nonce: number },
            PENDING if text.len() >= 8 => Note::Pending {
                nonce: number,
                command: text.get_i64(),
            },
            STREAM => Note::Stream { since: number },
            _ => return None,
        })
    }

    /// The token that says this.
    pub(crate) fn token(self) -> Token {
        let mut text = BytesMut::with_capacity(18);
        text.put_u8(MARK);
        match self {
            Note::Sent { nonce } => {
                text.put_u8(SENT);
                text.put_u64(nonce);
            }
            Note::Pending { nonce, command } => {
                text.put_u8(PENDING);
                text.put_u64(nonce);
                text.put_i64(command);
            }
            Note::Stream { since } => {
                text.put_u8(STREAM);
                text.put_u64(since);
            }
        }
        Token(text.freeze())
    }

    /// Whether the job may go on after a start of the dispatcher.
    pub(crate) fn may_go_on(self) -> bool {
        match self {
            Note::Sent { .. } => false,
            Note::Pending { .. } | Note::Stream { .. } => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_as_it_was() {
        for note in [
            Note::Sent { nonce: 1 << 51 },
            Note::Pending {
                nonce: 7,
                command: -3,
            },
            Note::Stream { since: 9 },
        ] {
            assert_eq!(Note::read(&note.token()), Some(note));
        }
        for other in [
            "",
            "A",
            "K123456789012345678901234567890123456789012345",
            "Ap12345678",
            "Ax12345678",
        ] {
            assert_eq!(Note::read(&Token(other.into())), None, "{other}");
        }
    }
}
