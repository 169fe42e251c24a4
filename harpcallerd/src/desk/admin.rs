//! What administrators ask of the daemon as a whole.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use harp_jobs::audit::Act;
use harp_jobs::client::Client;
use harp_jobs::ledger::{Ledger, Pruned};
use harp_jobs::refusal::{NotReloaded, Refusal};
use harp_ledger::store::StoreError;
use harp_service::logging::Log;
use harp_values::JobId;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tracing::info;

use super::Desk;
use super::hosts::HostOverview;
use super::readiness::Readiness;
use super::store_room::StoreRoom;
use crate::hosts::{Hosts, RefreshResult, Refreshed, Refresher, Refreshing};
use crate::retention::Pruner;

/// How long an administrator who reloads waits for the registry's script.
const REGISTRY_AFTER_RELOAD: Duration = Duration::from_secs(5);

/// What becomes of calls that their hosts keep when the daemon ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptCalls {
    /// The next start attaches to them.
    Leave,
    /// They end as all others do.
    End,
}

/// What an administrator wants of the daemon as a whole.
#[derive(Debug)]
pub enum Order {
    /// End, running calls within `stop_grace`.
    Stop(KeptCalls),
    /// End when the last running call has.
    Drain,
    /// Read the configuration again and say what came of it.
    Reload(oneshot::Sender<Result<Reloaded, NotReloaded>>),
}

/// How the daemon stands, for whoever watches over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Its start is not complete.
    Starting,
    /// It does its work.
    Serving,
    /// It runs, and something needs an operator: [`Administration::attention`] says what.
    Degraded,
    /// It takes no calls any more, and ends.
    Draining,
}

/// The configuration has been applied.
#[derive(Debug)]
pub struct Reloaded {
    /// Keys whose new values are in force after the next start only.
    pub restart_needed: Vec<&'static str>,
    /// How many addresses and sockets clients can connect to.
    pub listeners: usize,
    /// How many rules there are.
    pub rules: usize,
    /// How many tokens there are.
    pub tokens: usize,
    /// What in the file is passed over or looks wrong, a sentence each.
    pub warnings: Vec<String>,
    /// The run of the registry's script that comes of it.
    pub registry: Option<Refreshing>,
}

/// What there is to administrate, once the start is complete.
#[derive(Debug)]
pub struct Started {
    /// The front door.
    pub desk: Arc<Desk>,
    /// What removes ended jobs.
    pub pruner: Arc<Pruner>,
    /// The registry.
    pub hosts: Arc<Hosts>,
    /// Its keeper.
    pub refresher: Refresher,
    /// The log of the process.
    pub log: Arc<Log>,
    /// How much room its store has.
    pub room: StoreRoom,
}

/// The front door of administrators: open before the daemon's start is complete.
#[derive(Debug, Clone)]
pub struct Administration {
    /// Empty until the start is complete.
    pub started: watch::Receiver<Option<Arc<Started>>>,
    /// To the daemon.
    pub orders: mpsc::Sender<Order>,
    /// When the process began, in milliseconds since 1970.
    pub since: u64,
}

impl Administration {
    /// What there is to administrate.
    ///
    /// # Errors
    ///
    /// [`Refusal::Starting`].
    pub fn started(&self) -> Result<Arc<Started>, Refusal> {
        self.started.borrow().clone().ok_or(Refusal::Starting)
    }

    /// Whether the daemon serves clients; with `wait`, only when it does or ends before.
    /// Cancel safe.
    pub async fn status(&self, wait: bool) -> bool {
        let mut started = self.started.clone();
        if wait {
            // An error says that the daemon ends before its start was complete.
            started.wait_for(Option::is_some).await.is_ok()
        } else {
            started.borrow().is_some()
        }
    }

    /// What is not as it should be at the moment, a sentence each; nothing before the start is
    /// complete.
    #[must_use]
    pub fn attention(&self) -> Vec<String> {
        let Ok(started) = self.started() else {
            return Vec::new();
        };
        let failure = started.desk.dispatcher.ledger().outage().borrow().clone();
        let failure = failure.map(|reason| {
            format!("the job store cannot be written, and calls are refused: {reason}")
        });
        let held = started.desk.dispatcher.ledger().held_count();
        let held = (held > 0).then(|| {
            format!(
                "{held} jobs are held, which came with a copy of another store: \
                 \"harpcallerd resume\" lets them wait in their queues again"
            )
        });
        let registry = started.desk.meters.counts().refresh_failure;
        let registry = registry.map(|why| format!("the hosts registry is as it was before: {why}"));
        let pruning = started.pruner.attention();
        let found = failure.into_iter().chain(held).chain(registry);
        found.chain(pruning).collect()
    }

    /// How the daemon stands, if `attention` is what is not as it should be.
    #[must_use]
    pub fn stage(&self, attention: &[String]) -> Stage {
        let Ok(started) = self.started() else {
            return Stage::Starting;
        };
        match started.desk.readiness() {
            Readiness::Draining | Readiness::Stopping => Stage::Draining,
            // Whoever is told that something needs an operator is told what.
            Readiness::Ready | Readiness::StoreOutage if attention.is_empty() => Stage::Serving,
            Readiness::Ready | Readiness::StoreOutage => Stage::Degraded,
        }
    }

    /// Has the daemon end: it may have ended a moment after this. If nobody takes the order,
    /// the daemon is stopping as it is.
    pub async fn stop(&self, by: &Client, calls: KeptCalls) {
        info!(client = by.name(), peer = %by.peer, "an administrator asked for the stop");
        self.noted(by, Act::Stop, None);
        let _ = self.orders.send(Order::Stop(calls)).await;
    }

    /// Has the daemon take no calls any more, and end when the running ones have ended.
    pub async fn drain(&self, by: &Client) {
        info!(client = by.name(), peer = %by.peer, "an administrator asked to drain");
        self.noted(by, Act::Drain, None);
        let _ = self.orders.send(Order::Drain).await;
    }

    /// Has the daemon read its configuration again. Cancel safe: once begun, it goes on. The
    /// registry's script may still run; [`registry_after`] waits for it.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotReloaded`], [`Refusal::Closing`].
    pub async fn reload(&self, by: &Client) -> Result<Reloaded, Refusal> {
        let (reply, answer) = oneshot::channel();
        // An order that nobody takes drops `reply`, so that the answer is an error.
        let _ = self.orders.send(Order::Reload(reply)).await;
        let (this, by) = (self.clone(), by.clone());
        let reloading = async move {
            let reloaded = match answer.await {
                Ok(reloaded) => reloaded.map_err(Refusal::NotReloaded),
                Err(_) => Err(Refusal::Closing),
            };
            this.noted(&by, Act::Reload, reloaded.as_ref().err());
            reloaded
        };
        match self.started() {
            Ok(started) => started.desk.act(reloading).await,
            Err(_) => reloading.await,
        }
    }

    /// Before the start is complete there is no audit log.
    fn noted(&self, by: &Client, act: Act<'_>, refusal: Option<&Refusal>) {
        if let Ok(started) = self.started() {
            started.desk.audit.administered(by, act, refusal);
        }
    }
}

impl Started {
    /// The hosts that can be called, by name.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for anybody but administrators.
    pub fn hosts(&self, by: &Client) -> Result<Vec<HostOverview>, Refusal> {
        self.desk.administrators_only(by, "hosts-list")?;
        let registry = self.hosts.all();
        let loads = HashMap::new();
        let hosts = registry.iter();
        let mut hosts: Vec<_> = hosts
            .map(|(name, host)| self.desk.overview(name, host, &loads))
            .collect();
        hosts.sort_unstable_by(|one, other| one.name.cmp(&other.name));
        Ok(hosts)
    }

    /// Runs the registry's script and waits for it. Cancel safe: once begun, it goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for anybody but administrators; [`Refusal::Failed`].
    pub async fn refresh_hosts(&self, by: &Client) -> Result<Refreshed, Refusal> {
        self.desk.administrators_only(by, "hosts-refresh")?;
        info!(
            client = by.name(),
            "hosts registry to be refreshed, as an administrator asked"
        );
        let (refresher, audit) = (self.refresher.clone(), self.desk.audit.clone());
        let by = by.clone();
        self.desk
            .act(async move {
                let refreshed = refresher.refresh().await.map_err(failed);
                audit.administered(&by, Act::RefreshHosts, refreshed.as_ref().err());
                refreshed
            })
            .await
    }

    /// Lets the held jobs wait in their queues again, and returns how many there were. Cancel
    /// safe: once begun, it goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for anybody but administrators; [`Refusal::Closing`],
    /// [`Refusal::Storage`].
    pub async fn resume_held(&self, by: &Client) -> Result<usize, Refusal> {
        self.desk.administrators_only(by, "resume")?;
        let dispatcher = Arc::clone(&self.desk.dispatcher);
        let (audit, by) = (self.desk.audit.clone(), by.clone());
        self.desk
            .act(async move {
                let resumed = dispatcher.ledger().resume_held().await;
                let resumed = resumed.map_err(|error| match error {
                    StoreError::Closed => Refusal::Closing,
                    error => Refusal::storage(error),
                });
                audit.administered(&by, Act::Resume, resumed.as_ref().err());
                resumed
            })
            .await
    }

    /// Deletes jobs that ended longer ago than this. Cancel safe: once begun, it goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for anybody but administrators; [`Refusal::Storage`].
    pub async fn prune(&self, by: &Client, age: Duration) -> Result<Pruned, Refusal> {
        self.desk.administrators_only(by, "prune-jobs")?;
        let (pruner, audit) = (Arc::clone(&self.pruner), self.desk.audit.clone());
        let by = by.clone();
        self.desk
            .act(async move {
                let pruned = pruner.prune_older(age).await;
                let pruned = pruned.map_err(Refusal::storage);
                audit.administered(&by, Act::Prune { age }, pruned.as_ref().err());
                pruned
            })
            .await
    }

    /// Opens the files of the log and of the audit log anew, each whatever becomes of the
    /// other. Cancel safe: once begun, it goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for anybody but administrators; [`Refusal::Failed`].
    pub async fn reopen_logs(&self, by: &Client) -> Result<(), Refusal> {
        self.desk.administrators_only(by, "reopen-logs")?;
        let (log, audit) = (Arc::clone(&self.log), self.desk.audit.clone());
        let by = by.clone();
        self.desk
            .act(async move {
                let reopening = tokio::task::spawn_blocking(move || log.reopen());
                // The panic itself is in the log.
                let panicked = |_| std::io::Error::other("reopening met a fault of this program");
                let of_log = reopening.await.map_err(panicked).flatten();
                let of_audit = audit.reopen().await;
                info!(
                    client = by.name(),
                    "log files reopened, as an administrator asked"
                );
                let told = [of_log, of_audit].into_iter().filter_map(Result::err);
                let told: Vec<_> = told.map(|error| error.to_string()).collect();
                let reopened = if told.is_empty() {
                    Ok(())
                } else {
                    Err(failed(told.join("; ")))
                };
                audit.administered(&by, Act::ReopenLogs, reopened.as_ref().err());
                reopened
            })
            .await
    }
}

/// What becomes of the registry by a reload; `None` if its script takes longer than 5 s.
/// Cancel safe: the script runs on.
pub async fn registry_after(reload: Refreshing) -> Option<RefreshResult> {
    timeout(REGISTRY_AFTER_RELOAD, reload.outcome()).await.ok()
}

impl Desk {
    /// Lets nobody but administrators through.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`].
    pub(super) fn administrators_only(
        &self,
        by: &Client,
        operation: &'static str,
    ) -> Result<(), Refusal> {
        if by.is_administrator() {
            return Ok(());
        }
        let refusal = Refusal::Forbidden;
        self.audit
            .refused(by, operation, None::<JobId>, refusal.name());
        Err(refusal)
    }
}

fn failed(why: impl std::fmt::Display) -> Refusal {
    Refusal::Failed {
        why: why.to_string(),
    }
}
