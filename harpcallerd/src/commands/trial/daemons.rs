//! Both daemons as children, each in a process group of its own: a terminal's Ctrl-C reaches
//! this program alone, which ends the dispatcher first.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::directory::Directory;

/// How long a daemon may take to serve. The first start makes a store.
const START: Duration = Duration::from_secs(60);

/// How long one may take to end before it is killed.
const STOP: Duration = Duration::from_secs(90);

/// Lines of a log that are shown when its daemon has ended by itself.
const LINES: usize = 8;

/// What runs by now.
#[derive(Debug, Default)]
pub(super) struct Daemons {
    harpd: Option<Daemon>,
    dispatcher: Option<Daemon>,
}

#[derive(Debug)]
struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// Where it tells how it is. Kept for as long as it runs, since it tells of its stop, too.
    ready: Ready,
}

impl Daemons {
    /// Starts the host, then the dispatcher, and returns when both serve. Dropped before, what
    /// has started runs until [`Daemons::stop`].
    ///
    /// # Errors
    ///
    /// If one of them does not.
    pub(super) async fn start(
        &mut self,
        directory: &Directory,
        harpd: &Path,
    ) -> anyhow::Result<()> {
        let mut command = Command::new(harpd);
        command.arg("--config").arg(directory.harpd_config());
        let log = directory.log("harpd");
        let ready = Ready::listen(directory, "harpd")?;
        let daemon = Daemon::spawn("harpd", command, log, ready)?;
        self.harpd.insert(daemon).serves().await?;

        let own = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(own);
        command.arg("--socket").arg(directory.control());
        command.arg("start").arg("--config");
        command.arg(directory.dispatcher_config());
        let log = directory.log("harpcallerd");
        let ready = Ready::listen(directory, "harpcallerd")?;
        let daemon = Daemon::spawn("harpcallerd", command, log, ready)?;
        self.dispatcher.insert(daemon).serves().await
    }

    /// Waits until one of them ends, which is an error.
    pub(super) async fn ended(&mut self) -> anyhow::Result<()> {
        let (Some(harpd), Some(dispatcher)) = (&mut self.harpd, &mut self.dispatcher) else {
            return Ok(());
        };
        tokio::select! {
            status = harpd.child.wait() => bail!(harpd.last_words(status?)),
            status = dispatcher.child.wait() => bail!(dispatcher.last_words(status?)),
        }
    }

    /// Ends both, the dispatcher first: calls that run go on at the host for as long as that
    /// is there, and end with it.
    pub(super) async fn stop(mut self) {
        for daemon in [self.dispatcher.take(), self.harpd.take()]
            .into_iter()
            .flatten()
        {
            daemon.stop().await;
        }
    }
}

impl Daemon {
    fn spawn(
        name: &'static str,
        mut command: Command,
        log: PathBuf,
        ready: Ready,
    ) -> anyhow::Result<Daemon> {
        let opened = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .env("NOTIFY_SOCKET", &ready.path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(opened)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Daemon {
            name,
            child,
            log,
            ready,
        })
    }

    /// Waits until it serves.
    async fn serves(&mut self) -> anyhow::Result<()> {
        let name = self.name;
        let (child, ready) = (&mut self.child, &self.ready);
        let first = async {
            tokio::select! {
                told = ready.told() => told.map(|()| None),
                status = child.wait() => status.map(Some),
            }
        };
        match timeout(START, first).await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(status))) => bail!(self.last_words(status)),
            Ok(Err(error)) => Err(error).context(format!("{name} cannot be heard")),
            Err(_) => bail!(
                "{name} does not serve after {} s; its log is {}",
                START.as_secs(),
                self.log.display()
            ),
        }
    }

    /// Says that it has ended by itself, with the end of its log.
    fn last_words(&self, status: ExitStatus) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES)..].join("\n");
        format!(
            "{} has ended ({status}); its log ends with\n{last}",
            self.name
        )
    }

    async fn stop(mut self) {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(id) = id.and_then(Pid::from_raw) {
            // The id is the child's until its end has been waited for.
            let _ = kill_process(id, Signal::TERM);
            if timeout(STOP, self.child.wait()).await.is_ok() {
                return;
            }
        }
        let _ = self.child.kill().await;
    }
}

/// Where a daemon tells that it serves, as it would tell systemd.
#[derive(Debug)]
struct Ready {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Ready {
    fn listen(directory: &Directory, name: &str) -> anyhow::Result<Ready> {
        let path = directory.path().join(format!("{name}.ready"));
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
        let socket = UnixDatagram::bind(&path)
            .with_context(|| format!("cannot make the socket {}", path.display()))?;
        Ok(Ready { path, socket })
    }

    async fn told(&self) -> std::io::Result<()> {
        let mut message = [0; 4096];
        loop {
            let length = self.socket.recv(&mut message).await?;
            if message[..length].starts_with(b"READY=1") {
                return Ok(());
            }
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        // One that stays is removed at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}
