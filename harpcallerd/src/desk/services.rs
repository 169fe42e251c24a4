//! Registering services, looking at them, changing and removing them.

use std::sync::Arc;

use harp_jobs::access::Operation;
use harp_jobs::client::Client;
use harp_jobs::failures;
use harp_jobs::ledger::{Ledger, Which};
use harp_jobs::lineup::pool::PoolId;
use harp_jobs::refusal::{Full, Refusal};
use harp_schema::{Dialect, Schema};
use harp_values::{Json, Outcome};
use tokio::sync::watch;
use tracing::{info, warn};

use super::{Desk, permission};
use crate::dispatcher::Dispatcher;
use crate::services::service::{
    DEFAULT_TIMEOUT, Declared, Definition, LONGEST_DESCRIPTION, LONGEST_NAME, LONGEST_TIMEOUT,
    ServiceId,
};
use crate::services::{MOST, NotWritten, Service, Sign, Worker};
use harp_time::clock;

/// A service that is to be registered.
#[derive(Debug, Clone, Default)]
pub struct NewService {
    /// Its name.
    pub name: String,
    /// What it does, for people.
    pub description: Option<String>,
    /// What arguments have to be.
    pub arguments_schema: Option<Json>,
    /// What results have to be.
    pub result_schema: Option<Json>,
    /// Which draft the schemas are of.
    pub dialect: Dialect,
    /// Whether schemas that cannot be used are registered all the same.
    pub takes_bad_schemas: bool,
    /// Seconds without a word after which its workers count as gone.
    pub timeout: Option<u64>,
}

/// What is to be different of a service.
#[derive(Debug, Clone, Default)]
pub struct ServiceChange {
    /// Its name.
    pub name: Option<String>,
    /// What it does, for people.
    pub description: Option<String>,
    /// Whether it is available.
    pub available: Option<bool>,
    /// Seconds without a word after which its workers count as gone.
    pub timeout: Option<u64>,
}

impl Desk {
    /// The services behind one that the client may call, read or work for, in the order of
    /// their registration; at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`].
    pub async fn services(
        &self,
        by: &Client,
        after: Option<ServiceId>,
        limit: usize,
    ) -> Result<Vec<Service>, Refusal> {
        permission::identified(by).await?;
        let services = self.dispatcher.services().behind(after);
        let services = services
            .into_iter()
            .filter(|service| self.may_see(by, service));
        Ok(services.take(limit).collect())
    }

    /// The service of this id, or the only one of this name.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::NoSuchService`],
    /// [`Refusal::Forbidden`].
    pub async fn service(&self, by: &Client, name: &str) -> Result<Service, Refusal> {
        permission::identified(by).await?;
        let service = self.dispatcher.services().named(name);
        let service = service.ok_or(Refusal::NoSuchService)?;
        if self.may_see(by, &service) {
            Ok(service)
        } else {
            Err(self.refuse_service(by, Operation::Read, &service))
        }
    }

    fn may_see(&self, by: &Client, service: &Service) -> bool {
        let operations = [Operation::Call, Operation::Read, Operation::Work];
        operations
            .into_iter()
            .any(|operation| self.allows(by, operation, service))
    }

    fn allows(&self, by: &Client, operation: Operation, service: &Service) -> bool {
        let host = self.dispatcher.services().host();
        let owner = service.definition.client.as_deref();
        let rules = self.access.borrow();
        by.is_administrator()
            || rules.allow_service(by, operation, &host, &service.id.to_string(), owner)
    }

    fn refuse_service(&self, by: &Client, operation: Operation, service: &Service) -> Refusal {
        let refusal = Refusal::Forbidden;
        info!(
            peer = %by.peer, client = by.name(), operation = operation.name(),
            service = %service.id, refusal = refusal.name(), "request refused"
        );
        self.audit
            .refused(by, operation.name(), None, refusal.name());
        refusal
    }

    /// The service of this id or name, for a client that works for it.
    ///
    /// # Errors
    ///
    /// As for [`Desk::service`].
    pub(super) async fn service_to_work_for(
        &self,
        by: &Client,
        name: &str,
    ) -> Result<Service, Refusal> {
        permission::identified(by).await?;
        let service = self.dispatcher.services().named(name);
        let service = service.ok_or(Refusal::NoSuchService)?;
        if self.allows(by, Operation::Work, &service) {
            Ok(service)
        } else {
            Err(self.refuse_service(by, Operation::Work, &service))
        }
    }

    /// Registers a service. Cancel safe: once begun it goes on.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::Invalid`], [`Refusal::Full`], [`Refusal::Storage`], [`Refusal::Closing`].
    pub async fn register_service(&self, by: &Client, new: NewService) -> Result<Service, Refusal> {
        permission::identified(by).await?;
        let now = clock::now();
        let id = ServiceId::new(now, self.dispatcher.chance());
        let definition = definition(new, by, now)?;
        let service = Service {
            id,
            definition: Arc::new(definition.clone()),
            checked_in: now,
            asked_for_work: None,
            workers: 0,
        };
        if !self.allows(by, Operation::Work, &service) {
            return Err(self.refuse_service(by, Operation::Work, &service));
        }
        let (dispatcher, audit, by) =
            (Arc::clone(&self.dispatcher), self.audit.clone(), by.clone());
        self.act(async move {
            let ledger = dispatcher.ledger();
            let added = dispatcher.services().add(ledger, id, definition).await;
            let service = added.map_err(not_written)?;
            info!(service = %id, name = service.definition.name, client = by.name(), "service registered");
            audit.of_service(&by, "service_registered", &id.to_string(), None);
            Ok(service)
        })
        .await
    }

    /// Changes a service, which counts as a check-in of its worker. Cancel safe: once begun it
    /// goes on.
    ///
    /// # Errors
    ///
    /// As for [`Desk::register_service`]; [`Refusal::NoSuchService`].
    pub async fn change_service(
        &self,
        by: &Client,
        name: &str,
        change: ServiceChange,
    ) -> Result<Service, Refusal> {
        let service = self.service_to_work_for(by, name).await?;
        if let Some(name) = &change.name {
            check_name(name)?;
        }
        check_description(change.description.as_deref())?;
        check_timeout(change.timeout)?;
        let dispatcher = Arc::clone(&self.dispatcher);
        let worker = Worker::of(by, None);
        self.act(async move {
            let services = dispatcher.services();
            services.heard(service.id, worker, Sign::CheckIn);
            let changed = services.change(dispatcher.ledger(), service.id, |definition| {
                if let Some(name) = &change.name {
                    definition.name.clone_from(name);
                }
                if let Some(description) = &change.description {
                    definition.description.clone_from(description);
                }
                definition.available = change.available.unwrap_or(definition.available);
                definition.timeout = change.timeout.unwrap_or(definition.timeout);
            });
            changed.await.map_err(not_written)
        })
        .await
    }

    /// Removes a service; its jobs that have not started end with `unknown_host`. Those that
    /// workers have go on. Cancel safe: once begun it goes on.
    ///
    /// # Errors
    ///
    /// As for [`Desk::change_service`].
    pub async fn remove_service(&self, by: &Client, name: &str) -> Result<(), Refusal> {
        permission::identified(by).await?;
        let service = self.dispatcher.services().named(name);
        let service = service.ok_or(Refusal::NoSuchService)?;
        let is_own =
            by.identity.is_some() && service.definition.client.as_deref() == Some(by.name());
        let may = is_own && self.allows(by, Operation::Work, &service)
            || by.is_administrator()
            || self.access.borrow().allow_without_job(by, Operation::Admin);
        if !may {
            return Err(self.refuse_service(by, Operation::Admin, &service));
        }
        let (dispatcher, audit, by) =
            (Arc::clone(&self.dispatcher), self.audit.clone(), by.clone());
        self.act(async move {
            let id = service.id;
            let removed = dispatcher.services().remove(dispatcher.ledger(), id).await;
            if !removed.map_err(not_written)? {
                return Err(Refusal::NoSuchService);
            }
            let jobs = end_jobs(&dispatcher, id.pool()).await;
            info!(service = %id, client = by.name(), jobs, "service removed");
            audit.of_service(&by, "service_removed", &id.to_string(), None);
            Ok(())
        })
        .await
    }
}

/// Ends jobs of services that are not there any more, those too that come by a call that was
/// under way when its service went. Goes on for as long as the daemon does.
pub async fn end_jobs_of_removed(dispatcher: Arc<Dispatcher>) {
    let mut offers: watch::Receiver<u64> = dispatcher.ledger().offers();
    loop {
        offers.mark_unchanged();
        for pool in dispatcher.services().removed() {
            let waiting = dispatcher.ledger().pool(&pool, 1).await;
            if waiting.is_ok_and(|jobs| !jobs.is_empty()) {
                let jobs = end_jobs(&dispatcher, pool.clone()).await;
                warn!(service = %pool.0, jobs, "jobs of a service that is not there have ended");
            }
        }
        if offers.changed().await.is_err() {
            return;
        }
    }
}

/// Removes what workers have said of jobs that have ended since. Goes on for as long as the
/// daemon does.
pub async fn remove_drafts(dispatcher: Arc<Dispatcher>) {
    dispatcher.claims().remove_drafts(dispatcher.ledger()).await;
}

async fn end_jobs(dispatcher: &Dispatcher, pool: PoolId) -> usize {
    let host = dispatcher.services().host();
    let outcome = Outcome::Error(failures::unknown_host(&host));
    let ended = dispatcher
        .ledger()
        .withdraw(Which::Pool(pool), outcome)
        .await;
    // While it cannot be written the ledger waits; a stop leaves them to the next start.
    ended.map_or(0, |jobs| jobs.len())
}

fn definition(new: NewService, by: &Client, now: u64) -> Result<Definition, Refusal> {
    check_name(&new.name)?;
    check_description(new.description.as_deref())?;
    check_timeout(new.timeout)?;
    let schema = |field, text: Option<Json>| match text {
        None => Ok(None),
        Some(text) if text.as_bytes().len() > Schema::LONGEST => {
            let why = format!("a schema has {} bytes at most", Schema::LONGEST);
            Err(Refusal::Invalid { field, why })
        }
        Some(text) => match Declared::read(&text, new.dialect) {
            Declared::Unusable { why, .. } if !new.takes_bad_schemas => {
                Err(Refusal::Invalid { field, why })
            }
            declared => Ok(Some(declared)),
        },
    };
    Ok(Definition {
        arguments: schema("arguments_schema", new.arguments_schema)?,
        result: schema("result_schema", new.result_schema)?,
        name: new.name,
        description: new.description.unwrap_or_default(),
        dialect: new.dialect,
        available: false,
        timeout: new.timeout.unwrap_or(DEFAULT_TIMEOUT),
        client: by.identity.as_ref().map(ToString::to_string),
        registered: now,
        written: now,
    })
}

fn check_name(name: &str) -> Result<(), Refusal> {
    match name.chars().count() {
        1..=LONGEST_NAME => Ok(()),
        _ => Err(Refusal::Invalid {
            field: "name",
            why: format!("must have 1 to {LONGEST_NAME} characters"),
        }),
    }
}

fn check_description(description: Option<&str>) -> Result<(), Refusal> {
    match description.map_or(0, str::len) {
        0..=LONGEST_DESCRIPTION => Ok(()),
        _ => Err(Refusal::Invalid {
            field: "description",
            why: format!("must have {LONGEST_DESCRIPTION} bytes at most"),
        }),
    }
}

fn check_timeout(timeout: Option<u64>) -> Result<(), Refusal> {
    match timeout {
        None | Some(1..=LONGEST_TIMEOUT) => Ok(()),
        Some(_) => Err(Refusal::Invalid {
            field: "timeout",
            why: format!("must be seconds from 1 to {LONGEST_TIMEOUT}"),
        }),
    }
}

fn not_written(error: NotWritten) -> Refusal {
    match error {
        NotWritten::Gone => Refusal::NoSuchService,
        NotWritten::Full => Refusal::Full(Full::Services(MOST)),
        NotWritten::Lost(lost) => lost.into(),
    }
}
