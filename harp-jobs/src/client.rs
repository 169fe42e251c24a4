//! The client that asks: an identity as far as there is one, what that rests on, and where
//! the client connects from.
//!
//! A connection has an identity from its transport, a client certificate or the peer of a
//! Unix socket, or from a token in `hello` (client protocol, section 8), which then counts
//! in its place. Where a name comes from is part of it, so that the token `shop` is never
//! taken for the user `shop`: `token:shop`, `cert:shop`, `uid:shop`; and the user whose name
//! is `7` never for the user of number 7 without a name: `uid:7`, `uid:#7`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use crate::world::BoxFuture;

/// The name of somebody who has authenticated. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity(Arc<str>);

impl Identity {
    /// Name of a client that has not authenticated, for rules, log and audit log.
    pub const ANONYMOUS: &'static str = "anonymous";

    /// The holder of a token.
    #[must_use]
    pub fn of_token(name: &str) -> Identity {
        Identity(format!("token:{name}").into())
    }

    /// The subject of a client certificate, by its common name.
    #[must_use]
    pub fn of_certificate(common_name: &str) -> Identity {
        Identity(format!("cert:{common_name}").into())
    }

    /// A user of this machine, by name.
    #[must_use]
    pub fn of_user(name: &str) -> Identity {
        Identity(format!("uid:{name}").into())
    }

    /// A user of this machine that has no name.
    #[must_use]
    pub fn of_nameless_user(number: u32) -> Identity {
        Identity(format!("uid:#{number}").into())
    }

    /// The name with where it comes from.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Ground of an identity. It may cease to hold while the client is connected: a token
/// can be deleted, a certificate's authority be replaced.
pub trait Proof: fmt::Debug + Send + Sync {
    /// True if the identity would be given at this moment. As long as the file system takes
    /// that the proof is on. Cancel safe.
    fn holds(&self) -> BoxFuture<'_, bool>;
}

/// The client at the other end of a connection.
#[derive(Debug, Clone)]
pub struct Client {
    /// Peer that it connects from.
    pub peer: Peer,
    /// Its identity, as far as is known.
    pub identity: Option<Identity>,
    /// Ground of the identity; `None` for one that the connection itself proves for good.
    pub proof: Option<Arc<dyn Proof>>,
    /// By which kind of door it has come in.
    pub via: Via,
    /// False if it has to authenticate before it may ask anything.
    pub may_be_stranger: bool,
}

/// The kinds of doors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// A listener for clients: the access rules hold.
    Listener,
    /// A listener for HTTP, likewise.
    Http,
    /// The administrative socket: a process that can open it may do everything.
    Administration,
}

impl Client {
    /// A client that has connected just now and has not said who it is.
    #[must_use]
    pub fn unknown(peer: Peer, via: Via, may_be_stranger: bool) -> Client {
        Client {
            peer,
            identity: None,
            proof: None,
            via,
            may_be_stranger,
        }
    }

    /// The name for rules and logs.
    #[must_use]
    pub fn name(&self) -> &str {
        self.identity
            .as_ref()
            .map_or(Identity::ANONYMOUS, Identity::as_str)
    }

    /// True as long as the client has to say who it is before anything else.
    #[must_use]
    pub fn is_stranger(&self) -> bool {
        !self.may_be_stranger && self.identity.is_none()
    }

    /// True if what the client's identity rests on does not hold any more. As long as the
    /// file system takes that the proof is on. Cancel safe.
    pub async fn has_lapsed(&self) -> bool {
        match &self.proof {
            Some(proof) => !proof.holds().await,
            None => false,
        }
    }

    /// True for an administrator of the daemon.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        self.via == Via::Administration
    }
}

/// Place that a client connects from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// An address of the network.
    Network(SocketAddr),
    /// A process of this machine, by a Unix socket.
    Local {
        /// Its user.
        uid: u32,
        /// The process, where the system tells.
        pid: Option<i32>,
    },
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Network(address) => address.fmt(f),
            Peer::Local {
                uid,
                pid: Some(pid),
            } => write!(f, "local:uid={uid},pid={pid}"),
            Peer::Local { uid, pid: None } => write!(f, "local:uid={uid}"),
        }
    }
}
