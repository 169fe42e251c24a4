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
        let rules = std::sync::Arc::clone(&self.access.borrow());
        let registry = self.hosts.all();
        let part = wanted.part.to_lowercase();
        let after = wanted.after.as_ref();
        let mut hosts: Vec<_> = registry
            .iter()
            .filter(|(host, known)| {
                !known.procedures().is_empty()
                    && wanted.host.holds(host)
                    && after.is_none_or(|(after, _)| *host >= after)
            })
            .collect();
        hosts.sort_unstable_by_key(|(host, _)| *host);
        let mut found = Vec::new();
        for (host, known) in hosts {
            for (name, described) in known.procedures() {
                if found.len() >= wanted.limit {
                    return Ok(found);
                }
                let is_behind = after.is_none_or(|after| (host, name) > (&after.0, &after.1));
                let has = |text: &str| text.to_lowercase().contains(&part);
                let is_named = has(name) || described.description.as_deref().is_some_and(has);
                let may = by.is_administrator() || rules.allow_some_call(by, host, name);
                if is_behind && is_named && may {
                    found.push(ProcedureOverview {
                        host: host.clone(),
                        name: name.clone(),
                        described: described.clone(),
                        source: Source::Registry,
                    });
                }
            }
        }
        Ok(found)
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
