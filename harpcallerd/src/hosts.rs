//! The hosts registry: which host has which address and credentials (daemon
//! specification, "Hosts registry").
//!
//! An administrator's script prints it, one JSON object a line; `hosts/refresh.rs` has it
//! run and keeps the cache file. Here is what the rest of the daemon asks.

mod refresh;
mod script;
mod script_output;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use harp_files::text;
use harp_host::Endpoint;
use harp_host::tls::Fingerprint;
use harp_proto::Password;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

pub use refresh::{
    Outcome, RefreshError, Refreshed, Refresher, Refreshing, RegistryConfig, ask_script, start,
};
pub use script::ScriptError;

/// The registry as it is now. Replaced whole by each refresh that succeeds.
#[derive(Debug, Default)]
pub struct Hosts {
    entries: RwLock<Arc<Registry>>,
}

/// Hosts by name.
pub type Registry = HashMap<String, Arc<Host>>;

/// A host that can be called.
#[derive(Debug)]
pub struct Host {
    /// Where it is and how its certificate is judged.
    pub endpoint: Endpoint,
    /// The user to authenticate as.
    pub user: String,
    /// The user's password.
    pub password: Password,
    /// Whether it may keep calls that outlive their connections.
    pub keep: bool,
}

impl Hosts {
    /// The host of this name, if the registry has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<Host>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(name).cloned()
    }

    /// All hosts at this moment.
    #[must_use]
    pub fn all(&self) -> Arc<Registry> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&entries)
    }

    /// How many hosts there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }

    fn replace(&self, registry: Registry) {
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(registry);
    }
}

impl From<Registry> for Hosts {
    fn from(registry: Registry) -> Hosts {
        let hosts = Hosts::default();
        hosts.replace(registry);
        hosts
    }
}

/// What a text of registry lines holds.
#[derive(Debug, Default)]
pub struct Parsed {
    /// The hosts.
    pub registry: Registry,
    /// How many lines are no entry.
    pub ignored: usize,
    /// The line's number, from 1 on, and what is wrong with it, without any value of it.
    pub first_ignored: Option<(usize, String)>,
    /// Names that stand there more than once; the last line of a name counts.
    pub repeated: usize,
    /// How many lines there were, empty ones included.
    lines: usize,
}

/// A line of the registry. Keys that are not named here are passed over.
#[derive(Deserialize)]
struct Line<'a> {
    hostname: String,
    address: String,
    port: u16,
    #[serde(borrow)]
    credentials: &'a RawValue,
    #[serde(default)]
    tls_name: Option<String>,
    #[serde(default)]
    fingerprint: Option<Fingerprint>,
    #[serde(default)]
    keep: Option<bool>,
}

#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: Password,
}

/// Reads registry lines; the last counts even without its newline.
#[must_use]
pub fn parse(text: &[u8]) -> Parsed {
    let mut parsed = Parsed::default();
    for line in text.split(|byte| *byte == b'\n') {
        parsed.take(line);
    }
    parsed
}

impl Parsed {
    /// Takes the next line, without its end; true if it is an entry.
    fn take(&mut self, line: &[u8]) -> bool {
        let line = text::without_mark(line);
        if line.trim_ascii().is_empty() {
            self.lines += 1;
            return false;
        }
        let (line, credentials) = match entry(line) {
            Ok(entry) => entry,
            Err(error) => {
                self.ignore(fault(&error));
                return false;
            }
        };
        self.lines += 1;
        let host = Host {
            endpoint: Endpoint {
                address: line.address,
                port: line.port,
                tls_name: line.tls_name,
                fingerprint: line.fingerprint,
            },
            user: credentials.user,
            password: credentials.password,
            keep: line.keep.unwrap_or(true),
        };
        let earlier = self.registry.insert(line.hostname, Arc::new(host));
        self.repeated += usize::from(earlier.is_some());
        true
    }

    /// Passes over the next line, which is no entry.
    fn ignore(&mut self, fault: String) {
        self.lines += 1;
        self.ignored += 1;
        self.first_ignored.get_or_insert((self.lines, fault));
    }
}

fn entry(line: &[u8]) -> serde_json::Result<(Line<'_>, Credentials)> {
    let line: Line<'_> = object(line)?;
    let credentials = object(line.credentials.get().as_bytes())?;
    Ok((line, credentials))
}

/// Reads an object; a derived reader would take an array of the values as well.
fn object<'a, T: Deserialize<'a>>(text: &'a [u8]) -> serde_json::Result<T> {
    if !text.trim_ascii_start().starts_with(b"{") {
        // Tells "no JSON" from "no object".
        serde_json::from_slice::<IgnoredAny>(text)?;
        return Err(serde::de::Error::custom("not an object"));
    }
    serde_json::from_slice(text)
}

/// What is wrong with a line. The error's own message would show values, and a value
/// can be a password.
fn fault(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a key is missing, or its value is of a wrong kind",
        _ => "not JSON",
    };
    format!("{what} (column {})", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_fault_shows_a_value() {
        for line in [
            r#"{"hostname": "h", "address": "a", "port": 1, "credentials": "rpc:SECRET"}"#,
            r#"{"hostname": "h", "address": "a", "port": 1, "credentials": {"user": "u", "password": ["SECRET"]}}"#,
            r#"{"hostname": "h", "address": "a", "port": "SECRET"}"#,
            r#"{"hostname": "h", "address": "a", "port": 1, "credentials": {"user": "u", "password": "x"}, "fingerprint": "SECRET"}"#,
            "SECRET",
        ] {
            let (_, fault) = parse(line.as_bytes()).first_ignored.unwrap();
            assert!(!fault.contains("SECRET"), "{fault}");
        }
    }

    #[test]
    fn lines_are_read_and_others_counted() {
        let parsed = parse(
            br#"{"hostname": "web01", "address": "10.8.14.2", "port": 4306, "credentials": {"user": "rpc", "password": "secret"}}
# a comment
{"hostname": "web02"}
{"hostname": "web03", "address": "a", "port": 70000, "credentials": {"user": "u", "password": "p"}}
{"hostname": "web04", "address": "a", "port": 1, "credentials": {"user": "u", "password": "p"}, "fingerprint": "zz"}

{"hostname": "web01", "address": "10.8.14.3", "port": 4307, "credentials": {"user": "rpc", "password": "other"}, "tls_name": "web01.example", "rack": 7}"#,
        );
        assert_eq!((parsed.ignored, parsed.repeated), (4, 1));
        assert_eq!(parsed.first_ignored.unwrap().0, 2);
        assert_eq!(parsed.registry.len(), 1);
        let host = &parsed.registry["web01"];
        assert_eq!(
            (host.endpoint.address.as_str(), host.endpoint.port),
            ("10.8.14.3", 4307)
        );
        assert_eq!(host.endpoint.tls_name.as_deref(), Some("web01.example"));
        assert_eq!(host.password.reveal(), "other");
        assert!(!format!("{host:?}").contains("other"));
    }
}
