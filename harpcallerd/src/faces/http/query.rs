//! The query of an address.

use std::borrow::Cow;

use axum::http::Uri;

use super::problem::Problem;
use crate::faces::listing::names::{NameFault, Names};

/// Names of a query that are looked at; more are refused.
const MOST: usize = 256;

/// What is left of a query.
pub(super) type Query = Names;

/// Reads the query of an address.
///
/// # Errors
///
/// A problem if it is not UTF-8, or has too many names.
pub(super) fn read(uri: &Uri) -> Result<Query, Problem> {
    names(uri.query().unwrap_or_default())
}

/// The names of a query, without its question mark.
///
/// # Errors
///
/// As for an address's.
pub fn names(query: &str) -> Result<Names, Problem> {
    let mut names = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        names.push((decoded(name)?, decoded(value)?));
        if names.len() > MOST {
            return Err(Problem::invalid(format!(
                "a query has {MOST} names at most"
            )));
        }
    }
    Ok(Names::new(names))
}

impl From<NameFault> for Problem {
    fn from(NameFault { name, problem }: NameFault) -> Problem {
        Problem::field(&name, problem)
    }
}

/// The name that the page's half of a session has in a query.
pub(super) const PAGE_KEY: &str = "page_key";

/// True for streams and downloads, which browsers ask for without headers.
pub(super) fn may_have_page_key(path: &str) -> bool {
    path.ends_with("/events") || path.ends_with("/output")
}

/// A part of an address with its escapes undone; in a query, `+` is a space.
fn decoded(text: &str) -> Result<String, Problem> {
    let text = if text.contains('+') {
        Cow::Owned(text.replace('+', " "))
    } else {
        Cow::Borrowed(text)
    };
    percent_decoded(&text).ok_or_else(|| Problem::invalid("the query is not UTF-8"))
}

/// A text with its escapes `%XX` undone; `None` if that is not UTF-8, or an escape is none.
pub(super) fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        if byte != b'%' {
            bytes.push(byte);
            rest = behind;
            continue;
        }
        let digits = behind
            .get(..2)
            .filter(|two| two.iter().all(u8::is_ascii_hexdigit))?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = &behind[2..];
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone() {
        assert_eq!(percent_decoded("%C3%A4%2f").as_deref(), Some("\u{e4}/"));
        for wrong in ["%", "%4", "%zz", "%ff", "%+1"] {
            assert_eq!(percent_decoded(wrong), None, "{wrong}");
        }
        let uri = "/?a=1&b=x%20y+z&c".parse().unwrap();
        let mut query = read(&uri).unwrap();
        assert_eq!(query.text("b").unwrap().as_deref(), Some("x y z"));
        assert_eq!(query.text("c").unwrap().as_deref(), Some(""));
    }
}
