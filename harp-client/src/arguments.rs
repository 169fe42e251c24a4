//! A procedure's arguments out of any value that serializes.

use harp_proto::Json;
use serde::Serialize;

use crate::Error;

/// Sequences are positional, structs and maps are named, `()` is none (client protocol,
/// section 2).
pub(crate) fn encode(arguments: &impl Serialize) -> Result<Json, Error> {
    let json = Json::encode(arguments).map_err(|error| {
        Error::invalid_input(format!("arguments: cannot be sent: {error}")).with_source(error)
    })?;
    match json.as_bytes().first() {
        Some(b'[' | b'{') => Ok(json),
        _ if json == Json::NULL => Ok(Json::from_trusted(bytes::Bytes::from_static(b"[]"))),
        _ => Err(Error::invalid_input(format!(
            "arguments: {} is a single value; positional arguments are a tuple, an array or a \
             Vec, so one argument is `(value,)`, and named ones are a struct or a map",
            shortened(json.as_str())
        ))),
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    match text.char_indices().nth(SHOWN) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}...", &text[..end]),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn encoded(arguments: impl Serialize) -> String {
        encode(&arguments).unwrap().to_string()
    }

    #[test]
    fn positional_named_and_none() {
        #[derive(Serialize)]
        struct Named {
            lines: u32,
        }

        assert_eq!(encoded(()), "[]");
        assert_eq!(encoded((1, "a")), r#"[1,"a"]"#);
        assert_eq!(encoded(["a"]), r#"["a"]"#);
        assert_eq!(encoded(vec![1, 2]), "[1,2]");
        assert_eq!(encoded(Named { lines: 3 }), r#"{"lines":3}"#);
        assert_eq!(encoded(BTreeMap::from([("k", 1)])), r#"{"k":1}"#);
        assert_eq!(encoded(serde_json::json!([null])), "[null]");
    }

    #[test]
    fn anything_else_says_how_to_write_it() {
        let error = encode(&"x".repeat(100)).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("`(value,)`"), "{error}");
        assert!(encode(&7).is_err());
        assert!(encode(&BTreeMap::from([((1, 2), 3)])).is_err());
    }
}
