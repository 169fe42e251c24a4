//! Start order and stop order. Owns every task that lives as long as the daemon.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use harp_client::tls::Trust;
use harp_service::pidfile::Pidfile;
use harp_service::signals::{ServiceSignal, Signals};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::config::Config;
use crate::dispatcher::Dispatcher;
use crate::hosts::{self, Hosts, Refresher};
use crate::identity::tokens::TokensFile;
use crate::listener::{Hall, Listener, Places};
use crate::recovery;
use crate::session::Desk;
use crate::store::{Store, StoreOptions};

/// How long, at a stop, clients may take to read their last lines, and the store to
/// answer, beyond the limits of the jobs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs the daemon until a signal stops it and everything is written down. The process
/// id is in `pidfile` as long as it is the one that has the store.
///
/// # Errors
///
/// Whatever keeps it from starting.
pub async fn run(config: Config, pidfile: Option<&Path>) -> anyhow::Result<()> {
    let mut signals = Signals::catch().context("cannot listen for signals")?;
    let daemon = tokio::select! {
        started = Daemon::start(config, pidfile) => started?,
        // Whatever had been begun is as safe as after a crash.
        () = stop_signal(&mut signals) => {
            info!("stopped before the start was complete");
            return Ok(());
        }
    };
    stop_signal(&mut signals).await;
    daemon.stop().await;
    Ok(())
}

/// A daemon that serves its clients.
struct Daemon {
    config: Config,
    store: Store,
    dispatcher: Arc<Dispatcher>,
    /// Keeps the registry's keeper going.
    _refresher: Refresher,
    /// Accepting, and keeping the registry fresh.
    background: JoinSet<()>,
    sessions: TaskTracker,
    /// Tells sessions that nobody may wait any more.
    closing: CancellationToken,
    _pidfile: Option<Pidfile>,
}

impl Daemon {
    async fn start(config: Config, pidfile: Option<&Path>) -> anyhow::Result<Daemon> {
        let trust = Trust::new(config.trust.clone())?;
        if trust.accepts_anything() {
            warn!(
                "neither ca_file nor known_certs_file is set: any host's certificate is accepted"
            );
        }
        // Addresses first: the cheapest check, and the one that fails most often.
        let mut listeners = Vec::new();
        for address in &config.listen {
            listeners.extend(Listener::plain(address).await?);
        }
        for settings in &config.listeners {
            listeners.extend(Listener::open(settings).await?);
        }
        for listener in listeners
            .iter()
            .filter(|listener| listener.is_open_to_all())
        {
            warn!(
                address = listener.name(),
                "whoever can connect here can make every call: nobody has to authenticate, and \
                 there are no [[allow]] rules"
            );
        }
        let tokens = config.tokens_file.as_deref().map(TokensFile::read);
        let tokens = tokens.transpose()?.map(Arc::new);
        let store = open_store(&config).await?;
        let pidfile = pidfile.map(Pidfile::write).transpose()?;
        let unfinished = store.live().await?;
        let hosts = Arc::new(Hosts::default());
        let registry = config.registry.clone();
        let (refresher, keep_fresh) = hosts::start(Arc::clone(&hosts), registry).await;
        let mut background = JoinSet::new();
        background.spawn(keep_fresh);

        let dispatcher = Dispatcher::new(
            store.clone(),
            hosts,
            trust,
            config.execution.clone(),
            config.clients.max_live_jobs,
            recovery::last_sequence(&unfinished) + 1,
        );
        let slot_grace = config.execution.slot_grace;
        background.spawn(Arc::clone(&dispatcher).end_overdue());
        recovery::recover(&dispatcher, unfinished, config.resume_queued, slot_grace).await?;

        let closing = CancellationToken::new();
        let desk = Desk {
            dispatcher: Arc::clone(&dispatcher),
            limits: watch::channel(config.clients).1,
            tokens,
            closing: closing.clone(),
        };
        let sessions = TaskTracker::new();
        let hall = Hall {
            desk,
            places: Arc::new(Places::default()),
            sessions: sessions.clone(),
        };
        for listener in listeners {
            info!(address = listener.name(), "listening");
            background.spawn(listener.accept(hall.clone()));
        }
        info!(version = env!("CARGO_PKG_VERSION"), "ready");
        Ok(Daemon {
            config,
            store,
            dispatcher,
            _refresher: refresher,
            background,
            sessions,
            closing,
            _pidfile: pidfile,
        })
    }

    async fn stop(mut self) {
        // New calls are refused from now on; everything else is still answered.
        let limits = &self.config.execution;
        let stop_grace = self.config.stop_grace;
        info!(stop_grace = stop_grace.as_secs(), "stopping");
        self.dispatcher.close();
        if timeout(stop_grace, self.dispatcher.idle()).await.is_err() {
            warn!("calls still running after stop_grace are ended with missing_result");
            self.dispatcher.interrupt();
            // A host that takes the rest of its request, and the wait for it to be done.
            let longest = limits.connect_timeout + limits.slot_grace + PATIENCE;
            if timeout(longest, self.dispatcher.idle()).await.is_err() {
                error!("the job store does not answer; what it has not taken is lost");
            }
        }
        // Who waits now waits for jobs that stay queued; who is writing may finish.
        self.closing.cancel();
        self.background.shutdown().await;
        self.sessions.close();
        if timeout(PATIENCE, self.sessions.wait()).await.is_err() {
            let sessions = self.sessions.len();
            warn!(
                sessions,
                "connections closed while a client was still reading"
            );
        }
        self.store.close().await;
        info!("stopped");
    }
}

/// Waits for a signal to stop.
async fn stop_signal(signals: &mut Signals) {
    while signals.next().await != ServiceSignal::Stop {
        warn!("reloading the configuration is not in force in this version");
    }
}

async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let directory = config.stream_directory.clone();
    let options = StoreOptions {
        cache_size: config.cache_size,
    };
    let opening = tokio::task::spawn_blocking(move || Store::open(&directory, options));
    Ok(opening.await??)
}
