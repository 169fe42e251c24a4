//! Keeping the hosts registry fresh: the script, its interval, the cache file.

use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use harp_files::regular;
use harp_host::limit::within;
use harp_service::private_file::Replacement;
use harp_service::systemd;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};
use zeroize::Zeroizing;

use super::script_output::{MAX_OUTPUT, ScriptOutput};
use super::{Hosts, Registry, parse};

/// Bytes of the script's standard error that are kept for the log.
const MAX_COMPLAINT: u64 = 4 * 1024;

/// Sources of the registry (daemon specification, keys `host_db*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// The script that prints it.
    pub script: PathBuf,
    /// How long the script may run.
    pub script_timeout: Duration,
    /// The cache between runs of the daemon.
    pub cache: PathBuf,
    /// How often the script is run.
    pub interval: Duration,
}

/// Why a refresh left the registry as it was.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The script could not be started.
    #[error("cannot run {script}: {error}")]
    Start {
        /// The script.
        script: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It was started, and its output could not be read.
    #[error("cannot read what {script} prints: {error}")]
    Read {
        /// The script.
        script: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It ended badly.
    #[error("{script} ended with {status}{complaint}")]
    Failed {
        /// The script.
        script: PathBuf,
        /// Its exit code or signal.
        status: ExitStatus,
        /// The end of its standard error, empty or starting with a colon.
        complaint: String,
    },
    /// It ran too long.
    #[error("{script} did not end within {} s (host_db_script_timeout) and was killed", limit.as_secs())]
    TimedOut {
        /// The script.
        script: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// It printed too much.
    #[error("{script} printed more than {MAX_OUTPUT} bytes and was killed")]
    TooMuch {
        /// The script.
        script: PathBuf,
    },
    /// The daemon is stopping.
    #[error("the dispatcher is stopping")]
    Stopping,
}

/// Asks for refreshes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Refresher {
    requests: mpsc::Sender<RefreshRequest>,
}

type Answer = oneshot::Sender<Result<usize, Arc<RefreshError>>>;

enum RefreshRequest {
    Refresh(Answer),
    Configure(RegistryConfig),
}

impl Refresher {
    /// Runs the script now, or right after the run that is under way, and waits for it.
    /// Returns how many hosts the registry has.
    ///
    /// # Errors
    ///
    /// [`RefreshError`]; the registry is then as it was.
    pub async fn refresh(&self) -> Result<usize, Arc<RefreshError>> {
        let (reply, answer) = oneshot::channel();
        if self
            .requests
            .send(RefreshRequest::Refresh(reply))
            .await
            .is_err()
        {
            return Err(Arc::new(RefreshError::Stopping));
        }
        answer
            .await
            .unwrap_or_else(|_| Err(Arc::new(RefreshError::Stopping)))
    }

    /// Changes where the registry comes from. The script is run soon, not waited for.
    pub async fn configure(&self, config: RegistryConfig) {
        // Without a keeper the daemon is stopping, and needs no registry.
        let _ = self.requests.send(RefreshRequest::Configure(config)).await;
    }
}

/// Fills the registry, from the cache or, without one, from the script, and returns its
/// keeper: the handle to ask it, and its task, which the caller runs. The task runs the
/// script at each interval and when asked, never twice at once, and ends when every
/// handle is gone. Dropping it ends a script that runs.
pub async fn start(
    hosts: Arc<Hosts>,
    config: RegistryConfig,
) -> (Refresher, impl Future<Output = ()> + Send) {
    let fresh_for = match load_cache(&hosts, &config.cache).await {
        Some(age) if age < config.interval / 2 => config.interval - age,
        Some(_) => Duration::ZERO,
        None => {
            // Jobs that wait in queues would end with `unknown_host`.
            report(&hosts, &refresh(&hosts, &config).await.map_err(Arc::new));
            config.interval
        }
    };
    let due = Instant::now() + fresh_for;
    let (requests, inbox) = mpsc::channel(64);
    (
        Refresher { requests },
        keep_fresh(hosts, config, inbox, due),
    )
}

async fn keep_fresh(
    hosts: Arc<Hosts>,
    mut config: RegistryConfig,
    mut inbox: mpsc::Receiver<RefreshRequest>,
    mut due: Instant,
) {
    loop {
        let mut first = None;
        tokio::select! {
            () = sleep_until(due) => {}
            request = inbox.recv() => match request {
                Some(request) => first = Some(request),
                None => return,
            }
        }
        // All who asked before this run starts are answered by it.
        let mut waiting = Vec::new();
        while let Some(request) = first.take().or_else(|| inbox.try_recv().ok()) {
            match request {
                RefreshRequest::Refresh(answer) => waiting.push(answer),
                RefreshRequest::Configure(new) => config = new,
            }
        }
        let outcome = refresh(&hosts, &config).await.map_err(Arc::new);
        report(&hosts, &outcome);
        due = Instant::now() + config.interval;
        for request in waiting {
            // A caller that does not wait any more does not need the answer.
            let _ = request.send(outcome.clone());
        }
    }
}

fn report(hosts: &Hosts, outcome: &Result<usize, Arc<RefreshError>>) {
    match outcome {
        Ok(count) => info!(hosts = count, "hosts registry refreshed"),
        Err(error) => {
            error!(%error, hosts = hosts.count(), "hosts registry not refreshed, it stays as it was");
        }
    }
}

/// Fills the registry from the cache file and returns the file's age; `None` if there
/// is no usable cache, a cache without hosts included.
async fn load_cache(hosts: &Hosts, cache: &Path) -> Option<Duration> {
    let path = cache.to_owned();
    let reading = tokio::task::spawn_blocking(move || regular::read(&path));
    let text = match reading.await.map_err(io::Error::other).flatten() {
        Ok(text) => Zeroizing::new(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!(file = %cache.display(), %error, "cannot read the cache of the hosts registry");
            return None;
        }
    };
    let written = tokio::fs::metadata(cache)
        .await
        .and_then(|meta| meta.modified())
        .ok()?;
    let parsed = parse(&text);
    let is_damaged = parsed.ignored > 0;
    if parsed.registry.is_empty() {
        return None;
    }
    info!(hosts = parsed.registry.len(), file = %cache.display(), "hosts registry loaded from its cache");
    hosts.replace(parsed.registry);
    if is_damaged {
        // Lines of it are no entries; better than nothing until the script has run.
        return Some(Duration::MAX);
    }
    // A time in the future says nothing about the age.
    SystemTime::now().duration_since(written).ok()
}

/// Runs the script and returns what it says, with the registry and its cache left as they
/// are.
///
/// # Errors
///
/// [`RefreshError`], as for a refresh.
pub async fn ask_script(config: &RegistryConfig) -> Result<Registry, RefreshError> {
    let output = read_script(config).await?;
    Ok(output.parsed.registry)
}

async fn refresh(hosts: &Hosts, config: &RegistryConfig) -> Result<usize, RefreshError> {
    let mut output = read_script(config).await?;
    let registry = mem::take(&mut output.parsed.registry);
    let count = registry.len();
    hosts.replace(registry);

    let cache = config.cache.clone();
    let written = tokio::task::spawn_blocking(move || write_cache(&cache, &output));
    match written.await.map_err(io::Error::other).flatten() {
        Ok(()) => {}
        Err(error) => warn!(
            file = %config.cache.display(), %error,
            "cannot write the cache of the hosts registry; the registry itself is in force"
        ),
    }
    Ok(count)
}

fn write_cache(cache: &Path, output: &ScriptOutput) -> io::Result<()> {
    let mut file = Replacement::begin(cache)?;
    output.write(&mut file)?;
    file.finish()
}

/// Runs the script and takes in its output; problems with it are logged.
async fn read_script(config: &RegistryConfig) -> Result<ScriptOutput, RefreshError> {
    let output = run_script(&config.script, config.script_timeout).await?;
    let parsed = &output.parsed;
    if let Some((line, fault)) = &parsed.first_ignored {
        warn!(
            lines = parsed.ignored,
            first = line,
            fault,
            "lines of the hosts registry ignored"
        );
    }
    if parsed.repeated > 0 {
        warn!(
            lines = parsed.repeated,
            "host names repeated in the hosts registry, the last line of each counts"
        );
    }
    Ok(output)
}

/// Runs the script in a process group of its own and returns what it prints.
async fn run_script(script: &Path, limit: Duration) -> Result<ScriptOutput, RefreshError> {
    let mut command = Command::new(script);
    for variable in systemd::VARIABLES {
        command.env_remove(variable);
    }
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| RefreshError::Start {
            script: script.to_owned(),
            error,
        })?;
    let group = ScriptGroup::of(&child);
    let script = script.to_owned();
    let read = match within(Instant::now() + limit, collect(&mut child)).await {
        Some(Ok(collected)) => collected,
        Some(Err(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
            return Err(RefreshError::TooMuch { script });
        }
        Some(Err(error)) => return Err(RefreshError::Read { script, error }),
        None => return Err(RefreshError::TimedOut { script, limit }),
    };
    group.has_ended();
    if !read.status.success() {
        let complaint = String::from_utf8_lossy(&read.complaint).trim().to_owned();
        return Err(RefreshError::Failed {
            script,
            status: read.status,
            complaint: if complaint.is_empty() {
                complaint
            } else {
                format!(": {complaint}")
            },
        });
    }
    Ok(read.output)
}

struct Collected {
    output: ScriptOutput,
    complaint: Vec<u8>,
    status: ExitStatus,
}

async fn collect(child: &mut Child) -> io::Result<Collected> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let stdout = stdout.ok_or(io::ErrorKind::BrokenPipe)?;
    let mut complaint = Vec::new();
    let (output, ()) = tokio::try_join!(
        ScriptOutput::read(stdout),
        read_all_keep_some(stderr, MAX_COMPLAINT, &mut complaint),
    )?;
    let status = child.wait().await?;
    Ok(Collected {
        output,
        complaint,
        status,
    })
}

/// Reads to the end, so that the writer never blocks, and keeps the beginning.
async fn read_all_keep_some(
    source: Option<impl AsyncRead + Unpin>,
    keep: u64,
    into: &mut Vec<u8>,
) -> io::Result<()> {
    if let Some(mut source) = source {
        (&mut source).take(keep).read_to_end(into).await?;
        tokio::io::copy(&mut source, &mut tokio::io::sink()).await?;
    }
    Ok(())
}

/// Ends the script's whole process group when dropped, unless the script has ended: its
/// number may then be somebody else's.
struct ScriptGroup(Option<Pid>);

impl ScriptGroup {
    fn of(child: &Child) -> ScriptGroup {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        ScriptGroup(id.and_then(Pid::from_raw))
    }

    fn has_ended(mut self) {
        self.0 = None;
    }
}

impl Drop for ScriptGroup {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // It can have ended by itself just now; then there is nothing to do.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
