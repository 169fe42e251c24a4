//! What is asked of who connects to a listener. Of one for HTTP it may change while the
//! listener is open.

use std::sync::Arc;

use harp_service::tls::{Protocols, TlsError};
use tokio::sync::watch;

use super::settings::{ListenerSettings, Speaks};
use super::{ListenerPlace, Tls};
use crate::faces::http::settings::{Door, HttpSettings};
use crate::meters::requests::Protocol;

/// What a listener for HTTP offers by ALPN.
const HTTP: Protocols = &[b"h2", b"http/1.1"];

/// What the sockets of one listener go by at the moment.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) tls: watch::Receiver<Option<Arc<Tls>>>,
    pub(super) entry: Entry,
}

/// Where a connection leads.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// To the client protocol. Whoever connects may be a stranger or not.
    Lines {
        /// False if clients have to authenticate.
        may_be_stranger: bool,
    },
    /// To the HTTP face.
    Http(watch::Receiver<Arc<Door>>),
}

impl Entry {
    /// What is spoken there.
    pub(super) fn protocol(&self) -> Protocol {
        match self {
            Entry::Lines { .. } => Protocol::HarpCaller,
            Entry::Http(_) => Protocol::Http,
        }
    }
}

/// The other end of [`Terms`]: what changes them.
#[derive(Debug)]
pub(super) struct Change {
    tls: watch::Sender<Option<Arc<Tls>>>,
    /// `None` for the client protocol.
    door: Option<watch::Sender<Arc<Door>>>,
}

/// Terms that have been read and checked, to be in force when nothing can fail any more.
#[derive(Debug)]
pub(super) struct Prepared {
    tls: Option<Arc<Tls>>,
    door: Option<Arc<Door>>,
    requires_authentication: bool,
}

impl Prepared {
    /// Reads the files of a listener.
    pub(super) fn of(settings: &ListenerSettings) -> Result<Prepared, TlsError> {
        let protocols = match settings.speaks {
            Speaks::Lines => &[],
            Speaks::Http(_) => HTTP,
        };
        let tls = settings.tls.clone();
        let tls = tls.map(|files| Tls::load(files, protocols)).transpose()?;
        let door = match &settings.speaks {
            Speaks::Lines => None,
            Speaks::Http(http) => Some(Arc::new(Door {
                settings: HttpSettings::clone(http),
                may_be_stranger: !settings.requires_authentication,
                is_local: matches!(settings.place, ListenerPlace::Path(_)),
            })),
        };
        Ok(Prepared {
            tls: tls.map(Arc::new),
            door,
            requires_authentication: settings.requires_authentication,
        })
    }

    /// Terms for the client protocol on a plain socket, for everybody.
    pub(super) fn plain() -> Prepared {
        Prepared {
            tls: None,
            door: None,
            requires_authentication: false,
        }
    }

    /// Puts them in force for a listener that is about to be opened.
    pub(super) fn begin(self) -> (Terms, Change) {
        let (set_tls, tls) = watch::channel(self.tls);
        let (set_door, entry) = match self.door {
            None => {
                let may_be_stranger = !self.requires_authentication;
                (None, Entry::Lines { may_be_stranger })
            }
            Some(door) => {
                let (set_door, door) = watch::channel(door);
                (Some(set_door), Entry::Http(door))
            }
        };
        let change = Change {
            tls: set_tls,
            door: set_door,
        };
        (Terms { tls, entry }, change)
    }
}

impl Change {
    /// Puts other terms in force for the connections, and on kept ones for the requests, that
    /// come from now on.
    pub(super) fn to(&self, prepared: Prepared) {
        self.tls.send_replace(prepared.tls);
        if let (Some(set_door), Some(door)) = (&self.door, prepared.door) {
            set_door.send_replace(door);
        }
    }
}

impl Terms {
    /// False if clients have to authenticate.
    pub(super) fn may_be_stranger(&self) -> bool {
        match &self.entry {
            Entry::Lines { may_be_stranger } => *may_be_stranger,
            Entry::Http(door) => door.borrow().may_be_stranger,
        }
    }
}
