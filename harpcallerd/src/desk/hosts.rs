//! The hosts of the registry, for clients.

use std::collections::HashMap;
use std::sync::Arc;

use harp_device::Standing;
use harp_jobs::access::Operation;
use harp_jobs::audit::Act;
use harp_jobs::client::Client;
use harp_jobs::refusal::Refusal;
use tracing::info;

use super::Desk;
use super::load::Load;
use crate::host_contacts::Contact;
use crate::hosts::Host;

/// A host of the registry, without what opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOverview {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// The port at which it takes calls.
    pub port: u16,
    /// Its jobs of now.
    pub load: Load,
    /// When it was last heard of, and why it could last not be.
    pub contact: Contact,
    /// What runs there, as the registry names it.
    pub kind: &'static str,
    /// How it stands, of a host that tells by itself.
    pub standing: Option<Standing>,
}

/// What came of a run of the registry's script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostsRefreshed {
    /// Why the registry is as it was; `None` if it is new.
    pub failure: Option<String>,
    /// How many hosts it has.
    pub hosts: usize,
}

impl Desk {
    /// The hosts behind a name, in the order of their names, whose name or address has `part`
    /// in it; at most `limit`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`],
    /// [`Refusal::Storage`].
    pub async fn hosts(
        &self,
        by: &Client,
        part: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<HostOverview>, Refusal> {
        self.permit_without_job(by, Operation::Observe).await?;
        let registry = self.hosts.all();
        let part = part.to_lowercase();
        let mut hosts: Vec<_> = registry
            .iter()
            .filter(|(name, _)| after.is_none_or(|after| name.as_str() > after))
            .filter(|(name, host)| {
                let address = host.address().to_lowercase();
                name.to_lowercase().contains(&part) || address.contains(&part)
            })
            .collect();
        hosts.sort_unstable_by_key(|(name, _)| *name);
        hosts.truncate(limit);
        let loads = self.loads().await?;
        let overview = |(name, host): (&String, &Host)| self.overview(name, host, &loads);
        Ok(hosts.into_iter().map(overview).collect())
    }

    /// A host of the registry; `None` if there is no such host.
    ///
    /// # Errors
    ///
    /// As for [`Desk::hosts`].
    pub async fn host(&self, by: &Client, name: &str) -> Result<Option<HostOverview>, Refusal> {
        self.permit_without_job(by, Operation::Observe).await?;
        let Some(host) = self.hosts.get(name) else {
            return Ok(None);
        };
        let loads = self.loads().await?;
        Ok(Some(self.overview(name, &host, &loads)))
    }

    /// A host with its jobs of now, as far as `loads` has them.
    pub(super) fn overview(
        &self,
        name: &str,
        host: &Host,
        loads: &HashMap<Arc<str>, Load>,
    ) -> HostOverview {
        let standing = match host {
            Host::Harpd(_) => None,
            Host::Autotrainer(_) => self.dispatcher.devices().standing(name),
        };
        HostOverview {
            name: name.to_owned(),
            address: host.address().to_owned(),
            port: host.port(),
            kind: host.kind(),
            standing,
            load: loads.get(name).copied().unwrap_or_default(),
            contact: self.contacts.of(name),
        }
    }

    /// Runs the registry's script and waits for it. Cancel safe: it goes on without the
    /// waiting.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`], [`Refusal::Forbidden`].
    pub async fn refresh_hosts(&self, by: &Client) -> Result<HostsRefreshed, Refusal> {
        self.permit_without_job(by, Operation::Admin).await?;
        info!(client = by.name(), peer = %by.peer, "a client asked for the hosts registry");
        let (refresher, audit, by) = (self.refresher.clone(), self.audit.clone(), by.clone());
        let hosts = Arc::clone(&self.hosts);
        self.act(async move {
            let refreshed = refresher.refresh().await;
            let failure = refreshed.err().map(|error| error.to_string());
            let refusal = failure.clone().map(|why| Refusal::Failed { why });
            audit.administered(&by, Act::RefreshHosts, refusal.as_ref());
            Ok(HostsRefreshed {
                failure,
                hosts: hosts.count(),
            })
        })
        .await
    }
}
