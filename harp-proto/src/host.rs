//! The host protocol: between the dispatcher, or a direct client, and `harpd`.
//!
//! One call a connection: a [`Request`], then a [`Message::Acknowledged`], then
//! [`Message::Stream`]s if the procedure streams, then one message that ends the call.

pub mod kept;

use bytes::{Bytes, BytesMut};
use harp_values::fields::{Fields, ShapeError};
use harp_values::write;

use crate::{Failure, Fault, Json, Outcome, Password, error_type};

/// A call as a host receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Name of the procedure.
    pub procedure: String,
    /// An array, positional, or an object, named.
    pub arguments: Json,
    /// The user who calls.
    pub user: String,
    /// The caller's password.
    pub password: Password,
}

impl Request {
    /// Writes the request's line.
    pub fn encode(&self, out: &mut BytesMut) {
        self.write_keys(out);
        out.extend_from_slice(b"}\n");
    }

    /// Writes the object's beginning, up to where other keys may follow.
    fn write_keys(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"{\"harp\":1");
        write::key(out, "procedure");
        write::string(out, &self.procedure);
        write::key(out, "arguments");
        self.arguments.write(out);
        write_auth(out, &self.user, &self.password);
    }

    /// Reads a request's line.
    ///
    /// # Errors
    ///
    /// The failure to answer with: `parse_error`, `invalid_protocol` or
    /// `invalid_request`, the last with the `field` in its data.
    pub fn decode(line: &Bytes) -> Result<Request, Failure> {
        Request::read(line).map_err(|fault| fault.0)
    }

    fn read(line: &Bytes) -> Result<Request, Fault> {
        let mut fields = open(line)?;
        let request = Request::take(line, &mut fields)?;
        fields.none_left()?;
        Ok(request)
    }

    /// Takes the keys of a request out of an object that may have others.
    fn take(line: &Bytes, fields: &mut Fields<'_>) -> Result<Request, Fault> {
        let procedure = fields.required_string("procedure")?;
        let arguments = arguments(line, fields)?;
        let (user, password) = take_auth(fields)?;
        Ok(Request {
            procedure,
            arguments,
            user,
            password,
        })
    }
}

/// The object of a line that opens a conversation: `"harp": 1`, and no key twice.
fn open(line: &Bytes) -> Result<Fields<'_>, Fault> {
    let mut fields = Fields::read(line)
        .map_err(Fault::parse_error)?
        .ok_or_else(|| Fault::invalid_protocol("a request is a JSON object"))?;
    if fields
        .raw("harp")
        .is_none_or(|version| version.get() != "1")
    {
        return Err(Fault::invalid_protocol(
            "the key \"harp\" must be there and be 1",
        ));
    }
    fields.none_repeated()?;
    Ok(fields)
}

/// `,"auth":{...}`.
fn write_auth(out: &mut BytesMut, user: &str, password: &Password) {
    write::key(out, "auth");
    out.extend_from_slice(b"{\"user\":");
    write::string(out, user);
    write::key(out, "password");
    write::string(out, password.reveal());
    out.extend_from_slice(b"}");
}

/// Takes `auth`: a user and a password.
fn take_auth(fields: &mut Fields<'_>) -> Result<(String, Password), ShapeError> {
    let mut auth = fields
        .object("auth")?
        .ok_or_else(|| fields.error("auth", "missing, must be an object"))?;
    auth.none_repeated()?;
    let user = auth.required_string("user")?;
    let password = Password::new(auth.required_string("password")?);
    auth.none_left()?;
    Ok((user, password))
}

/// Takes `arguments` out of a request of either protocol.
pub(crate) fn arguments(line: &Bytes, fields: &mut Fields<'_>) -> Result<Json, ShapeError> {
    let arguments = fields.required_json(line, "arguments")?;
    checked_arguments(arguments, fields)
}

/// Takes what [`arguments`] does, where null and none stand for an empty array.
pub(crate) fn optional_arguments(
    text: &Bytes,
    fields: &mut Fields<'_>,
) -> Result<Json, ShapeError> {
    match fields.json(text, "arguments")? {
        Some(arguments) if arguments != Json::NULL => checked_arguments(arguments, fields),
        _ => Ok(Json::from_trusted(Bytes::from_static(b"[]"))),
    }
}

fn checked_arguments(arguments: Json, fields: &Fields<'_>) -> Result<Json, ShapeError> {
    if !matches!(arguments.as_bytes().first(), Some(b'[' | b'{')) {
        return Err(fields.error(
            "arguments",
            "must be an array (positional arguments) or an object (named arguments)",
        ));
    }
    Ok(arguments)
}

/// A line from a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The request is accepted; `stream_result` says whether packets may follow.
    Acknowledged {
        /// True if the procedure streams.
        stream_result: bool,
    },
    /// A packet.
    Stream(Json),
    /// The procedure returned; ends the call.
    Result(Json),
    /// The procedure raised an exception; ends the call.
    Exception(Failure),
    /// The call failed; ends it, also in place of the acknowledgement.
    Error(Failure),
}

/// The keys of which a message has one.
/// How long `harpd` lets a procedure end by itself before it kills it, unless told otherwise
/// (`kill_grace`).
pub const KILL_GRACE: std::time::Duration = std::time::Duration::from_secs(5);

const KINDS: [&str; 5] = ["stream", "result", "exception", "error", "stream_result"];

/// A complete line that is no message of the host protocol.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotAMessage(String);

impl Message {
    /// Writes the message's line.
    pub fn encode(&self, out: &mut BytesMut) {
        match self {
            Message::Acknowledged { stream_result } => {
                out.extend_from_slice(b"{\"harp\":1,\"stream_result\":");
                out.extend_from_slice(if *stream_result { b"true" } else { b"false" });
                out.extend_from_slice(b"}");
            }
            Message::Stream(data) => write::single(out, "stream", |out| data.write(out)),
            Message::Result(result) => write::single(out, "result", |out| result.write(out)),
            Message::Exception(failure) => {
                write::single(out, "exception", |out| failure.write(out));
            }
            Message::Error(failure) => {
                out.extend_from_slice(b"{\"harp\":1,\"error\":");
                failure.write(out);
                out.extend_from_slice(b"}");
            }
        }
        out.extend_from_slice(b"\n");
    }

    /// Reads a message's line. Keys that the protocol does not name are passed over, so
    /// that a host may say more than we know.
    ///
    /// # Errors
    ///
    /// [`NotAMessage`], which says what is wrong with the line.
    pub fn decode(line: &Bytes) -> Result<Message, NotAMessage> {
        let mut fields = Fields::read(line)
            .map_err(|error| NotAMessage(format!("not JSON: {error}")))?
            .ok_or_else(|| NotAMessage("not a JSON object".to_owned()))?;
        Message::take(line, &mut fields)
            .map_err(|error| NotAMessage(error.to_string()))?
            .ok_or_else(|| {
                NotAMessage("no stream_result, stream, result, exception or error in it".to_owned())
            })
    }

    fn take(line: &Bytes, fields: &mut Fields<'_>) -> Result<Option<Message>, ShapeError> {
        fields.none_repeated()?;
        let mut kinds = KINDS.into_iter().filter(|kind| fields.has(kind));
        if let (Some(_), Some(second)) = (kinds.next(), kinds.next()) {
            return Err(fields.error(second, "a line is one message, and this is a second"));
        }
        if let Some(data) = fields.json(line, "stream")? {
            return Ok(Some(Message::Stream(data)));
        }
        if let Some(stream_result) = fields.boolean("stream_result")? {
            return match fields.raw("harp").map(|version| version.get()) {
                Some("1") => Ok(Some(Message::Acknowledged { stream_result })),
                _ => Err(fields.error("harp", "must be there and be 1")),
            };
        }
        Ok(match Outcome::take(line, fields)? {
            Some(Outcome::Returned(result)) => Some(Message::Result(result)),
            Some(Outcome::Exception(failure)) => Some(Message::Exception(failure)),
            Some(Outcome::Error(failure)) => Some(Message::Error(failure)),
            Some(Outcome::Cancelled) | None => None,
        })
    }

    /// The data of a packet's line in the form that has nothing beside it, which is the
    /// one that hosts send: `{"stream":DATA}` without white space. `None` for any other
    /// line; [`Message::decode`] knows what that is.
    #[must_use]
    pub fn plain_packet(line: &[u8]) -> Option<&[u8]> {
        let data = line.strip_prefix(b"{\"stream\":")?.strip_suffix(b"}")?;
        Json::is_compact(data).then_some(data)
    }

    /// True for our harpd's proof that a cancelled call has left nothing behind (host
    /// protocol, "Proof of a cancel").
    #[must_use]
    pub fn proves_cancel(&self) -> bool {
        #[derive(serde::Deserialize)]
        struct Left {
            processes: u64,
        }
        let Message::Error(failure) = self else {
            return false;
        };
        let left = failure.data.as_ref().map(Json::decode::<Left>);
        failure.error_type == error_type::CANCELLED
            && matches!(left, Some(Ok(Left { processes: 0 })))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(line: &str) -> Result<Message, NotAMessage> {
        Message::decode(&Bytes::copy_from_slice(line.as_bytes()))
    }

    #[test]
    fn messages_are_read() {
        assert_eq!(
            decode(r#"{"harp": 1, "stream_result": false}"#).unwrap(),
            Message::Acknowledged {
                stream_result: false
            }
        );
        assert_eq!(
            decode(r#"{"stream": {"b" : 1.0, "b": 2}}"#).unwrap(),
            Message::Stream(r#"{"b":1.0,"b":2}"#.parse().unwrap())
        );
        assert_eq!(
            decode(r#"{"result": null}"#).unwrap(),
            Message::Result(Json::NULL)
        );
        assert_eq!(
            decode(r#"{"error":{"message":"m","type":"t"},"harp":1}"#).unwrap(),
            Message::Error(Failure::new("t", "m"))
        );
    }

    #[test]
    fn what_a_host_says_gets_through_even_if_it_is_no_text() {
        let line = r#"{"exception":{"type":"t","message":"caf\udce9"}}"#;
        let message = decode(line).unwrap();
        let shown = "caf\u{fffd}\u{fffd}\u{fffd}";
        assert_eq!(message, Message::Exception(Failure::new("t", shown)));
    }

    #[test]
    fn only_our_own_line_proves_a_cancel() {
        for (line, proof) in [
            (
                r#"{"harp":1,"error":{"type":"cancelled","message":"m","data":{"processes":0}}}"#,
                true,
            ),
            (
                r#"{"harp":1,"error":{"type":"cancelled","message":"m","data":{"processes":3}}}"#,
                false,
            ),
            (
                r#"{"harp":1,"error":{"type":"cancelled","message":"m"}}"#,
                false,
            ),
            (
                r#"{"harp":1,"error":{"type":"timeout","message":"m","data":{"processes":0}}}"#,
                false,
            ),
            (
                r#"{"exception":{"type":"cancelled","message":"m","data":{"processes":0}}}"#,
                false,
            ),
        ] {
            assert_eq!(decode(line).unwrap().proves_cancel(), proof, "{line}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for line in [
            "",
            "{}",
            "[]",
            "1",
            "garbage",
            r#"{"stream_result":true}"#,
            r#"{"harp":2,"stream_result":true}"#,
            r#"{"harp":1,"stream_result":1}"#,
            r#"{"exception":{"type":1,"message":"m"}}"#,
            r#"{"exception":"x"}"#,
            r#"{"error":{"type":"t"}}"#,
            r#"{"cancelled":true}"#,
            r#"{"result":1,"result":2}"#,
            r#"{"stream":1,"stream":2}"#,
            r#"{"stream":1,"result":2}"#,
        ] {
            assert!(decode(line).is_err(), "{line}");
        }
    }

    #[test]
    fn faults_of_a_request_have_the_types_of_the_protocol() {
        let auth = r#""auth":{"user":"u","password":"p"}"#;
        for (line, error_type, field) in [
            ("nonsense".to_owned(), "parse_error", None),
            ("[]".to_owned(), "invalid_protocol", None),
            (
                format!(r#"{{"procedure":"p","arguments":[],{auth}}}"#),
                "invalid_protocol",
                None,
            ),
            (
                format!(r#"{{"harp":2,"procedure":"p","arguments":[],{auth}}}"#),
                "invalid_protocol",
                None,
            ),
            (
                format!(r#"{{"harp":1,"arguments":[],{auth}}}"#),
                "invalid_request",
                Some("procedure"),
            ),
            (
                format!(r#"{{"harp":1,"procedure":"p","arguments":1,{auth}}}"#),
                "invalid_request",
                Some("arguments"),
            ),
            (
                r#"{"harp":1,"procedure":"p","arguments":[]}"#.to_owned(),
                "invalid_request",
                Some("auth"),
            ),
            (
                r#"{"harp":1,"procedure":"p","arguments":[],"auth":{"user":"u"}}"#.to_owned(),
                "invalid_request",
                Some("auth.password"),
            ),
            (
                format!(r#"{{"harp":1,"procedure":"p","arguments":[],{auth},"x":1}}"#),
                "invalid_request",
                Some("x"),
            ),
            (
                format!(r#"{{"harp":1,"procedure":"p","procedure":"q","arguments":[],{auth}}}"#),
                "invalid_request",
                Some("procedure"),
            ),
        ] {
            let failure = Request::decode(&Bytes::from(line.clone())).unwrap_err();
            assert_eq!(failure.error_type, error_type, "{line}");
            let named = failure.data.map(|data| data.as_str().to_owned());
            assert_eq!(
                named,
                field.map(|field| format!(r#"{{"field":"{field}"}}"#)),
                "{line}"
            );
        }
    }

    #[test]
    fn the_password_is_not_in_debug_output() {
        let request = Request {
            procedure: "p".into(),
            arguments: "[]".parse().unwrap(),
            user: "u".into(),
            password: "hunter2".into(),
        };
        assert!(!format!("{request:?}").contains("hunter2"));
    }

    fn any_json() -> impl Strategy<Value = Json> {
        any::<(String, i64, Option<bool>)>().prop_map(|value| Json::encode(&value).unwrap())
    }

    fn any_failure() -> impl Strategy<Value = Failure> {
        (
            any::<String>(),
            any::<String>(),
            proptest::option::of(any_json()),
        )
            .prop_map(|(error_type, message, data)| Failure {
                error_type,
                message,
                data,
            })
    }

    fn any_message() -> impl Strategy<Value = Message> {
        prop_oneof![
            any::<bool>().prop_map(|stream_result| Message::Acknowledged { stream_result }),
            any_json().prop_map(Message::Stream),
            any_json().prop_map(Message::Result),
            any_failure().prop_map(Message::Exception),
            any_failure().prop_map(Message::Error),
        ]
    }

    fn without_newline(wire: BytesMut) -> Bytes {
        let mut line = wire.freeze();
        assert_eq!(
            line.iter().position(|byte| *byte == b'\n'),
            Some(line.len() - 1)
        );
        line.truncate(line.len() - 1);
        line
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_the_same(message in any_message()) {
            let mut wire = BytesMut::new();
            message.encode(&mut wire);
            prop_assert_eq!(Message::decode(&without_newline(wire)).unwrap(), message);
        }

        #[test]
        fn requests_too(procedure: String, user: String, password: String, arguments: Vec<String>) {
            let request = Request {
                procedure,
                arguments: Json::encode(&arguments).unwrap(),
                user,
                password: password.into(),
            };
            let mut wire = BytesMut::new();
            request.encode(&mut wire);
            prop_assert_eq!(Request::decode(&without_newline(wire)).unwrap(), request);
        }

        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let line = Bytes::from(bytes);
            let _ = Message::decode(&line);
            let _ = Request::decode(&line);
        }

        #[test]
        fn nor_does_json_of_the_wrong_shape(
            key in "harp|procedure|arguments|auth|stream|result|exception|error|stream_result",
            value in r#"null|1|-1|true|"x"|\[\]|\{\}|\{"type":1\}|\[\[1\]\]"#,
        ) {
            let line = Bytes::from(format!(r#"{{"harp":1,"{key}":{value}}}"#));
            let _ = Message::decode(&line);
            let _ = Request::decode(&line);
        }
    }
}
