//! JSON text that belongs to a user and is passed on as it came.

use std::fmt;

use bytes::{Bytes, BytesMut};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// How deep arrays and objects may nest in one JSON text (client protocol, section 1).
pub const MAX_DEPTH: usize = 128;

/// One valid JSON text without white space outside its strings, at most [`MAX_DEPTH`]
/// deep.
///
/// Number literals, key order, escapes and repeated keys are those of the text it was
/// made from (client protocol, section 1). Equality compares bytes. Cloning is cheap:
/// the text is shared.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Json(Bytes);

/// Why a text is no [`Json`].
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all, or not UTF-8.
    #[error("not JSON: {0}")]
    Syntax(#[from] serde_json::Error),
    /// Arrays and objects nest deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

impl Json {
    /// The text `null`.
    pub const NULL: Json = Json(Bytes::from_static(b"null"));

    /// Checks a text and takes it over, white space removed.
    ///
    /// # Errors
    ///
    /// [`JsonError`] if the text is not exactly one JSON value, or nests too deep.
    pub fn parse(text: &Bytes) -> Result<Json, JsonError> {
        let raw: &RawValue = serde_json::from_slice(text)?;
        Json::slice(text, raw)
    }

    /// True if these bytes are one JSON value as [`Json`] keeps it: not too deep, and
    /// without white space.
    #[must_use]
    pub fn is_compact(text: &[u8]) -> bool {
        if is_plain_string(text) {
            return true;
        }
        serde_json::from_slice::<&RawValue>(text)
            .is_ok_and(|raw| raw.get().len() == text.len() && matches!(compact(text), Ok(None)))
    }

    /// Takes over a part of a line that has been checked already: shared if it has no
    /// white space, else copied without it.
    ///
    /// # Errors
    ///
    /// [`JsonError::TooDeep`].
    ///
    /// # Panics
    ///
    /// If `raw` was not read from `line` itself.
    pub fn slice(line: &Bytes, raw: &RawValue) -> Result<Json, JsonError> {
        let text = raw.get().as_bytes();
        Ok(Json(match compact(text)? {
            None => line.slice_ref(text),
            Some(compacted) => Bytes::from(compacted),
        }))
    }

    /// The JSON text of any serializable value.
    ///
    /// # Errors
    ///
    /// Whatever the value's `Serialize` reports, a map with keys that are no strings,
    /// or a value that nests too deep.
    pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Json, JsonError> {
        // A `RawValue` inside `value` can bring white space, so the text is not trusted.
        let text = serde_json::to_vec(value)?;
        Ok(Json(match compact(&text)? {
            None => Bytes::from(text),
            Some(compacted) => Bytes::from(compacted),
        }))
    }

    /// The value as a type of the reader's choice.
    ///
    /// # Errors
    ///
    /// If the text does not have the shape that `T` wants.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_slice(&self.0);
        // The text is bounded by MAX_DEPTH, which is one level more than serde_json's own.
        reader.disable_recursion_limit();
        T::deserialize(&mut reader)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ever made from text that passed as UTF-8.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The text as bytes of UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text as shared bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Takes back bytes that [`Json::into_bytes`] or [`Json::as_bytes`] gave and that were kept in a
    /// place that is trusted, such as a store with checksums: they are not checked.
    ///
    /// Text that is no JSON makes the lines that it is copied into no JSON either; it
    /// does no other harm.
    #[must_use]
    pub fn from_trusted(text: Bytes) -> Json {
        Json(text)
    }

    /// Appends the text.
    pub fn write(&self, out: &mut BytesMut) {
        out.extend_from_slice(&self.0);
    }
}

/// The order of keys and the form of numbers are those that `serde_json` gives.
impl TryFrom<&serde_json::Value> for Json {
    type Error = JsonError;

    fn try_from(value: &serde_json::Value) -> Result<Json, JsonError> {
        Json::encode(value)
    }
}

impl TryFrom<serde_json::Value> for Json {
    type Error = JsonError;

    fn try_from(value: serde_json::Value) -> Result<Json, JsonError> {
        Json::encode(&value)
    }
}

/// A value for programs: it keeps neither repeated keys nor the form of numbers, and has none
/// beyond an `f64`.
impl TryFrom<&Json> for serde_json::Value {
    type Error = serde_json::Error;

    fn try_from(json: &Json) -> Result<serde_json::Value, serde_json::Error> {
        json.decode()
    }
}

impl fmt::Debug for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Json {
    type Err = JsonError;

    fn from_str(text: &str) -> Result<Json, JsonError> {
        Json::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue =
            serde_json::from_slice(&self.0).map_err(<S::Error as serde::ser::Error>::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        let text = Bytes::from(String::from(Box::<str>::from(raw)));
        // Validated by the deserializer just now.
        match compact(&text).map_err(serde::de::Error::custom)? {
            None => Ok(Json(text)),
            Some(compacted) => Ok(Json(Bytes::from(compacted))),
        }
    }
}

/// True for a string without escapes: what most packets are, found out at a fraction of
/// the cost.
fn is_plain_string(text: &[u8]) -> bool {
    let [b'"', inner @ .., b'"'] = text else {
        return false;
    };
    // To the end in any case, which lets the compiler look at many bytes at once.
    let special = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    let has_special = inner
        .iter()
        .fold(false, |found, &byte| found | special(byte));
    !has_special && std::str::from_utf8(inner).is_ok()
}

/// Looks a valid JSON text over once: refuses it if it is too deep, and returns it
/// without its white space if it has any outside of strings.
fn compact(text: &[u8]) -> Result<Option<Vec<u8>>, JsonError> {
    let mut compacted: Option<Vec<u8>> = None;
    let mut depth = 0_usize;
    // Everything before `kept` has been copied, or need not be.
    let mut kept = 0;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => at = end_of_string(text, at),
            b'[' | b'{' => {
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(JsonError::TooDeep);
                }
                at += 1;
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b' ' | b'\t' | b'\n' | b'\r' => {
                compacted
                    .get_or_insert_with(|| Vec::with_capacity(text.len()))
                    .extend_from_slice(&text[kept..at]);
                at += 1;
                kept = at;
            }
            _ => at += 1,
        }
    }
    if let Some(compacted) = &mut compacted {
        compacted.extend_from_slice(&text[kept..]);
    }
    Ok(compacted)
}

/// The place behind the closing quote of the string that starts at `start`.
fn end_of_string(text: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()) {
        if text[at + found] == b'"' {
            return at + found + 1;
        }
        at += found + 2;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(text: &str) -> Json {
        text.parse().unwrap()
    }

    #[test]
    fn text_comes_out_as_it_came_in() {
        for text in [
            r#"{"b":1,"a":2,"b":3}"#,
            "[1e5,1.0,-0,123456789012345678901234567890,0.10]",
            r#""\ud83d\ude00 \ud800 \u0041 \/ é""#,
            "null",
        ] {
            assert_eq!(json(text).as_str(), text);
        }
    }

    #[test]
    fn only_white_space_outside_strings_goes() {
        assert_eq!(
            json(" {\r\n\t\"a b\" : [ 1 , \" \\\" x \" ] } ").as_str(),
            r#"{"a b":[1," \" x "]}"#
        );
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let deepest = json(&nested(MAX_DEPTH));
        assert_eq!(deepest.as_str(), nested(MAX_DEPTH));
        assert!(deepest.decode::<serde_json::Value>().is_ok());
        let deeper = nested(MAX_DEPTH + 1).parse::<Json>();
        assert!(matches!(deeper, Err(JsonError::TooDeep)));
        // Neither does a million levels cost a stack.
        assert!(nested(1_000_000).parse::<Json>().is_err());
    }

    #[test]
    fn what_is_not_one_value_is_refused() {
        for text in ["", " ", "1 2", "{", "'a'", "[1,]", "nul", "\"\u{1}\""] {
            assert!(text.parse::<Json>().is_err(), "{text:?}");
        }
        assert!(Json::parse(&Bytes::from_static(b"\"\xff\"")).is_err());
    }

    #[test]
    fn it_goes_through_serde_unchanged() {
        #[derive(Serialize, Deserialize)]
        struct Holder {
            inner: Json,
        }
        let text = r#"{"inner":{"z":1.50,"a":"\u0041"}}"#;
        let holder: Holder = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&holder).unwrap(), text);
    }

    proptest! {
        #[test]
        fn white_space_never_changes_the_value(value in any_value(), pretty in any::<bool>()) {
            let text = if pretty {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            let json: Json = text.parse().unwrap();
            prop_assert_eq!(json.as_str(), value.to_string());
            prop_assert_eq!(json.decode::<serde_json::Value>().unwrap(), value);
        }

        #[test]
        fn compact_is_what_parsing_leaves_alone(
            text in prop_oneof![
                "\"[a-z0-9 é\u{0}\t\"\\\\]{0,30}\"".prop_map(String::into_bytes),
                proptest::collection::vec(any::<u8>(), 0..20).prop_map(|inner| {
                    [b"\"", &inner[..], b"\""].concat()
                }),
                any_value().prop_map(|value| value.to_string().into_bytes()),
                any_value().prop_map(|value| format!("{value:#}").into_bytes()),
            ],
        ) {
            let parsed = Json::parse(&Bytes::copy_from_slice(&text));
            let is_left_alone = parsed.is_ok_and(|json| json.as_bytes() == text);
            prop_assert_eq!(Json::is_compact(&text), is_left_alone);
        }

        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Json::parse(&Bytes::from(bytes));
        }
    }

    fn any_value() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec((any::<String>(), inner), 0..5)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }
}
