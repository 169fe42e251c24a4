//! An agent's description, in JSON (Choria external agents, section 5).

use std::collections::BTreeMap;
use std::path::Path;

use harp_proto::Json;
use regex_lite::Regex;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Agents that Choria itself provides; nobody else may (section 1).
const RESERVED: [&str; 6] = [
    "rpcutil",
    "choria_util",
    "choria_provision",
    "choria_registry",
    "discovery",
    "scout",
];
/// The longest time that an agent may claim, in seconds: ten years.
const MAX_TIMEOUT: u64 = 315_360_000;

/// What makes a string unsafe for a shell.
pub(super) const UNSAFE: [&str; 7] = ["`", "$", ";", "|", "&&", ">", "<"];

/// An agent's description, checked.
#[derive(Debug)]
pub struct Ddl {
    /// How long one call may run, in seconds; at least 1.
    pub timeout: u64,
    /// Its actions, by name.
    pub actions: BTreeMap<String, Action>,
}

/// One action.
#[derive(Debug)]
pub struct Action {
    /// What it does, for people.
    pub description: Option<String>,
    /// Its arguments, by name.
    pub inputs: BTreeMap<String, Input>,
    /// The values of output that the reply leaves out, in the description's order of
    /// names.
    pub output_defaults: BTreeMap<String, Json>,
}

/// One input of an action.
#[derive(Debug)]
pub struct Input {
    /// Whether a call has to give it.
    pub is_required: bool,
    /// What it may be.
    pub kind: InputKind,
}

/// The type of an input.
#[derive(Debug)]
pub enum InputKind {
    /// A number without a fraction.
    Integer,
    /// Any number.
    Number,
    /// True or false.
    Boolean,
    /// A string.
    String {
        /// Greatest length in bytes. Without it nothing else is looked at either.
        max_length: Option<usize>,
        /// Form that it has to have.
        form: Form,
    },
    /// One of these strings.
    List(Vec<String>),
    /// An object.
    Hash,
    /// An array.
    Array,
    /// A type that no value has.
    Unsupported(String),
}

/// The `validation` of a string.
#[derive(Debug)]
pub enum Form {
    /// Anything.
    Any,
    /// Nothing that a shell would take for more than a word.
    ShellSafe,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// An address of either kind.
    Ip,
    /// It has to match somewhere.
    Matching(Regex),
    /// An expression that cannot be understood, so that nothing matches it.
    Unusable(String),
}

/// Kind of a description.
#[derive(Debug)]
pub enum Reading {
    /// An agent that harpd can run; and what is odd about it.
    External(Ddl, Vec<String>),
    /// An agent that is no program, for another server to run.
    Foreign,
}

/// Why a description cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DdlError {
    /// The file cannot be read.
    #[error("cannot read it: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is not JSON, or not of the form.
    #[error("not an agent's description: {0}")]
    Shape(#[from] serde_json::Error),
    /// The agent has a name that is reserved.
    #[error("the agent name {0} is reserved")]
    Reserved(String),
    /// The agent or an action has a name that is not allowed, or a wrong one.
    #[error("{0}")]
    Name(String),
    /// `metadata.timeout` is out of range.
    #[error("metadata.timeout must be from 1 to {MAX_TIMEOUT} seconds, not {0}")]
    Timeout(String),
}

#[derive(Deserialize)]
struct RawDdl {
    metadata: RawMetadata,
    #[serde(default)]
    actions: Vec<RawAction>,
}

#[derive(Deserialize)]
struct RawMetadata {
    name: String,
    #[serde(default)]
    provider: String,
    timeout: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct RawAction {
    action: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    input: Option<BTreeMap<String, RawInput>>,
    #[serde(default)]
    output: Option<BTreeMap<String, RawOutput>>,
}

#[derive(Deserialize)]
struct RawInput {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    optional: bool,
    #[serde(default)]
    validation: Option<String>,
    #[serde(default)]
    maxlength: Option<i64>,
    #[serde(default)]
    list: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct RawOutput {
    #[serde(default)]
    default: Option<Box<RawValue>>,
}

impl Ddl {
    /// Reads the description of the agent `name`. Blocks.
    ///
    /// # Errors
    ///
    /// [`DdlError`], if it is an agent for harpd but cannot be used.
    pub fn read(file: &Path, name: &str) -> Result<Reading, DdlError> {
        Ddl::parse(&harp_files::regular::read(file)?, name)
    }

    /// Reads the text of a description of the agent `name`.
    ///
    /// # Errors
    ///
    /// [`DdlError`], as for [`Ddl::read`].
    pub fn parse(text: &[u8], name: &str) -> Result<Reading, DdlError> {
        let raw: RawDdl = serde_json::from_slice(text)?;
        if raw.metadata.provider != "external" {
            return Ok(Reading::Foreign);
        }
        check_name("the agent", name)?;
        if RESERVED.contains(&name) {
            return Err(DdlError::Reserved(name.to_owned()));
        }
        if raw.metadata.name != name {
            return Err(DdlError::Name(format!(
                "metadata.name is {:?}, but the agent's file is named {name}",
                raw.metadata.name
            )));
        }
        let timeout = raw.metadata.timeout.as_deref().map_or("0", RawValue::get);
        let timeout = timeout
            .parse()
            .ok()
            .filter(|seconds| (1..=MAX_TIMEOUT).contains(seconds))
            .ok_or_else(|| DdlError::Timeout(timeout.to_owned()))?;
        let mut oddities = Vec::new();
        let mut actions = BTreeMap::new();
        for raw in raw.actions {
            check_name("an action", &raw.action)?;
            let name = raw.action.clone();
            let action = Action::from_raw(raw, &mut oddities);
            if actions.insert(name.clone(), action).is_some() {
                return Err(DdlError::Name(format!("the action {name} is there twice")));
            }
        }
        Ok(Reading::External(Ddl { timeout, actions }, oddities))
    }
}

impl Action {
    fn from_raw(raw: RawAction, oddities: &mut Vec<String>) -> Action {
        let mut inputs = BTreeMap::new();
        for (name, input) in raw.input.unwrap_or_default() {
            let (input, oddity) = Input::from_raw(input);
            if let Some(oddity) = oddity {
                oddities.push(format!("action {}, input {name}: {oddity}", raw.action));
            }
            inputs.insert(name, input);
        }
        let outputs = raw.output.unwrap_or_default().into_iter();
        let output_defaults = outputs.filter_map(|(name, output)| {
            // Null reads as absent.
            let default = output.default?;
            Some((name, Json::encode(&*default).ok()?))
        });
        Action {
            description: raw.description,
            inputs,
            output_defaults: output_defaults.collect(),
        }
    }
}

impl Input {
    /// Also says what is odd about it.
    fn from_raw(raw: RawInput) -> (Input, Option<String>) {
        let mut oddity = None;
        let kind = match raw.kind.to_ascii_lowercase().as_str() {
            "integer" | "int" => InputKind::Integer,
            "number" | "float" => InputKind::Number,
            "boolean" => InputKind::Boolean,
            "hash" => InputKind::Hash,
            "array" => InputKind::Array,
            "list" => InputKind::List(raw.list.unwrap_or_default()),
            "string" => {
                let max_length = raw
                    .maxlength
                    .and_then(|length| usize::try_from(length).ok());
                let (form, odd) = Form::of(raw.validation.as_deref().unwrap_or_default());
                oddity = odd;
                InputKind::String {
                    max_length: max_length.filter(|length| *length > 0),
                    form,
                }
            }
            _ => {
                oddity = Some(format!("unsupported input type {:?}", raw.kind));
                InputKind::Unsupported(raw.kind)
            }
        };
        let input = Input {
            is_required: !raw.optional,
            kind,
        };
        (input, oddity)
    }
}

impl Form {
    fn of(validation: &str) -> (Form, Option<String>) {
        let form = match validation {
            "" => Form::Any,
            "shellsafe" => Form::ShellSafe,
            "ipv4address" => Form::Ipv4,
            "ipv6address" => Form::Ipv6,
            "ipaddress" => Form::Ip,
            word if word.starts_with(|first: char| first.is_ascii_lowercase()) => {
                let oddity = format!("unsupported validator {word:?}, values are not checked");
                return (Form::Any, Some(oddity));
            }
            expression => match Regex::new(expression) {
                Ok(regex) => Form::Matching(regex),
                Err(error) => {
                    let oddity = format!("the expression {expression:?} is unusable: {error}");
                    return (Form::Unusable(expression.to_owned()), Some(oddity));
                }
            },
        };
        (form, None)
    }
}

/// Names of agents and actions (section 4, the request's keys).
fn check_name(what: &str, name: &str) -> Result<(), DdlError> {
    let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if !name.is_empty() && name.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(DdlError::Name(format!(
        "{what} is named {name:?}; only a-z, 0-9 and _ may be in a name"
    )))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An action `act` with these inputs and outputs.
    pub(in crate::choria) fn action(inputs: &str, outputs: &str) -> Action {
        let text = format!(
            r#"{{"metadata": {{"name": "a", "provider": "external", "timeout": 5}},
                "actions": [{{"action": "act", "input": {inputs}, "output": {outputs}}}]}}"#
        );
        match Ddl::parse(text.as_bytes(), "a").unwrap() {
            Reading::External(mut ddl, _) => ddl.actions.remove("act").unwrap(),
            Reading::Foreign => panic!("foreign"),
        }
    }

    fn parse(name: &str, metadata: &str, actions: &str) -> Result<Reading, DdlError> {
        let text = format!(r#"{{"metadata": {metadata}, "actions": {actions}}}"#);
        Ddl::parse(text.as_bytes(), name)
    }

    #[test]
    fn only_external_agents_count() {
        for metadata in [
            r#"{"name": "x", "provider": "ruby", "timeout": 5}"#,
            r#"{"name": "x", "timeout": 5}"#,
            r#"{"name": "discovery", "provider": "golang"}"#,
        ] {
            let reading = parse("x", metadata, "[]").unwrap();
            assert!(matches!(reading, Reading::Foreign), "{metadata}");
        }
    }

    #[test]
    fn wrong_descriptions_are_told() {
        for (name, metadata, actions, told) in [
            (
                "scout",
                r#"{"name":"scout","provider":"external","timeout":5}"#,
                "[]",
                "reserved",
            ),
            (
                "x",
                r#"{"name":"y","provider":"external","timeout":5}"#,
                "[]",
                "metadata.name",
            ),
            (
                "x.y",
                r#"{"name":"x.y","provider":"external","timeout":5}"#,
                "[]",
                "only a-z",
            ),
            (
                "x",
                r#"{"name":"x","provider":"external","timeout":0}"#,
                "[]",
                "not 0",
            ),
            ("x", r#"{"name":"x","provider":"external"}"#, "[]", "not 0"),
            (
                "x",
                r#"{"name":"x","provider":"external","timeout":"5"}"#,
                "[]",
                r#"not "5""#,
            ),
            (
                "x",
                r#"{"name":"x","provider":"external","timeout":5}"#,
                r#"[{"action":"A"}]"#,
                "an action is named",
            ),
            (
                "x",
                r#"{"name":"x","provider":"external","timeout":5}"#,
                r#"[{"action":"a"},{"action":"a"}]"#,
                "twice",
            ),
            ("x", "[]", "[]", "not an agent's description"),
        ] {
            let error = parse(name, metadata, actions).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }

    #[test]
    fn a_description_is_read_whole() {
        let reading = parse(
            "parrot",
            r#"{"name":"parrot","description":"d","author":"a","license":"l","version":"1",
                "url":"u","timeout":10,"provider":"external","service":false}"#,
            r#"[{"action":"echo","description":"d","display":"always",
                 "input":{"message":{"prompt":"p","description":"d","type":"String",
                    "default":"x","optional":false,"validation":"odd","maxlength":120}},
                 "output":{"message":{"description":"d","display_as":"D","default":"none",
                    "type":"string"},"n":{"default":null},"o":{}},
                 "aggregate":[{"function":"summary","args":["message"]}]},
                {"action":"ping"}]"#,
        );
        let Reading::External(ddl, oddities) = reading.unwrap() else {
            panic!("foreign");
        };
        assert_eq!(ddl.timeout, 10);
        assert_eq!(ddl.actions.keys().collect::<Vec<_>>(), ["echo", "ping"]);
        let echo = &ddl.actions["echo"];
        assert!(echo.inputs["message"].is_required);
        assert_eq!(echo.output_defaults.len(), 1);
        assert_eq!(echo.output_defaults["message"].as_str(), r#""none""#);
        assert_eq!(oddities.len(), 1);
        assert!(
            oddities[0].contains("unsupported validator"),
            "{oddities:?}"
        );
    }
}
