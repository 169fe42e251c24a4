//! Describing a cluster and starting it.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::procedures::{Procedure, standard};
use super::{Cluster, Host, replace, replace_program, toml_line};
use crate::binaries::binary;
use crate::certificates::{Authority, HostCertificate};
use crate::daemon::{Daemon, Log};
use crate::fake_host::FakeHost;
use crate::loopback::unique_address;

/// The user that every host of a cluster knows.
pub const USER: &str = "dispatcher";

/// The user's password.
pub const PASSWORD: &str = "open sesame";

/// [`PASSWORD`] as crypt(3) keeps it; the fewest rounds there can be, for speed.
const PASSWORD_HASH: &str = "$5$rounds=1000$harptests$J3o5/RjGYeLEolfLjujWNPhha7cnAl8HkXhJJN0Bue8";

/// Describes a [`Cluster`].
#[derive(Debug)]
pub struct ClusterBuilder {
    dispatcher: Settings,
    harpd: Settings,
    hosts: usize,
    certificate: HostCertificate,
    entries: Vec<Value>,
    procedures: Vec<Procedure>,
    environment: Vec<(String, String)>,
}

/// Keys of a configuration file with their values as TOML text.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    keys: BTreeMap<String, String>,
    /// What stands behind the keys.
    tables: String,
}

impl Settings {
    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.keys.insert(key.to_owned(), value.to_owned());
    }

    pub(super) fn add_tables(&mut self, text: &str) {
        self.tables.push_str(text);
        self.tables.push('\n');
    }

    pub(super) fn set_tables(&mut self, text: &str) {
        text.clone_into(&mut self.tables);
    }

    fn set_path(&mut self, key: &str, path: &Path) {
        self.set(key, &json!(path).to_string());
    }

    fn set_default_path(&mut self, key: &str, path: &Path) {
        if !self.keys.contains_key(key) {
            self.set_path(key, path);
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.keys {
            // An empty value stands for a key that is left out.
            if !value.is_empty() {
                toml_line(&mut text, key, value);
            }
        }
        text + &self.tables
    }
}

impl Default for ClusterBuilder {
    fn default() -> ClusterBuilder {
        let mut dispatcher = Settings::default();
        dispatcher.set(
            "listen",
            &json!([SocketAddr::new(unique_address(), 0)]).to_string(),
        );
        let mut harpd = Settings::default();
        harpd.set("listen", r#"["127.0.0.1:0"]"#);
        harpd.set("kill_grace", "1");
        for settings in [&mut dispatcher, &mut harpd] {
            settings.set("log_handlers", r#"["stderr"]"#);
            settings.set("log_format", r#""json""#);
        }
        ClusterBuilder {
            dispatcher,
            harpd,
            hosts: 1,
            certificate: Authority::shared().issue(&["127.0.0.1"]),
            entries: Vec::new(),
            procedures: standard(),
            environment: Vec::new(),
        }
    }
}

impl ClusterBuilder {
    /// Sets a key of the dispatcher's configuration to a value, TOML text. An empty value
    /// leaves out a key that clusters usually have, such as `ca_file`.
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> ClusterBuilder {
        self.dispatcher.set(key, value);
        self
    }

    /// Hosts keep no calls: each ends with its connection, as over `harp/1`.
    #[must_use]
    pub fn unkept(self) -> ClusterBuilder {
        self.set("keep_calls", "false")
    }

    /// Gives all daemons an environment variable.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> ClusterBuilder {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds tables to the dispatcher's configuration, TOML text such as `[[listener]]`.
    #[must_use]
    pub fn tables(mut self, text: &str) -> ClusterBuilder {
        self.dispatcher.add_tables(text);
        self
    }

    /// Sets a key in the configuration of every host, as [`ClusterBuilder::set`] does in the
    /// dispatcher's.
    #[must_use]
    pub fn set_host(mut self, key: &str, value: &str) -> ClusterBuilder {
        self.harpd.set(key, value);
        self
    }

    /// How many hosts there are, `web01`, `web02` and so on; 1 unless this is called.
    #[must_use]
    pub fn hosts(mut self, hosts: usize) -> ClusterBuilder {
        self.hosts = hosts;
        self
    }

    /// The certificate that every host shows; a good one unless this is called.
    #[must_use]
    pub fn host_certificate(mut self, certificate: HostCertificate) -> ClusterBuilder {
        self.certificate = certificate;
        self
    }

    /// Enters another line into the registry.
    #[must_use]
    pub fn entry(mut self, entry: Value) -> ClusterBuilder {
        self.entries.push(entry);
        self
    }

    /// Enters a host into the registry that is not one of the cluster's own.
    #[must_use]
    pub fn fake_host(self, name: &str, host: &FakeHost) -> ClusterBuilder {
        self.other_host(name, host.address())
    }

    /// Enters a host at any address into the registry.
    #[must_use]
    pub fn other_host(self, name: &str, address: SocketAddr) -> ClusterBuilder {
        self.entry(registry_entry(name, address))
    }

    /// Gives every host a procedure: a shell script, and lines of its configuration such
    /// as `output = "lines"`.
    #[must_use]
    pub fn procedure(mut self, name: &str, settings: &str, script: &str) -> ClusterBuilder {
        self.procedures.push(Procedure::new(name, settings, script));
        self
    }

    /// Starts the hosts, then the dispatcher, and returns when all of them listen.
    ///
    /// # Panics
    ///
    /// If one of them does not.
    #[must_use]
    pub fn start(mut self) -> Cluster {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = |name: &str| directory.path().join(name);
        self.write_host_files(&directory);
        let hosts: Vec<Host> = (1..=self.hosts)
            .map(|number| self.start_host(&directory, &format!("web{number:02}")))
            .collect();

        replace(&path("ca.pem"), &Authority::shared().pem(), 0o600);
        self.dispatcher.set_default_path("ca_file", &path("ca.pem"));
        self.dispatcher
            .set_default_path("stream_directory", &path("jobs"));
        self.dispatcher
            .set_default_path("host_db_script", &path("hosts.sh"));
        self.dispatcher
            .set_default_path("host_db", &path("hosts.cache"));
        let mut cluster = Cluster {
            dispatcher: None,
            address: SocketAddr::new(unique_address(), 0),
            dispatcher_log: Log::new("harpcallerd"),
            hosts,
            settings: self.dispatcher,
            environment: self.environment,
            directory,
        };
        let own = cluster.hosts.iter().map(|host| host.entry.clone());
        let entries: Vec<Value> = own.chain(self.entries).collect();
        cluster.set_registry(&entries);
        cluster.set_registry_script(r#"exec cat "$(dirname "$0")/hosts.jsonl""#);
        cluster.start_dispatcher();
        cluster
    }

    fn write_host_files(&mut self, directory: &TempDir) {
        let path = |name: &str| directory.path().join(name);
        replace(&path("harpd.cert.pem"), &self.certificate.pem, 0o600);
        replace(&path("harpd.key.pem"), &self.certificate.key_pem, 0o600);
        replace(
            &path("users.txt"),
            &format!("{USER}:{PASSWORD_HASH}\n"),
            0o600,
        );
        self.harpd
            .set_default_path("certificate", &path("harpd.cert.pem"));
        self.harpd
            .set_default_path("private_key", &path("harpd.key.pem"));
        self.harpd
            .set_default_path("users_file", &path("users.txt"));
        let scripts = path("procedures");
        fs::create_dir(&scripts).expect("a new directory");
        for procedure in &self.procedures {
            replace_program(&scripts.join(&procedure.name), &procedure.script());
        }
    }

    fn start_host(&self, directory: &TempDir, name: &str) -> Host {
        let mut settings = self.harpd.clone();
        let state = directory.path().join(format!("{name}.state"));
        settings.set_default_path("state_directory", &state);
        let mut text = settings.text();
        for procedure in &self.procedures {
            text += &procedure.settings(&directory.path().join("procedures"));
        }
        let config = directory.path().join(format!("{name}.toml"));
        fs::write(&config, text).expect("a writable directory");
        let mut command = Command::new(binary("harpd"));
        command.arg("--config").arg(config);
        command.envs(self.environment.iter().cloned());
        let log = Log::new(&format!("harpd of {name}"));
        let mut daemon = Daemon::start(command, &log);
        let entry = registry_entry(name, daemon.listening());
        Host {
            daemon: Some(daemon),
            log,
            entry,
        }
    }
}

/// A line of the registry with the credentials that every host of a cluster takes.
fn registry_entry(name: &str, address: SocketAddr) -> Value {
    json!({
        "hostname": name,
        "address": address.ip(),
        "port": address.port(),
        "credentials": {"user": USER, "password": PASSWORD},
    })
}
