//! A procedure's arguments out of the words of a command line.

use std::io::Read;

use harp_client::Json;
use harp_files::text;
use serde::Serializer as _;
use serde::ser::SerializeMap;

/// Reads the words behind a procedure's name.
///
/// - `NAME=VALUE` is a named argument, any other word a positional one;
/// - a value that is JSON is that JSON, any other is a string; a number only if it is
///   written as JSON writes it, so that `1.10` and `1e5` are texts;
/// - `NAME:=JSON` insists on JSON;
/// - a value that begins like JSON (`{`, `[`, `"`) and is none is refused.
///
/// With `strings` every value is a string as it stands, but for those of `:=`.
///
/// # Errors
///
/// What is wrong with which word, and how it is to be written.
pub(crate) fn from_words(words: &[String], strings: bool) -> Result<Json, String> {
    let mut positional: Vec<(&str, Json)> = Vec::new();
    let mut named: Vec<(&str, &str, Json)> = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let place = |problem| format!("argument {} `{word}`: {problem}", index + 1);
        match Word::read(word, strings) {
            Word::Positional => positional.push((word, value(word, strings).map_err(place)?)),
            Word::Named(name, text) => {
                named.push((word, name, value(text, strings).map_err(place)?));
            }
            Word::NamedJson(name, text) => {
                let value = text.parse().map_err(|error| {
                    place(format!(
                        "what follows := has to be JSON, and it is {error}; \
                         for a text write {name}={text}"
                    ))
                });
                named.push((word, name, value?));
            }
        }
        if let Some((_, name, _)) = named.last()
            && named.iter().filter(|(_, other, _)| other == name).count() > 1
        {
            return Err(place(format!(
                "`{name}` is given twice; several values are an array: {name}:='[1, 2]'"
            )));
        }
    }
    if let (Some((plain, _)), Some((word, _, _))) = (positional.first(), named.first()) {
        return Err(mixed(plain, word));
    }
    if named.is_empty() {
        let values: Vec<Json> = positional.into_iter().map(|(_, value)| value).collect();
        encode(&values)
    } else {
        object(&named)
    }
}

/// Reads whole arguments, an array or an object; `-` has them read from `input`.
///
/// # Errors
///
/// What is wrong, and how it is to be written.
pub(crate) fn whole(text: &str, input: impl Read) -> Result<Json, String> {
    const FORM: &str = "write an array of positional arguments, '[\"nginx\", 7]', \
                        or an object of named ones, '{\"service\": \"nginx\"}'";
    let (source, text) = match text {
        "-" => ("--args - (standard input)", read_all(input)?),
        _ => ("--args", text.to_owned()),
    };
    let json: Json = text
        .parse()
        .map_err(|error| format!("{source}: {error}; {FORM}"))?;
    match json.as_bytes().first() {
        Some(b'[' | b'{') => Ok(json),
        _ => Err(format!("{source}: {json} is a single value; {FORM}")),
    }
}

/// Reads a value: JSON if it is JSON, else a text; see [`from_words`].
///
/// # Errors
///
/// If it begins like JSON and is none.
pub(crate) fn json_or_text(word: &str) -> Result<Json, String> {
    value(word, false)
}

/// Kind of a word by its form.
enum Word<'a> {
    Positional,
    Named(&'a str, &'a str),
    NamedJson(&'a str, &'a str),
}

impl<'a> Word<'a> {
    fn read(word: &'a str, strings: bool) -> Word<'a> {
        if !strings && word.parse::<Json>().is_ok() {
            return Word::Positional;
        }
        match word.split_once('=') {
            Some((name, text)) => match name.strip_suffix(':') {
                Some(name) if is_name(name) => Word::NamedJson(name, text),
                None if is_name(name) => Word::Named(name, text),
                _ => Word::Positional,
            },
            None => Word::Positional,
        }
    }
}

/// A letter or `_`, then letters, digits, `_`, `-` and `.`: neither an option nor a URL.
fn is_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_alphabetic() || first == '_')
        && name
            .chars()
            .all(|character| character.is_alphanumeric() || "_-.".contains(character))
}

fn value(word: &str, strings: bool) -> Result<Json, String> {
    if strings {
        return encode(word);
    }
    match word.parse::<Json>() {
        Ok(json) if is_number(&json) && !is_written_so(word) => encode(word),
        Ok(json) => Ok(json),
        Err(error) if word.trim_start().starts_with(['{', '[', '"']) => Err(format!(
            "begins like JSON, but is {error}; as a text it is written {}, or with --strings",
            quoted(word)
        )),
        Err(_) => encode(word),
    }
}

fn is_number(json: &Json) -> bool {
    let first = json.as_bytes().first();
    first.is_some_and(|first| *first == b'-' || first.is_ascii_digit())
}

/// True if a JSON number stands as JSON would write it: `1.10`, which may be a version, and
/// `12e4567`, which may be a name, are none.
fn is_written_so(number: &str) -> bool {
    if number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'-')
    {
        return number != "-0";
    }
    let value = number.parse::<f64>();
    value.is_ok_and(|value| value.to_string() == number)
}

fn mixed(plain: &str, named: &str) -> String {
    format!(
        "arguments are either positional or named: `{plain}` is positional, `{named}` is named. \
         Name it, as in NAME={plain}, or, if `{named}` is a text, write {}",
        quoted(named)
    )
}

/// The word as a JSON string that a shell takes.
fn quoted(word: &str) -> String {
    let json = encode(word).map_or_else(|_| word.to_owned(), |json| json.to_string());
    format!("'{}'", json.replace('\'', r"'\''"))
}

fn object(named: &[(&str, &str, Json)]) -> Result<Json, String> {
    // The order of the words is kept.
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::new(&mut text);
    let written = (|| {
        let mut map = serializer.serialize_map(Some(named.len()))?;
        for (_, name, value) in named {
            map.serialize_entry(name, value)?;
        }
        map.end()
    })();
    written.map_err(|error| error.to_string())?;
    Json::parse(&text.into()).map_err(|error| error.to_string())
}

fn encode<T: serde::Serialize + ?Sized>(value: &T) -> Result<Json, String> {
    Json::encode(value).map_err(|error| error.to_string())
}

fn read_all(mut input: impl Read) -> Result<String, String> {
    let mut content = Vec::new();
    let read = input.read_to_end(&mut content);
    read.and_then(|_| text::from_bytes(content))
        .map_err(|error| format!("--args -: cannot read standard input: {error}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(words: &[&str]) -> Result<String, String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        from_words(&words, false).map(|json| json.to_string())
    }

    #[test]
    fn the_forms_of_a_word() {
        for (word, expected) in [
            ("7", "[7]"),
            ("-5", "[-5]"),
            ("1.5", "[1.5]"),
            ("-0.25", "[-0.25]"),
            ("12345678901234567890123", "[12345678901234567890123]"),
            ("1e5", r#"["1e5"]"#),
            ("1.50", r#"["1.50"]"#),
            ("1.10", r#"["1.10"]"#),
            ("1.0", r#"["1.0"]"#),
            ("12e4567", r#"["12e4567"]"#),
            ("1E2", r#"["1E2"]"#),
            ("-0", r#"["-0"]"#),
            (" 7", r#"[" 7"]"#),
            ("0.1000000000000000055", r#"["0.1000000000000000055"]"#),
            ("[1.10]", "[[1.10]]"),
            ("version=1.10", r#"{"version":"1.10"}"#),
            ("version:=1.10", r#"{"version":1.10}"#),
            ("true", "[true]"),
            ("null", "[null]"),
            ("[1, 2]", "[[1,2]]"),
            (r#"{"a": 1}"#, r#"[{"a":1}]"#),
            (r#""7""#, r#"["7"]"#),
            (r#""a=b""#, r#"["a=b"]"#),
            ("nginx", r#"["nginx"]"#),
            ("007", r#"["007"]"#),
            ("two words", r#"["two words"]"#),
            ("", r#"[""]"#),
            ("True", r#"["True"]"#),
            ("http://192.0.2.1/?a=b", r#"["http://192.0.2.1/?a=b"]"#),
            ("--lines=3", r#"["--lines=3"]"#),
            ("=x", r#"["=x"]"#),
            ("lines=3", r#"{"lines":3}"#),
            ("name=web 01", r#"{"name":"web 01"}"#),
            ("name=", r#"{"name":""}"#),
            ("equation=a=b", r#"{"equation":"a=b"}"#),
            ("list:=[1, 2]", r#"{"list":[1,2]}"#),
            (r#"text:="7""#, r#"{"text":"7"}"#),
        ] {
            assert_eq!(words(&[word]).as_deref(), Ok(expected), "{word}");
        }
        assert_eq!(words(&[]).unwrap(), "[]");
        assert_eq!(words(&["a", "2"]).unwrap(), r#"["a",2]"#);
        assert_eq!(words(&["b=1", "a=2"]).unwrap(), r#"{"b":1,"a":2}"#);
    }

    #[test]
    fn strings_are_taken_as_they_stand() {
        let all = |word: &str| from_words(&[word.to_owned()], true).unwrap().to_string();
        assert_eq!(all("7"), r#"["7"]"#);
        assert_eq!(all("{oops"), r#"["{oops"]"#);
        assert_eq!(all("a=7"), r#"{"a":"7"}"#);
        assert_eq!(all("a:=7"), r#"{"a":7}"#);
    }

    #[test]
    fn what_is_wrong_is_named_and_the_right_form_shown() {
        for (line, parts) in [
            (
                vec!["nginx", "lines=3"],
                vec![
                    "`nginx` is positional",
                    "`lines=3` is named",
                    r#"'"lines=3"'"#,
                ],
            ),
            (vec!["a=1", "a=2"], vec!["argument 2 `a=2`", "twice"]),
            (
                vec!["ok", "{a: 1}"],
                vec!["argument 2 `{a: 1}`", r#"'"{a: 1}"'"#],
            ),
            (vec!["it's", "[it's"], vec!["argument 2", r#"'"[it'\''s"'"#]),
            (vec!["n:=x"], vec!["argument 1 `n:=x`", "JSON", "n=x"]),
        ] {
            let error = words(&line).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{part:?} is not in {error:?}");
            }
        }
    }

    #[test]
    fn whole_arguments_come_from_the_option_or_from_standard_input() {
        let none = std::io::empty;
        assert_eq!(whole("[1, 1.0]", none()).unwrap().as_str(), "[1,1.0]");
        assert_eq!(
            whole("-", &b"{\"a\":\n1}\n"[..]).unwrap().as_str(),
            r#"{"a":1}"#
        );
        let marked = whole("-", "\u{feff}[1]".as_bytes()).unwrap();
        assert_eq!(marked.as_str(), "[1]");
        for (text, part) in [("7", "single value"), ("[", "--args"), ("", "--args")] {
            let error = whole(text, none()).unwrap_err();
            assert!(error.contains(part) && error.contains("nginx"), "{error}");
        }
        let error = whole("-", &b"\xff"[..]).unwrap_err();
        assert!(error.contains("standard input"), "{error}");
    }

    proptest! {
        #[test]
        fn any_words_are_read_or_refused(line in proptest::collection::vec(any::<String>(), 0..4)) {
            let _ = from_words(&line, false);
            // As strings they come back as they were, named or not.
            if let Ok(json) = from_words(&line, true)
                && let Ok(texts) = json.decode::<Vec<String>>()
            {
                prop_assert_eq!(texts, line);
            }
        }
    }
}
