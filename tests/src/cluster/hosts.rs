//! The hosts of a cluster: stopping, killing and starting them.

use std::fs;
use std::process::Command;

use rustix::process::Signal;
use serde_json::json;

use super::{Cluster, Host, send};
use crate::binaries::binary;
use crate::daemon::{Daemon, Log};

impl Cluster {
    /// The process id of a host's daemon.
    ///
    /// # Panics
    ///
    /// If there is no such host, or it was stopped.
    #[must_use]
    pub fn host_id(&self, host: &str) -> u32 {
        let host = self
            .hosts
            .iter()
            .find(|entry| entry.entry["hostname"] == host);
        let daemon = host.and_then(|host| host.daemon.as_ref());
        daemon.expect("a running host of this cluster").id()
    }

    /// What a host's daemons have logged.
    ///
    /// # Panics
    ///
    /// If there is no such host.
    #[must_use]
    pub fn host_log(&self, host: &str) -> &Log {
        let mut hosts = self.hosts.iter();
        let host = hosts.find(|entry| entry.entry["hostname"] == host);
        &host.expect("a host of this cluster").log
    }

    /// The calls that a host's daemon has, or whose ends it keeps until somebody has fetched
    /// them: what `harpd list --calls` prints.
    ///
    /// # Panics
    ///
    /// If the daemon does not answer.
    #[must_use]
    pub fn host_calls(&self, host: &str) -> String {
        let mut list = Command::new(binary("harpd"));
        let config = self.path(&format!("{host}.toml"));
        let list = list.arg("--config").arg(config).args(["list", "--calls"]);
        let output = list.output().expect("a program that was built");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Stops the process of a host's daemon where it is, by SIGSTOP.
    ///
    /// # Panics
    ///
    /// If there is no such host, or it was stopped.
    pub fn freeze_host(&self, host: &str) {
        send(self.host_id(host), Signal::STOP);
    }

    /// Lets a frozen one go on.
    ///
    /// # Panics
    ///
    /// If there is no such host, or it was stopped.
    pub fn thaw_host(&self, host: &str) {
        send(self.host_id(host), Signal::CONT);
    }

    /// Stops a host's daemon.
    ///
    /// # Panics
    ///
    /// If there is no such host.
    pub fn stop_host(&mut self, host: &str) {
        self.host(host).daemon = None;
    }

    /// Ends a host's daemon as a crash would.
    ///
    /// # Panics
    ///
    /// If there is no such host, or it was stopped.
    pub fn kill_host(&mut self, host: &str) {
        self.host(host)
            .daemon
            .take()
            .expect("a running host")
            .kill();
    }

    /// Asks a host's daemon to stop, without waiting for that.
    ///
    /// # Panics
    ///
    /// If there is no such host, or it was stopped.
    pub fn ask_host_to_stop(&mut self, host: &str) {
        let daemon = self.host(host).daemon.as_mut();
        daemon.expect("a running host").terminate();
    }

    /// Whether a host's daemon has ended.
    pub fn host_has_ended(&mut self, host: &str) -> bool {
        let daemon = self.host(host).daemon.as_mut();
        daemon.is_none_or(Daemon::has_ended)
    }

    /// Starts a host's daemon again that was stopped or killed, at the same address.
    ///
    /// # Panics
    ///
    /// If there is no such host, or its address is taken.
    pub fn start_host(&mut self, name: &str) {
        let config = self.path(&format!("{name}.toml"));
        let environment = self.environment.clone();
        let host = self.host(name);
        let (address, port) = (&host.entry["address"], &host.entry["port"]);
        let address = address.as_str().expect("an address");
        let listen = json!([format!("{address}:{port}")]);
        let text = fs::read_to_string(&config).expect("its configuration");
        let rest = text.lines().filter(|line| !line.starts_with("listen ="));
        let text = rest.fold(format!("listen = {listen}\n"), |text, line| {
            text + line + "\n"
        });
        fs::write(&config, text).expect("a writable directory");
        let mut command = Command::new(binary("harpd"));
        command.arg("--config").arg(config).envs(environment);
        let mut daemon = Daemon::start(command, &host.log);
        let _ = daemon.listening();
        host.daemon = Some(daemon);
    }

    fn host(&mut self, name: &str) -> &mut Host {
        let mut hosts = self.hosts.iter_mut();
        let host = hosts.find(|host| host.entry["hostname"] == name);
        host.expect("a host of this cluster")
    }
}
