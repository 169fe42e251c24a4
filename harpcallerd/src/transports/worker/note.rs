//! What is on record of a job that a worker has claimed.

use harp_jobs::ledger::Token;
use serde::{Deserialize, Serialize};

/// First byte of a token.
const CLAIMED: u8 = b'W';

/// The worker that has claimed a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// The part of the claim's name that nobody can guess.
    pub secret: u64,
    /// The service, by its id.
    pub service: String,
    /// The identity of the client that has claimed.
    pub client: String,
    /// The name that the worker gives itself.
    pub worker: Option<String>,
    /// The lease in seconds.
    pub lease: u64,
    /// The client's name for this claim: as long as it has the job, it is given no other one
    /// under that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Note {
    /// Reads a token; `None` if it is not of a claim.
    #[must_use]
    pub fn read(token: &Token) -> Option<Note> {
        let (first, text) = token.0.split_first()?;
        (*first == CLAIMED).then_some(())?;
        serde_json::from_slice(text).ok()
    }

    /// The token that says this.
    #[must_use]
    pub fn token(&self) -> Token {
        let mut token = vec![CLAIMED];
        // Numbers and texts can be written, and memory takes them.
        let _ = serde_json::to_writer(&mut token, self);
        Token(token.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_comes_back_as_it_was() {
        let note = Note {
            secret: u64::MAX,
            service: "019aa9c0".to_owned(),
            client: "token:lab".to_owned(),
            worker: Some("bench 7".to_owned()),
            lease: 60,
            key: None,
        };
        let keyed = Note {
            key: Some("k".to_owned()),
            ..note.clone()
        };
        assert_eq!(Note::read(&keyed.token()), Some(keyed));
        assert_eq!(Note::read(&note.token()), Some(note));
        assert_eq!(Note::read(&Token::default()), None);
        assert_eq!(Note::read(&Token((&b"K1234"[..]).into())), None);
    }
}
