//! A dispatcher and its front door, without a daemon around them.

use std::sync::Arc;

use harp_host::tls::{Trust, TrustFiles};
use harp_jobs::audit::Audit;
use harp_jobs::changes::Changes;
use harp_jobs::limits::RunLimits;
use harpcallerd::any_ledger::Opened;
use harpcallerd::desk::Desk;
use harpcallerd::dispatcher::{Dispatcher, Parts};
use harpcallerd::hosts::{Hosts, Refresher};
use harpcallerd::rules::{ExecutionLimits, Rules};
use harpcallerd::services::settings::ServiceSettings;
use harpcallerd::world::Runtime;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What is inside of the daemon.
pub(crate) struct Inside {
    pub(crate) dispatcher: Arc<Dispatcher>,
    /// Nobody has to authenticate, and everything is allowed.
    pub(crate) desk: Desk,
    pub(crate) senders: Senders,
}

/// What would end with its senders.
pub(crate) type Senders = (watch::Sender<Arc<Rules>>, watch::Sender<Arc<RunLimits>>);

/// Opens a dispatcher over a ledger.
pub(crate) async fn open(
    world: Arc<Runtime>,
    kept: Opened,
    hosts: Hosts,
    limits: ExecutionLimits,
    audit: Audit,
) -> Inside {
    let runs = watch::Sender::new(Arc::new(limits.of_runs(&ServiceSettings::default())));
    let rules = watch::Sender::new(Arc::new(Rules {
        trust: Trust::new(TrustFiles::default()).unwrap(),
        memory: harp_budget::Budget::new(limits.host_memory),
        limits,
    }));
    let parts = Parts {
        told: Default::default(),
        world,
        ledger: kept.ledger,
        live: kept.live,
        elsewhere: Default::default(),
        hosts: Arc::new(hosts),
        rules: rules.subscribe(),
        limits: runs.subscribe(),
        audit: audit.clone(),
        changes: Changes::default(),
        declared: watch::channel(Arc::default()).1,
        services: watch::channel(ServiceSettings::default()).1,
        resume_queued: true,
        unaware_until: None,
    };
    let dispatcher = Dispatcher::open(parts).await.unwrap();
    let desk = Desk {
        dispatcher: Arc::clone(&dispatcher),
        hosts: Arc::default(),
        refresher: Refresher::default(),
        changes: Changes::default(),
        meters: Default::default(),
        contacts: Default::default(),
        traces: Default::default(),
        log: None,
        load: Default::default(),
        limits: watch::Sender::default().subscribe(),
        tokens: watch::Sender::default().subscribe(),
        access: watch::Sender::default().subscribe(),
        knowledge: Arc::clone(dispatcher.knowledge()),
        audit,
        closing: CancellationToken::new(),
        winding_down: CancellationToken::new(),
        acts: TaskTracker::new(),
    };
    Inside {
        dispatcher,
        desk,
        senders: (rules, runs),
    }
}
