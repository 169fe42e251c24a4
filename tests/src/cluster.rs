//! A dispatcher, some hosts and their registry, all on loopback.

mod builder;
mod hosts;
mod other;
mod procedures;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use harp_client::HarpCaller;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

pub use builder::{ClusterBuilder, PASSWORD, USER};
pub use other::OtherDispatcher;

use crate::binaries::binary;
use crate::caller::Caller;
use crate::daemon::{Daemon, Log};
use crate::fake_host::FakeHost;
use crate::feed::Feed;

/// A dispatcher with its hosts, in a temporary directory. Dropping it ends every process
/// of it; if the test is failing, their logs are shown.
#[derive(Debug)]
pub struct Cluster {
    // Declared, and so dropped, before the hosts: nothing calls them when they stop.
    dispatcher: Option<Daemon>,
    address: SocketAddr,
    dispatcher_log: Arc<Log>,
    hosts: Vec<Host>,
    settings: builder::Settings,
    environment: Vec<(String, String)>,
    directory: TempDir,
}

#[derive(Debug)]
struct Host {
    daemon: Option<Daemon>,
    log: Arc<Log>,
    /// Its line of the registry.
    entry: Value,
}

impl Cluster {
    /// A dispatcher and one host, `web01`, with the procedures of every cluster.
    #[must_use]
    pub fn start() -> Cluster {
        Cluster::builder().start()
    }

    /// A cluster to be described first.
    #[must_use]
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// A cluster whose only host is this one, by the name `fake`.
    #[must_use]
    pub fn around(host: &FakeHost) -> ClusterBuilder {
        Cluster::builder().hosts(0).fake_host("fake", host)
    }

    /// A client of the dispatcher that speaks plain lines.
    #[must_use]
    pub fn caller(&self) -> Caller {
        Caller::new(self.address)
    }

    /// A client of the dispatcher as a program would use it.
    ///
    /// # Panics
    ///
    /// If it does not take the dispatcher's address.
    #[must_use]
    pub fn client(&self) -> HarpCaller {
        HarpCaller::new(self.address.to_string()).expect("the form of an address")
    }

    /// Where the dispatcher listens; the same after a restart.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the dispatcher logged.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.dispatcher_log
    }

    /// A path in the cluster's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The dispatcher's configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path("harpcaller.toml")
    }

    /// The dispatcher's administrative socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.path("control")
    }

    /// A command of `harpcallerd` for this cluster's dispatcher, to be completed with its
    /// arguments.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary("harpcallerd"));
        command.arg("--socket").arg(self.socket());
        command
    }

    /// Runs a command of `harpcallerd` and returns what came of it.
    ///
    /// # Panics
    ///
    /// If it cannot be run.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command().args(arguments).output();
        output.expect("a command that can be run")
    }

    /// Runs a command of `harpcallerd` that has to succeed; its lines.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[must_use]
    pub fn lines(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    /// Runs the command `harp` at this dispatcher, which has to succeed; what it prints.
    ///
    /// # Panics
    ///
    /// If it does not.
    #[must_use]
    pub fn harp(&self, words: &[&str]) -> String {
        let output = Command::new(binary("harp"))
            .args(words)
            .args(["--dispatcher", &self.address().to_string()])
            .env("HOME", self.path(""))
            .env_remove("XDG_CONFIG_HOME")
            .output()
            .expect("a command that can be run");
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Writes the configuration anew, with what has been [`set`](Cluster::set) since, and
    /// asks the running dispatcher to reload it.
    pub fn reload(&self) -> Output {
        self.write_config();
        self.run(&["reload"])
    }

    /// A feed for the procedures `feed` and `gate`.
    #[must_use]
    pub fn feed(&self, name: &str) -> Feed {
        Feed::new(&self.path(name))
    }

    /// A host's line of the registry, to be altered and given back with
    /// [`Cluster::set_registry`].
    ///
    /// # Panics
    ///
    /// If there is no such host.
    #[must_use]
    pub fn entry(&self, host: &str) -> Value {
        let host = self
            .hosts
            .iter()
            .find(|entry| entry.entry["hostname"] == host);
        host.expect("a host of this cluster").entry.clone()
    }

    /// Changes what the registry script prints, to be seen at its next run.
    pub fn set_registry(&self, entries: &[Value]) {
        let lines: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
        replace(&self.path("hosts.jsonl"), &lines, 0o600);
    }

    /// Changes the registry script itself, a shell script. Unless this is called, it
    /// prints the file `hosts.jsonl` that is beside it.
    pub fn set_registry_script(&self, body: &str) {
        self.set_program("hosts.sh", body);
    }

    /// Writes a shell script into the directory of this cluster and returns its path.
    pub fn set_program(&self, name: &str, body: &str) -> PathBuf {
        let path = self.path(name);
        replace_program(&path, &format!("#!/bin/sh\n{body}\n"));
        path
    }

    /// Waits until the registry script has been run once more than by now, with success.
    pub fn wait_for_refresh(&self) {
        const MESSAGE: &str = "hosts registry refreshed";
        // The run that is under way may have begun before.
        let wanted = self.log().count(MESSAGE) + 2;
        crate::wait::until("the registry is refreshed", || {
            (self.log().count(MESSAGE) >= wanted).then_some(())
        });
    }

    /// Changes a setting of the dispatcher, to be seen at its next start.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.set(key, value);
    }

    /// Changes the tables of the dispatcher's configuration, TOML text, to be seen at its next
    /// start or reload.
    pub fn set_tables(&mut self, text: &str) {
        self.settings.set_tables(text);
    }

    /// Stops the dispatcher in order and starts it again at the same address.
    pub fn restart_dispatcher(&mut self) {
        self.stop_dispatcher();
        self.start_dispatcher();
    }

    /// Asks the dispatcher to stop, without waiting for that.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn ask_dispatcher_to_stop(&mut self) {
        self.dispatcher
            .as_mut()
            .expect("a running dispatcher")
            .terminate();
    }

    /// Stops the dispatcher in order.
    ///
    /// # Panics
    ///
    /// If it does not run, or ends with an error.
    pub fn stop_dispatcher(&mut self) {
        self.ask_dispatcher_to_stop();
        let status = self.wait_dispatcher_ended();
        assert!(status.success(), "the dispatcher ended with {status}");
    }

    /// Waits until the dispatcher has ended.
    ///
    /// # Panics
    ///
    /// If it has been waited for before.
    pub fn wait_dispatcher_ended(&mut self) -> ExitStatus {
        self.dispatcher.take().expect("a dispatcher").wait()
    }

    /// Ends the dispatcher as a crash would.
    ///
    /// # Panics
    ///
    /// If it does not run.
    pub fn kill_dispatcher(&mut self) {
        self.dispatcher.take().expect("a running dispatcher").kill();
    }

    /// Starts the dispatcher, which must refuse that; what it says.
    ///
    /// # Panics
    ///
    /// If it starts.
    #[must_use]
    pub fn fail_to_start(&self) -> String {
        self.write_config();
        let started = self
            .command()
            .args(["start", "--config"])
            .arg(self.config())
            .output()
            .expect("a program that was built");
        assert!(!started.status.success(), "the dispatcher has started");
        String::from_utf8_lossy(&started.stderr).into_owned()
    }

    /// Stops the dispatcher's process where it is, by SIGSTOP.
    pub fn freeze_dispatcher(&self) {
        self.signal_dispatcher(Signal::STOP);
    }

    /// Stops the dispatcher's process and waits until no thread of it runs any more: what it has not said by
    /// now it never says.
    pub fn halt_dispatcher(&self) {
        self.freeze_dispatcher();
        let threads = format!("/proc/{}/task", self.dispatcher_id());
        crate::wait::until("the dispatcher stands still", || {
            // One that has ended is not there any more, or a zombie.
            let threads = fs::read_dir(&threads).into_iter().flatten().flatten();
            let mut states = threads.filter_map(|thread| {
                let stat = fs::read_to_string(thread.path().join("stat")).ok()?;
                stat.rsplit(") ").next()?.chars().next()
            });
            states
                .all(|state| matches!(state, 'T' | 'Z' | 'X'))
                .then_some(())
        });
    }

    /// Lets a frozen dispatcher go on.
    pub fn thaw_dispatcher(&self) {
        self.signal_dispatcher(Signal::CONT);
    }

    fn signal_dispatcher(&self, signal: Signal) {
        send(self.dispatcher_id(), signal);
    }

    /// Starts the dispatcher that was stopped or killed, and ends it as a crash would
    /// after this time, however far it has come.
    pub fn start_and_kill_dispatcher(&mut self, after: Duration) {
        let mut dispatcher = self.spawn_dispatcher();
        thread::sleep(after);
        dispatcher.kill();
    }

    /// Starts the dispatcher that was stopped or killed.
    pub fn start_dispatcher(&mut self) {
        let mut dispatcher = self.spawn_dispatcher();
        self.address = dispatcher.listening();
        // The port that the first start was given stays its own.
        self.settings
            .set("listen", &json!([self.address]).to_string());
        self.dispatcher = Some(dispatcher);
    }

    fn spawn_dispatcher(&self) -> Daemon {
        self.write_config();
        // A file that grows beyond a limit is then an error, as on a full disk, and not
        // the end of the process. What a process ignores, its successor does, too.
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(binary("harpcallerd"))
            .arg("--socket")
            .arg(self.socket())
            .args(["start", "--config"])
            .arg(self.config())
            .envs(self.environment.iter().cloned());
        Daemon::start(command, &self.dispatcher_log)
    }

    /// Where the dispatcher that runs now listens for HTTP: its newest listener.
    ///
    /// # Panics
    ///
    /// If it does not run, or does not listen.
    #[must_use]
    pub fn http_address(&self) -> SocketAddr {
        let dispatcher = self.dispatcher.as_ref().expect("a running dispatcher");
        crate::wait::until("the dispatcher listens for HTTP", || {
            let entry = dispatcher.newest("listening for HTTP")?;
            entry["address"].as_str()?.parse().ok()
        })
    }

    /// The process id of the dispatcher.
    ///
    /// # Panics
    ///
    /// If it does not run.
    #[must_use]
    pub fn dispatcher_id(&self) -> u32 {
        self.dispatcher.as_ref().expect("a running dispatcher").id()
    }

    fn write_config(&self) {
        fs::write(self.config(), self.settings.text()).expect("a writable directory");
    }
}

fn send(process: u32, signal: Signal) {
    let id = Pid::from_raw(process.cast_signed()).expect("a process id");
    kill_process(id, signal).expect("a process of our own");
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nobody is interested in the end of its calls any more.
        if let Some(mut dispatcher) = self.dispatcher.take() {
            dispatcher.kill();
        }
        for daemon in self
            .hosts
            .iter_mut()
            .filter_map(|host| host.daemon.as_mut())
        {
            daemon.terminate();
        }
        if thread::panicking() {
            self.dispatcher_log.show();
            for host in &self.hosts {
                host.log.show();
            }
        }
    }
}

/// Writes a file in one step, so that nobody reads half of it.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) {
    let new = beside(path);
    fs::write(&new, text).expect("a writable directory");
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).expect("a file of our own");
    fs::rename(&new, path).expect("a writable directory");
}

/// Writes a program's file by way of another process: what a thread of this one has just
/// forked would hold the file open for writing until its own `exec`, and the program could
/// not be run meanwhile (`ETXTBSY`).
fn replace_program(path: &Path, text: &str) {
    let new = beside(path);
    let mut writer = Command::new("install")
        .args(["-m", "700", "/dev/stdin"])
        .arg(&new)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the program install");
    let mut input = writer.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("install reads");
    drop(input);
    let status = writer.wait().expect("install ends");
    assert!(status.success(), "install: {status}");
    fs::rename(&new, path).expect("a writable directory");
}

/// Where a file is written that is about to replace another.
fn beside(path: &Path) -> PathBuf {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    PathBuf::from(new)
}

fn toml_line(text: &mut String, key: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{key} = {value}");
}
