//! Start order and stop order. Owns every task that lives as long as the daemon.

mod events;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use harp_exec::Limit;
use harp_jobs::audit::Audit;
use harp_jobs::changes::Changes;
use harp_jobs::ledger::Ledger;
use harp_jobs::refusal::NotReloaded;
use harp_jobs::world::World;
use harp_service::logging::Log;
use harp_service::pidfile::Pidfile;
use harp_service::systemd::Notifier;
use harp_service::tasks::Tasks;
use harp_time::{clock, within};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::any_ledger;
use crate::audit_log;
use crate::boot;
use crate::config::Config;
use crate::desk::admin::{Administration, KeptCalls, Reloaded, Started};
use crate::desk::load::HostLoad;
use crate::desk::store_room::StoreRoom;
use crate::desk::{Desk, services};
use crate::dispatcher::{Dispatcher, Parts};
use crate::ended::Telling;
use crate::faces::admin::{self, AdminSocket};
use crate::faces::http::{Face, Lobby};
use crate::host_contacts::HostContacts;
use crate::hosts::{self, Hosts};
use crate::learned;
use crate::listener::{Admission, Listeners, Opened, Permits};
use crate::meters::Meters;
use crate::recordings;
use crate::reload::InForce;
use crate::retention::Pruner;
use crate::traces::Traces;
use crate::transports::device;
use crate::transports::harp::Told;
use crate::world::Runtime;
use events::{Event, Events};

/// How long, at a stop, clients may take to read their last lines, and the store to
/// answer, beyond the limits of the jobs.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long, at a stop, the last spans may take to the collector.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// What a start is given.
#[derive(Debug)]
pub struct Setup {
    /// The configuration file, to be read again at a reload.
    pub config_file: PathBuf,
    /// What it says.
    pub config: Config,
    /// Limits of the registry script, in place of those that this process has raised.
    pub script_limits: Vec<Limit>,
    /// Connections of clients that there may be whatever the configuration says.
    pub most_connections: usize,
    /// Whether debugging messages are logged whatever it says.
    pub debug: bool,
    /// The log of this process.
    pub log: Arc<Log>,
    /// The administrative socket.
    pub socket: PathBuf,
    /// Where the process id is written, as long as this is the process that has the
    /// store.
    pub pidfile: Option<PathBuf>,
    /// Listening sockets of the service manager, in the place of the configured ones.
    pub handed_over: Option<Vec<std::net::TcpListener>>,
    /// To the service manager.
    pub notifier: Notifier,
}

/// Runs the daemon until a signal or an administrator ends it and everything is written
/// down.
///
/// # Errors
///
/// Whatever keeps it from starting.
pub async fn run(setup: Setup) -> anyhow::Result<()> {
    let (orders, inbox) = mpsc::channel(16);
    let mut events = Events::catch(inbox).context("cannot listen for signals")?;
    // Before everything else: what takes its time can be waited for and stopped.
    let socket = setup.socket;
    let opening = tokio::task::spawn_blocking(move || AdminSocket::open(&socket));
    let (_socket, listener) = opening.await??;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::UnixListener::from_std(listener)?;
    let (started, starts) = watch::channel(None);
    let administration = Administration {
        started: starts,
        orders,
        since: clock::now(),
    };
    let notifier = Arc::new(setup.notifier);
    // Ends with the process, so that an administrator can see the end of a stop.
    let lasting = Tasks::of_phase("the process");
    lasting.spawn("administration", admin::serve(listener, administration));
    let feeding = Arc::clone(&notifier);
    lasting.spawn("watchdog", async move { feeding.keep_alive().await });

    let start = Start {
        config_file: setup.config_file,
        config: setup.config,
        script_limits: setup.script_limits,
        most_connections: setup.most_connections,
        debug: setup.debug,
        log: setup.log,
        pidfile: setup.pidfile,
        handed_over: setup.handed_over,
    };
    let mut daemon = tokio::select! {
        daemon = Daemon::start(start) => daemon?,
        // Whatever had been begun is as safe as after a crash.
        () = events.end_of_start() => {
            info!("stopped before the start was complete");
            return Ok(());
        }
    };
    started.send_replace(Some(Arc::clone(&daemon.started)));
    notifier.ready();
    info!(version = env!("CARGO_PKG_VERSION"), "ready");
    let calls = daemon.serve(&mut events, &notifier).await;
    daemon.stop(calls, &notifier).await;
    Ok(())
}

struct Start {
    config_file: PathBuf,
    config: Config,
    script_limits: Vec<Limit>,
    most_connections: usize,
    debug: bool,
    log: Arc<Log>,
    pidfile: Option<PathBuf>,
    handed_over: Option<Vec<std::net::TcpListener>>,
}

/// A daemon that serves its clients.
struct Daemon {
    in_force: InForce,
    audit: Audit,
    /// What writes the audit log, until nobody has anything to write there any more.
    auditing: Tasks,
    telling: Telling,
    /// What tells of ends and sends spans.
    tracing: Tasks,
    started: Arc<Started>,
    listeners: Listeners,
    /// What goes on until nobody is served any more.
    background: Tasks,
    connections: TaskTracker,
    /// What goes on for the desk although nobody may wait for it any more.
    acts: TaskTracker,
    /// Tells connections that nobody may wait any more.
    closing: CancellationToken,
    /// Tells that no calls are taken any more.
    winding_down: CancellationToken,
    _pidfile: Option<Pidfile>,
}

impl Daemon {
    async fn start(start: Start) -> anyhow::Result<Daemon> {
        // The cheapest checks first, and those that fail most often.
        let (file, config, log) = (start.config_file, start.config, Arc::clone(&start.log));
        let mut in_force = off_workers(move || InForce::new(file, config, log)).await?;
        in_force.debug = start.debug;
        let config = &in_force.config;
        let mut opened = Opened::at_start(config, start.handed_over).await?;
        let meters = Meters::default();
        let closing = CancellationToken::new();
        let connections = TaskTracker::new();
        let (set_desk, desk_there) = watch::channel(None);
        let lobby = Lobby::new(in_force.clients.subscribe(), closing.clone());
        let lobby = Arc::new(lobby);
        let admission = Arc::new(Admission {
            desk: desk_there,
            limits: in_force.clients.subscribe(),
            access: in_force.access.subscribe(),
            closing: closing.clone(),
            meters: meters.clone(),
            permits: Arc::new(Permits::new(start.most_connections)),
            memory: Arc::clone(&in_force.client_memory),
            connections: connections.clone(),
            http: Arc::clone(&lobby),
        });
        // By HTTP clients are told that it is starting; by the client protocol they wait.
        let mut listeners = Listeners::start(opened.take_http(), admission);
        let world = Arc::new(Runtime::start());
        let any_world: Arc<dyn World> = Arc::clone(&world) as Arc<dyn World>;
        let any_ledger::Opened {
            ledger,
            live,
            elsewhere,
            ahead,
        } = any_ledger::open(config, &any_world).await?;
        let pidfile = start.pidfile;
        let pidfile = off_workers(move || {
            let written = pidfile.as_deref().map(Pidfile::write).transpose()?;
            Ok(written)
        });
        let pidfile = pidfile.await?;
        let hosts = Arc::new(Hosts::default());
        let registry = config.registry.clone();
        let (refresher, keep_fresh) = hosts::start(
            Arc::clone(&hosts),
            registry,
            start.script_limits,
            meters.clone(),
        )
        .await;
        let background = Tasks::of_phase("serving");
        background.spawn("hosts registry", keep_fresh);

        let auditing = Tasks::of_phase("the audit log");
        let its_ledger: Arc<dyn Ledger> = Arc::new(ledger.clone());
        let settings = config.audit.clone();
        let (audit, auditing) = off_workers(move || {
            let audit = match &settings {
                Some(settings) => audit_log::start(settings, its_ledger, any_world, &auditing)?,
                None => Audit::default(),
            };
            Ok((audit, auditing))
        })
        .await?;
        let changes = Changes::default();
        changes.go_by(in_force.desk.subscribe());
        let contacts = HostContacts::default();
        let tracing = Tasks::of_phase("traces");
        let traces = match &config.traces {
            Some(settings) => Traces::start(settings, &tracing),
            None => Traces::default(),
        };
        let parts = Parts {
            world,
            ledger,
            live,
            elsewhere,
            hosts: Arc::clone(&hosts),
            rules: in_force.rules.subscribe(),
            limits: in_force.runs.subscribe(),
            audit: audit.clone(),
            changes: changes.clone(),
            told: Told {
                meters: meters.clone(),
                contacts: contacts.clone(),
                traces: traces.clone(),
            },
            declared: in_force.declared.subscribe(),
            services: in_force.services.subscribe(),
            resume_queued: config.resume_queued,
            unaware_until: hosts_unaware_until(config).await?,
        };
        let dispatcher = Dispatcher::open(parts).await?;
        let devices = Arc::clone(dispatcher.devices());
        background.spawn("devices", device::follow(devices, Arc::clone(&hosts)));
        let going = dispatcher.recordings().clone();
        let recordings = recordings::keep(Arc::clone(&dispatcher), Arc::clone(&hosts), going);
        background.spawn("recordings", recordings);
        let limits = in_force.retention.subscribe();
        let ledger = Arc::new(dispatcher.ledger().clone());
        let pruner = Pruner::new(ledger, ahead);
        let ending = services::end_jobs_of_removed(Arc::clone(&dispatcher));
        background.spawn("removed services", ending);
        let removing = services::remove_drafts(Arc::clone(&dispatcher));
        background.spawn("drafts", removing);
        let its_ledger = dispatcher.ledger().clone();
        let keeping = Arc::clone(&pruner).keep(limits, move || its_ledger.keeps_house());
        background.spawn("retention", keeping);

        let knowledge = Arc::clone(dispatcher.knowledge());
        let learned = Arc::clone(&knowledge.learned);
        let learning = learned::follow(learned, in_force.declared.subscribe());
        background.spawn("procedures of hosts", learning);

        let telling = Telling {
            dispatcher: Arc::clone(&dispatcher),
            hosts: Arc::clone(&hosts),
            changes: changes.clone(),
            traces: traces.clone(),
            meters: meters.clone(),
            labels: in_force.labels.subscribe(),
            told: Arc::default(),
        };
        tracing.spawn("ended jobs", telling.clone().follow());

        let winding_down = CancellationToken::new();
        let acts = TaskTracker::new();
        let desk = Desk {
            dispatcher,
            hosts: Arc::clone(&hosts),
            refresher: refresher.clone(),
            changes,
            meters,
            contacts,
            limits: in_force.clients.subscribe(),
            tokens: in_force.tokens.subscribe(),
            access: in_force.access.subscribe(),
            knowledge,
            audit: audit.clone(),
            log: Some(Arc::clone(&start.log)),
            traces: traces.clone(),
            load: HostLoad::default(),
            closing: closing.clone(),
            winding_down: winding_down.clone(),
            acts: acts.clone(),
        };
        let desk = Arc::new(desk);
        let (memory, directory) = (&in_force.client_memory, config.stream_directory.clone());
        let (for_face, memory) = (Arc::clone(&desk), Arc::clone(memory));
        let opening =
            tokio::task::spawn_blocking(move || Face::open(for_face, memory, directory.as_deref()));
        lobby.open(Arc::new(opening.await??));
        set_desk.send_replace(Some(Arc::clone(&desk)));
        listeners.accept_from(opened);
        let started = Started {
            desk,
            pruner,
            hosts,
            refresher,
            log: start.log,
            room: StoreRoom::of(in_force.config.jobs_directory().ok()),
        };
        Ok(Daemon {
            in_force,
            audit,
            auditing,
            telling,
            tracing,
            started: Arc::new(started),
            listeners,
            background,
            connections,
            acts,
            closing,
            winding_down,
            _pidfile: pidfile,
        })
    }

    /// Reloads when asked, until it is time to stop: at once, or when nothing runs after
    /// a drain was asked for.
    async fn serve(&mut self, events: &mut Events, notifier: &Notifier) -> KeptCalls {
        let dispatcher = Arc::clone(&self.started.desk.dispatcher);
        let mut draining = false;
        loop {
            let event = tokio::select! {
                biased;
                event = events.next() => event,
                () = dispatcher.idle(), if draining => Event::Stop(KeptCalls::Leave),
            };
            match event {
                Event::Stop(calls) => return calls,
                Event::Drain if draining => {}
                Event::Drain => {
                    info!("draining: no new calls, and the end when the running ones have ended");
                    notifier.status("Draining");
                    dispatcher.close();
                    self.winding_down.cancel();
                    draining = true;
                }
                Event::Reload(reply) => {
                    notifier.reloading();
                    // Files that cannot be read at present do not keep the daemon from
                    // stopping.
                    let outcome = tokio::select! {
                        outcome = self.reload() => outcome,
                        calls = events.stop() => {
                            warn!("stopped before the configuration was read again");
                            return calls;
                        }
                    };
                    notifier.ready();
                    if let Some(reply) = reply {
                        // Whoever does not wait any more does not need the answer.
                        let _ = reply.send(outcome);
                    }
                }
            }
        }
    }

    async fn reload(&mut self) -> Result<Reloaded, NotReloaded> {
        let refresher = &self.started.refresher;
        let outcome = self.in_force.reload(&mut self.listeners, refresher).await;
        match &outcome {
            Ok(_) => {}
            Err(NotReloaded::File(why)) => {
                for problem in why.lines() {
                    error!("{problem}");
                }
                error!("configuration not reloaded, the one in force stays");
            }
            Err(NotReloaded::Parts(parts)) => {
                for (part, why) in parts {
                    error!(part, "{why}");
                }
                error!("configuration not reloaded, the one in force stays");
            }
        }
        outcome
    }

    async fn stop(self, calls: KeptCalls, notifier: &Notifier) {
        // New calls are refused from now on; everything else is still answered.
        let limits = &self.in_force.config.execution;
        let stop_grace = self.in_force.config.stop_grace;
        // A host that takes the rest of its request, and the wait for it to be done.
        let longest = limits.connect_timeout + limits.slot_grace + PATIENCE;
        let dispatcher = &self.started.desk.dispatcher;
        info!(stop_grace = stop_grace.as_secs(), "stopping");
        notifier.stopping();
        notifier.extend_stop(stop_grace + longest + 2 * PATIENCE);
        dispatcher.close();
        if calls == KeptCalls::Leave {
            dispatcher.leave();
        }
        self.winding_down.cancel();
        let mut listeners = self.listeners;
        listeners.close_handed_over();
        let grace_ends = Instant::now() + stop_grace;
        if within(grace_ends, dispatcher.idle()).await.is_none() {
            warn!("calls still running after stop_grace are ended with missing_result");
            match calls {
                KeptCalls::Leave => dispatcher.interrupt(),
                KeptCalls::End => dispatcher.end_calls(),
            }
            if timeout(longest, dispatcher.idle()).await.is_err() {
                error!("the job store does not answer; what it has not taken is lost");
            }
        }
        // A client that waits now waits for jobs that stay queued; one that is written to may
        // have the rest.
        dispatcher.over();
        self.closing.cancel();
        drop(listeners);
        self.background.end().await;
        self.connections.close();
        if timeout(PATIENCE, self.connections.wait()).await.is_err() {
            let connections = self.connections.len();
            warn!(
                connections,
                "connections closed while a client was still reading"
            );
        }
        self.acts.close();
        if timeout(PATIENCE, self.acts.wait()).await.is_err() {
            warn!("what an administrator or a client has asked for is left unfinished");
        }
        dispatcher.jobs().caught_up().await;
        if timeout(PATIENCE, self.audit.finish()).await.is_err() {
            error!("the audit log cannot be written; its last lines are lost");
        }
        self.auditing.end().await;
        // The collector is not waited for if it does not answer at once.
        let last = async {
            self.telling.caught_up().await;
            self.telling.traces.finish().await;
        };
        let _ = timeout(LAST_SPANS, last).await;
        self.tracing.end().await;
        dispatcher.shut().await;
        info!("stopped");
    }
}

async fn hosts_unaware_until(config: &Config) -> anyhow::Result<Option<Instant>> {
    let directory = config.stream_directory.clone();
    let grace = config.execution.break_grace;
    let look = move || boot::hosts_unaware_until(directory.as_deref()?, grace);
    off_workers(move || Ok(look())).await
}

/// Does what may take as long as a file system does, so that a stop is heard meanwhile.
async fn off_workers<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}
