//! Text as people's programs write it: some put a byte order mark in front of it.
//!
//! The mark says nothing about UTF-8, is not seen in an editor, and would be part of the
//! first word. Where files were glued together it stands at the beginning of a later line.

use std::io;

/// The byte order mark in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Takes a byte order mark off the beginning of a file or line.
#[must_use]
pub fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(MARK).unwrap_or(text)
}

/// Takes the lines of a text, each without its end and without a byte order mark before it.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| line.strip_prefix('\u{feff}').unwrap_or(line))
}

/// Makes text of what a file or pipe held, without a byte order mark before it.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidData`] if it is not UTF-8; for UTF-16 with its mark, that is said.
pub fn from_bytes(mut content: Vec<u8>) -> io::Result<String> {
    if content.starts_with(b"\xff\xfe") || content.starts_with(b"\xfe\xff") {
        let why = "it is in UTF-16; save it as UTF-8";
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    pass_over_mark(&mut content);
    String::from_utf8(content)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

pub(crate) fn pass_over_mark(content: &mut Vec<u8>) {
    if content.starts_with(MARK) {
        // In place: the content can be a secret, of which no copy is to be left.
        content.drain(..MARK.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_passed_over_where_a_text_begins() {
        for (bytes, text) in [
            (&b"\xef\xbb\xbfa"[..], "a"),
            (b"a\xef\xbb\xbf", "a\u{feff}"),
            (b"\xef\xbb\xbf", ""),
            (b"", ""),
        ] {
            assert_eq!(without_mark(bytes), text.as_bytes());
            assert_eq!(from_bytes(bytes.to_vec()).unwrap(), text);
        }
        // One is passed over, not as many as there are.
        assert_eq!(without_mark("\u{feff}\u{feff}".as_bytes()), MARK);
        let glued = "\u{feff}one\r\n\u{feff}two\nthr\u{feff}ee";
        let glued: Vec<_> = lines(glued).collect();
        assert_eq!(glued, ["one", "two", "thr\u{feff}ee"]);
    }

    #[test]
    fn what_is_no_text_is_told_so() {
        for (bytes, told) in [
            (&b"\xff\xfea\0"[..], "UTF-16"),
            (b"\xfe\xff\0a", "UTF-16"),
            (b"\xef\xbb\xbf\xff", "not UTF-8"),
        ] {
            let error = from_bytes(bytes.to_vec()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}
