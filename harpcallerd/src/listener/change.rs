//! Which listeners are open, and how that changes while the daemon runs: what is new is
//! opened before what is not wanted any more is closed.

use std::io;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::terms::Change;
use super::{Admission, Listener, ListenerPlace, ListenerSettings, Prepared, Speaks};
use crate::config::Config;

/// Places that the configuration, or the service manager, wants to be listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// A `[[listener]]`, or an address of `listen` as one: plain, for everybody.
    Configured(ListenerSettings),
    /// From the service manager, which decides about the address, in the place of the
    /// addresses of `listen`.
    HandedOver,
}

/// Listening sockets that are not accepted from yet: clients that connect wait.
#[derive(Debug, Default)]
pub struct Opened {
    new: Vec<(Origin, Vec<Listener>, Change)>,
    /// Other terms for what is open at the place of these.
    changed: Vec<(Origin, Prepared)>,
}

/// The open listeners. Dropping it closes them, with the clients in their backlogs, unless
/// somebody else has them open too; connections go on then.
#[derive(Debug)]
pub struct Listeners {
    admission: Arc<Admission>,
    open: Vec<Open>,
}

#[derive(Debug)]
struct Open {
    origin: Origin,
    name: String,
    change: Change,
    /// Cancelled to close the sockets once everybody in the backlog has been accepted.
    closing: CancellationToken,
    /// Dropping it closes the sockets at once.
    accepting: JoinSet<()>,
}

impl Origin {
    /// True if both want the same address or path, whatever their other settings: one of
    /// them can be open at a time.
    fn is_at_the_place_of(&self, other: &Origin) -> bool {
        match (self.place(), other.place()) {
            (Some(ListenerPlace::Address(one)), Some(ListenerPlace::Address(other))) => {
                one == other
            }
            (Some(ListenerPlace::Path(one)), Some(ListenerPlace::Path(other))) => {
                one.path == other.path
            }
            _ => false,
        }
    }

    /// True if another one's settings can be in force here without the socket being opened
    /// anew.
    fn can_become(&self, other: &Origin) -> bool {
        let (Origin::Configured(own), Origin::Configured(other)) = (self, other) else {
            return false;
        };
        let are_http = |one: &ListenerSettings| matches!(one.speaks, Speaks::Http(_));
        own.place == other.place && are_http(own) && are_http(other)
    }

    fn place(&self) -> Option<&ListenerPlace> {
        match self {
            Origin::Configured(settings) => Some(&settings.place),
            Origin::HandedOver => None,
        }
    }
}

impl Opened {
    /// Opens everything that the configuration asks for, or nothing. A socket that was handed
    /// over with the address of a `[[listen_http]]` is that one's; the others stand for the
    /// addresses of `listen`.
    ///
    /// # Errors
    ///
    /// What cannot be opened, with its name in the message.
    pub async fn at_start(
        config: &Config,
        handed_over: Option<Vec<std::net::TcpListener>>,
    ) -> anyhow::Result<Opened> {
        let (for_http, handed_over) = split(config, handed_over.unwrap_or_default());
        let mut opened = Opened::default();
        for (settings, socket) in for_http {
            let (terms, change) = Prepared::of(&settings)?.begin();
            let listener = Listener::handed_over(socket, &terms)?;
            let origin = Origin::Configured(settings);
            opened.new.push((origin, vec![listener], change));
        }
        let is_handed_over = !handed_over.is_empty();
        let there: Vec<_> = opened
            .new
            .iter()
            .map(|(origin, ..)| origin.clone())
            .collect();
        let there: Vec<_> = there.iter().collect();
        let missing = Opened::missing(&there, &wanted(config, is_handed_over)).await?;
        opened.new.extend(missing.new);
        if is_handed_over {
            info!("listening on sockets that were handed over; the key listen is not used");
            let (terms, change) = Prepared::plain().begin();
            let listeners = handed_over
                .into_iter()
                .map(|socket| Listener::handed_over(socket, &terms))
                .collect::<io::Result<_>>()?;
            opened.new.push((Origin::HandedOver, listeners, change));
        }
        Ok(opened)
    }

    /// Takes out those for HTTP.
    #[must_use]
    pub fn take_http(&mut self) -> Opened {
        let is_http = |origin: &Origin| match origin {
            Origin::Configured(settings) => matches!(settings.speaks, Speaks::Http(_)),
            Origin::HandedOver => false,
        };
        Opened {
            new: self
                .new
                .extract_if(.., |(origin, ..)| is_http(origin))
                .collect(),
            changed: Vec::new(),
        }
    }

    /// Opens what is wanted and not there.
    async fn missing(there: &[&Origin], wanted: &[Origin]) -> anyhow::Result<Opened> {
        let mut opened = Opened::default();
        for origin in wanted {
            let Origin::Configured(settings) = origin else {
                continue;
            };
            match there.iter().find(|open| open.is_at_the_place_of(origin)) {
                None => {
                    let (terms, change) = Prepared::of(settings)?.begin();
                    let listeners = Listener::open(settings, &terms).await?;
                    opened.new.push((origin.clone(), listeners, change));
                }
                Some(open) if *open != origin && open.can_become(origin) => {
                    opened
                        .changed
                        .push((origin.clone(), Prepared::of(settings)?));
                }
                // It keeps its settings until a restart.
                Some(_) => {}
            }
        }
        Ok(opened)
    }
}

impl Listeners {
    /// Accepts from these sockets, a session for each connection.
    #[must_use]
    pub fn start(opened: Opened, admission: Arc<Admission>) -> Listeners {
        let mut listeners = Listeners {
            admission,
            open: Vec::new(),
        };
        listeners.accept_from(opened);
        listeners
    }

    /// Opens what another configuration asks for and is not open yet, to be given to
    /// [`Listeners::change`].
    ///
    /// # Errors
    ///
    /// The place that cannot be opened, with its name in the message. Then none has been.
    pub async fn open_missing(&self, config: &Config) -> anyhow::Result<Opened> {
        let there: Vec<_> = self.open.iter().map(|open| &open.origin).collect();
        Opened::missing(&there, &wanted(config, self.are_handed_over())).await
    }

    /// Accepts from what has been opened, then closes what the configuration does not
    /// want any more: a client in a backlog is still served. Returns the keys whose
    /// change needs a restart.
    pub fn change(&mut self, mut opened: Opened, config: &Config) -> Vec<&'static str> {
        for (origin, prepared) in opened.changed.drain(..) {
            let mut open = self.open.iter_mut();
            if let Some(open) = open.find(|open| open.origin.is_at_the_place_of(&origin)) {
                open.change.to(prepared);
                open.origin = origin;
            }
        }
        self.accept_from(opened);
        let wanted = wanted(config, self.are_handed_over());
        let is_wanted = |open: &Open| {
            let origin = &open.origin;
            *origin == Origin::HandedOver
                || wanted
                    .iter()
                    .any(|wanted| wanted.is_at_the_place_of(origin))
        };
        for open in self.open.extract_if(.., |open| !is_wanted(open)) {
            info!(address = open.name, "no longer listening");
            open.closing.cancel();
            let mut accepting = open.accepting;
            accepting.detach_all();
        }
        let is_changed = |open: &Open| {
            matches!(open.origin, Origin::Configured(_)) && !wanted.contains(&open.origin)
        };
        if self.open.iter().any(is_changed) {
            vec!["listener"]
        } else {
            Vec::new()
        }
    }

    /// True if the service manager decides about the addresses of `listen`.
    #[must_use]
    pub fn are_handed_over(&self) -> bool {
        self.open
            .iter()
            .any(|open| open.origin == Origin::HandedOver)
    }

    /// Closes the sockets that the service manager has as well: a client that connects from now
    /// on waits there for the next start.
    pub fn close_handed_over(&mut self) {
        self.open.retain(|open| open.origin != Origin::HandedOver);
    }

    /// Accepts from further sockets.
    pub fn accept_from(&mut self, opened: Opened) {
        let has_no_rules = self.admission.access.borrow().is_empty();
        for (origin, listeners, change) in opened.new {
            let closing = CancellationToken::new();
            let mut accepting = JoinSet::new();
            let names: Vec<_> = listeners.iter().map(Listener::name).collect();
            for listener in listeners {
                if has_no_rules && listener.is_open_to_all() {
                    warn!(
                        address = listener.name(),
                        "whoever can connect here can make every call: nobody has to \
                         authenticate, and there are no [[allow]] rules"
                    );
                }
                if listener.speaks_http() && listener.is_in_the_clear() {
                    warn!(
                        address = listener.name(),
                        "HTTP without TLS that others can reach: who listens in between reads \
                         tokens and everything else"
                    );
                }
                if listener.speaks_http() {
                    info!(address = listener.name(), "listening for HTTP")
                } else {
                    info!(address = listener.name(), "listening")
                }
                accepting.spawn(listener.accept(Arc::clone(&self.admission), closing.clone()));
            }
            self.open.push(Open {
                origin,
                name: names.join(", "),
                change,
                closing,
                accepting,
            });
        }
    }
}

/// Sockets that were handed over: those with the addresses of listeners for HTTP, and others.
fn split(
    config: &Config,
    handed_over: Vec<std::net::TcpListener>,
) -> (
    Vec<(ListenerSettings, std::net::TcpListener)>,
    Vec<std::net::TcpListener>,
) {
    let mut for_http = Vec::new();
    let mut others = Vec::new();
    for socket in handed_over {
        let of = |settings: &&ListenerSettings| {
            let (Speaks::Http(_), ListenerPlace::Address(address)) =
                (&settings.speaks, &settings.place)
            else {
                return false;
            };
            socket.local_addr().is_ok_and(|local| address.is(local))
        };
        match config.listeners.iter().find(of) {
            Some(settings) => for_http.push((settings.clone(), socket)),
            None => others.push(socket),
        }
    }
    (for_http, others)
}

/// Places that a configuration asks for, each once.
fn wanted(config: &Config, is_handed_over: bool) -> Vec<Origin> {
    let plain = config.listen.iter().map(|address| ListenerSettings {
        place: ListenerPlace::Address(address.clone()),
        tls: None,
        requires_authentication: false,
        speaks: Speaks::Lines,
    });
    let plain = plain.filter(|_| !is_handed_over);
    let mut wanted: Vec<Origin> = Vec::new();
    for settings in plain.chain(config.listeners.iter().cloned()) {
        let origin = Origin::Configured(settings);
        if !wanted.contains(&origin) {
            wanted.push(origin);
        }
    }
    wanted
}
