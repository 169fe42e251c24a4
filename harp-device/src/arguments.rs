//! Arguments as a device is sent them.
//!
//! A device takes the names of keys for those of another style, and changes the text of a
//! request accordingly before it reads it: in strings and keys a capital letter becomes an
//! underscore and a small one, and blanks go. So requests are written in a form that comes
//! through: no blanks, no capitals outside of strings, and in strings escapes of small letters
//! for all that is not printable ASCII.

/// A string or key has something that the device would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed {
    /// Where it is: keys and numbers of elements, dots in between.
    pub(crate) path: String,
}

/// Where in a value the writer is.
enum Step {
    /// In an object, behind this key.
    Key(String),
    /// In an array, at this element.
    Element(usize),
}

/// Writes a JSON text in the form that comes through, and tells the first place at which even
/// that would be changed. `text` has to be JSON.
pub(crate) fn write(text: &[u8], out: &mut Vec<u8>) -> Result<(), Changed> {
    let mut writer = Writer {
        text,
        steps: Vec::new(),
        changed: None,
        out,
    };
    writer.all();
    match writer.changed {
        Some(path) => Err(Changed { path }),
        None => Ok(()),
    }
}

struct Writer<'a> {
    text: &'a [u8],
    steps: Vec<Step>,
    changed: Option<String>,
    out: &'a mut Vec<u8>,
}

impl Writer<'_> {
    fn all(&mut self) {
        // Whether a string that comes next is a key.
        let mut is_key = false;
        while let Some((byte, rest)) = self.text.split_first() {
            match byte {
                b'"' => {
                    let (string, length) = string(self.text);
                    self.text = &self.text[length..];
                    if std::mem::take(&mut is_key) {
                        self.steps.pop();
                        self.steps.push(Step::Key(string.clone()));
                    }
                    self.string(&string);
                    continue;
                }
                b' ' | b'\t' | b'\n' | b'\r' => {}
                b'{' | b'[' => {
                    is_key = *byte == b'{';
                    self.steps.push(if is_key {
                        Step::Key(String::new())
                    } else {
                        Step::Element(0)
                    });
                    self.out.push(*byte);
                }
                b'}' | b']' => {
                    is_key = false;
                    self.steps.pop();
                    self.out.push(*byte);
                }
                b',' => {
                    match self.steps.last_mut() {
                        Some(Step::Element(index)) => *index += 1,
                        _ => is_key = true,
                    }
                    self.out.push(b',');
                }
                // The `E` of a number is the only capital outside of strings.
                byte => self.out.push(byte.to_ascii_lowercase()),
            }
            self.text = rest;
        }
    }

    fn string(&mut self, string: &str) {
        let is_changed = |char: char| char == ' ' || char.is_ascii_uppercase();
        if self.changed.is_none() && string.contains(is_changed) {
            self.changed = Some(self.path());
        }
        self.out.push(b'"');
        for char in string.chars() {
            match char {
                '"' | '\\' => self.out.extend([b'\\', char as u8]),
                ' '..='~' => self.out.push(char as u8),
                other => {
                    for unit in other.encode_utf16(&mut [0; 2]) {
                        self.out.extend(format!("\\u{unit:04x}").bytes());
                    }
                }
            }
        }
        self.out.push(b'"');
    }

    fn path(&self) -> String {
        let steps = self.steps.iter().map(|place| match place {
            Step::Key(key) => key.clone(),
            Step::Element(index) => index.to_string(),
        });
        steps.collect::<Vec<_>>().join(".")
    }
}

/// The string that a text begins with, and how long its text is.
fn string(text: &[u8]) -> (String, usize) {
    let mut end = 1;
    while let Some(byte) = text.get(end) {
        match byte {
            b'"' => break,
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
    let length = (end + 1).min(text.len());
    // A half of a pair of UTF-16 by itself is what no string can hold.
    let string = serde_json::from_slice(&text[..length]);
    let raw = || String::from_utf8_lossy(&text[1..end.min(text.len())]).into_owned();
    (string.unwrap_or_else(|_| raw()), length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(text: &str) -> (String, Option<String>) {
        let mut out = Vec::new();
        let changed = write(text.as_bytes(), &mut out).err();
        (
            String::from_utf8(out).unwrap(),
            changed.map(|changed| changed.path),
        )
    }

    #[test]
    fn what_would_be_changed_is_told_with_its_place() {
        for (text, path) in [
            (
                r#"{"deep": {"er": [1, {"x": "Hello"}]}}"#,
                Some("deep.er.1.x"),
            ),
            (r#"{"a": "plain lower"}"#, Some("a")),
            (r#"{"a": [[], ["b", " "]]}"#, Some("a.1.1")),
            (r#"{"ok": 1, "URL": 2}"#, Some("URL")),
            (r#"{"a": {"b": 1}, "c d": 2}"#, Some("c d")),
            (r#"{"a": "\u0041"}"#, Some("a")),
            (r#"{"a": {}, "b": [], "c": "\u00c9\n\"\\/{[,:"}"#, None),
            (r#"{"a": [true, null, 1E5, -2.5e-3]}"#, None),
        ] {
            assert_eq!(written(text).1.as_deref(), path, "{text}");
        }
    }

    #[test]
    fn it_is_written_without_blanks_and_capitals() {
        let (text, changed) = written("{ \"a\" : [ 1E5 , \"\u{e9}\u{1f600}\\u00E9\\t\\/~\" ] }");
        assert_eq!(text, r#"{"a":[1e5,"\u00e9\ud83d\ude00\u00e9\u0009/~"]}"#);
        assert_eq!(changed, None);
        // Without `strict` it goes out as it is.
        assert_eq!(written(r#"{"A b": "C"}"#).0, r#"{"A b":"C"}"#);
    }

    proptest! {
        #[test]
        fn the_value_stays_the_same(keys in proptest::collection::vec(".*", 0..4), value in ".*") {
            let mut deep = serde_json::json!([value, 1.5e300, -7]);
            for key in keys {
                deep = serde_json::json!({ key: deep, "z": [null, false] });
            }
            let (text, changed) = written(&deep.to_string());
            prop_assert!(text.is_ascii());
            let back: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&back, &deep);
            if changed.is_none() {
                prop_assert!(!text.contains(|c: char| c == ' ' || c.is_ascii_uppercase()));
            }
        }
    }
}
