//! Where a list goes on: a place, bound to the question that it is of.

use ring::digest::{SHA256, digest};

use super::names::{NameFault, Names};

/// Bytes of the digest of a question that a cursor has.
const BOUND: usize = 8;

/// The question of a list: its path and query, without what may differ from page to page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question([u8; BOUND]);

impl Question {
    /// The question that these names ask of a list of this kind.
    #[must_use]
    pub fn of(kind: &str, names: &Names) -> Question {
        let asked = names.as_slice().iter();
        let asked = asked.filter(|(name, _)| !["limit", "cursor"].contains(&name.as_str()));
        let mut asked: Vec<_> = asked.collect();
        asked.sort_unstable();
        let digest = digest(&SHA256, format!("{kind}{asked:?}").as_bytes());
        let mut bound = [0; BOUND];
        bound.copy_from_slice(&digest.as_ref()[..BOUND]);
        Question(bound)
    }

    /// A cursor at a place.
    #[must_use]
    pub fn cursor(&self, place: &[u8]) -> String {
        let bytes = self.0.iter().chain(place);
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    /// The place of a cursor.
    ///
    /// # Errors
    ///
    /// If it is no cursor, or that of another question.
    pub fn place(&self, cursor: &str) -> Result<Vec<u8>, NameFault> {
        let wrong = || NameFault::new("cursor", "is not one of this list with these filters");
        let is_hex =
            cursor.len().is_multiple_of(2) && cursor.bytes().all(|digit| digit.is_ascii_hexdigit());
        if !is_hex {
            return Err(wrong());
        }
        let bytes = (0..cursor.len()).step_by(2);
        let bytes = bytes.map(|at| u8::from_str_radix(&cursor[at..at + 2], 16));
        let bytes: Vec<u8> = bytes.collect::<Result<_, _>>().map_err(|_| wrong())?;
        let place = bytes.strip_prefix(&self.0).ok_or_else(wrong)?;
        Ok(place.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_of_one_question() {
        let question = |pairs: &[(&str, &str)]| {
            let pairs = pairs.iter();
            let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            Question::of("jobs", &Names::new(pairs.collect()))
        };
        let one = question(&[("host", "a"), ("limit", "3"), ("state", "ended")]);
        let cursor = one.cursor(b"place");
        let again = question(&[("state", "ended"), ("host", "a"), ("cursor", "x")]);
        assert_eq!(again.place(&cursor).unwrap(), b"place");
        let other = question(&[("host", "b"), ("state", "ended")]);
        assert!(other.place(&cursor).is_err());
        for wrong in ["", "x", "0", "\u{e4}\u{e4}", &cursor[2..]] {
            assert!(one.place(wrong).is_err(), "{wrong}");
        }
    }
}
