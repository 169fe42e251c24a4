//! A connection to the administrative socket of a running daemon.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use harpcallerd::faces::admin::condition::Condition;
use harpcallerd::faces::admin::request::AdminRequest;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use rustix::process::Pid;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// The connection.
pub(super) struct Control {
    socket: BufReader<UnixStream>,
}

/// A reply, with the keys that any reply may have.
#[derive(Debug, Deserialize)]
pub(super) struct Reply {
    pub(super) result: String,
    pub(super) status: Option<Condition>,
    message: Option<String>,
    #[serde(default)]
    errors: std::collections::BTreeMap<String, String>,
    pub(super) pid: Option<String>,
    #[serde(default)]
    pub(super) attention: Vec<String>,
    #[serde(default)]
    ended: bool,
    pub(super) jobs_resumed: Option<u64>,
    pub(super) jobs_pruned: Option<u64>,
    pub(super) jobs_cancelled: Option<u64>,
    #[serde(default)]
    pub(super) withheld: bool,
    #[serde(default)]
    pub(super) restart_needed: Vec<String>,
    pub(super) listeners: Option<u64>,
    pub(super) rules: Option<u64>,
    pub(super) tokens: Option<u64>,
    #[serde(default)]
    pub(super) warnings: Vec<String>,
    pub(super) registry: Option<RegistryNumbers>,
    pub(super) registry_kept: Option<String>,
    pub(super) info: Option<Box<RawValue>>,
    #[serde(default)]
    pub(super) jobs: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(super) queues: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(super) hosts: Vec<Box<RawValue>>,
    #[serde(default)]
    pub(super) nodes: Vec<Box<RawValue>>,
}

/// What came of a run of the registry's script.
#[derive(Debug, Deserialize)]
pub(super) struct RegistryNumbers {
    hosts: u64,
    added: u64,
    removed: u64,
    lines_ignored: u64,
    lines_repeated: u64,
}

impl fmt::Display for RegistryNumbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RegistryNumbers {
            hosts,
            added,
            removed,
            lines_ignored,
            lines_repeated,
        } = self;
        write!(f, "{hosts} hosts: {added} added, {removed} removed")?;
        if *lines_ignored > 0 {
            write!(f, "; {lines_ignored} lines ignored (the log has the first)")?;
        }
        if *lines_repeated > 0 {
            write!(f, "; {lines_repeated} lines overruled by later ones")?;
        }
        Ok(())
    }
}

impl Control {
    /// Connects; `None` if no daemon listens there.
    pub(super) fn find(path: &Path) -> anyhow::Result<Option<Control>> {
        match UnixStream::connect(path) {
            Ok(socket) => Ok(Some(Control {
                socket: BufReader::new(socket),
            })),
            Err(error) if is_absence(&error) => Ok(None),
            Err(error) => {
                let hint = match error.kind() {
                    io::ErrorKind::PermissionDenied => {
                        "; the socket is for the daemon's own user and root"
                    }
                    _ => "",
                };
                Err(anyhow!(
                    "cannot connect to {}: {error}{hint}",
                    path.display()
                ))
            }
        }
    }

    /// Connects.
    pub(super) fn connect(path: &Path) -> anyhow::Result<Control> {
        Control::find(path)?.with_context(|| {
            format!(
                "harpcallerd is not running: no daemon answers at {} (--socket)",
                path.display()
            )
        })
    }

    /// The daemon's process as it is called here; `None` if it cannot be seen.
    pub(super) fn peer(&self) -> Option<Pid> {
        // By nix, since rustix does not expect 0, the answer about a daemon outside of the
        // container in which this is asked.
        let credentials = getsockopt(self.socket.get_ref(), PeerCredentials).ok()?;
        Pid::from_raw(credentials.pid())
    }

    /// Sends a request.
    pub(super) fn send(&mut self, request: &AdminRequest) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.socket.get_mut().write_all(&line)
    }

    /// Bounds the wait for each reply; a wait that takes longer is an `io::Error` of the
    /// kind `WouldBlock`.
    pub(super) fn wait_at_most(&mut self, time: Duration) -> io::Result<()> {
        let least = Duration::from_millis(1);
        self.socket
            .get_mut()
            .set_read_timeout(Some(time.max(least)))
    }

    /// The next line; `None` if the daemon has closed the connection.
    pub(super) fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        Ok((self.socket.read_line(&mut line)? > 0 && line.ends_with('\n')).then_some(line))
    }

    /// Sends a request and waits for its reply, whatever that is.
    pub(super) fn ask(&mut self, request: &AdminRequest) -> anyhow::Result<Reply> {
        self.send(request).context("cannot speak to the daemon")?;
        let line = self.line().context("cannot hear the daemon")?;
        read(&line.context("the daemon ended before it answered")?)
    }

    /// Asks as [`Control::ask`] does, with every result but `ok` as an error.
    pub(super) fn ask_for(&mut self, request: &AdminRequest) -> anyhow::Result<Reply> {
        self.ask(request)?.ok()
    }
}

impl Reply {
    /// Everything but `ok` becomes the error that it stands for.
    pub(super) fn ok(self) -> anyhow::Result<Reply> {
        match self.result.as_str() {
            "ok" => Ok(self),
            "no_such_job" if self.ended => bail!("the job has ended"),
            "no_such_job" => bail!("no such job"),
            _ => {
                let parts = self.errors.iter();
                let mut problems: Vec<_> =
                    parts.map(|(part, why)| format!("{part}: {why}")).collect();
                problems.extend(self.message);
                if problems.is_empty() {
                    problems.push(format!("the daemon answered {:?}", self.result));
                }
                bail!("{}", problems.join("\n"))
            }
        }
    }
}

/// A line of the daemon's.
pub(super) fn read<T: DeserializeOwned>(line: &str) -> anyhow::Result<T> {
    serde_json::from_str(line).context("the daemon's answer is not understood")
}

fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}
