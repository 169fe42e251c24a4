//! Hosts from a discovery program, as it is written for Choria: it is given a request in a
//! file and leaves the names of nodes in another. What else the registry has to know of a
//! node comes from a template in the configuration.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harp_exec::Limit;
use harp_files::regular;
use harp_proto::Password;
use harp_service::Table;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::entry;
use super::script::{self, ScriptError};
use super::script_output::{MAX_OUTPUT, ScriptOutput};

const REQUEST: &str = "io.choria.choria.discovery.v1.external_request";
const REPLY: &str = "io.choria.choria.discovery.v1.external_reply";
const SCHEMA: &str = "https://choria.io/schemas/choria/discovery/v1/external_request.json";

/// What stands for a node's name in the template.
const NODE: &str = "{node}";

/// What is wrong with a template.
const NO_ENTRY: &str = "makes no entry of the registry: its kind is not known, or a key that \
                        hosts of that kind need (port, user and password) is missing or wrong";

/// A discovery program, and what is made of its nodes (configuration, `[discovery]`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    /// The program and its first arguments; at least one.
    command: Vec<String>,
    collective: String,
    options: BTreeMap<String, String>,
    /// The registry's line of a node, with its end: a JSON object, with [`NODE`] in strings
    /// alone. It has a password in it.
    template: Password,
}

/// What the program leaves.
#[derive(Deserialize)]
struct Reply {
    protocol: String,
    #[serde(default)]
    nodes: Option<Vec<String>>,
    #[serde(default)]
    error: Option<String>,
}

impl Discovery {
    /// Takes the table out of the configuration; `None` if it is not there.
    pub(crate) fn take(table: &Table<'_>) -> Option<Discovery> {
        let table = table.table("discovery")?;
        let command = table.strings("command");
        let command = table.required("command", command);
        if let Some(command) = &command {
            if command.iter().any(|word| word.contains('\0')) {
                table.problem("command", "there is a zero byte in it");
            } else if !command.first().is_some_and(|first| first.starts_with('/')) {
                table.problem("command", "must begin with the absolute path of a program");
            }
        }
        let collective = table.string("collective");
        let options = table.string_map("options").unwrap_or_default();
        let node = table.table("node");
        let template = match table.required("node", node) {
            None => String::new(),
            Some(node) => {
                let template = template(&node);
                if entry::read(filled(&template, "node").as_bytes()).is_err() {
                    table.problem("node", NO_ENTRY);
                }
                template
            }
        };
        Some(Discovery {
            command: command.unwrap_or_default(),
            collective: collective.unwrap_or_else(|| "mcollective".to_owned()),
            options,
            template: Password::new(template),
        })
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Path {
        Path::new(self.command.first().map_or("", String::as_str))
    }

    /// The files that the command names: the program, and what is run by it, such as a script
    /// behind its interpreter.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let words = self.command.iter().map(Path::new);
        words.filter(|word| word.is_absolute())
    }

    /// Runs the program and adds the lines of those of its nodes that are not there yet.
    /// Dropping the future ends it.
    ///
    /// # Errors
    ///
    /// [`ScriptError`].
    pub(super) async fn ask(
        &self,
        limit: Duration,
        limits: &[Limit],
        into: &mut ScriptOutput,
    ) -> Result<(), ScriptError> {
        let program = self.program();
        let (asked, time) = (self.clone(), limit.as_secs());
        let prepared = spawn_blocking(move || asked.prepare(time)).await;
        let prepared = prepared.map_err(io::Error::other).flatten();
        let (place, command) = prepared.map_err(|error| ScriptError::Start {
            script: program.to_owned(),
            error,
        })?;
        // What it prints is for people, as with Choria.
        script::run(program, command, limit, limits, |_| Ok(())).await?;
        let read = spawn_blocking(move || read_reply(place.path())).await;
        let read = read.unwrap_or_else(|error| Err(error.to_string()));
        let nodes = read.map_err(|why| ScriptError::NoReply {
            script: program.to_owned(),
            why,
        })?;
        for node in &nodes {
            if into.parsed.registry.contains_key(node) {
                continue;
            }
            let line = filled(self.template.reveal(), node);
            let taken = into.take(line.as_bytes());
            taken.map_err(|_| ScriptError::TooMuch {
                script: program.to_owned(),
            })?;
        }
        Ok(())
    }

    /// A directory with the request, and the command that is to be run. Blocks.
    fn prepare(&self, time: u64) -> io::Result<(TempDir, Command)> {
        let place = TempDir::new()?;
        let (request, reply) = (place.path().join("request"), reply_in(place.path()));
        let asked = json!({
            "$schema": SCHEMA,
            "protocol": REQUEST,
            "collective": self.collective,
            "federations": [],
            "timeout": time,
            "options": self.options,
            "filter": {"fact": [], "cf_class": [], "agent": [], "identity": [], "compound": []},
        });
        std::fs::write(&request, asked.to_string())?;
        std::fs::write(&reply, "")?;
        let mut command = Command::new(self.program());
        command
            .args(self.command.iter().skip(1))
            .args([&request, &reply])
            .arg(REQUEST)
            .current_dir(place.path())
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("CHORIA_EXTERNAL_REQUEST", &request)
            .env("CHORIA_EXTERNAL_REPLY", &reply)
            .env("CHORIA_EXTERNAL_PROTOCOL", REQUEST);
        Ok((place, command))
    }
}

/// The template with a node's name where it belongs. It is never moved: it has a password in
/// it.
fn filled(template: &str, node: &str) -> Zeroizing<String> {
    let name = Value::from(node).to_string();
    let name = &name[1..name.len() - 1];
    let places = template.matches(NODE).count();
    let mut line = Zeroizing::new(String::with_capacity(template.len() + places * name.len()));
    let mut parts = template.split(NODE);
    line.push_str(parts.next().unwrap_or_default());
    for part in parts {
        line.push_str(name);
        line.push_str(part);
    }
    line
}

/// The table `[discovery.node]` as a line of the registry, with its end.
fn template(table: &Table<'_>) -> String {
    let mut line = Map::new();
    let mut add = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            line.insert(key.to_owned(), value);
        }
    };
    let text = |key: &str| table.string(key).map(Value::from);
    add("hostname", Some(NODE.into()));
    add("address", text("address").or_else(|| Some(NODE.into())));
    for key in ["kind", "tls_name", "fingerprint"] {
        add(key, text(key));
    }
    for key in ["port", "event_port", "command_port"] {
        let port = table.integer(key, 1..=u64::from(u16::MAX));
        add(key, port.map(Value::from));
    }
    for key in ["keep", "strict", "record"] {
        add(key, table.boolean(key).map(Value::from));
    }
    let (user, password) = (text("user"), text("password"));
    if user.is_some() || password.is_some() {
        let user = table.required("user", user);
        let credentials = json!({"user": user, "password": table.required("password", password)});
        add("credentials", Some(credentials));
    }
    format!("{}\n", Value::Object(line))
}

fn reply_in(place: &Path) -> PathBuf {
    place.join("reply")
}

/// The nodes of the reply that the program has left, or why there are none. Blocks.
fn read_reply(place: &Path) -> Result<Vec<String>, String> {
    let mut text = Vec::new();
    let file = regular::open(&reply_in(place));
    let read = file.and_then(|file| file.take(MAX_OUTPUT as u64 + 1).read_to_end(&mut text));
    let length = read.map_err(|error| format!("its reply cannot be read: {error}"))?;
    if length == 0 {
        return Err("it has left no reply".to_owned());
    } else if length > MAX_OUTPUT {
        return Err(format!("its reply has more than {MAX_OUTPUT} bytes"));
    }
    let reply: Reply =
        serde_json::from_slice(&text).map_err(|error| format!("its reply is none: {error}"))?;
    if reply.protocol != REPLY {
        return Err(format!("the protocol of its reply is not {REPLY}"));
    }
    match reply.error.filter(|error| !error.is_empty()) {
        Some(error) => Err(error),
        None => Ok(reply.nodes.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_within_its_string() {
        let template = r#"{"hostname":"{node}","address":"{node}.example"}"#;
        let line = filled(template, "a\"b\\{node}");
        let line: Value = serde_json::from_str(&line).unwrap();
        let name = "a\"b\\{node}";
        assert_eq!(
            line,
            json!({"hostname": name, "address": format!("{name}.example")})
        );
    }
}
