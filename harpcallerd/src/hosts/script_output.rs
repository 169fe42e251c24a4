//! What the registry script prints, taken in while it comes.
//!
//! Of it only the entries are kept, and their lines for the cache file: a script that
//! prints anything else without end costs no memory. Lines hold passwords, so all memory
//! that they were in is overwritten when it is given back.

use std::io::{self, Write};

use harp_files::text;
use zeroize::Zeroizing;

use super::Parsed;

/// Bytes that the script may print: room for some hundred thousand hosts.
pub(super) const MAX_OUTPUT: usize = 64 * 1024 * 1024;

/// Bytes of a line, without its end; one that is longer is no entry.
const MAX_LINE: usize = 64 * 1024;

/// The entries that have been read, and their lines.
#[derive(Debug)]
pub(super) struct ScriptOutput {
    pub(super) parsed: Parsed,
    /// The entries' lines, each piece full before the next is begun: none is ever moved.
    pieces: Vec<Zeroizing<Vec<u8>>>,
    /// The line that has not ended yet.
    line: Zeroizing<Vec<u8>>,
    is_line_too_long: bool,
    /// Bytes that have come so far.
    taken: usize,
}

impl Default for ScriptOutput {
    fn default() -> ScriptOutput {
        ScriptOutput {
            parsed: Parsed::default(),
            pieces: Vec::new(),
            line: Zeroizing::new(Vec::with_capacity(MAX_LINE)),
            is_line_too_long: false,
            taken: 0,
        }
    }
}

impl ScriptOutput {
    /// Takes what comes next.
    ///
    /// # Errors
    ///
    /// `FileTooLarge` if that makes more than [`MAX_OUTPUT`].
    pub(super) fn take(&mut self, text: &[u8]) -> io::Result<()> {
        self.taken += text.len();
        if self.taken > MAX_OUTPUT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        for part in text.split_inclusive(|byte| *byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(rest) => {
                    self.extend_line(rest);
                    self.end_line();
                }
                None => self.extend_line(part),
            }
        }
        Ok(())
    }

    /// Says that nothing follows. The last line counts even without its newline; false if it
    /// has none, begins as an entry does and is none: then it was cut off, and who knows what
    /// was behind it.
    pub(super) fn end(&mut self) -> bool {
        let begins_an_entry = text::without_mark(&self.line)
            .trim_ascii_start()
            .starts_with(b"{");
        let before = self.parsed.ignored;
        self.end_line();
        !begins_an_entry || self.parsed.ignored == before
    }

    /// Writes the lines of all entries.
    ///
    /// # Errors
    ///
    /// Those of `into`.
    pub(super) fn write(&self, into: &mut impl Write) -> io::Result<()> {
        self.pieces
            .iter()
            .try_for_each(|piece| into.write_all(piece))
    }

    fn extend_line(&mut self, part: &[u8]) {
        if self.line.len() + part.len() > MAX_LINE {
            self.is_line_too_long = true;
        } else {
            self.line.extend_from_slice(part);
        }
    }

    fn end_line(&mut self) {
        if self.is_line_too_long {
            self.parsed.ignore(format!("longer than {MAX_LINE} bytes"));
        } else if self.parsed.take(&self.line) {
            self.keep_line();
        }
        self.line.clear();
        self.is_line_too_long = false;
    }

    fn keep_line(&mut self) {
        let line = text::without_mark(&self.line);
        let needed = line.len() + 1;
        let has_room = |piece: &Zeroizing<Vec<u8>>| piece.capacity() - piece.len() >= needed;
        let mut piece = match self.pieces.pop_if(|piece| has_room(piece)) {
            Some(piece) => piece,
            None => Zeroizing::new(Vec::with_capacity(MAX_LINE + 1)),
        };
        piece.extend_from_slice(line);
        piece.push(b'\n');
        self.pieces.push(piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> String {
        format!(
            r#"{{"hostname": "{name}", "address": "a", "port": 1, "credentials": {{"user": "u", "password": "p"}}}}"#
        )
    }

    fn read(text: &str) -> (ScriptOutput, String) {
        let mut output = ScriptOutput::default();
        // As a pipe gives it: cut anywhere.
        for part in text.as_bytes().chunks(7001) {
            output.take(part).unwrap();
        }
        output.end();
        let mut kept = Vec::new();
        output.write(&mut kept).unwrap();
        (output, String::from_utf8(kept).unwrap())
    }

    #[test]
    fn entries_are_kept_and_the_rest_is_counted() {
        let (one, two) = (entry("one"), entry("two"));
        let (output, kept) = read(&format!("{one}\n\nnonsense\n{two}"));
        assert_eq!(kept, format!("{one}\n{two}\n"));
        assert_eq!(
            (output.parsed.registry.len(), output.parsed.ignored),
            (2, 1)
        );
        assert_eq!(output.parsed.first_ignored.unwrap().0, 3);
        let marked = format!("\u{feff}{one}\n\u{feff}{two}\n");
        let (output, kept) = read(&marked);
        assert_eq!(kept, format!("{one}\n{two}\n"));
        assert_eq!(
            (output.parsed.registry.len(), output.parsed.ignored),
            (2, 0)
        );
        let (output, kept) = read("");
        assert_eq!((kept.as_str(), output.parsed.ignored), ("", 0));
    }

    #[test]
    fn an_end_in_the_middle_of_a_line_is_told() {
        let one = entry("one");
        for (text, is_whole) in [
            (one.clone(), true),
            (format!("{one}\nnonsense\n"), true),
            (format!("{one}\n\n "), true),
            (format!("{one}\n{}", &one[..20]), false),
            (format!("{one}\n{{"), false),
        ] {
            let mut output = ScriptOutput::default();
            output.take(text.as_bytes()).unwrap();
            assert_eq!(output.end(), is_whole, "{text}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over() {
        let long = entry(&"x".repeat(MAX_LINE));
        let longest = entry(&"x".repeat(MAX_LINE - entry("").len()));
        let (output, kept) = read(&format!("{long}\n{longest}\n{}\n{long}", entry("one")));
        assert_eq!(
            (output.parsed.registry.len(), output.parsed.ignored),
            (2, 2)
        );
        assert_eq!(kept, format!("{longest}\n{}\n", entry("one")));
        let (line, fault) = output.parsed.first_ignored.unwrap();
        assert_eq!((line, fault.as_str()), (1, "longer than 65536 bytes"));
    }

    #[test]
    fn many_entries_are_kept_in_order() {
        let text: String = (0..3000).map(|n| entry(&format!("h{n}")) + "\n").collect();
        let (output, kept) = read(&text);
        assert_eq!(output.parsed.registry.len(), 3000);
        assert!(output.pieces.len() > 1);
        assert_eq!(kept, text);
    }

    #[test]
    fn output_without_end_is_refused_and_costs_nothing() {
        let mut output = ScriptOutput::default();
        let lines = [b'\n'; 1 << 16];
        for _ in 0..MAX_OUTPUT / lines.len() {
            output.take(&lines).unwrap();
        }
        let error = output.take(b"\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert!(output.pieces.is_empty());
    }
}
