//! Keeping the hosts registry fresh: the script, its interval, the cache file.

use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use harp_exec::Limit;
use harp_files::regular;
use harp_service::private_file::Replacement;
use harp_time::clock;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{error, info, warn};
use zeroize::Zeroizing;

use super::discovery::Discovery;
use super::script::{self, ScriptError};
use super::script_output::ScriptOutput;
use super::{Hosts, Registry, parse};
use crate::meters::Meters;

/// Files of somebody else's that are kept beside the cache.
const MAX_KEPT: usize = 10;

/// Sources of the registry (daemon specification, keys `host_db*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryConfig {
    /// The script that prints it, unless a discovery program tells all there is.
    pub script: Option<PathBuf>,
    /// A discovery program of Choria, beside the script or in its place. Where both have a
    /// host, the script's line counts.
    pub discovery: Option<Discovery>,
    /// How long the script may run.
    pub script_timeout: Duration,
    /// The cache between runs of the daemon.
    pub cache: PathBuf,
    /// How often the script is run.
    pub interval: Duration,
    /// Whether the script may say that there is no host although some are known.
    pub allow_empty: bool,
}

impl RegistryConfig {
    /// The program that is named when there is no host.
    fn source(&self) -> &Path {
        let discovery = self.discovery.as_ref().map(Discovery::program);
        self.script
            .as_deref()
            .or(discovery)
            .unwrap_or(Path::new(""))
    }
}

/// Why a refresh left the registry as it was.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// There is nothing that the script has said.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// It has said that there is no host, and there are some.
    #[error(
        "{script} ended well and told of no host{ignored}, and {known} are known; \
         host_db_allow_empty = true lets it empty the registry"
    )]
    NoHosts {
        /// The script.
        script: PathBuf,
        /// What is to be said of lines that were ignored, if there were any.
        ignored: String,
        /// How many hosts the registry has.
        known: usize,
    },
    /// The daemon is stopping.
    #[error("the dispatcher is stopping")]
    Stopping,
}

/// What a refresh has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// How many hosts there are now.
    pub hosts: usize,
    /// How many of them were not there before.
    pub added: usize,
    /// How many are not there any more.
    pub removed: usize,
    /// How many lines were no entry.
    pub ignored: usize,
    /// How many lines were overruled by a later one of the same name.
    pub repeated: usize,
}

/// What came of a refresh, for everybody who waits for it.
pub type RefreshResult = Result<Refreshed, Arc<RefreshError>>;

/// Asks for refreshes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Refresher {
    requests: mpsc::Sender<RefreshRequest>,
}

enum RefreshRequest {
    Refresh(oneshot::Sender<RefreshResult>),
    Configure(RegistryConfig, oneshot::Sender<RefreshResult>),
}

/// A refresh that has been asked for.
#[derive(Debug)]
pub struct Refreshing(oneshot::Receiver<RefreshResult>);

impl Refreshing {
    /// Waits for its outcome. Cancel safe: it goes on without the waiting.
    pub async fn outcome(self) -> RefreshResult {
        let answer = self.0.await;
        answer.unwrap_or_else(|_| Err(Arc::new(RefreshError::Stopping)))
    }
}

impl Default for Refresher {
    /// Asks nobody: there is no keeper, as when the daemon is stopping.
    fn default() -> Refresher {
        Refresher {
            requests: mpsc::channel(1).0,
        }
    }
}

impl Refresher {
    /// Runs the script now, or right after the run that is under way, and waits for it.
    ///
    /// # Errors
    ///
    /// [`RefreshError`]; the registry is then as it was.
    pub async fn refresh(&self) -> RefreshResult {
        self.ask(RefreshRequest::Refresh).await.outcome().await
    }

    /// Changes where the registry comes from. The script is run soon, not waited for.
    pub async fn configure(&self, config: RegistryConfig) -> Refreshing {
        self.ask(|answer| RefreshRequest::Configure(config, answer))
            .await
    }

    async fn ask(
        &self,
        request: impl FnOnce(oneshot::Sender<RefreshResult>) -> RefreshRequest,
    ) -> Refreshing {
        let (reply, answer) = oneshot::channel();
        // Without a keeper the daemon is stopping; then `reply` is dropped, which says so.
        let _ = self.requests.send(request(reply)).await;
        Refreshing(answer)
    }
}

/// Fills the registry, from the cache or, without one, from the script, and returns its
/// keeper: the handle to ask it, and its task, which the caller runs. The task runs the
/// script at each interval and when asked, never twice at once, and ends when every
/// handle is gone. Dropping it ends a script that runs. Scripts have these limits in place of
/// those of this process.
pub async fn start(
    hosts: Arc<Hosts>,
    config: RegistryConfig,
    limits: Vec<Limit>,
    meters: Meters,
) -> (Refresher, impl Future<Output = ()> + Send) {
    let fresh_for = match load_cache(&hosts, &config.cache).await {
        Some(age) if age < config.interval / 2 => config.interval - age,
        Some(_) => Duration::ZERO,
        None => {
            // Jobs that wait in queues would end with `unknown_host`.
            let outcome = refresh(&hosts, &config, &limits).await;
            report(&hosts, &outcome.map_err(Arc::new), &meters);
            config.interval
        }
    };
    let due = Instant::now() + fresh_for;
    let (requests, inbox) = mpsc::channel(64);
    (
        Refresher { requests },
        keep_fresh(hosts, config, limits, meters, inbox, due),
    )
}

async fn keep_fresh(
    hosts: Arc<Hosts>,
    mut config: RegistryConfig,
    limits: Vec<Limit>,
    meters: Meters,
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
                RefreshRequest::Configure(new, answer) => {
                    config = new;
                    waiting.push(answer);
                }
            }
        }
        let outcome = refresh(&hosts, &config, &limits).await;
        let outcome = outcome.map_err(Arc::new);
        report(&hosts, &outcome, &meters);
        due = Instant::now() + config.interval;
        for request in waiting {
            // A caller that does not wait any more does not need the answer.
            let _ = request.send(outcome.clone());
        }
    }
}

fn report(hosts: &Hosts, outcome: &RefreshResult, meters: &Meters) {
    match outcome {
        Ok(refreshed) => {
            meters.refreshed(clock::now());
            info!(
                hosts = refreshed.hosts,
                added = refreshed.added,
                removed = refreshed.removed,
                "hosts registry refreshed"
            );
        }
        Err(error) => {
            meters.not_refreshed(error.to_string());
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
        if is_damaged {
            keep_foreign(cache).await;
        }
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

/// Gives a file without any entry another name, before it is written over: it may be
/// somebody else's, such as the registry of the original harpcallerd.
async fn keep_foreign(cache: &Path) {
    let path = cache.to_owned();
    let keeping = tokio::task::spawn_blocking(move || kept_foreign(&path));
    match keeping.await.map_err(io::Error::other).flatten() {
        Ok(kept) => warn!(
            file = %cache.display(), kept = %kept.display(),
            "host_db was no cache of the hosts registry and has another name now; the script is run"
        ),
        Err(error) => warn!(
            file = %cache.display(), %error,
            "host_db is no cache of the hosts registry and is written over: it cannot be kept"
        ),
    }
}

/// Renames it to the first name that is free.
fn kept_foreign(path: &Path) -> io::Result<PathBuf> {
    for number in 0..MAX_KEPT {
        let mut name = path.as_os_str().to_owned();
        name.push(".orig");
        if number > 0 {
            name.push(format!(".{number}"));
        }
        // A link never takes the place of a file.
        match std::fs::hard_link(path, &name) {
            Ok(()) => return std::fs::remove_file(path).map(|()| name.into()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Runs the script and returns what it says, with the registry and its cache left as they
/// are.
///
/// # Errors
///
/// [`RefreshError`], as for a refresh.
pub async fn ask_script(
    config: &RegistryConfig,
    limits: &[Limit],
) -> Result<Registry, RefreshError> {
    let output = read_script(config, limits).await?;
    Ok(output.parsed.registry)
}

async fn refresh(
    hosts: &Hosts,
    config: &RegistryConfig,
    limits: &[Limit],
) -> Result<Refreshed, RefreshError> {
    let mut output = read_script(config, limits).await?;
    let registry = mem::take(&mut output.parsed.registry);
    let before = hosts.all();
    if registry.is_empty() && !before.is_empty() && !config.allow_empty {
        return Err(RefreshError::NoHosts {
            script: config.source().to_owned(),
            ignored: match output.parsed.ignored {
                0 => String::new(),
                lines => format!(" in {lines} lines"),
            },
            known: before.len(),
        });
    }
    let added = registry.keys().filter(|name| !before.contains_key(*name));
    let removed = before.keys().filter(|name| !registry.contains_key(*name));
    let refreshed = Refreshed {
        hosts: registry.len(),
        added: added.count(),
        removed: removed.count(),
        ignored: output.parsed.ignored,
        repeated: output.parsed.repeated,
    };
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
    Ok(refreshed)
}

fn write_cache(cache: &Path, output: &ScriptOutput) -> io::Result<()> {
    let mut file = Replacement::begin(cache)?;
    output.write(&mut file)?;
    file.finish()
}

/// Runs what there is of a script and a discovery program and takes in what they say; problems
/// with it are logged.
async fn read_script(
    config: &RegistryConfig,
    limits: &[Limit],
) -> Result<ScriptOutput, RefreshError> {
    let (time, mut output) = (config.script_timeout, ScriptOutput::default());
    if let Some(script) = &config.script {
        script::read(script, time, limits, &mut output).await?;
    }
    if let Some(discovery) = &config.discovery {
        discovery.ask(time, limits, &mut output).await?;
    }
    let parsed = &output.parsed;
    if let Some((line, fault)) = &parsed.first_ignored {
        warn!(
            lines = parsed.ignored,
            first = line,
            fault,
            "lines of the hosts registry ignored"
        );
    }
    if let Some((host, fault)) = &parsed.first_undescribed {
        warn!(
            hosts = parsed.undescribed,
            first = host,
            fault,
            "procedures of hosts in the hosts registry passed over"
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
