//! The transport of each call: for one that has not gone out by the kind of its host in the
//! registry, for one that has by whose note is on record with it.

use std::sync::Arc;

use harp_jobs::ledger::{Hold, Token};
use harp_jobs::record::CallRecord;
use harp_jobs::transport::{Attempt, How, Minted, Transport};

use super::harp::Harp;
use crate::hosts::{Host, Hosts};

/// All transports. A call to a host that the registry does not have is the harp protocol's,
/// which ends it with `unknown_host`.
#[derive(Debug)]
pub struct ByKind {
    hosts: Arc<Hosts>,
    harp: Harp,
}

impl ByKind {
    /// Chooses among these by the hosts' kinds.
    #[must_use]
    pub fn new(hosts: Arc<Hosts>, harp: Harp) -> ByKind {
        ByKind { hosts, harp }
    }

    /// Whether a job with this token on record may go on at its host, or run now: it is not
    /// over with a start of the dispatcher.
    #[must_use]
    pub fn may_go_on(token: &Token) -> bool {
        Harp::may_go_on(token)
    }

    fn of_host(&self, name: &str) -> &dyn Transport {
        match self.hosts.get(name) {
            None | Some(Host::Harpd(_)) => &self.harp,
        }
    }

    #[allow(clippy::unused_self, reason = "each kind's tokens are its own")]
    fn of_token(&self, _token: &Token) -> &dyn Transport {
        &self.harp
    }
}

impl Transport for ByKind {
    fn mint(&self, call: &CallRecord) -> Minted {
        self.of_host(&call.host).mint(call)
    }

    fn begin(&self, hold: Hold, call: Arc<CallRecord>, how: How, token: Token) -> Box<dyn Attempt> {
        let transport = match how {
            How::New => self.of_host(&call.host),
            How::Attach { .. } | How::Settle => self.of_token(&token),
        };
        transport.begin(hold, call, how, token)
    }
}
