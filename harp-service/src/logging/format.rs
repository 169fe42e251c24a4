//! An entry as a line. Whatever a client or a host has chosen stays on that line and
//! cannot pass for another field or steer a terminal.

use std::fmt::Write;

use serde_json::{Value as Json, json};
use tracing::Level;

use super::LogFormat;
use super::entry::{Entry, Field, Fields, Span, Value};
use crate::terminal;

/// The entry as a whole line, without its newline. Colours are for terminals, and for
/// text only.
pub(super) fn line(entry: &Entry, format: LogFormat, colours: bool) -> String {
    match format {
        LogFormat::Json => terminal::json(&json_line(entry)).into_owned(),
        LogFormat::Text => {
            let level = if colours {
                coloured(entry.level)
            } else {
                format!("{:>5}", entry.level)
            };
            let time = humantime::format_rfc3339_micros(entry.time);
            format!("{time} {level} {}", text(entry))
        }
    }
}

/// Spans, message and fields: a text line without what a log daemon adds by itself.
pub(super) fn text(entry: &Entry) -> String {
    let mut text = String::new();
    for span in &entry.spans {
        text.push_str(span.name);
        text.push('{');
        push_fields(&mut text, &span.fields.others);
        text.push_str("}: ");
    }
    text.push_str(&terminal::one_line(&entry.event.message));
    if !entry.event.message.is_empty() && !entry.event.others.is_empty() {
        text.push(' ');
    }
    push_fields(&mut text, &entry.event.others);
    text
}

fn push_fields(text: &mut String, fields: &[Field]) {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            text.push(' ');
        }
        text.push_str(field.name);
        text.push('=');
        let value = field.value.as_str();
        if is_bare(value) {
            text.push_str(value);
        } else {
            // Its own escapes first; they leave nothing but what formats.
            text.push_str(&terminal::one_line(&format!("{value:?}")));
        }
    }
}

/// Whether a value can stand without quotes.
fn is_bare(value: &str) -> bool {
    // Most are made of these alone.
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'=\\{}".contains(&byte);
    let special = |c: char| c.is_whitespace() || terminal::is_no_text(c) || "\"'=\\{}".contains(c);
    !value.is_empty() && (value.bytes().all(is_plain) || !value.contains(special))
}

fn coloured(level: Level) -> String {
    let colour = match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    };
    format!("\x1b[{colour}m{level:>5}\x1b[0m")
}

fn json_line(entry: &Entry) -> String {
    let time = humantime::format_rfc3339_micros(entry.time);
    let mut line = format!(
        r#"{{"timestamp":"{time}","level":"{}","message":{}"#,
        entry.level,
        json!(entry.event.message)
    );
    push_members(&mut line, &entry.event);
    // Writing to a string cannot fail.
    let _ = write!(line, r#","target":"{}""#, entry.target);
    if let Some(span) = entry.spans.last() {
        line.push_str(r#","span":"#);
        push_span(&mut line, span);
        line.push_str(r#","spans":["#);
        for (index, span) in entry.spans.iter().enumerate() {
            if index > 0 {
                line.push(',');
            }
            push_span(&mut line, span);
        }
        line.push(']');
    }
    line.push('}');
    line
}

fn push_span(line: &mut String, span: &Span) {
    // Writing to a string cannot fail.
    let _ = write!(line, r#"{{"name":"{}""#, span.name);
    push_members(line, &span.fields);
    line.push('}');
}

/// More members of an object that has some.
fn push_members(line: &mut String, fields: &Fields) {
    for field in &fields.others {
        let value = match &field.value {
            Value::Text(text) => Json::from(text.as_str()).to_string(),
            Value::Plain(text) => text.clone(),
        };
        // Writing to a string cannot fail.
        let _ = write!(line, r#","{}":{value}"#, field.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn field(name: &'static str, value: &str) -> Field {
        Field {
            name,
            value: Value::Text(value.to_owned()),
        }
    }

    fn entry() -> Entry {
        let mut entry = Entry::own(
            Level::WARN,
            "two\nlines \x1b[31m",
            vec![
                field("host", "web 01\n"),
                field("type", "x"),
                Field {
                    name: "seconds",
                    value: Value::Plain("0.5".to_owned()),
                },
            ],
        );
        entry.time = UNIX_EPOCH + Duration::from_millis(1500);
        entry.target = "t";
        let span = |name, field| Span {
            name,
            fields: Fields {
                message: String::new(),
                others: vec![field],
            },
        };
        entry.spans = vec![
            Arc::new(span("client", field("peer", "[::1]:9"))),
            Arc::new(span("job", field("job", "a=b"))),
        ];
        entry
    }

    #[test]
    fn text_is_one_line_whose_values_cannot_pass_for_others() {
        assert_eq!(
            line(&entry(), LogFormat::Text, false),
            "1970-01-01T00:00:01.500000Z  WARN client{peer=[::1]:9}: job{job=\"a=b\"}: \
             two\\nlines \\u{1b}[31m host=\"web 01\\n\" type=x seconds=0.5"
        );
        assert!(line(&entry(), LogFormat::Text, true).contains("\x1b[33m WARN\x1b[0m"));
    }

    #[test]
    fn what_formats_text_is_shown_in_values_and_messages() {
        let mut entry = entry();
        "m\u{9b}2J\u{202e}".clone_into(&mut entry.event.message);
        entry.event.others = vec![field("host", "web\u{202e}10\u{200b}"), field("é", "漢")];
        let text = line(&entry, LogFormat::Text, true);
        assert!(
            text.ends_with("m\\u{9b}2J\\u{202e} host=\"web\\u{202e}10\\u{200b}\" é=漢"),
            "{text}"
        );
        let json = line(&entry, LogFormat::Json, true);
        assert!(!json.contains(terminal::is_no_text), "{json}");
        let object: Json = serde_json::from_str(&json).unwrap();
        assert_eq!(object["host"], "web\u{202e}10\u{200b}");
    }

    #[test]
    fn json_is_one_object_with_the_fields_beside_the_message() {
        let line = line(&entry(), LogFormat::Json, true);
        assert!(!line.contains('\n'));
        let object: Json = serde_json::from_str(&line).unwrap();
        assert_eq!(
            object,
            json!({
                "timestamp": "1970-01-01T00:00:01.500000Z", "level": "WARN",
                "message": "two\nlines \u{1b}[31m",
                "host": "web 01\n", "type": "x", "seconds": 0.5, "target": "t",
                "span": {"name": "job", "job": "a=b"},
                "spans": [{"name": "client", "peer": "[::1]:9"}, {"name": "job", "job": "a=b"}],
            })
        );
    }
}
