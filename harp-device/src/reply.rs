//! Answers of a device to a command: its reply, or the result that it publishes later.

use bytes::Bytes;
use harp_values::{Failure, Json, Outcome};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Number, json};

use crate::object::object;

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// The command's nonce, as it came; `None` if it is not a number that was ever sent.
    pub(crate) nonce: Option<u64>,
    /// The command that the device says it is the answer to.
    pub(crate) command: i64,
    /// What it says.
    pub(crate) verdict: Verdict,
}

/// What an answer says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// The command has ended.
    Ended(Outcome),
    /// It goes on, and its result will be published.
    Later,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    nonce: Number,
    result: i64,
    #[serde(default)]
    command: Option<i64>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error_code: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error_kind: Option<&'a RawValue>,
    #[serde(default)]
    error_message: Option<String>,
}

impl Answer {
    /// Reads the message of a reply: an empty frame, then an object in one.
    pub(crate) fn of_reply(parts: &[Bytes]) -> Option<Answer> {
        match parts {
            [empty, body] if empty.is_empty() => Answer::read(&object(body)?),
            _ => None,
        }
    }

    /// Reads an object; `None` if it is no answer.
    pub(crate) fn read(body: &Bytes) -> Option<Answer> {
        let wire: Wire<'_> = serde_json::from_slice(body).ok()?;
        Some(Answer {
            nonce: wire.nonce.as_u64(),
            command: wire.command.unwrap_or_default(),
            verdict: verdict(body, &wire)?,
        })
    }

    /// Whether it answers a request that the device could not read: it knows no nonce then.
    pub(crate) fn is_of_the_unread(&self) -> bool {
        let is_unrecognized = match &self.verdict {
            Verdict::Ended(Outcome::Exception(failure)) => failure.error_type == UNRECOGNIZED,
            _ => false,
        };
        is_unrecognized && self.nonce == Some(0)
    }
}

const UNRECOGNIZED: &str = "unrecognized";

fn verdict(body: &Bytes, wire: &Wire<'_>) -> Option<Verdict> {
    let json = |raw: Option<&RawValue>| match raw {
        Some(raw) => Json::slice(body, raw),
        None => Ok(Json::NULL),
    };
    let (kind, otherwise) = match wire.result {
        100 => {
            let data = json(wire.data).ok()?;
            return Some(Verdict::Ended(Outcome::Returned(data)));
        }
        200 => {
            let pending = Json::encode(&json!({"pending": true})).ok()?;
            return Some(Verdict::Ended(Outcome::Returned(pending)));
        }
        201 => return Some(Verdict::Later),
        0 => (UNRECOGNIZED, "the device does not know this command"),
        500 => ("exception", "the device's handler of this command failed"),
        9999 => ("unavailable", "the device does not take this command now"),
        // 400, and what no version known has.
        _ => ("failed", "the command failed"),
    };
    let message = wire.error_message.as_deref();
    let message = message.filter(|message| !message.is_empty());
    let data = Data {
        error_code: json(wire.error_code).ok()?,
        error_kind: json(wire.error_kind).ok()?,
        data: json(wire.data).ok()?,
    };
    let failure = Failure::new(kind, message.unwrap_or(otherwise)).with_data(&data);
    Some(Verdict::Ended(Outcome::Exception(failure)))
}

/// What a device says of a command that has not succeeded.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    error_code: Json,
    error_kind: Json,
    data: Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &str) -> Option<Answer> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Answer::of_reply(&[Bytes::new(), body])
    }

    fn outcome(body: &str) -> String {
        match answer(body).unwrap().verdict {
            Verdict::Ended(outcome) => outcome.to_json().to_string(),
            Verdict::Later => "later".to_owned(),
        }
    }

    #[test]
    fn what_a_device_says_of_a_command() {
        let reply = |result: u32| {
            format!(
                r#"{{"nonce":5,"command":400,"result":{result},"data":{{"a": 1.0}},"errorKind":2,"errorCode":7,"errorMessage":"oh"}}"#
            )
        };
        assert_eq!(outcome(&reply(100)), r#"{"result":{"a":1.0}}"#);
        assert_eq!(outcome(&reply(200)), r#"{"result":{"pending":true}}"#);
        assert_eq!(outcome(&reply(201)), "later");
        for (result, kind) in [
            (0, "unrecognized"),
            (400, "failed"),
            (500, "exception"),
            (9999, "unavailable"),
            (777, "failed"),
        ] {
            let data = r#""data":{"errorCode":7,"errorKind":2,"data":{"a":1.0}}"#;
            assert_eq!(
                outcome(&reply(result)),
                format!(r#"{{"exception":{{"type":"{kind}","message":"oh",{data}}}}}"#)
            );
        }
        assert!(
            outcome(r#"{"nonce":5,"result":9999,"errorMessage":null}"#).contains("does not take")
        );
        let answer = answer(&reply(100)).unwrap();
        assert_eq!((answer.nonce, answer.command), (Some(5), 400));
    }

    #[test]
    fn what_is_no_reply() {
        for body in [
            "",
            "7",
            "[]",
            "{}",
            r#"{"result":100}"#,
            r#"{"nonce":5}"#,
            r#"{"nonce":"5","result":100}"#,
        ] {
            assert!(answer(body).is_none(), "{body}");
        }
        let good = Bytes::from(r#"{"nonce":5,"result":100}"#);
        assert!(Answer::of_reply(&[Bytes::new(), good.clone(), good.clone()]).is_none());
        assert!(Answer::of_reply(std::slice::from_ref(&good)).is_none());
        let unread = r#"{"nonce":0,"command":0,"result":0}"#;
        assert!(answer(unread).unwrap().is_of_the_unread());
        // A nonce that was never sent is nobody's, whatever it is.
        for nonce in ["-1", "1.5", "1e300"] {
            let body = format!(r#"{{"nonce":{nonce},"result":100}}"#);
            assert_eq!(answer(&body).unwrap().nonce, None);
        }
    }
}
