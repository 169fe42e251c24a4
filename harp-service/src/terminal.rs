//! Text that somebody else has chosen - a name, an error, a key, a value - on its way to a
//! terminal: nothing in it moves the cursor, colours what follows, or makes one text look like
//! another.

use std::borrow::Cow;

/// Text of several lines without what could take a terminal over: characters that are no
/// text stand there as `\u{...}`. Lines and tabs stay.
#[must_use]
pub fn clean(text: &str) -> Cow<'_, str> {
    escaped(text, |character| {
        is_no_text(character) && !"\n\t".contains(character)
    })
}

/// Text that is to stay on its line, likewise: the ends of lines are written as `\n`.
#[must_use]
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_no_text)
}

/// JSON without such characters, and with the same meaning: they stand there as the escapes
/// of JSON. The text has to be JSON, where they can be nowhere but in a string; what is white
/// space between values stays.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    let is_raw = |character| is_no_text(character) && !"\n\r\t".contains(character);
    replaced(text, is_raw, |character, cleaned| {
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            cleaned.push_str(&format!("\\u{unit:04x}"));
        }
    })
}

/// True for characters that are no text: control characters, C1 among them, what ends lines
/// and paragraphs, and the format characters of Unicode, by which one text can look like
/// another: marks of direction, joiners, tags, what has no width.
#[must_use]
pub fn is_no_text(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

fn escaped(text: &str, is_harmful: impl Fn(char) -> bool) -> Cow<'_, str> {
    replaced(text, is_harmful, |character, cleaned| match character {
        '\n' | '\r' | '\t' => cleaned.extend(character.escape_default()),
        _ => cleaned.extend(character.escape_unicode()),
    })
}

fn replaced(
    text: &str,
    is_harmful: impl Fn(char) -> bool,
    replace: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    // Most is made of these alone.
    let is_plain = |byte: u8| (b' '..=b'~').contains(&byte);
    if text.bytes().all(is_plain) || !text.contains(&is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut cleaned = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_harmful(character) {
            replace(character, &mut cleaned);
        } else {
            cleaned.push(character);
        }
    }
    Cow::Owned(cleaned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown() {
        for (text, shown) in [
            ("a\u{1b}]0;b\u{7}", "a\\u{1b}]0;b\\u{7}"),
            ("\u{9b}2J\u{202e}x\u{feff}", "\\u{9b}2J\\u{202e}x\\u{feff}"),
            ("over\rwritten\u{7f}", "over\\rwritten\\u{7f}"),
            ("\u{2066}\u{200b}\u{e0041}", "\\u{2066}\\u{200b}\\u{e0041}"),
            ("é ü 漢\n\t", "é ü 漢\n\t"),
        ] {
            assert_eq!(clean(text), shown);
        }
        assert_eq!(one_line("two\nlines\t\u{85}"), "two\\nlines\\t\\u{85}");
    }

    #[test]
    fn json_means_the_same() {
        assert_eq!(
            json("{\"k\u{9b}\": \"\u{202e}\u{e0041}é\u{7f}\"}"),
            r#"{"k\u009b": "\u202e\udb40\udc41é\u007f"}"#
        );
    }

    proptest! {
        #[test]
        fn nothing_harmful_is_left_and_no_json_changed(text in "\\PC*|.*|[\\x00-\\x9f\u{ad}\u{200b}-\u{206f}]*") {
            prop_assert!(!one_line(&text).contains(is_no_text));
            prop_assert!(!clean(&text).replace(['\n', '\t'], "").contains(is_no_text));
            let value = serde_json::json!({ &text: [&text] });
            let written = value.to_string();
            let cleaned = json(&written);
            prop_assert!(!cleaned.contains(is_no_text));
            prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&cleaned).unwrap(), value);
        }
    }
}
