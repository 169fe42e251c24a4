//! PEM as people make it: glued together, indented, with a byte order mark or without line
//! breaks. Nothing that begins is passed over in silence: each `BEGIN` is an item, or an
//! error that names its line.

use std::fmt::Write as _;

/// One item of a text.
#[derive(Clone, PartialEq, Eq)]
pub struct PemItem {
    /// What its first line calls it: `CERTIFICATE`, `PRIVATE KEY`.
    pub label: String,
    /// The line that it begins in, from 1 on.
    pub line: usize,
    /// The item in strict form, for a decoder. It may be a key.
    pub text: String,
}

/// A text that is no PEM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct NotPem {
    /// The line, from 1 on.
    pub line: usize,
    /// The problem with it.
    pub why: String,
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
/// Characters of a line in strict form.
const WIDTH: usize = 64;

/// The certificates of a text. What stands between items is for people, and keys, requests
/// and revocation lists are other things.
///
/// # Errors
///
/// [`NotPem`] for an item that does not end or ends as another, a certificate with
/// something in it that is no base64, or in a form that only some programs know, and a text
/// in UTF-16.
pub fn certificates(text: &[u8]) -> Result<Vec<PemItem>, NotPem> {
    let mut certificates = Vec::new();
    for section in sections(text)? {
        match section.label {
            "CERTIFICATE" => certificates.push(section.item()?),
            label @ ("X509 CERTIFICATE" | "TRUSTED CERTIFICATE") => {
                let why = format!(
                    "BEGIN {label} is a form of some programs only; `openssl x509 -in FILE` \
                     writes the one that all know"
                );
                return Err(not_pem(section.line, why));
            }
            _ => {}
        }
    }
    Ok(certificates)
}

/// The first private key of a text, if there is one.
///
/// # Errors
///
/// [`NotPem`], also for a key with a passphrase.
pub fn private_key(text: &[u8]) -> Result<Option<PemItem>, NotPem> {
    let sections = sections(text)?.into_iter();
    let mut keys = sections.filter(|section| section.label.ends_with("PRIVATE KEY"));
    match keys.next() {
        Some(key) if key.label.starts_with("ENCRYPTED") => Err(not_pem(
            key.line,
            "the key has a passphrase; write one without",
        )),
        Some(key) => Ok(Some(key.item()?)),
        None => Ok(None),
    }
}

impl PemItem {
    /// That a decoder did not want the item.
    #[must_use]
    pub fn refused(&self, why: impl std::fmt::Display) -> NotPem {
        not_pem(self.line, format!("the {}: {why}", self.label))
    }
}

/// From a BEGIN to its END.
struct Section<'t> {
    label: &'t str,
    line: usize,
    body: &'t [u8],
    body_line: usize,
}

fn sections(text: &[u8]) -> Result<Vec<Section<'_>>, NotPem> {
    if text.starts_with(&[0xff, 0xfe]) || text.starts_with(&[0xfe, 0xff]) {
        return Err(not_pem(
            1,
            "the file is in UTF-16; save it as UTF-8 or ASCII",
        ));
    }
    let mut sections = Vec::new();
    let mut at = 0;
    let mut lines = Lines { at: 0, line: 1 };
    while let Some(begin) = find(text, at, BEGIN) {
        let line = lines.advance(text, begin);
        let (label, body_at) = label(text, begin + BEGIN.len())
            .ok_or_else(|| not_pem(line, "the BEGIN is cut short: five dashes must end it"))?;
        let next = find(text, body_at, BEGIN);
        let end = match find(text, body_at, END) {
            Some(end) if next.is_none_or(|next| end < next) => end,
            _ => return Err(not_pem(line, format!("the BEGIN {label} has no END"))),
        };
        let body_line = lines.advance(text, body_at);
        let end_line = lines.advance(text, end);
        let Some((end_label, after)) = self::label(text, end + END.len()) else {
            let why = "the END is cut short: five dashes must end it";
            return Err(not_pem(end_line, why));
        };
        if end_label != label {
            let why =
                format!("this END {end_label} belongs to no BEGIN; line {line} begins {label}");
            return Err(not_pem(end_line, why));
        }
        sections.push(Section {
            label,
            line,
            body: &text[body_at..end],
            body_line,
        });
        at = after;
    }
    Ok(sections)
}

impl Section<'_> {
    fn item(&self) -> Result<PemItem, NotPem> {
        Ok(PemItem {
            text: strict(self.label, self.body, self.body_line)?,
            label: self.label.to_owned(),
            line: self.line,
        })
    }
}

/// The name behind BEGIN or END, and where its dashes end.
fn label(text: &[u8], at: usize) -> Option<(&str, usize)> {
    let length = find(&text[at..], 0, DASHES)?;
    let label = str::from_utf8(&text[at..at + length]).ok()?;
    let is_name = |character: char| character.is_ascii_alphanumeric() || character == ' ';
    (label.len() < 64 && label.chars().all(is_name)).then_some((label, at + length + DASHES.len()))
}

/// An item with its base64 in lines of the usual width.
fn strict(label: &str, body: &[u8], first_line: usize) -> Result<String, NotPem> {
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut width = 0;
    let mut line = first_line;
    for byte in body {
        match byte {
            b'\n' => line += 1,
            b' ' | b'\t' | b'\r' => {}
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' | b'=' => {
                text.push(char::from(*byte));
                width += 1;
                if width == WIDTH {
                    text.push('\n');
                    width = 0;
                }
            }
            b':' | b',' | b'-' => {
                let why = "a header: keys with a passphrase have these; write one without";
                return Err(not_pem(line, why));
            }
            _ => return Err(not_pem(line, "something that is no base64")),
        }
    }
    if width > 0 {
        text.push('\n');
    }
    // A string takes whatever is written to it.
    let _ = writeln!(text, "-----END {label}-----");
    Ok(text)
}

fn find(text: &[u8], from: usize, what: &[u8]) -> Option<usize> {
    Some(from + memchr::memmem::find(&text[from..], what)?)
}

/// Counts lines on the way through a text.
struct Lines {
    at: usize,
    line: usize,
}

impl Lines {
    /// The line of a place that is not before the last one that was asked for.
    fn advance(&mut self, text: &[u8], to: usize) -> usize {
        self.line += memchr::memchr_iter(b'\n', &text[self.at..to]).count();
        self.at = to;
        self.line
    }
}

fn not_pem(line: usize, why: impl Into<String>) -> NotPem {
    NotPem {
        line,
        why: why.into(),
    }
}

/// Shows no text: it may be a key.
impl std::fmt::Debug for PemItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let PemItem { label, line, .. } = self;
        write!(f, "{label} in line {line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nTUlJQg==\n-----END CERTIFICATE-----\n";

    fn count(text: &str) -> Result<usize, NotPem> {
        let items = certificates(text.as_bytes())?;
        for item in &items {
            assert_eq!(item.text, ONE, "{text}");
        }
        Ok(items.len())
    }

    #[test]
    fn each_item_is_read_however_it_was_put_there() {
        assert_eq!(count(""), Ok(0));
        assert_eq!(count("nothing here\n"), Ok(0));
        assert_eq!(count(ONE), Ok(1));
        assert_eq!(count(&format!("\u{feff}{ONE}")), Ok(1));
        assert_eq!(count(&ONE.replace('\n', "\r\n").repeat(2)), Ok(2));
        assert_eq!(count(&ONE.replace('\n', "")), Ok(1));
        assert_eq!(count(&ONE.replace('\n', " ").repeat(3)), Ok(3));
        assert_eq!(count(&ONE.trim_end().repeat(3)), Ok(3), "glued");
        assert_eq!(
            count(
                &ONE.replace("-----\nT", "-----\n  T")
                    .replace("\n-", "\n\t-")
            ),
            Ok(1)
        );
        let told = format!("Subject: CN = x\n    {ONE}\nbetween\n{ONE}");
        assert_eq!(count(&told), Ok(2));
        let key = "-----BEGIN PRIVATE KEY-----\nTUlJ\n-----END PRIVATE KEY-----\n";
        assert_eq!(count(&format!("{key}{ONE}")), Ok(1));
        let read = private_key(format!("{ONE}{key}").as_bytes())
            .unwrap()
            .unwrap();
        assert_eq!((read.text.as_str(), read.line), (key, 4));
        assert!(!format!("{read:?}").contains("TUlJ"));
        assert_eq!(private_key(ONE.as_bytes()), Ok(None));
        let secret = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        assert_eq!(
            count(&format!("{secret}{ONE}")),
            Ok(1),
            "nobody asked for the key"
        );
        let refused = private_key(secret.as_bytes()).unwrap_err();
        assert!(refused.why.contains("passphrase"), "{refused}");
    }

    #[test]
    fn what_begins_and_is_no_item_is_named_with_its_line() {
        for (text, line, why) in [
            (
                format!("{ONE}-----BEGIN CERTIFICATE-----\nTUlJ\n"),
                4,
                "no END",
            ),
            (
                format!("-----BEGIN CERTIFICATE-----\nTUlJ\n{ONE}"),
                1,
                "no END",
            ),
            (
                format!("{ONE}\n-----BEGIN CERTIFICATE--\n{ONE}"),
                5,
                "cut short",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END CERTIFICATE".to_owned(),
                3,
                "cut short",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nTUlJ\n-----END KEY-----".to_owned(),
                3,
                "line 1 begins",
            ),
            (format!("x\n{}", ONE.replace("==", "*=")), 3, "no base64"),
            (
                ONE.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
                1,
                "openssl x509",
            ),
            (
                ONE.replace("CERTIFICATE", "X509 CERTIFICATE"),
                1,
                "openssl x509",
            ),
            (
                ONE.replace("-----\nT", "-----\nProc-Type: 4,ENCRYPTED\n\nT"),
                2,
                "passphrase",
            ),
        ] {
            let error = certificates(text.as_bytes()).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.why.contains(why), "{text}: {error}");
        }
        let wide = [&[0xff, 0xfe][..], b"-\0-\0"].concat();
        assert!(certificates(&wide).unwrap_err().why.contains("UTF-16"));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(parts in proptest::collection::vec(
            "-----BEGIN |-----END |-----|CERTIFICATE|[ -~\n]{0,9}", 0..12)) {
            let _ = certificates(parts.concat().as_bytes());
        }
    }
}
