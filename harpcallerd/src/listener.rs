//! Entrances of clients: listening sockets of every kind, and what is done with a
//! connection before it has a session.

mod change;
mod permits;
pub mod settings;
mod terms;
mod tls;
mod unix;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use harp_jobs::access::AccessRules;
use harp_jobs::client::{Client, Peer, Via};
use harp_jobs::refusal::Full;
use harp_service::accept::Acceptor;
use harp_service::tls::TlsError;
use harp_service::unix_socket::SocketFile;
use harp_time::within;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, info_span, warn};

use crate::desk::Desk;
use crate::faces::connection::Socket;
use crate::faces::http::{self, Lobby, Secured};
use crate::faces::line;
use crate::identity::user;
use crate::limits::{ClientLimits, ClientMemory};
use crate::meters::Meters;
use crate::peer_group::PeerGroup;

pub use change::{Listeners, Opened};
pub use harp_service::tls::TlsFiles;
pub use permits::{ConnectionPermit, Permits};
pub use settings::{ListenerPlace, ListenerSettings, Speaks};
use terms::{Entry, Prepared, Terms};
pub use tls::Tls;
pub use unix::UnixPlace;

/// Reads the files of a listener as a start would, and lets go of them. Blocks.
///
/// # Errors
///
/// If one of them cannot be read, or they do not go together.
pub(crate) fn check_files(settings: &ListenerSettings) -> Result<(), TlsError> {
    Prepared::of(settings).map(drop)
}

/// How long a client that is one too many may take to receive its answer.
const REFUSAL: Duration = Duration::from_secs(1);

/// Clients that are being told so at once.
const REFUSALS: usize = 64;

/// An open listening socket, and what is asked of who connects to it.
#[derive(Debug)]
pub struct Listener {
    socket: ListeningSocket,
    terms: Terms,
}

#[derive(Debug)]
enum ListeningSocket {
    Network(Acceptor),
    Local(Acceptor<UnixListener>, SocketFile),
}

/// Admits connections: each gets a permit and a task, and is served.
#[derive(Debug)]
pub struct Admission {
    /// The front door that they come to, as soon as it is there.
    pub desk: watch::Receiver<Option<Arc<Desk>>>,
    /// The limits of clients, those of the moment.
    pub limits: watch::Receiver<ClientLimits>,
    /// What clients may do.
    pub access: watch::Receiver<Arc<AccessRules>>,
    /// Cancelled when nobody may wait for anything any more.
    pub closing: CancellationToken,
    /// What is counted of them.
    pub meters: Meters,
    /// Permits for those that there may be.
    pub permits: Arc<Permits>,
    /// Memory for their large requests.
    pub memory: Arc<ClientMemory>,
    /// Tasks of the connections.
    pub connections: TaskTracker,
    /// Where those lead that come by HTTP.
    pub http: Arc<Lobby>,
}

impl Listener {
    /// Opens the sockets of a `[[listener]]`.
    ///
    /// # Errors
    ///
    /// The reason for which one cannot be opened, with its name. Then none is left open.
    async fn open(settings: &ListenerSettings, terms: &Terms) -> anyhow::Result<Vec<Listener>> {
        match &settings.place {
            ListenerPlace::Path(place) => {
                let (socket, file) = place.bind().await?;
                Ok(vec![Listener {
                    socket: ListeningSocket::Local(Acceptor::new(socket), file),
                    terms: terms.clone(),
                }])
            }
            ListenerPlace::Address(address) => {
                let mut listeners = Vec::new();
                for socket in address.bind().await? {
                    listeners.push(Listener {
                        socket: ListeningSocket::Network(Acceptor::new(socket)),
                        terms: terms.clone(),
                    });
                }
                Ok(listeners)
            }
        }
    }

    /// A socket that the service manager has opened.
    fn handed_over(socket: std::net::TcpListener, terms: &Terms) -> io::Result<Listener> {
        let socket = TcpListener::from_std(socket)?;
        Ok(Listener {
            socket: ListeningSocket::Network(Acceptor::new(socket)),
            terms: terms.clone(),
        })
    }

    /// The address that it is bound to, unless it is a Unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            ListeningSocket::Network(acceptor) => acceptor.local_addr().ok(),
            ListeningSocket::Local(..) => None,
        }
    }

    /// The address or path for the log.
    #[must_use]
    pub fn name(&self) -> String {
        match &self.socket {
            ListeningSocket::Network(acceptor) => acceptor
                .local_addr()
                .map_or_else(|_| "?".to_owned(), |address| address.to_string()),
            ListeningSocket::Local(_, file) => file.path().display().to_string(),
        }
    }

    /// True if anybody on the network can ask anything here.
    #[must_use]
    pub fn is_open_to_all(&self) -> bool {
        let is_local = self
            .address()
            .is_none_or(|address| address.ip().to_canonical().is_loopback());
        !is_local && self.terms.may_be_stranger()
    }

    /// True if others than this machine can reach it, and what they say goes in the clear.
    fn is_in_the_clear(&self) -> bool {
        let is_local = self
            .address()
            .is_none_or(|address| address.ip().to_canonical().is_loopback());
        !is_local && self.terms.tls.borrow().is_none()
    }

    fn speaks_http(&self) -> bool {
        matches!(self.terms.entry, Entry::Http(_))
    }

    /// Accepts, a session for each connection, until `closing` is cancelled and the
    /// backlog is empty. Connections go on then.
    pub async fn accept(self, admission: Arc<Admission>, closing: CancellationToken) {
        let refusals = Arc::new(Semaphore::new(REFUSALS));
        let name: Arc<str> = self.name().into();
        let terms = self.terms;
        match self.socket {
            ListeningSocket::Network(mut acceptor) => {
                while let Some((socket, peer)) = until(&closing, acceptor.accept()).await {
                    let tls = terms.tls.borrow().clone();
                    let arrival = Arrival::Network(socket, tls);
                    admission.receive(&name, &refusals, arrival, Peer::Network(peer), &terms);
                }
            }
            ListeningSocket::Local(mut acceptor, _file) => {
                while let Some(socket) = until(&closing, acceptor.accept()).await {
                    let Ok(peer) = user::peer(&socket) else {
                        continue;
                    };
                    admission.receive(&name, &refusals, Arrival::Local(socket), peer, &terms);
                }
            }
        }
    }
}

/// The next connection; once `closing` is cancelled, only one that is there already.
async fn until<T>(closing: &CancellationToken, accept: impl Future<Output = T>) -> Option<T> {
    let mut accept = std::pin::pin!(accept);
    tokio::select! {
        biased;
        () = closing.cancelled() => accept.as_mut().now_or_never(),
        accepted = &mut accept => Some(accepted),
    }
}

/// A connection that has just been accepted.
enum Arrival {
    Network(TcpStream, Option<Arc<Tls>>),
    Local(UnixStream),
}

impl Admission {
    /// `listener` is the name of the one that it came in by, for the log.
    fn receive(
        self: &Arc<Self>,
        listener: &str,
        refusals: &Arc<Semaphore>,
        arrival: Arrival,
        peer: Peer,
        terms: &Terms,
    ) {
        let via = match terms.entry {
            Entry::Lines { .. } => Via::Listener,
            Entry::Http(_) => Via::Http,
        };
        let client = Client::unknown(peer, via, terms.may_be_stranger());
        let entry = terms.entry.clone();
        let limits = *self.limits.borrow();
        match self.permits.take(PeerGroup::of(&client.peer), &limits) {
            Ok(permit) => {
                let admission = Arc::clone(self);
                let span = info_span!(parent: None, "client", peer = %client.peer, listener);
                let present = self.meters.connected(terms.entry.protocol());
                let session = async move {
                    let _present = present;
                    admission.admit(arrival, client, entry, &limits).await;
                    drop(permit);
                };
                self.connections.spawn(session.instrument(span));
            }
            // Bounded too; one that comes when these permits are taken as well is closed
            // without a word.
            Err(full) => {
                debug!(peer = %client.peer, limit = full.key(), "connection refused");
                self.meters.refused(full.key());
                if let Ok(permit) = Arc::clone(refusals).try_acquire_owned() {
                    self.connections.spawn(async move {
                        let _ = timeout(REFUSAL, arrival.refuse(full, &entry)).await;
                        drop(permit);
                    });
                }
            }
        }
    }

    /// Finds out who it is as far as the transport tells, and serves the connection.
    async fn admit(
        &self,
        arrival: Arrival,
        mut client: Client,
        entry: Entry,
        limits: &ClientLimits,
    ) {
        match arrival {
            Arrival::Network(socket, tls) => {
                // A peer that takes nothing any more, or is gone without a word.
                let _ = SockRef::from(&socket).set_tcp_user_timeout(Some(limits.write_timeout));
                let Some(tls) = tls else {
                    return self.serve(socket, client, entry, None).await;
                };
                let Some(permit) = self.permits.handshake(PeerGroup::of(&client.peer), limits)
                else {
                    debug!(peer = %client.peer, limit = "max_handshakes", "connection refused");
                    self.meters.refused("max_handshakes");
                    return;
                };
                let by = Instant::now() + limits.handshake_timeout;
                // It is large and soon over, and most connections are not.
                let handshake = Box::pin(tls.handshake(socket));
                let shaken = tokio::select! {
                    shaken = within(by, handshake) => shaken,
                    () = permit.lost() => {
                        return debug!(peer = %client.peer, "its handshake gave way to another's");
                    }
                    () = self.closing.cancelled() => return,
                };
                drop(permit);
                match shaken {
                    Some(Ok((stream, shown))) => {
                        if let Some((identity, shown)) = shown {
                            client.identity = Some(identity);
                            client.proof = Some(Arc::new(shown));
                        }
                        let is_http = matches!(entry, Entry::Http(_));
                        let secured = if is_http {
                            within(by, tls.secured(&stream)).await
                        } else {
                            None
                        };
                        if is_http && secured.is_none() {
                            return debug!(peer = %client.peer, "its certificate cannot be read");
                        }
                        self.serve(stream, client, entry, secured).await;
                    }
                    Some(Err(error)) => debug!(peer = %client.peer, %error, "TLS handshake failed"),
                    None => debug!(peer = %client.peer, "TLS handshake took too long"),
                }
            }
            Arrival::Local(socket) => {
                let by = Instant::now() + limits.handshake_timeout;
                let found = tokio::select! {
                    found = within(by, user::identity(client.peer)) => found,
                    () = self.closing.cancelled() => return,
                };
                match found {
                    Some(Ok(identity)) => {
                        client.identity = identity;
                        self.serve(socket, client, entry, None).await;
                    }
                    // Under another name it would have rights that are not its own.
                    Some(Err(error)) => {
                        warn!(peer = %client.peer, %error, "the user's name cannot be found out, connection closed");
                    }
                    None => {
                        warn!(peer = %client.peer, "finding out the user's name took too long, connection closed");
                    }
                }
            }
        }
    }
}

impl Admission {
    /// `secured` is `None` without TLS, or where nobody wants to know.
    async fn serve<S: Socket + 'static>(
        &self,
        socket: S,
        client: Client,
        entry: Entry,
        secured: Option<Secured>,
    ) {
        match entry {
            Entry::Lines { .. } => {
                let desk = self.desk.borrow().clone();
                // Nobody is accepted there before it is.
                if let Some(desk) = desk {
                    line::serve(socket, client, desk, Arc::clone(&self.memory)).await;
                }
            }
            Entry::Http(door) => {
                // A connection of the other protocol has no room for what this one needs.
                let serving = http::serve(socket, client, door, secured, Arc::clone(&self.http));
                Box::pin(serving).await;
            }
        }
    }
}

impl Arrival {
    /// Says that there is no place. Takes as long as the client does.
    async fn refuse(self, full: Full, entry: &Entry) {
        match self {
            Arrival::Network(socket, None) => refuse(socket, full, entry).await,
            Arrival::Network(socket, Some(tls)) => {
                if let Ok((stream, _)) = tls.handshake(socket).await {
                    refuse(stream, full, entry).await;
                }
            }
            Arrival::Local(socket) => refuse(socket, full, entry).await,
        }
    }
}

async fn refuse<S: Socket>(socket: S, full: Full, entry: &Entry) {
    match entry {
        Entry::Lines { .. } => line::refuse(socket, full, REFUSAL).await,
        Entry::Http(_) => http::refuse(socket, full, REFUSAL).await,
    }
}
