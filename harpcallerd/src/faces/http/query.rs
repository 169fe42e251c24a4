//! The names of a query: none that nobody knows, none twice where one is expected.

use std::borrow::Cow;
use std::str::FromStr;

use axum::http::Uri;
use axum::http::request::Parts;

use super::problem::Problem;
use super::values::Values;

/// Names of a query that are looked at; more are refused.
const MOST: usize = 256;

/// What is left of a query.
#[derive(Debug)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of a request.
    ///
    /// # Errors
    ///
    /// A problem if it is not UTF-8, or has too many names.
    pub(super) fn of(parts: &Parts) -> Result<Query, Problem> {
        Query::read(&parts.uri)
    }

    /// Reads the query of an address.
    ///
    /// # Errors
    ///
    /// As for [`Query::of`].
    pub(super) fn read(uri: &Uri) -> Result<Query, Problem> {
        let mut names = Vec::new();
        let query = uri.query().unwrap_or_default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            names.push((decoded(name)?, decoded(value)?));
            if names.len() > MOST {
                return Err(Problem::invalid(format!(
                    "a query has {MOST} names at most"
                )));
            }
        }
        Ok(Query(names))
    }

    /// Takes out the value of a name.
    ///
    /// # Errors
    ///
    /// A problem if the name is there twice.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let mut values = self.all(name);
        match values.len() {
            0 | 1 => Ok(values.pop()),
            _ => Err(Problem::field(name, "stands here more than once")),
        }
    }

    /// Takes out all values of a name, in their order.
    pub(super) fn all(&mut self, name: &str) -> Vec<String> {
        let taken = self.0.extract_if(.., |(there, _)| there == name);
        taken.map(|(_, value)| value).collect()
    }

    /// Takes out all names that begin so, with their values; the names without that.
    pub(super) fn beginning(&mut self, prefix: &str) -> Vec<(String, String)> {
        let taken = self
            .0
            .extract_if(.., |(there, _)| there.starts_with(prefix));
        let taken = taken.map(|(name, value)| (name[prefix.len()..].to_owned(), value));
        taken.collect()
    }

    /// Takes out a whole number of at least `least` and at most `most`.
    ///
    /// # Errors
    ///
    /// A problem with the name if it is something else.
    pub(super) fn number(
        &mut self,
        name: &str,
        least: u64,
        most: u64,
    ) -> Result<Option<u64>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let is_number = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        // What is too large for the type is as good as endless.
        let number = is_number.then(|| text.parse().unwrap_or(u64::MAX));
        match number {
            Some(number) if number >= least && (number <= most) => Ok(Some(number)),
            _ if most == u64::MAX => {
                let problem = format!("must be a whole number, {least} or more");
                Err(Problem::field(name, problem))
            }
            _ => {
                let problem = format!("must be a whole number from {least} to {most}");
                Err(Problem::field(name, problem))
            }
        }
    }

    /// Takes out what is true or false; false without it.
    ///
    /// # Errors
    ///
    /// A problem with the name if it is something else.
    pub(super) fn boolean(&mut self, name: &str) -> Result<bool, Problem> {
        match self.text(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::field(name, "must be true or false")),
        }
    }

    /// Takes out one of some words.
    ///
    /// # Errors
    ///
    /// A problem with the name if it is another one.
    pub(super) fn word<'w>(
        &mut self,
        name: &str,
        words: &[&'w str],
    ) -> Result<Option<&'w str>, Problem> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let word = words.iter().copied().find(|word| *word == text);
        let word = word.ok_or_else(|| {
            let words = words.join(", ");
            Problem::field(name, format!("must be one of {words}"))
        })?;
        Ok(Some(word))
    }

    /// Takes out a value of a type that says what is wrong with a text.
    ///
    /// # Errors
    ///
    /// A problem with the name and what is wrong.
    pub(super) fn parsed<T: FromStr<Err: std::fmt::Display>>(
        &mut self,
        name: &str,
    ) -> Result<Option<T>, Problem> {
        let text = self.text(name)?;
        let parsed = text.map(|text| text.parse::<T>());
        parsed
            .transpose()
            .map_err(|error| Problem::field(name, error))
    }

    /// Takes out how a user's values are to be written.
    ///
    /// # Errors
    ///
    /// A problem if it is a word that means nothing.
    pub(super) fn values(&mut self) -> Result<Values, Problem> {
        Ok(match self.word("values", &["text"])? {
            Some(_) => Values::Text,
            None => Values::AsSent,
        })
    }

    /// Refuses a query of which something is left.
    ///
    /// # Errors
    ///
    /// A problem with the name.
    pub(super) fn done(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Problem::field(name, "this name means nothing here")),
        }
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
    let text = match text.contains('+') {
        true => Cow::Owned(text.replace('+', " ")),
        false => Cow::Borrowed(text),
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

    fn query(text: &str) -> Query {
        Query::read(&format!("/?{text}").parse().unwrap()).unwrap()
    }

    #[test]
    fn what_nobody_takes_is_refused() {
        let mut query = query("a=1&b=x%20y+z&info.k=2");
        assert_eq!(query.number("a", 0, 9).unwrap(), Some(1));
        assert_eq!(query.text("b").unwrap().as_deref(), Some("x y z"));
        assert_eq!(query.beginning("info."), [("k".to_owned(), "2".to_owned())]);
        query.done().unwrap();
        let mut query = self::query("a=1&a=2&c");
        assert!(query.text("a").is_err());
        assert!(query.done().is_err());
    }

    #[test]
    fn numbers_have_bounds() {
        for (text, is_good) in [
            ("9", true),
            ("10", false),
            ("-1", false),
            ("x", false),
            ("", false),
        ] {
            let number = query(&format!("n={text}")).number("n", 0, 9);
            assert_eq!(number.is_ok(), is_good, "{text}");
        }
        let huge = query(&format!("n={}", "9".repeat(40)));
        assert_eq!({ huge }.number("n", 0, u64::MAX).unwrap(), Some(u64::MAX));
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(percent_decoded("%C3%A4%2f").as_deref(), Some("\u{e4}/"));
        for wrong in ["%", "%4", "%zz", "%ff", "%+1"] {
            assert_eq!(percent_decoded(wrong), None, "{wrong}");
        }
    }
}
