//! Words that occur anywhere in a job, in any case, with JSON's escapes undone.

use harp_values::{JobId, Outcome};

use crate::desk::view::View;

/// The words, in small letters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl Words {
    /// The words of a text.
    #[must_use]
    pub fn of(text: &str) -> Words {
        Words(text.split_whitespace().map(str::to_lowercase).collect())
    }

    /// The job that one of them is the id of.
    pub(super) fn job(&self) -> Option<JobId> {
        self.0.iter().find_map(|word| word.parse().ok())
    }

    /// True if all of them occur in the job.
    pub(super) fn occur_in(&self, view: &View) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let call = &view.report.call;
        let id = view.report.id.to_string();
        let queue = call.queue.as_ref().map(|queue| queue.name.as_str());
        let texts = [
            Some(id.as_str()),
            Some(&call.host),
            Some(&call.procedure),
            call.client.as_deref(),
            call.key.as_deref(),
        ];
        let mut all = String::new();
        for text in texts.into_iter().flatten() {
            add(&mut all, text);
        }
        for json in [
            queue,
            Some(call.arguments.as_str()),
            Some(call.info.as_str()),
        ] {
            add(&mut all, &unescaped(json.unwrap_or_default()));
        }
        if let Some(Outcome::Exception(failure) | Outcome::Error(failure)) =
            view.end.as_ref().map(|end| &end.outcome)
        {
            add(&mut all, &failure.error_type);
            add(&mut all, &failure.message);
        }
        self.0.iter().all(|word| all.contains(word.as_str()))
    }
}

/// Adds a text in small letters; nothing is found across two of them.
fn add(all: &mut String, text: &str) {
    all.push_str(&text.to_lowercase());
    all.push('\n');
}

/// A JSON text with the escapes of its strings undone.
fn unescaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        let (character, length) = match escape.as_bytes().first() {
            Some(b'n') => ('\n', 1),
            Some(b't') => ('\t', 1),
            Some(b'r') => ('\r', 1),
            Some(b'b') => ('\u{8}', 1),
            Some(b'f') => ('\u{c}', 1),
            Some(b'u') => unicode(escape),
            Some(_) => (escape.chars().next().unwrap_or_default(), 1),
            None => break,
        };
        text.push(character);
        // One character behind a backslash can be longer than one byte in no JSON text.
        rest = escape.get(length..).unwrap_or_default();
    }
    text.push_str(rest);
    text
}

/// The character of an escape that begins with `u`, or of two that belong together; and how
/// long that is behind the backslash.
fn unicode(escape: &str) -> (char, usize) {
    let digits = |text: Option<&str>| u32::from_str_radix(text?, 16).ok();
    let Some(first) = digits(escape.get(1..5)) else {
        return (char::REPLACEMENT_CHARACTER, 1);
    };
    if let Some(character) = char::from_u32(first) {
        return (character, 5);
    }
    let second = match escape.get(5..7) {
        Some("\\u") => digits(escape.get(7..11)),
        _ => None,
    };
    let pair = second.filter(|second| (0xdc00..0xe000).contains(second));
    let character = pair.and_then(|second| {
        let high = first.checked_sub(0xd800).filter(|high| *high < 0x400)?;
        char::from_u32(0x1_0000 + (high << 10 | (second - 0xdc00)))
    });
    match character {
        Some(character) => (character, 11),
        None => (char::REPLACEMENT_CHARACTER, 5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone() {
        assert_eq!(
            unescaped(r#"["a\u00e4\n\"\\","\ud83d\ude00","\ud83dx"]"#),
            "[\"a\u{e4}\n\"\\\",\"\u{1f600}\",\"\u{fffd}x\"]"
        );
        for odd in ["\\", "\\u", "\\u12", "\\ud83d\\u", "\\ud83d\\ud83d"] {
            unescaped(odd);
        }
    }

    #[test]
    fn words_are_small_and_one_may_be_an_id() {
        let words = Words::of(" Deploy  019AA9C0-0000-7000-8000-000000000000");
        assert_eq!(words.0[0], "deploy");
        assert!(words.job().is_some() && Words::of("x").job().is_none());
    }
}
