//! Bodies of HTTP requests: JSON objects with the keys that the client protocol's own requests
//! have, without those that HTTP says otherwise. Unknown and repeated keys are refused.

use bytes::Bytes;
use harp_values::fields::Fields;

use super::Call;
use crate::{Fault, Json, Password, QueueName};

/// A call, whose `arguments` may be left out. `key` is that of the request's head, if it has
/// one.
///
/// # Errors
///
/// `parse_error` for what is no JSON, `invalid_request` for what is no call, or has another
/// key than the head.
pub fn call(text: &Bytes, key: Option<String>) -> Result<Call, Fault> {
    let mut fields = object(text)?;
    let call = Call::take_body(text, &mut fields, key)?;
    fields.none_left()?;
    Ok(call)
}

/// Whether a cancel is to be confirmed by the host: `confirm`, false without it.
///
/// # Errors
///
/// `parse_error` for what is no JSON, `invalid_request` for another shape.
pub fn confirm(text: &Bytes) -> Result<bool, Fault> {
    let mut fields = object(text)?;
    let confirm = fields.boolean("confirm")?.unwrap_or(false);
    fields.none_left()?;
    Ok(confirm)
}

/// The queue that is meant: `name`.
///
/// # Errors
///
/// As for [`confirm`].
pub fn queue_name(text: &Bytes) -> Result<QueueName, Fault> {
    let mut fields = object(text)?;
    let name: Json = fields.required_json(text, "name")?;
    let name = QueueName::from_json(&name);
    let name = name.map_err(|error| fields.error("name", error.to_string()))?;
    fields.none_left()?;
    Ok(name)
}

/// The token of a login: `token`.
///
/// # Errors
///
/// As for [`confirm`].
pub fn token(text: &Bytes) -> Result<Password, Fault> {
    let mut fields = object(text)?;
    let token = fields.required_string("token")?;
    fields.none_left()?;
    Ok(Password::new(token))
}

/// Nothing: an object without keys.
///
/// # Errors
///
/// As for [`confirm`].
pub fn nothing(text: &Bytes) -> Result<(), Fault> {
    Ok(object(text)?.none_left()?)
}

/// The keys of a body.
pub(super) fn object(text: &Bytes) -> Result<Fields<'_>, Fault> {
    let fields = Fields::read(text).map_err(Fault::parse_error)?;
    let fields = fields.ok_or_else(|| Fault::invalid_request("", "must be a JSON object"))?;
    fields.none_repeated()?;
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error_type;

    fn body(text: &str, key: Option<&str>) -> Result<Call, (String, String)> {
        let text = Bytes::copy_from_slice(text.as_bytes());
        call(&text, key.map(str::to_owned))
            .map_err(|Fault(failure)| (failure.error_type, failure.message))
    }

    #[test]
    fn a_call_has_arguments_or_none_and_one_key() {
        let call = body(r#"{"host":"h","procedure":"p"}"#, None).unwrap();
        assert_eq!(call.arguments.as_str(), "[]");
        let call = body(
            r#"{"host":"h","procedure":"p","arguments":null}"#,
            Some("k"),
        )
        .unwrap();
        assert_eq!(
            (call.arguments.as_str(), call.key.as_deref()),
            ("[]", Some("k"))
        );
        let text = r#"{"host":"h","procedure":"p","arguments":{"a":1.50},"key":"k"}"#;
        let call = body(text, Some("k")).unwrap();
        assert_eq!(call.arguments.as_str(), r#"{"a":1.50}"#);
        assert!(body(text, Some("other")).unwrap_err().1.contains("key"));
        let since = r#"{"host":"h","procedure":"p","unless_since":5}"#;
        assert!(body(since, None).is_err() && body(since, Some("k")).is_ok());
    }

    #[test]
    fn what_is_no_call_is_refused() {
        for (text, kind) in [
            ("", error_type::PARSE_ERROR),
            ("{", error_type::PARSE_ERROR),
            ("[]", error_type::INVALID_REQUEST),
            ("{}", error_type::INVALID_REQUEST),
            (
                r#"{"host":"h","procedure":"p","x":1}"#,
                error_type::INVALID_REQUEST,
            ),
            (
                r#"{"host":"h","host":"h","procedure":"p"}"#,
                error_type::INVALID_REQUEST,
            ),
            (
                r#"{"host":"h","procedure":"p","arguments":1}"#,
                error_type::INVALID_REQUEST,
            ),
            (
                r#"{"harpcaller":1,"host":"h","procedure":"p"}"#,
                error_type::INVALID_REQUEST,
            ),
        ] {
            assert_eq!(body(text, None).unwrap_err().0, kind, "{text}");
        }
    }

    #[test]
    fn small_bodies() {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert!(confirm(&bytes(r#"{"confirm":true}"#)).unwrap());
        assert!(!confirm(&bytes("{}")).unwrap());
        assert!(confirm(&bytes(r#"{"confirm":1}"#)).is_err());
        assert_eq!(
            queue_name(&bytes(r#"{"name":{"q":1}}"#)).unwrap().as_str(),
            r#"{"q":1}"#
        );
        assert!(queue_name(&bytes(r#"{"name":"q"}"#)).is_err());
        assert_eq!(token(&bytes(r#"{"token":"t"}"#)).unwrap().reveal(), "t");
    }
}
