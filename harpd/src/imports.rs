//! Procedures that are not in the configuration itself: those of a Python module and of
//! Choria agents, which say themselves what they are when they are asked.

use std::collections::btree_map::Entry;
use std::sync::Arc;

use tracing::warn;

use crate::choria;
use crate::config::Config;
use crate::procedure::Procedure;
use crate::python::{self, ImportError};
use crate::reaper::Reaper;

/// Problems met while procedures were asked for.
#[derive(Debug, Default)]
pub struct Imports {
    /// Why the module's procedures are not there, which nobody knows by name then.
    pub module_failure: Option<ImportError>,
    /// Failures, the module's among them.
    pub problems: Vec<String>,
    /// Oddities.
    pub warnings: Vec<String>,
}

/// Asks the module and the agents that are configured, and adds their procedures to the
/// configuration's, which come first where names are the same. What is broken is left
/// out. Takes at most a few seconds for each.
pub async fn import(config: &mut Config, reaper: &Reaper) -> Imports {
    let mut imports = Imports::default();
    if let Some(settings) = &config.python {
        match python::procedures(settings, reaper).await {
            Ok(imported) => {
                imports.warnings.extend(imported.warnings);
                imports.add(config, imported.procedures, "the Python module");
            }
            Err(error) => {
                imports.problems.push(error.to_string());
                imports.module_failure = Some(error);
            }
        }
    }
    if let Some(settings) = &config.choria {
        let found = choria::procedures(settings, reaper, config.kill_grace).await;
        imports.problems.extend(found.problems);
        imports.warnings.extend(found.warnings);
        imports.add(config, found.procedures, "an agent");
    }
    imports
}

impl Imports {
    /// Tells the log.
    pub fn log(&self) {
        for told in self.problems.iter().chain(&self.warnings) {
            warn!("{told}");
        }
    }

    fn add(&mut self, config: &mut Config, procedures: Vec<Procedure>, origin: &str) {
        for procedure in procedures {
            match config.procedures.entry(procedure.name.clone()) {
                Entry::Vacant(place) => {
                    place.insert(Arc::new(procedure));
                }
                Entry::Occupied(_) => self.warnings.push(format!(
                    "procedure {}: there is another of this name, which is used instead of \
                     that of {origin}",
                    procedure.name
                )),
            }
        }
    }
}
