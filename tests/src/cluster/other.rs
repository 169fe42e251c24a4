//! A second dispatcher beside that of a cluster, with a store of its own: a copy, as a rule.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::Cluster;
use crate::binaries::binary;
use crate::caller::Caller;
use crate::daemon::{Daemon, Log};
use crate::loopback::unique_address;

/// A dispatcher with the configuration of a cluster's but for its addresses and its store.
/// Dropping it stops it.
#[derive(Debug)]
pub struct OtherDispatcher {
    _daemon: Daemon,
    address: SocketAddr,
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
        let listen = SocketAddr::new(unique_address(), 0);
        settings.set("listen", &json!([listen]).to_string());
        settings.set("stream_directory", &json!(store).to_string());
        settings.set("host_db", &json!(self.path("other.cache")).to_string());
        let config = self.path("other.toml");
        fs::write(&config, settings.text()).expect("a writable directory");
        let mut command = Command::new(binary("harpcallerd"));
        command
            .arg("--socket")
            .arg(self.path("other"))
            .args(["start", "--config"])
            .arg(config);
        let mut daemon = Daemon::start(command, &Log::new("the other harpcallerd"));
        let address = daemon.listening();
        OtherDispatcher {
            _daemon: daemon,
            address,
        }
    }
}

impl OtherDispatcher {
    /// A client of it that speaks plain lines.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::new(self.address)
    }
}
