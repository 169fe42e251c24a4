//! Which trace something is part of, as W3C's `traceparent` writes it.

use std::fmt;
use std::str::FromStr;

/// The number of a trace, never 0.
pub type TraceId = [u8; 16];

/// The number of a span within its trace, never 0.
pub type SpanId = [u8; 8];

/// A place in a trace: what is done there is a child of this span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    /// The trace.
    pub trace: TraceId,
    /// The span that asked.
    pub span: SpanId,
    /// Whether whoever asked keeps its spans.
    pub is_sampled: bool,
}

/// A text that is no `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotATraceparent;

impl FromStr for Traceparent {
    type Err = NotATraceparent;

    fn from_str(text: &str) -> Result<Traceparent, NotATraceparent> {
        let mut parts = text.split('-');
        let mut part = || parts.next().ok_or(NotATraceparent);
        let [version] = digits::<1>(part()?)?;
        let trace = digits(part()?)?;
        let span = digits(part()?)?;
        let [flags] = digits::<1>(part()?)?;
        // What later versions add stands behind that.
        let is_over = parts.next().is_none() || version > 0;
        let is_good = is_over && version != 0xff && trace != [0; 16] && span != [0; 8];
        is_good
            .then_some(Traceparent {
                trace,
                span,
                is_sampled: flags & 1 == 1,
            })
            .ok_or(NotATraceparent)
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = |f: &mut fmt::Formatter<'_>, bytes: &[u8]| -> fmt::Result {
            bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        };
        f.write_str("00-")?;
        hex(f, &self.trace)?;
        f.write_str("-")?;
        hex(f, &self.span)?;
        write!(f, "-{:02x}", u8::from(self.is_sampled))
    }
}

/// Bytes as small hexadecimal digits, and nothing else.
fn digits<const N: usize>(text: &str) -> Result<[u8; N], NotATraceparent> {
    let is_digit = |digit: &u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * N || !text.as_bytes().iter().all(is_digit) {
        return Err(NotATraceparent);
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        let digits = &text[2 * index..2 * index + 2];
        *byte = u8::from_str_radix(digits, 16).map_err(|_| NotATraceparent)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_written_so_is_read_and_nothing_else() {
        let read: Traceparent = GOOD.parse().unwrap();
        assert!(read.is_sampled && read.span[1] == 0xf0);
        assert_eq!(read.to_string(), GOOD);
        let later = format!("cc{}-more", &GOOD[2..]);
        assert!(later.parse::<Traceparent>().is_ok());
        for wrong in [
            String::new(),
            GOOD.to_uppercase(),
            format!("ff{}", &GOOD[2..]),
            format!("{GOOD}-more"),
            format!("{GOOD}0"),
            GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            GOOD.replace("00f067aa0ba902b7", &"0".repeat(16)),
            GOOD.replace('-', "_"),
            GOOD.replace("4b", "+b"),
            GOOD.replace("4bf9", "\u{e4}f9"),
        ] {
            assert_eq!(
                wrong.parse::<Traceparent>(),
                Err(NotATraceparent),
                "{wrong}"
            );
        }
    }
}
