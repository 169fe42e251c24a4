//! The procedures that a client may call, as far as anything is known of them.

use harp_jobs::client::Client;
use harp_jobs::refusal::Refusal;

use super::Desk;
use super::find::Name;
use super::permission::identified;
use crate::procedures::{Described, Source};

/// Which procedures are wanted.
#[derive(Debug, Clone, Default)]
pub struct WantedProcedures {
    /// Their host.
    pub host: Name,
    /// This is part of their name or description, in any case.
    pub part: String,
    /// Whether the hosts are asked first what they have.
    pub refresh: bool,
    /// They stand behind this host's procedure of this name.
    pub after: Option<(String, String)>,
    /// At most so many.
    pub limit: usize,
}

/// A procedure of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcedureOverview {
    /// The host.
    pub host: String,
    /// Its name.
    pub name: String,
    /// What is said of it.
    pub described: Described,
    /// By whom.
    pub source: Source,
}

impl Desk {
    /// The procedures that the client may call, in the order of their hosts' names and their
    /// own; at most [`WantedProcedures::limit`].
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`].
    pub async fn procedures(
        &self,
        by: &Client,
        wanted: &WantedProcedures,
    ) -> Result<Vec<ProcedureOverview>, Refusal> {
        identified(by).await?;
        if wanted.refresh {
            self.ask_hosts(by, wanted).await;
        }
        let rules = std::sync::Arc::clone(&self.access.borrow());
        let part = wanted.part.to_lowercase();
        let after = wanted.after.as_ref();
        let mut hosts: Vec<String> = self.hosts.all().keys().cloned().collect();
        hosts.push(self.dispatcher.services().host().to_string());
        hosts
            .retain(|host| wanted.host.holds(host) && after.is_none_or(|(after, _)| host >= after));
        hosts.sort_unstable();
        hosts.dedup();
        let mut found = Vec::new();
        for host in hosts {
            for (name, (described, source)) in self.knowledge.procedures(&host) {
                if found.len() >= wanted.limit {
                    return Ok(found);
                }
                let is_behind = after.is_none_or(|after| (&host, &name) > (&after.0, &after.1));
                let has = |text: &str| text.to_lowercase().contains(&part);
                let is_named = has(&name) || described.description.as_deref().is_some_and(has);
                let may = by.is_administrator() || rules.allow_some_call(by, &host, &name);
                if is_behind && is_named && may {
                    found.push(ProcedureOverview {
                        host: host.clone(),
                        name,
                        described,
                        source,
                    });
                }
            }
        }
        Ok(found)
    }

    /// Asks the hosts that are meant what they have, as far as the client may call anything
    /// there. One that does not answer stays as it was.
    async fn ask_hosts(&self, by: &Client, wanted: &WantedProcedures) {
        let meant: Vec<String> = {
            let rules = self.access.borrow();
            let registry = self.hosts.all();
            let meant = registry.keys().filter(|host| {
                wanted.host.holds(host)
                    && (by.is_administrator() || rules.allow_some_call_to(by, host))
            });
            meant.cloned().collect()
        };
        self.knowledge.learned.ask_all(meant).await;
    }

    /// True if the registry has this host.
    ///
    /// # Errors
    ///
    /// [`Refusal::Stranger`], [`Refusal::Lapsed`].
    pub async fn knows_host(&self, by: &Client, host: &str) -> Result<bool, Refusal> {
        identified(by).await?;
        Ok(self.hosts.get(host).is_some())
    }
}
