//! Another dispatcher beside that of a cluster: with a store of its own, a copy as a rule, or as
//! one more node of its database.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use super::builder::Settings;
use super::{Cluster, send};
use crate::binaries::binary;
use crate::caller::Caller;
use crate::daemon::{Daemon, Log};
use crate::loopback::unique_address;

/// A dispatcher with the configuration of a cluster's but for its addresses and where its jobs
/// are. Dropping it stops it.
#[derive(Debug)]
pub struct OtherDispatcher {
    daemon: Daemon,
    address: SocketAddr,
    socket: PathBuf,
}

impl Cluster {
    /// Starts a second dispatcher with the store in this directory.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn start_other(&self, store: &Path) -> OtherDispatcher {
        let mut settings = self.settings.clone();
        settings.set("stream_directory", &json!(store).to_string());
        self.start_beside("other", settings)
    }

    /// Starts one more node, with these tables in its configuration.
    ///
    /// # Panics
    ///
    /// If it does not start.
    #[must_use]
    pub fn start_node(&self, name: &str, tables: &str) -> OtherDispatcher {
        let mut settings = self.settings.clone();
        settings.set_tables(tables);
        self.start_beside(name, settings)
    }

    fn start_beside(&self, name: &str, mut settings: Settings) -> OtherDispatcher {
        let listen = SocketAddr::new(unique_address(), 0);
        settings.set("listen", &json!([listen]).to_string());
        let cache = self.path(&format!("{name}.cache"));
        settings.set("host_db", &json!(cache).to_string());
        let config = self.path(&format!("{name}.toml"));
        fs::write(&config, settings.text()).expect("a writable directory");
        let socket = self.path(name);
        let mut command = Command::new(binary("harpcallerd"));
        command
            .arg("--socket")
            .arg(&socket)
            .args(["start", "--config"])
            .arg(config);
        let log = Log::new(&format!("harpcallerd {name}"));
        let mut daemon = Daemon::start(command, &log);
        let address = daemon.listening();
        OtherDispatcher {
            daemon,
            address,
            socket,
        }
    }
}

impl OtherDispatcher {
    /// A client of it that speaks plain lines.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::new(self.address)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) {
        self.daemon.kill();
    }

    /// Stops it in order.
    ///
    /// # Panics
    ///
    /// If it ends with an error.
    pub fn stop(mut self) {
        self.daemon.terminate();
        let status = self.daemon.wait();
        assert!(status.success(), "the dispatcher ended with {status}");
    }

    /// Stops its process where it is, by SIGSTOP, or lets it go on.
    pub fn set_frozen(&self, is_frozen: bool) {
        let signal = if is_frozen {
            Signal::STOP
        } else {
            Signal::CONT
        };
        send(self.daemon.id(), signal);
    }

    /// Runs a command of `harpcallerd` at it that has to succeed; its lines.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[must_use]
    pub fn lines(&self, arguments: &[&str]) -> Vec<String> {
        let mut command = Command::new(binary("harpcallerd"));
        let command = command.arg("--socket").arg(&self.socket).args(arguments);
        let output = command.output().expect("a command that can be run");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(str::to_owned).collect()
    }
}
