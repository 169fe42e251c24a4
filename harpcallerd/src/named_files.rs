//! The files that a configuration names, opened as a start opens them, so that a check finds
//! what a start would.

use harp_files::append;
use harp_host::tls::Trust;
use harp_service::report::with_causes;
use rustix::fs::{Access, access};

use crate::config::Config;
use crate::declared::Declarations;
use crate::hosts::Discovery;
use crate::identity::tokens::TokensFile;
use crate::listener;

/// What is wrong with the files that a configuration names.
#[derive(Debug, Default)]
pub struct Unusable {
    /// What keeps a dispatcher from starting, or clients from being known.
    pub problems: Vec<String>,
    /// What a start goes past.
    pub warnings: Vec<String>,
}

/// Opens the trust files, certificates and keys, tokens, schemas, the audit log and the log, and
/// looks whether the registry script and the discovery program can be run. Nothing is made. Blocks.
#[must_use]
pub fn unusable(config: &Config) -> Unusable {
    let mut found = Unusable::default();
    found.note(Trust::new(config.trust.clone()));
    for listener in &config.listeners {
        found.note(listener::check_files(listener));
    }
    #[cfg(feature = "cluster")]
    if let Some(cluster) = &config.cluster {
        let world = std::sync::Arc::new(crate::world::Runtime::start());
        if let Err(error) = crate::cluster::server(cluster, world) {
            found.problems.push(format!("{error:#}"));
        }
    }
    if let Some(tokens) = &config.tokens_file {
        found.note(TokensFile::check(tokens));
    }
    found.note(Declarations::read(
        &config.procedures,
        config.describe_hosts,
    ));
    let audit = config.audit.as_ref().map(|audit| &audit.file);
    for (key, file) in [
        ("audit_file", audit),
        ("log_file", config.log.file.as_ref()),
    ] {
        if let Some(file) = file
            && let Err(error) = append::check(file)
        {
            let problem = format!("{key}: cannot append to {}: {error}", file.display());
            found.problems.push(problem);
        }
    }
    let discovery = config.registry.discovery.as_ref();
    for (key, program) in [
        ("host_db_script", config.registry.script.as_deref()),
        ("discovery.command", discovery.map(Discovery::program)),
    ] {
        if let Some(program) = program
            && let Err(error) = access(program, Access::EXEC_OK)
        {
            let warning = format!("{key}: {} cannot be run: {error}", program.display());
            found.warnings.push(warning);
        }
    }
    found
}

impl Unusable {
    fn note<T, E: std::error::Error>(&mut self, opened: Result<T, E>) {
        if let Err(error) = opened {
            self.problems.push(with_causes(&error));
        }
    }
}
