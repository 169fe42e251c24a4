//! From an agent's reply to the caller's answer (Choria external agents, sections 4 and 8).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use harp_proto::host::Message;
use harp_proto::{Failure, Json};
use harp_service::signals;
use serde_json::value::RawValue;

use super::ddl::Action;
use super::workdir::CallFiles;
use crate::arguments::Members;
use crate::exit::Exit;
use crate::line_log::LineLog;
use crate::output::limit::too_large;

/// The run of an agent, as far as its answer is concerned: what it prints is for the log,
/// what counts is in its reply file when it has exited.
#[derive(Debug)]
pub struct AgentReply {
    /// `AGENT#ACTION`, as Choria names it.
    pub name: String,
    /// The action as the description has it.
    pub action: Arc<Action>,
    /// The files of the call, which go with the last one that has them.
    pub files: Arc<CallFiles>,
    /// For what the agent prints.
    pub log: LineLog,
    /// Greatest length of the data, in bytes.
    pub max_output: usize,
}

impl AgentReply {
    /// The agent has exited with code 0: the message that ends the call. Blocks for as
    /// long as it takes to read a file that was just written.
    ///
    /// # Errors
    ///
    /// The exception that ends it: that of the reply's status code, `rpc_aborted` if
    /// there is no reply, or `output_too_large`.
    pub fn succeeded(&self) -> Result<Message, Failure> {
        match self.files.read_reply(self.max_output) {
            Ok(reply) => message(&reply, &self.name, &self.action, self.max_output),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                Err(too_large(self.max_output))
            }
            Err(error) => Err(aborted(
                &self.name,
                &format!("cannot read its reply: {error}"),
            )),
        }
    }

    /// The agent has exited otherwise.
    #[must_use]
    pub fn failed(&self, exit: Exit) -> Failure {
        let how = match exit {
            Exit::Code(code) => format!("exit status {code}"),
            Exit::Signal(number) => format!("signal {}", signals::name(number)),
        };
        let agent = self.name.split('#').next().unwrap_or_default();
        aborted(&self.name, &format!("executing {agent} failed: {how}"))
    }
}

/// The status code of everything that this side finds wrong with an agent's run.
const ABORTED: i64 = 1;

/// The reply's data if its status code is 0, else the exception of that code.
fn message(
    reply: &Bytes,
    name: &str,
    action: &Action,
    max_output: usize,
) -> Result<Message, Failure> {
    match Reply::read(reply, action) {
        Ok(reply) if reply.data.as_bytes().len() > max_output => Err(too_large(max_output)),
        Ok(reply) if reply.status == 0 => Ok(Message::Result(reply.data)),
        Ok(reply) => Err(reply.failure()),
        Err(why) => Err(aborted(name, &why)),
    }
}

/// The exception of an agent that could not be run to a reply: `rpc_aborted`, status
/// code 1.
fn aborted(name: &str, why: &str) -> Failure {
    let reply = Reply {
        status: ABORTED,
        text: format!("Could not call external agent {name}: {why}"),
        data: Json::from_trusted(Bytes::from_static(b"{}")),
    };
    reply.failure()
}

struct Reply {
    status: i64,
    text: String,
    data: Json,
}

impl Reply {
    fn read(reply: &Bytes, action: &Action) -> Result<Reply, String> {
        if reply.iter().all(u8::is_ascii_whitespace) {
            return Err("it wrote no reply".to_owned());
        }
        // Also sees to the depth.
        let reply = Json::parse(reply).map_err(|error| undecoded(&error))?;
        let Members(members) =
            serde_json::from_str(reply.as_str()).map_err(|error| undecoded(&error))?;
        // What is absent or null keeps its default; other keys are passed over.
        let members: BTreeMap<_, _> = members
            .into_iter()
            .filter(|(_, value)| value.get() != "null")
            .collect();
        let text = |key: &str| members.get(key).map(|value| value.get());
        let status = text("statuscode").map_or(Ok(0), serde_json::from_str);
        let message = text("statusmsg").map_or_else(|| Ok("OK".to_owned()), serde_json::from_str);
        Ok(Reply {
            status: status.map_err(|error| undecoded(&format!("statuscode: {error}")))?,
            text: message.map_err(|error| undecoded(&format!("statusmsg: {error}")))?,
            data: filled(text("data").unwrap_or("{}"), action)?,
        })
    }

    fn failure(self) -> Failure {
        let error_type = match self.status {
            ABORTED => "rpc_aborted",
            2 => "unknown_action",
            3 => "missing_data",
            4 => "invalid_data",
            _ => "unknown_error",
        };
        let message = if self.text.is_empty() {
            format!("the agent replied with status code {}", self.status)
        } else {
            self.text
        };
        let data = serde_json::from_str::<&RawValue>(self.data.as_str()).ok();
        Failure::new(error_type, message).with_data(&Told {
            statuscode: self.status,
            data,
        })
    }
}

/// The data of an exception.
#[derive(serde::Serialize)]
struct Told<'a> {
    statuscode: i64,
    data: Option<&'a RawValue>,
}

fn undecoded(error: &dyn std::fmt::Display) -> String {
    format!("failed to decode reply json: {error}")
}

/// The reply's data with the defaults of outputs that are not there at all.
fn filled(data: &str, action: &Action) -> Result<Json, String> {
    let Ok(Members(mut members)) = serde_json::from_str(data) else {
        return Err("Could not set reply defaults: data is not an object".to_owned());
    };
    for (name, default) in &action.output_defaults {
        if members.iter().all(|(given, _)| given != name) {
            let default =
                serde_json::from_str(default.as_str()).map_err(|error| undecoded(&error))?;
            members.push((name.clone(), default));
        }
    }
    Json::encode(&Members(members)).map_err(|error| undecoded(&error))
}

#[cfg(test)]
mod tests {
    use super::super::ddl::tests::action;
    use super::*;

    fn reply(text: &'static str) -> Result<Message, Failure> {
        let outputs = r#"{"a": {"default": [1, 2]}, "b": {"default": null}, "c": {}}"#;
        let action = action("{}", outputs);
        message(
            &Bytes::from_static(text.as_bytes()),
            "parrot#echo",
            &action,
            1000,
        )
    }

    fn exception(text: &'static str) -> (String, String, String) {
        let failure = reply(text).unwrap_err();
        let data = failure.data.unwrap().as_str().to_owned();
        (failure.error_type, failure.message, data)
    }

    #[test]
    fn a_good_reply_is_its_data_with_defaults() {
        for (text, data) in [
            (
                r#"{"statuscode": 0, "statusmsg": "", "data": {"z": 1.0, "a": null}}"#,
                r#"{"z":1.0,"a":null}"#,
            ),
            (
                r#"{"data": {"c": "é"}, "unknown": 1}"#,
                r#"{"c":"é","a":[1,2]}"#,
            ),
            ("{}", r#"{"a":[1,2]}"#),
            (
                r#"{"statuscode": null, "statusmsg": null, "data": null}"#,
                r#"{"a":[1,2]}"#,
            ),
        ] {
            let result = Message::Result(data.parse().unwrap());
            assert_eq!(reply(text).unwrap(), result, "{text}");
        }
    }

    #[test]
    fn status_codes_become_exceptions_that_keep_code_message_and_data() {
        for (code, error_type) in [
            ("1", "rpc_aborted"),
            ("2", "unknown_action"),
            ("3", "missing_data"),
            ("4", "invalid_data"),
            ("5", "unknown_error"),
            ("6", "unknown_error"),
            ("-1", "unknown_error"),
        ] {
            let text =
                format!(r#"{{"statuscode": {code}, "statusmsg": "why", "data": {{"x": 1}}}}"#);
            let (kind, message, data) = exception(text.leak());
            assert_eq!((kind.as_str(), message.as_str()), (error_type, "why"));
            assert_eq!(
                data,
                format!(r#"{{"statuscode":{code},"data":{{"x":1,"a":[1,2]}}}}"#)
            );
        }
        let (_, message, _) = exception(r#"{"statuscode": 3, "statusmsg": ""}"#);
        assert_eq!(message, "the agent replied with status code 3");
    }

    #[test]
    fn what_is_no_reply_is_aborted() {
        for (text, told) in [
            ("", "it wrote no reply"),
            (" \n", "it wrote no reply"),
            ("{", "failed to decode reply json"),
            ("[]", "failed to decode reply json"),
            (
                r#"{"statuscode": "0"}"#,
                "failed to decode reply json: statuscode",
            ),
            (
                r#"{"statuscode": 0.5}"#,
                "failed to decode reply json: statuscode",
            ),
            (
                r#"{"statusmsg": 1}"#,
                "failed to decode reply json: statusmsg",
            ),
            (r#"{"data": []}"#, "Could not set reply defaults"),
            (r#"{"data": "x"}"#, "Could not set reply defaults"),
        ] {
            let (kind, message, data) = exception(text);
            assert_eq!(kind, "rpc_aborted");
            assert!(message.starts_with("Could not call external agent parrot#echo: "));
            assert!(message.contains(told), "{message}");
            assert_eq!(data, r#"{"statuscode":1,"data":{}}"#);
        }
    }
}
