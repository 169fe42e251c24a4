//! Services: procedures that no host runs, since workers fetch their jobs. What a service is
//! is a paper of the ledger; which workers were heard of is in memory.

pub mod service;
pub mod settings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use harp_jobs::ledger::{Edited, Ledger, Lost, Paper, PaperEdit};
use harp_jobs::lineup::pool::PoolId;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::error;

use self::service::{Definition, ServiceId, paper_id};
use self::settings::ServiceSettings;
use harp_time::clock;

/// Services that there may be.
pub const MOST: usize = 10_000;

/// Workers of one service that are told apart.
const MOST_WORKERS: usize = 10_000;

/// All services. One for the daemon.
#[derive(Debug)]
pub struct Services {
    settings: watch::Receiver<ServiceSettings>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of their registration.
    services: BTreeMap<ServiceId, Entry>,
    /// The pools of those that are not there any more: their jobs are to end.
    removed: Vec<PoolId>,
}

#[derive(Debug)]
struct Entry {
    definition: Arc<Definition>,
    revision: u64,
    seen: Seen,
}

/// What was heard of a service's workers since the start of the dispatcher.
#[derive(Debug, Default)]
struct Seen {
    checked_in: Option<u64>,
    asked_for_work: Option<u64>,
    /// When each was heard last.
    workers: HashMap<Worker, Instant>,
}

/// A worker, as far as workers can be told apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Worker {
    /// The identity of the client that it is.
    pub client: String,
    /// The name that it gives itself.
    pub name: Option<String>,
}

/// A service as it stands.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// What was registered.
    pub definition: Arc<Definition>,
    /// When a worker was heard of last, in milliseconds since 1970: since the start of the
    /// dispatcher, else when the service was written last.
    pub checked_in: u64,
    /// When a worker asked for a job last, since the start of the dispatcher.
    pub asked_for_work: Option<u64>,
    /// Workers that were heard of within twice its `timeout`.
    pub workers: usize,
}

/// What a request of a worker says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It is there.
    CheckIn,
    /// It wants a job.
    AsksForWork,
}

/// Why a service was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotWritten {
    /// There is none any more.
    Gone,
    /// There are as many as there may be.
    Full,
    /// The ledger says why.
    Lost(Lost),
}

impl Services {
    /// The services that are on record. `pools` are those that have jobs: where their service
    /// is not there any more, their jobs are to end.
    #[must_use]
    pub fn new(
        papers: Vec<Paper>,
        pools: BTreeSet<PoolId>,
        settings: watch::Receiver<ServiceSettings>,
    ) -> Services {
        let mut state = State::default();
        for paper in papers {
            let id = ServiceId::from_number(paper.id.name);
            match Definition::decode(&paper.text) {
                Ok(definition) => {
                    let entry = Entry {
                        definition: Arc::new(definition),
                        revision: paper.revision,
                        seen: Seen::default(),
                    };
                    state.services.insert(id, entry);
                }
                Err(why) => error!(service = %id, "the service's record cannot be used: {why}"),
            }
        }
        let without = pools.into_iter().filter(|pool| {
            let id = pool.0.parse().ok();
            id.is_none_or(|id: ServiceId| !state.services.contains_key(&id))
        });
        state.removed = without.collect();
        Services {
            settings,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A std mutex: held for a few map operations.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host that calls to services name.
    #[must_use]
    pub fn host(&self) -> Arc<str> {
        Arc::clone(&self.settings.borrow().host)
    }

    /// Whether services with schemas that cannot be used are refused, where clients of
    /// TopChef register them.
    #[must_use]
    pub fn takes_strict_schemas(&self) -> bool {
        self.settings.borrow().strict_schemas
    }

    /// Whether this is that host.
    #[must_use]
    pub fn is_host(&self, host: &str) -> bool {
        *self.settings.borrow().host == *host
    }

    /// The service of this id, or the only one of this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<Service> {
        let state = self.state();
        if let Ok(id) = name.parse::<ServiceId>()
            && let Some(entry) = state.services.get(&id)
        {
            return Some(entry.shown(id));
        }
        let of_name = |(_, entry): &(&ServiceId, &Entry)| entry.definition.name == name;
        let mut services = state.services.iter().filter(of_name);
        match (services.next(), services.next()) {
            (Some((id, entry)), None) => Some(entry.shown(*id)),
            _ => None,
        }
    }

    /// The service of this id.
    #[must_use]
    pub fn get(&self, id: ServiceId) -> Option<Service> {
        Some(self.state().services.get(&id)?.shown(id))
    }

    /// All services behind this one, in the order of their ids.
    #[must_use]
    pub fn behind(&self, after: Option<ServiceId>) -> Vec<Service> {
        let state = self.state();
        let services = state.services.iter();
        let services = services.filter(|(id, _)| after.is_none_or(|after| **id > after));
        services.map(|(id, entry)| entry.shown(*id)).collect()
    }

    /// How many services there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.state().services.len()
    }

    /// Registers a service. It is on record when this returns. Once begun it goes on
    /// without the waiting, but is then not known before the next start.
    ///
    /// # Errors
    ///
    /// [`NotWritten`].
    pub async fn add(
        &self,
        ledger: &dyn Ledger,
        id: ServiceId,
        definition: Definition,
    ) -> Result<Service, NotWritten> {
        if self.count() >= MOST {
            return Err(NotWritten::Full);
        }
        write(ledger, id, 0, Some(&definition)).await?;
        let mut state = self.state();
        let entry = Entry {
            definition: Arc::new(definition),
            revision: 1,
            seen: Seen::default(),
        };
        let service = entry.shown(id);
        state.services.insert(id, entry);
        Ok(service)
    }

    /// Changes a service. What others change meanwhile is changed, too.
    ///
    /// # Errors
    ///
    /// [`NotWritten`].
    pub async fn change(
        &self,
        ledger: &dyn Ledger,
        id: ServiceId,
        change: impl Fn(&mut Definition),
    ) -> Result<Service, NotWritten> {
        loop {
            let (mut definition, revision) = {
                let state = self.state();
                let entry = state.services.get(&id).ok_or(NotWritten::Gone)?;
                (Definition::clone(&entry.definition), entry.revision)
            };
            change(&mut definition);
            definition.written = clock::now();
            match write(ledger, id, revision, Some(&definition)).await {
                Ok(()) => return self.changed(id, definition, revision + 1),
                // Somebody else was first, and notes that here in a moment.
                Err(NotWritten::Gone) => tokio::task::yield_now().await,
                Err(error) => return Err(error),
            }
        }
    }

    fn changed(
        &self,
        id: ServiceId,
        definition: Definition,
        revision: u64,
    ) -> Result<Service, NotWritten> {
        let mut state = self.state();
        let entry = state.services.get_mut(&id).ok_or(NotWritten::Gone)?;
        (entry.definition, entry.revision) = (Arc::new(definition), revision);
        Ok(entry.shown(id))
    }

    /// Removes a service; true if it was there. Its jobs are to be ended.
    ///
    /// # Errors
    ///
    /// [`NotWritten`].
    pub async fn remove(&self, ledger: &dyn Ledger, id: ServiceId) -> Result<bool, NotWritten> {
        loop {
            let revision = match self.state().services.get(&id) {
                Some(entry) => entry.revision,
                None => return Ok(false),
            };
            match write(ledger, id, revision, None).await {
                Ok(()) => {
                    let mut state = self.state();
                    state.services.remove(&id);
                    state.removed.push(id.pool());
                    return Ok(true);
                }
                Err(NotWritten::Gone) => tokio::task::yield_now().await,
                Err(error) => return Err(error),
            }
        }
    }

    /// The pools of services that are not there any more.
    #[must_use]
    pub fn removed(&self) -> Vec<PoolId> {
        self.state().removed.clone()
    }

    /// Notes that a worker was heard of.
    pub fn heard(&self, id: ServiceId, worker: Worker, sign: Sign) {
        let mut state = self.state();
        let Some(entry) = state.services.get_mut(&id) else {
            return;
        };
        let now = clock::now();
        entry.seen.checked_in = Some(now);
        if sign == Sign::AsksForWork {
            entry.seen.asked_for_work = Some(now);
        }
        let is_new = !entry.seen.workers.contains_key(&worker);
        if is_new && entry.seen.workers.len() >= MOST_WORKERS {
            let recently = entry.recently();
            entry.seen.workers.retain(|_, heard| recently(*heard));
            if entry.seen.workers.len() >= MOST_WORKERS {
                return;
            }
        }
        entry.seen.workers.insert(worker, Instant::now());
    }
}

impl Entry {
    fn recently(&self) -> impl Fn(Instant) -> bool + use<> {
        let within = Duration::from_secs(self.definition.timeout.saturating_mul(2));
        move |heard| heard.elapsed() <= within
    }

    fn shown(&self, id: ServiceId) -> Service {
        let recently = self.recently();
        let workers = self.seen.workers.values();
        Service {
            id,
            definition: Arc::clone(&self.definition),
            checked_in: self.seen.checked_in.unwrap_or(self.definition.written),
            asked_for_work: self.seen.asked_for_work,
            workers: workers.filter(|heard| recently(**heard)).count(),
        }
    }
}

async fn write(
    ledger: &dyn Ledger,
    id: ServiceId,
    over: u64,
    definition: Option<&Definition>,
) -> Result<(), NotWritten> {
    let edit = PaperEdit {
        id: paper_id(id),
        over,
        text: definition.map(Definition::encode),
    };
    match ledger.paper(edit).await {
        Ok(Edited::Done) => Ok(()),
        Ok(Edited::Other(_)) => Err(NotWritten::Gone),
        Err(lost) => Err(NotWritten::Lost(lost)),
    }
}
