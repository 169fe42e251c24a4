//! The hosts registry: which host has which address and credentials (daemon
//! specification, "Hosts registry").
//!
//! An administrator's script prints it, one JSON object a line; `hosts/refresh.rs` has it
//! run and keeps the cache file. Here is what the rest of the daemon asks.

mod discovery;
mod entry;
mod refresh;
mod script;
mod script_output;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harp_files::text;
use tokio::sync::watch;

use crate::procedures;
pub use discovery::Discovery;
pub use entry::{Device, Harpd, Host};
pub use refresh::{
    RefreshError, RefreshResult, Refreshed, Refresher, Refreshing, RegistryConfig, ask_script,
    start,
};
pub use script::ScriptError;

/// The registry as it is now. Replaced whole by each refresh that succeeds.
#[derive(Debug, Default)]
pub struct Hosts {
    entries: watch::Sender<Arc<Registry>>,
    /// Whether the registry says anything of results.
    have_results: AtomicBool,
}

/// Hosts by name.
pub type Registry = HashMap<String, Host>;

impl Hosts {
    /// The host of this name, if the registry has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Host> {
        self.entries.borrow().get(name).cloned()
    }

    /// The host of this name, if the registry has it and it runs a harpd.
    #[must_use]
    pub fn harpd(&self, name: &str) -> Option<Arc<Harpd>> {
        match self.get(name)? {
            Host::Harpd(harpd) => Some(harpd),
            Host::Autotrainer(_) => None,
        }
    }

    /// All hosts at this moment.
    #[must_use]
    pub fn all(&self) -> Arc<Registry> {
        Arc::clone(&self.entries.borrow())
    }

    /// How many hosts there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.borrow().len()
    }

    /// All hosts, and that there are others now.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Registry>> {
        self.entries.subscribe()
    }

    /// Whether the registry says anything of results.
    #[must_use]
    pub fn have_results(&self) -> bool {
        self.have_results.load(Ordering::Relaxed)
    }

    fn replace(&self, registry: Registry) {
        let mut hosts = registry.values();
        let have_results = hosts.any(|host| procedures::have_results(host.procedures()));
        self.have_results.store(have_results, Ordering::Relaxed);
        self.entries.send_replace(Arc::new(registry));
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
    /// Hosts whose `procedures` cannot be used, and are passed over.
    pub undescribed: usize,
    /// The first of them, with what is wrong.
    pub first_undescribed: Option<(String, String)>,
    /// How many lines there were, empty ones included.
    lines: usize,
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
        let entry = match entry::read(line) {
            Ok(entry) => entry,
            Err(fault) => {
                self.ignore(fault);
                return false;
            }
        };
        self.lines += 1;
        if let Some(fault) = entry.undescribed {
            self.undescribed += 1;
            let first = || (entry.name.clone(), fault);
            self.first_undescribed.get_or_insert_with(first);
        }
        let earlier = self.registry.insert(entry.name, entry.host);
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
            r#"{"hostname": "h", "kind": "SECRET"}"#,
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
{"hostname": "web05", "kind": "toaster", "address": "a", "port": 1, "credentials": {"user": "u", "password": "p"}}

{"hostname": "web01", "address": "10.8.14.3", "port": 4307, "credentials": {"user": "rpc", "password": "other"}, "kind": "harpd", "tls_name": "web01.example", "rack": 7}"#,
        );
        assert_eq!((parsed.ignored, parsed.repeated), (5, 1));
        assert_eq!(parsed.first_ignored.unwrap().0, 2);
        assert_eq!(parsed.registry.len(), 1);
        let Host::Harpd(host) = &parsed.registry["web01"] else {
            panic!("it runs a harpd");
        };
        assert_eq!(
            (host.endpoint.address.as_str(), host.endpoint.port),
            ("10.8.14.3", 4307)
        );
        assert_eq!(host.endpoint.tls_name.as_deref(), Some("web01.example"));
        assert_eq!(host.password.reveal(), "other");
        assert!(!format!("{host:?}").contains("other"));
    }
    #[test]
    fn a_device_has_ports_of_its_own_and_needs_no_credentials() {
        let parsed = parse(
            br#"{"hostname": "rig1", "kind": "autotrainer", "address": "192.0.2.9"}
{"hostname": "rig2", "kind": "autotrainer", "address": "::1", "event_port": 1, "command_port": 2, "strict": false, "record": true, "port": 9}
{"hostname": "rig3", "kind": "autotrainer", "address": "a", "strict": "no"}"#,
        );
        assert_eq!(parsed.ignored, 1);
        let device = |name| match &parsed.registry[name] {
            Host::Autotrainer(device) => device.entry.clone(),
            other => panic!("{other:?}"),
        };
        let rig1 = device("rig1");
        assert_eq!((rig1.event_port, rig1.command_port), (5556, 5557));
        assert!(rig1.strict && !rig1.record);
        let rig2 = device("rig2");
        assert_eq!((rig2.event_port, rig2.command_port), (1, 2));
        assert!(!rig2.strict && rig2.record);
        assert_eq!(parsed.registry["rig2"].port(), 2);
    }
}
