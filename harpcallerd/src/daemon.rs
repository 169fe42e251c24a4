//! Start order and stop order. Owns every task that lives as long as the daemon.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use harp_client::tls::Trust;
use harp_service::accept::Acceptor;
use harp_service::signals::{ServiceSignal, Signals};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::Config;
use crate::dispatcher::Dispatcher;
use crate::hosts::{self, Hosts};
use crate::listener;
use crate::recovery;
use crate::session::Desk;
use crate::store::{Store, StoreOptions};

/// How long sessions may take to write what they are writing when the daemon stops.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Runs the daemon until a signal stops it and everything is written down.
///
/// # Errors
///
/// Whatever keeps it from starting, or from closing its store in order.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let mut signals = Signals::catch().context("cannot listen for signals")?;
    let trust = Trust::new(config.trust.clone())?;
    if trust.accepts_anything() {
        warn!("neither ca_file nor known_certs_file is set: any host's certificate is accepted");
    }
    // Addresses first: the cheapest check, and the one that fails most often.
    let mut acceptors = Vec::new();
    for address in &config.listen {
        let sockets = address.bind().await;
        for socket in sockets.with_context(|| format!("cannot listen on {address}"))? {
            acceptors.push(Acceptor::new(socket));
        }
    }
    let store = open_store(&config).await?;
    let unfinished = store.live().await?;
    let hosts = Arc::new(Hosts::default());
    let (refresher, keep_fresh) = hosts::start(Arc::clone(&hosts), config.registry.clone()).await;
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
    recovery::recover(&dispatcher, unfinished, config.resume_queued, slot_grace).await?;

    let closing = CancellationToken::new();
    let desk = Desk {
        dispatcher: Arc::clone(&dispatcher),
        max_request_size: config.clients.max_request_size,
        closing: closing.clone(),
    };
    let sessions = TaskTracker::new();
    let places = Arc::new(Semaphore::new(config.clients.max_connections));
    for acceptor in acceptors {
        info!(address = %acceptor.local_addr()?, "listening");
        let places = Arc::clone(&places);
        background.spawn(listener::accept(
            acceptor,
            desk.clone(),
            places,
            sessions.clone(),
        ));
    }
    info!(version = env!("CARGO_PKG_VERSION"), "ready");

    loop {
        match signals.next().await {
            ServiceSignal::Stop => break,
            ServiceSignal::Reload => {
                warn!("reloading the configuration is not in force in this version")
            }
        }
    }

    // New calls are refused from now on; everything else is still answered.
    info!(
        running_for_at_most = config.stop_grace.as_secs(),
        "stopping"
    );
    dispatcher.close();
    if timeout(config.stop_grace, dispatcher.idle()).await.is_err() {
        warn!("calls still running after stop_grace are ended with missing_result");
        dispatcher.interrupt();
        dispatcher.idle().await;
    }
    // Who waits now waits for jobs that stay queued; who is writing may finish.
    closing.cancel();
    background.shutdown().await;
    sessions.close();
    if timeout(LAST_WORDS, sessions.wait()).await.is_err() {
        warn!(
            sessions = sessions.len(),
            "connections closed while a client was still reading"
        );
    }
    drop(refresher);
    store.close().await;
    info!("stopped");
    Ok(())
}

async fn open_store(config: &Config) -> anyhow::Result<Store> {
    let directory = config.stream_directory.clone();
    let options = StoreOptions {
        cache_size: config.cache_size,
    };
    let opening = tokio::task::spawn_blocking(move || Store::open(&directory, options));
    Ok(opening.await??)
}
