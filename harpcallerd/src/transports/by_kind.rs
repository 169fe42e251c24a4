//! The transport of each call: for one that has not gone out by the kind of its host in the
//! registry, for one that has by whose note is on record with it.

use std::sync::Arc;

use harp_jobs::ledger::{Hold, Token};
use harp_jobs::record::{CallRecord, Remarks};
use harp_jobs::transport::{Attempt, How, Minted, Transport};

use harp_device::Devices;
use harp_proto::Outcome;

use super::harp::Harp;
use super::worker::Worker;
use crate::hosts::{Host, Hosts};
use crate::knowledge::Knowledge;

/// All transports. A call to a host that the registry does not have is the harp protocol's,
/// which ends it with `unknown_host`.
#[derive(Debug)]
pub struct ByKind {
    hosts: Arc<Hosts>,
    harp: Harp,
    worker: Worker,
    devices: Arc<Devices>,
    /// What results have to be, whatever way they came.
    knowledge: Arc<Knowledge>,
}

impl ByKind {
    /// Chooses among these by the hosts' kinds.
    #[must_use]
    pub fn new(
        harp: Harp,
        worker: Worker,
        devices: Arc<Devices>,
        knowledge: Arc<Knowledge>,
    ) -> ByKind {
        ByKind {
            hosts: Arc::clone(&knowledge.hosts),
            harp,
            worker,
            devices,
            knowledge,
        }
    }

    /// Whether a job with this token on record may go on at its host, or run now: it is not
    /// over with a start of the dispatcher.
    #[must_use]
    pub fn may_go_on(token: &Token) -> bool {
        Harp::may_go_on(token) || Worker::may_go_on(token) || Devices::may_go_on(token)
    }

    fn of_host(&self, name: &str) -> &dyn Transport {
        if self.worker.calls(name) {
            return &self.worker;
        }
        match self.hosts.get(name) {
            None | Some(Host::Harpd(_)) => &self.harp,
            Some(Host::Autotrainer(device)) => {
                self.devices.know(name, &device.entry);
                &*self.devices
            }
        }
    }

    fn of_token(&self, token: &Token) -> &dyn Transport {
        if Worker::may_go_on(token) {
            &self.worker
        } else if Devices::is_of(token) {
            &*self.devices
        } else {
            &self.harp
        }
    }
}

impl Transport for ByKind {
    fn mint(&self, call: &CallRecord) -> Minted {
        self.of_host(&call.host).mint(call)
    }

    fn unrun(&self, call: &CallRecord, token: &Token) -> Option<Token> {
        if Worker::may_go_on(token) {
            return self.worker.unrun(call, token);
        }
        self.of_host(&call.host).unrun(call, token)
    }

    fn begin(&self, hold: Hold, call: Arc<CallRecord>, how: How, token: Token) -> Box<dyn Attempt> {
        let transport = match how {
            // What was claimed before the name of the services' host has changed.
            How::New if Worker::may_go_on(&token) => &self.worker,
            How::New => self.of_host(&call.host),
            How::Attach { .. } | How::Settle => self.of_token(&token),
        };
        transport.begin(hold, call, how, token)
    }

    fn remarks(&self, call: &CallRecord, token: &Token, outcome: &Outcome) -> Remarks {
        Remarks {
            violations: self.knowledge.violations(call, outcome),
            ..self.of_token(token).remarks(call, token, outcome)
        }
    }
}
