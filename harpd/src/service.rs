//! The running daemon: its sockets, its reloads, its stop.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use harp_exec::Limit;
use harp_service::logging::{Log, Prepared};
use harp_service::signals::{ServiceSignal, Signals};
use harp_service::systemd::Notifier;
use harp_service::tasks::Tasks;
use harp_service::{Acceptor, ListenAddress};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, error, info, warn};

use crate::call::Workplace;
use crate::call_list::CallSocket;
use crate::connection::{self, Reception};
use crate::connections::Connections;
use crate::descriptors;
use crate::keeper_notes::KeeperNotes;
use crate::kept;
use crate::kept::calls::KeptCalls;
use crate::kept::conversation::House;
use crate::reaper::Reaper;
use crate::slots::Slots;
use crate::state::{LoadError, Problem, State};

/// Beyond `kill_grace`, how long a stop waits for calls to end and be told so.
const STOP_TIME: Duration = Duration::from_secs(10);

/// The daemon.
#[derive(Debug)]
pub struct Service {
    config_file: PathBuf,
    log: Arc<Log>,
    acceptors: Vec<Acceptor>,
    shared: Arc<Shared>,
    reaper: Reaper,
}

/// State that listeners and connections use.
#[derive(Debug)]
struct Shared {
    state: watch::Sender<Arc<State>>,
    connections: Arc<Connections>,
    reception: Reception,
    slots: Arc<Slots>,
    /// Calls have to end.
    stopping: CancellationToken,
    /// Connections have to end.
    closing: CancellationToken,
    /// The connections, each a task with its call, if that does not outlive it.
    connected: TaskTracker,
    /// The calls that outlive their connections, if any do; and their tasks.
    kept: Option<Arc<KeptCalls>>,
    runs: TaskTracker,
}

impl Service {
    /// Asks the Python module and agents for their procedures, opens the listening
    /// sockets, unless some were handed over, and tells the log where they are. Programs
    /// start with these limits instead of harpd's own.
    ///
    /// # Errors
    ///
    /// If an address cannot be listened on, or the system refuses to make harpd a child
    /// subreaper.
    pub async fn start(
        config_file: PathBuf,
        mut state: State,
        handed_over: Option<Vec<std::net::TcpListener>>,
        log: Arc<Log>,
        limits: Vec<Limit>,
    ) -> io::Result<Service> {
        let (kept, notes) = keep_calls(&mut state).await?.unzip();
        let reaper = Reaper::start(limits, notes)?;
        state.import(&reaper).await;
        state.imports.log();
        let listeners = match handed_over {
            Some(sockets) => take_over(sockets)?,
            None => bind(&state.config.listen).await?,
        };
        let acceptors: Vec<_> = listeners.into_iter().map(Acceptor::new).collect();
        for acceptor in &acceptors {
            info!(address = %acceptor.local_addr()?, "listening");
        }
        let max_calls = state.config.max_calls;
        Ok(Service {
            config_file,
            log,
            acceptors,
            reaper,
            shared: Arc::new(Shared {
                connections: Connections::new(descriptors::connections_beside(max_calls)),
                reception: Reception::default(),
                slots: Slots::new(max_calls),
                stopping: CancellationToken::new(),
                closing: CancellationToken::new(),
                connected: TaskTracker::new(),
                kept,
                runs: TaskTracker::new(),
                state: watch::Sender::new(Arc::new(state)),
            }),
        })
    }

    /// Serves until told to stop, and returns when every call has been ended and told
    /// so, or has been waited for long enough.
    pub async fn run(mut self, mut signals: Signals, notifier: &Notifier) {
        let listening = Tasks::of_phase("listening");
        for acceptor in std::mem::take(&mut self.acceptors) {
            let shared = Arc::clone(&self.shared);
            let reaper = self.reaper.clone();
            listening.spawn("listener", listen(acceptor, shared, reaper));
        }
        notifier.ready();
        let keep_alive = notifier.keep_alive();
        tokio::pin!(keep_alive);
        let leases = Tasks::of_phase("leases");
        if let Some(kept) = self.shared.kept.clone() {
            self.tell_calls(&leases, &kept);
            leases.spawn("leases", async move { kept.watch_leases().await });
        }
        loop {
            let signal = tokio::select! {
                signal = signals.next() => signal,
                () = &mut keep_alive => continue,
            };
            match signal {
                ServiceSignal::Stop => break,
                ServiceSignal::Reload => {
                    notifier.reloading();
                    let reload = self.reload();
                    tokio::select! {
                        () = reload => {}
                        () = signals.stopped() => break,
                        // Never comes to an end.
                        () = &mut keep_alive => {}
                    }
                    notifier.ready();
                }
            }
        }
        info!("stopping");
        notifier.stopping();
        self.stop(listening, notifier).await;
        leases.end().await;
        self.reaper.end().await;
        info!("stopped");
    }

    /// Tells the operator which calls there are.
    fn tell_calls(&self, tasks: &Tasks, kept: &Arc<KeptCalls>) {
        let directory = self.shared.state().config.keep.state_directory.clone();
        match CallSocket::open(&directory) {
            Ok(socket) => {
                let plain = Arc::clone(self.shared.reception.calls());
                tasks.spawn("call list", socket.serve(plain, Arc::clone(kept)));
            }
            Err(error) => warn!(%error, "harpd list --calls will have nobody to ask"),
        }
    }

    /// Ends all calls, and has those that are kept fetched, as long as there is time.
    async fn stop(&self, listening: Tasks, notifier: &Notifier) {
        let shared = &self.shared;
        let settings = shared.state().config.keep.clone();
        let patience = shared.state().config.kill_grace + STOP_TIME;
        notifier.extend_stop(patience + settings.stop_grace + STOP_TIME);
        let fetched = async {
            let Some(kept) = shared.kept.as_ref().filter(|kept| kept.stop()) else {
                return true;
            };
            shared.stopping.cancel();
            shared.runs.close();
            let ended = tokio::time::timeout(patience, shared.runs.wait()).await;
            if ended.is_err() {
                warn!("some kept calls did not end in time");
            }
            if tokio::time::timeout(settings.stop_grace, kept.emptied())
                .await
                .is_err()
            {
                let ends = kept.list().len();
                warn!(
                    ends,
                    "nobody has fetched the ends of some kept calls in time"
                );
            }
            ended.is_ok()
        };
        let began = Instant::now();
        let kept_ended = fetched.await;
        listening.end().await;
        shared.stopping.cancel();
        shared.closing.cancel();
        shared.connected.close();
        let left = patience.saturating_sub(began.elapsed()).max(STOP_TIME);
        let ended = tokio::time::timeout(left, shared.connected.wait()).await;
        match (&shared.kept, ended) {
            (Some(kept), Ok(())) if kept_ended => kept.end_life(),
            (_, Ok(())) => {}
            (_, Err(_)) => warn!("some calls did not end in time"),
        }
    }

    /// Reads everything again. If anything is wrong, nothing changes. Dropped before it is
    /// through, nothing changes either.
    async fn reload(&self) {
        let config_file = self.config_file.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            let (state, mut warnings) = State::load(&config_file)?;
            warnings.extend(state.broken_procedures());
            let log = Prepared::open(&state.config.log);
            let log = log.map_err(|error| LoadError(vec![Problem::Log(error)]))?;
            Ok((state, warnings, log))
        });
        let loaded: Result<Result<_, LoadError>, _> = loaded.await;
        match loaded {
            Ok(Ok((mut state, warnings, log))) => {
                self.log.change(log);
                state.import(&self.reaper).await;
                state.imports.log();
                self.replace_state(state, &warnings);
            }
            Ok(Err(LoadError(problems))) => {
                for problem in problems {
                    error!("{problem}");
                }
                error!("not reloaded, the configuration in use stays");
            }
            // The panic itself is in the log.
            Err(_) => error!("not reloaded, the configuration in use stays"),
        }
    }

    fn replace_state(&self, mut state: State, warnings: &[String]) {
        let earlier = self.shared.state();
        for warning in warnings {
            warn!("{warning}");
        }
        if state.config.listen != earlier.config.listen {
            warn!("listen changes at the next start");
        }
        if state.config.keep.state_directory != earlier.config.keep.state_directory {
            warn!("state_directory changes at the next start");
        }
        match &self.shared.kept {
            Some(kept) => kept.change_settings(state.config.keep.clone()),
            None if state.config.keep.keep_calls => {
                warn!("keep_calls changes at the next start");
                if let Err(error) = state.keep_nothing() {
                    return error!(%error, "not reloaded, the configuration in use stays");
                }
            }
            None => {}
        }
        state.take_slots_of(&earlier);
        self.shared.slots.resize(state.config.max_calls);
        let connections = descriptors::connections_beside(state.config.max_calls);
        self.shared.connections.resize(connections);
        let procedures = state.config.procedures.len();
        self.shared.state.send_replace(Arc::new(state));
        info!(procedures, "reloaded");
    }
}

impl Shared {
    fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.borrow())
    }
}

/// Begins to keep calls, if the configuration says so. Where that cannot be done harpd
/// serves all the same, and says to callers that it keeps none.
async fn keep_calls(state: &mut State) -> io::Result<Option<(Arc<KeptCalls>, KeeperNotes)>> {
    if !state.config.keep.keep_calls {
        return Ok(None);
    }
    match kept::begin(&state.config.keep, state.config.kill_grace).await {
        Ok(begun) => Ok(Some(begun)),
        Err(error) => {
            warn!(%error, "state_directory cannot be used, so calls end with their connections");
            state.keep_nothing().map_err(io::Error::other)?;
            Ok(None)
        }
    }
}

/// Opens every address, or none.
async fn bind(addresses: &[ListenAddress]) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        listeners.extend(address.bind().await?);
    }
    Ok(listeners)
}

fn take_over(sockets: Vec<std::net::TcpListener>) -> io::Result<Vec<TcpListener>> {
    sockets.into_iter().map(TcpListener::from_std).collect()
}

async fn listen(mut acceptor: Acceptor, shared: Arc<Shared>, reaper: Reaper) {
    loop {
        let (stream, peer) = acceptor.accept().await;
        let Some(permit) = shared.connections.admit(peer.ip()) else {
            debug!(%peer, "refused, every connection is a call");
            continue;
        };
        let serving = serve(stream, peer, permit, Arc::clone(&shared), reaper.clone());
        shared.connected.spawn(serving);
    }
}

async fn serve(
    stream: TcpStream,
    peer: std::net::SocketAddr,
    permit: crate::connections::ConnectionPermit,
    shared: Arc<Shared>,
    reaper: Reaper,
) {
    let state = shared.state();
    let workplace = Workplace {
        reaper,
        slots: Arc::clone(&shared.slots),
        stopping: shared.stopping.clone(),
        kill_grace: state.config.kill_grace,
    };
    let house = shared.kept.as_ref().map(|calls| House {
        calls: Arc::clone(calls),
        state: shared.state.subscribe(),
        large_requests: shared.reception.large_requests(),
        reaper: workplace.reaper.clone(),
        slots: Arc::clone(&shared.slots),
        stopping: shared.stopping.clone(),
        closing: shared.closing.clone(),
        runs: shared.runs.clone(),
    });
    let reception = &shared.reception;
    connection::serve(stream, peer, permit, reception, state, workplace, house).await;
}
