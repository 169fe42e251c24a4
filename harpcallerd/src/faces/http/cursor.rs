//! Where a list goes on: a place, bound to the question that it is of.

use axum::http::Uri;
use ring::digest::{SHA256, digest};

use super::problem::Problem;

/// Bytes of the digest of a question that a cursor has.
const BOUND: usize = 8;

/// The question of a list: its path and query, without what may differ from page to page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question([u8; BOUND]);

impl Question {
    /// The question that a request asks.
    pub(super) fn of(uri: &Uri) -> Question {
        let query = uri.query().unwrap_or_default();
        let mut names: Vec<&str> = query
            .split('&')
            .filter(|pair| {
                let name = pair.split('=').next().unwrap_or_default();
                !["", "limit", "cursor", "page_key"].contains(&name)
            })
            .collect();
        names.sort_unstable();
        let text = format!("{}?{}", uri.path(), names.join("&"));
        let digest = digest(&SHA256, text.as_bytes());
        let mut bound = [0; BOUND];
        bound.copy_from_slice(&digest.as_ref()[..BOUND]);
        Question(bound)
    }

    /// A cursor at a place.
    pub(super) fn cursor(&self, place: &[u8]) -> String {
        let bytes = self.0.iter().chain(place);
        bytes.map(|byte| format!("{byte:02x}")).collect()
    }

    /// The place of a cursor.
    ///
    /// # Errors
    ///
    /// A problem if it is no cursor, or that of another question.
    pub(super) fn place(&self, cursor: &str) -> Result<Vec<u8>, Problem> {
        let wrong = || Problem::field("cursor", "is not one of this list with these filters");
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
        let question = |uri: &str| Question::of(&uri.parse().unwrap());
        let one = question("/jobs?host=a&limit=3&state=ended");
        let cursor = one.cursor(b"place");
        let again = question("/jobs?state=ended&host=a&limit=9&cursor=x");
        assert_eq!(again.place(&cursor).unwrap(), b"place");
        assert!(question("/jobs?host=b&state=ended").place(&cursor).is_err());
        for wrong in ["", "x", "0", "\u{e4}\u{e4}", &cursor[2..]] {
            assert!(one.place(wrong).is_err(), "{wrong}");
        }
    }
}
