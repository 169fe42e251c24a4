//! Text without what a terminal would take for an order.

use std::borrow::Cow;

/// The text without escape sequences (ECMA-48): those that ESC begins, and their forms of one
/// character above 0x7f. Other control characters stay.
pub(super) fn without_escapes(text: &str) -> Cow<'_, str> {
    let begins =
        |character: char| character == '\u{1b}' || ('\u{80}'..='\u{9f}').contains(&character);
    if !text.contains(begins) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        let introducer = match character {
            '\u{1b}' => match rest.next() {
                // The forms of two characters of what can be one.
                Some(second @ '@'..='_') => char::from_u32(u32::from(second) + 0x40),
                // With intermediate characters, until a final one.
                Some(' '..='/') => {
                    while rest.next_if(|next| (' '..='/').contains(next)).is_some() {}
                    rest.next_if(|next| ('0'..='~').contains(next));
                    continue;
                }
                _ => continue,
            },
            '\u{80}'..='\u{9f}' => Some(character),
            plain => {
                kept.push(plain);
                continue;
            }
        };
        match introducer {
            // CSI: parameters, then a final character.
            Some('\u{9b}') => {
                while rest.next_if(|next| (' '..='?').contains(next)).is_some() {}
                rest.next_if(|next| ('@'..='~').contains(next));
            }
            // Strings, until BEL or ST.
            Some('\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => {
                while let Some(inner) = rest.next() {
                    match inner {
                        '\u{7}' | '\u{9c}' => break,
                        '\u{1b}' if rest.next_if_eq(&'\\').is_some() => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Cow::Owned(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_go_and_text_stays() {
        for (text, kept) in [
            ("plain \u{e4}\t", "plain \u{e4}\t"),
            ("\u{1b}[1;31mred\u{1b}[0m", "red"),
            ("\u{9b}31mred", "red"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{7}!", "link!"),
            ("a\u{1b}(Bb\u{1b}cc\u{1b}", "abc"),
            ("a\u{1b}[2", "a"),
            ("a\u{1b}]0;title", "a"),
            ("\u{85}next", "next"),
        ] {
            assert_eq!(without_escapes(text), kept, "{text:?}");
        }
    }
}
