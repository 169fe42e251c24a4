//! What is known of a procedure, whoever has told it. The first that says anything of it
//! counts: the configuration, a service's registration, the registry, the host itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use harp_jobs::record::CallRecord;
use harp_jobs::refusal::SchemaOf;
use harp_proto::Outcome;
use tokio::sync::watch;
use tracing::warn;

use crate::declared::Declarations;
use crate::hosts::Hosts;
use crate::learned::Learned;
use crate::procedures::{Described, Source};
use crate::schemas::Schemas;
use crate::services::Services;
use crate::services::service::Declared;

/// All that is known. One for the daemon.
#[derive(Debug)]
pub struct Knowledge {
    /// What the configuration declares.
    pub declared: watch::Receiver<Arc<Declarations>>,
    /// What is registered.
    pub services: Arc<Services>,
    /// What the registry says.
    pub hosts: Arc<Hosts>,
    /// What hosts have said.
    pub learned: Arc<Learned>,
    /// Schemas of the registry and of hosts.
    pub schemas: Schemas,
}

impl Knowledge {
    /// What a procedure's arguments or result have to be, and who says so; `None` if nobody
    /// does.
    #[must_use]
    pub fn schema(&self, of: SchemaOf, host: &str, procedure: &str) -> Option<(Declared, Source)> {
        if let Some(declared) = self.declared.borrow().of(host, procedure) {
            let schema = of.either(&declared.arguments, &declared.result);
            return Some((Declared::Usable(schema.clone()?), Source::Dispatcher));
        }
        if self.services.is_host(host) {
            let definition = &self.services.named(procedure)?.definition;
            let schema = of.either(&definition.arguments, &definition.result);
            return Some((schema.clone()?, Source::Service));
        }
        self.told(of, host, procedure)
    }

    /// What is known of a host's procedures, and who has said so. Those that the configuration
    /// names by a pattern alone are not among them.
    #[must_use]
    pub fn procedures(&self, host: &str) -> BTreeMap<String, (Described, Source)> {
        let mut known = BTreeMap::new();
        if self.services.is_host(host) {
            for service in self.services.behind(None) {
                let text =
                    |schema: &Option<Declared>| schema.as_ref().map(|schema| schema.text().clone());
                let definition = &service.definition;
                let described = Described {
                    description: Some(definition.description.clone())
                        .filter(|text| !text.is_empty()),
                    arguments_schema: text(&definition.arguments),
                    result_schema: text(&definition.result),
                };
                known.insert(service.id.to_string(), (described, Source::Service));
            }
        } else {
            if let Some(said) = self.learned.of(host) {
                let source = Source::Host(said.learned);
                let said = said.procedures.iter();
                known.extend(said.map(|(name, of)| (name.clone(), (of.clone(), source))));
            }
            if let Some(entry) = self.hosts.get(host) {
                let said = entry.procedures().iter();
                let registry = Source::Registry;
                known.extend(said.map(|(name, of)| (name.clone(), (of.clone(), registry))));
            }
        }
        let declared = self.declared.borrow();
        if self.hosts.get(host).is_some() {
            for name in declared.names(host) {
                let unknown = (Described::default(), Source::Dispatcher);
                known.entry(name.to_owned()).or_insert(unknown);
            }
        }
        for (name, entry) in &mut known {
            if let Some(of) = declared.of(host, name) {
                *entry = (of.described(), Source::Dispatcher);
            }
        }
        known
    }

    /// In how many places a call's result is not what it has to be, of those that are told. The
    /// procedure has run, so it stays the result.
    #[must_use]
    pub fn violations(&self, call: &CallRecord, outcome: &Outcome) -> u64 {
        let Outcome::Returned(result) = outcome else {
            return 0;
        };
        if !self.has_results() {
            return 0;
        }
        let (host, procedure) = (&call.host, &call.procedure);
        let violations = match self.schema(SchemaOf::Result, host, procedure) {
            // What a worker says is held against it before it is taken.
            None | Some((_, Source::Service)) => return 0,
            Some((schema, _)) => schema.violations(result),
        };
        if let Some(first) = violations.first() {
            let (places, at) = (violations.len(), &first.path);
            warn!(
                host,
                procedure, places, at, "the result is not what its schema wants"
            );
        }
        violations.len() as u64
    }

    /// Whether anybody may have said what a result has to be; if not, none need be looked at.
    fn has_results(&self) -> bool {
        self.declared.borrow().has_results()
            || self.hosts.have_results()
            || self.learned.has_results()
    }

    /// What the registry or the host has told.
    fn told(&self, of: SchemaOf, host: &str, procedure: &str) -> Option<(Declared, Source)> {
        let read = |described: &Described| {
            let text = of.either(&described.arguments_schema, &described.result_schema);
            let schema = self.schemas.get(text.as_ref()?, host)?;
            Some(Declared::Usable(schema))
        };
        if let Some(described) = self.hosts.get(host)?.procedures().get(procedure) {
            return Some((read(described)?, Source::Registry));
        }
        let said = self.learned.of(host)?;
        let described = said.procedures.get(procedure)?;
        Some((read(described)?, Source::Host(said.learned)))
    }
}
