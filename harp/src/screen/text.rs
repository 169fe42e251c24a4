//! Values and messages as text for people.

use std::borrow::Cow;
use std::collections::BTreeMap;

use harp_client::Json;
use harp_service::terminal::clean;

/// A string as the text it is, anything else as JSON.
pub(super) fn of(value: &Json) -> Cow<'_, str> {
    match value.as_bytes().first() {
        // Half a surrogate pair is no text; such a string stays JSON.
        Some(b'"') => value
            .decode::<String>()
            .map_or(Cow::Borrowed(value.as_str()), Cow::Owned),
        _ => Cow::Borrowed(value.as_str()),
    }
}

/// The data of an exception or error as lines for people: those of a command's standard
/// error, or the data itself.
pub(super) fn details(data: &Json) -> Vec<String> {
    let fields: Option<BTreeMap<String, Json>> = data.decode().ok();
    let stderr = fields
        .as_ref()
        .and_then(|fields| fields.get("stderr"))
        .and_then(|stderr| stderr.decode::<String>().ok());
    match stderr {
        // The message is the last line.
        Some(stderr) if stderr.lines().count() > 1 => stderr
            .lines()
            .map(|line| clean(line).into_owned())
            .collect(),
        Some(_) => Vec::new(),
        None => vec![format!("data: {}", clean(data.as_str()))],
    }
}

/// The newest state of a line that was written again and again, without what could move the
/// cursor, colour what follows, or otherwise run over the lines of others.
pub(super) fn of_one_of_many(line: &str) -> Cow<'_, str> {
    let line = line.trim_end_matches('\r');
    clean(line.rsplit('\r').next().unwrap_or(line))
}

/// The first line of a message, and a sign if there are more.
pub(super) fn one_line(message: &str) -> String {
    let mut lines = message.trim_end().lines();
    let first = clean(lines.next().unwrap_or_default()).into_owned();
    match lines.next() {
        Some(_) => first + " ...",
        None => first,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        text.parse().unwrap()
    }

    #[test]
    fn strings_are_text_and_the_rest_is_json() {
        for (value, text) in [
            (r#""two\nlines""#, "two\nlines"),
            (r#""é\t""#, "é\t"),
            (r#""half \ud800""#, r#""half \ud800""#),
            (r#"{"a":1.0}"#, r#"{"a":1.0}"#),
            ("null", "null"),
        ] {
            assert_eq!(of(&json(value)), text);
        }
    }

    #[test]
    fn the_standard_error_of_a_command_is_shown_by_line() {
        let data = json(r#"{"exit_code":1,"stderr":"one\ntwo \u001b[31m\n"}"#);
        assert_eq!(details(&data), ["one", "two \\u{1b}[31m"]);
        // One line is the message already.
        assert_eq!(
            details(&json(r#"{"stderr":"one\n"}"#)),
            Vec::<String>::new()
        );
        assert_eq!(details(&json("[1]")), ["data: [1]"]);
    }

    #[test]
    fn a_message_stays_on_its_line() {
        assert_eq!(one_line("one\ntwo\n"), "one ...");
        assert_eq!(one_line("one\n"), "one");
        assert_eq!(clean("a\u{1b}]0;b\u{7}"), "a\\u{1b}]0;b\\u{7}");
        assert_eq!(
            clean("\u{9b}2J\u{202e}x\u{feff}"),
            "\\u{9b}2J\\u{202e}x\\u{feff}"
        );
        assert_eq!(clean("é ü 漢\n\t"), "é ü 漢\n\t");
    }

    #[test]
    fn one_of_many_shows_its_newest_state() {
        for (line, shown) in [
            ("10%\r20%\r", "20%"),
            ("\r10%\r20%", "20%"),
            ("plain", "plain"),
            ("\r", ""),
            ("\u{1b}[31mred\u{1b}[0m", "\\u{1b}[31mred\\u{1b}[0m"),
        ] {
            assert_eq!(of_one_of_many(line), shown);
        }
    }
}
