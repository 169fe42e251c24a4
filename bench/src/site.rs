//! The programs under measurement: a dispatcher and a host, in a directory of their own.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use harp_tests::certificates::Authority;
use harp_tests::{PASSWORD, USER, binary};
use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process, setrlimit};
use serde_json::json;
use tempfile::TempDir;

/// How long a program may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// [`PASSWORD`] as crypt(3) keeps it; the fewest rounds there can be. harpd remembers a
/// verified password, so they do not count.
const PASSWORD_HASH: &str = "$5$rounds=1000$harptests$J3o5/RjGYeLEolfLjujWNPhha7cnAl8HkXhJJN0Bue8";

/// A directory with certificates and daemons.
#[derive(Debug)]
pub(crate) struct Site {
    directory: TempDir,
}

/// A running program. Dropping it asks it to stop and waits.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Site {
    /// An empty directory, on the disk that the daemons are to be measured on.
    pub(crate) fn new() -> anyhow::Result<Site> {
        let directory = TempDir::with_prefix("harp-bench-")?;
        let site = Site { directory };
        let certificate = Authority::shared().issue(&["127.0.0.1"]);
        site.write("ca.pem", &Authority::shared().pem())?;
        site.write("host.cert.pem", &certificate.pem)?;
        site.write("host.key.pem", &certificate.key_pem)?;
        site.write("users.txt", &format!("{USER}:{PASSWORD_HASH}\n"))?;
        Ok(site)
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Starts `harpd` with the procedure `nothing`, which runs `true`.
    pub(crate) fn harpd(&self) -> anyhow::Result<Program> {
        let address = free_address()?;
        self.write(
            "harpd.toml",
            &format!(
                "listen = [\"{address}\"]\n\
                 certificate = {}\nprivate_key = {}\nusers_file = {}\n\
                 state_directory = {}\nmax_calls = 256\n\
                 log_handlers = [\"stderr\"]\n\
                 [procedure.nothing]\ncommand = [\"/bin/true\"]\n",
                self.quoted("host.cert.pem"),
                self.quoted("host.key.pem"),
                self.quoted("users.txt"),
                self.quoted("harpd.state"),
            ),
        )?;
        let mut command = Command::new(binary("harpd"));
        command.arg("--config").arg(self.path("harpd.toml"));
        Program::start(command, address)
    }

    /// Starts `harpcallerd` with its default settings, and hosts by their names. Its log
    /// is written as always, to nowhere.
    /// Calls end with their connections, as over `harp/1`.
    pub(crate) fn harpcallerd(&self, hosts: &[(&str, SocketAddr)]) -> anyhow::Result<Program> {
        self.harpcallerd_with(hosts, "keep_calls = false")
    }

    /// Starts what [`Site::harpcallerd`] does, with further keys in the place of that.
    pub(crate) fn harpcallerd_with(
        &self,
        hosts: &[(&str, SocketAddr)],
        keys: &str,
    ) -> anyhow::Result<Program> {
        let address = free_address()?;
        let entries: String = hosts
            .iter()
            .map(|(name, address)| {
                let entry = json!({
                    "hostname": name, "address": address.ip(), "port": address.port(),
                    "credentials": {"user": USER, "password": PASSWORD},
                });
                format!("{entry}\n")
            })
            .collect();
        self.write("hosts.jsonl", &entries)?;
        self.write(
            "hosts.sh",
            "#!/bin/sh\nexec cat \"$(dirname \"$0\")/hosts.jsonl\"\n",
        )?;
        set_executable(&self.path("hosts.sh"))?;
        // The registry of an earlier start must not stay in force.
        let _ = fs::remove_file(self.path("hosts.cache"));
        self.write(
            "harpcaller.toml",
            &format!(
                "listen = [\"{address}\"]\n\
                 stream_directory = {}\nhost_db_script = {}\nhost_db = {}\nca_file = {}\n\
                 log_handlers = [\"stderr\"]\n\
                 max_live_jobs = 10_000_000\nmax_queue_length = 10_000_000\n{keys}\n",
                self.quoted("jobs"),
                self.quoted("hosts.sh"),
                self.quoted("hosts.cache"),
                self.quoted("ca.pem"),
            ),
        )?;
        let mut command = Command::new(binary("harpcallerd"));
        command
            .arg("--socket")
            .arg(self.path("control"))
            .arg("start")
            .arg("--config")
            .arg(self.path("harpcaller.toml"));
        let program = Program::start(command, address)?;
        // It listens before it serves.
        let ready = Command::new(binary("harpcallerd"))
            .arg("--socket")
            .arg(self.path("control"))
            .args(["status", "--wait", "--timeout", "60"])
            .stdout(Stdio::null())
            .status()?;
        ensure!(ready.success(), "harpcallerd does not become ready");
        Ok(program)
    }

    /// Starts a reference server of this program.
    pub(crate) fn reference(&self, words: &[&str]) -> anyhow::Result<Program> {
        let address = free_address()?;
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("serve")
            .args(["--listen", &address.to_string()])
            .arg("--directory")
            .arg(self.directory.path())
            .args(words);
        Program::start(command, address)
    }

    fn quoted(&self, name: &str) -> String {
        json!(self.path(name)).to_string()
    }
}

impl Program {
    fn start(mut command: Command, address: SocketAddr) -> anyhow::Result<Program> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::options().write(true).open("/dev/null")?)
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        let mut program = Program { child, address };
        let give_up = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            if let Some(status) = program.child.try_wait()? {
                bail!("{command:?} ended with {status}");
            }
            if Instant::now() > give_up {
                bail!("{command:?} does not listen on {address}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(program)
    }

    /// Its resident memory in bytes.
    pub(crate) fn resident(&self) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kilobytes: f64 = kilobytes.context("no VmRSS in /proc")?.parse()?;
        Ok(kilobytes * 1024.0)
    }

    fn end(&mut self) -> anyhow::Result<()> {
        if self.child.try_wait()?.is_none()
            && let Some(id) = Pid::from_raw(self.child.id().cast_signed())
        {
            kill_process(id, Signal::TERM)?;
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that cannot be ended has ended.
        let _ = self.end();
    }
}

/// As many open files as the system lets this process have; daemons inherit it.
pub(crate) fn raise_file_limit() -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")
}

/// An address that nobody listens on at present.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn set_executable(path: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    Ok(())
}
