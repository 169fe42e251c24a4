//! From the configuration in force to another one: what changes live, what needs a
//! restart. Everything that can fail is done before anything changes, so that a bad file
//! leaves all as it was.
//!
//! What is in force reaches the parts of the daemon as values: [`InForce`] has one
//! channel for each kind, and each part has the receiver of what it uses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use harp_budget::Budget;
use harp_host::tls::{Trust, TrustError};
use harp_jobs::access::AccessRules;
use harp_jobs::limits::{DeskLimits, RunLimits};
use harp_jobs::refusal::NotReloaded;
use harp_service::logging::{Log, Prepared};
use harp_service::report::with_causes;
use tokio::sync::watch;
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};

use crate::config::{self, Config};
use crate::declared::Declarations;
use crate::desk::admin::Reloaded;
use crate::hosts::Refresher;
use crate::identity::tokens::TokensFile;
use crate::limits::{ClientLimits, ClientMemory};
use crate::listener::Listeners;
use crate::meters::by_name::Labels;
use crate::retention::Retention;
use crate::rules::Rules;
use crate::services::settings::ServiceSettings;

/// What the parts of the daemon go by at the moment.
#[derive(Debug)]
pub struct InForce {
    /// The file that it comes from.
    pub file: PathBuf,
    /// All of it. Keys that need a restart have the values of the start.
    pub config: Config,
    /// Whether debugging messages are logged whatever it says.
    pub debug: bool,
    /// The log of this process.
    pub log: Arc<Log>,
    /// To whatever runs jobs.
    pub rules: watch::Sender<Arc<Rules>>,
    /// To the lives of jobs: the limits among these.
    pub runs: watch::Sender<Arc<RunLimits>>,
    /// To whatever has to do with services.
    pub services: watch::Sender<ServiceSettings>,
    /// To whatever looks at the arguments of calls.
    pub declared: watch::Sender<Arc<Declarations>>,
    /// To whatever serves clients.
    pub clients: watch::Sender<ClientLimits>,
    /// To the feed of changes: what they may ask of the desk, among these.
    pub desk: watch::Sender<DeskLimits>,
    /// What large requests of clients hold.
    pub client_memory: Arc<ClientMemory>,
    /// What large messages of hosts hold.
    pub host_memory: Budget,
    /// To whatever prunes ended jobs.
    pub retention: watch::Sender<Retention>,
    /// To whatever asks what they may do.
    pub access: watch::Sender<Arc<AccessRules>>,
    /// To what counts ends of jobs.
    pub labels: watch::Sender<Labels>,
    /// To whatever asks clients who they are.
    pub tokens: watch::Sender<Option<Arc<TokensFile>>>,
}

impl InForce {
    /// What is in force from a start on.
    ///
    /// # Errors
    ///
    /// If a file that the configuration names cannot be used.
    pub fn new(file: PathBuf, config: Config, log: Arc<Log>) -> anyhow::Result<InForce> {
        let trust = trust(&config)?;
        warn_of_any_certificate(&trust);
        let tokens = config.tokens_file.as_deref().map(TokensFile::read);
        let host_memory = Budget::new(config.execution.host_memory);
        let rules = Rules {
            limits: config.execution.clone(),
            trust,
            memory: host_memory.clone(),
        };
        Ok(InForce {
            file,
            debug: false,
            log,
            tokens: watch::Sender::new(tokens.transpose()?.map(Arc::new)),
            rules: watch::Sender::new(Arc::new(rules)),
            runs: watch::Sender::new(Arc::new(config.execution.of_runs(&config.services))),
            services: watch::Sender::new(config.services.clone()),
            declared: watch::Sender::new(Arc::new(Declarations::read(
                &config.procedures,
                config.describe_hosts,
            )?)),
            clients: watch::Sender::new(config.clients),
            desk: watch::Sender::new(config.clients.desk),
            client_memory: Arc::new(ClientMemory::new(&config.clients)),
            host_memory,
            retention: watch::Sender::new(config.retention),
            labels: watch::Sender::new(config.metrics_labels),
            access: watch::Sender::new(Arc::new(config.access.clone())),
            config,
        })
    }

    /// Reads the file again and applies it.
    ///
    /// # Errors
    ///
    /// [`NotReloaded`]; nothing has changed then.
    pub async fn reload(
        &mut self,
        listeners: &mut Listeners,
        refresher: &Refresher,
    ) -> Result<Reloaded, NotReloaded> {
        let Read {
            mut config,
            warnings,
            trust,
            tokens,
            declared,
            log,
        } = read(&self.file, self.debug).await?;
        let opened = listeners.open_missing(&config).await;
        let opened = opened.map_err(|error| refused("listen", with_causes(error.as_ref())))?;

        // Nothing below is refused.
        self.log.change(log);
        for warning in &warnings {
            warn!("{warning}");
        }
        let mut restart_needed = needs_restart(&self.config, &config);
        if listeners.are_handed_over() && config.listen != self.config.listen {
            restart_needed.push("listen");
        }
        config.stream_directory = self.config.stream_directory.clone();
        config.cluster = self.config.cluster.clone();
        config.cache_size = self.config.cache_size;
        config.audit = self.config.audit.clone();
        warn_of_any_certificate(&trust);
        self.rules.send_replace(Arc::new(Rules {
            limits: config.execution.clone(),
            trust,
            memory: self.host_memory.clone(),
        }));
        let runs = config.execution.of_runs(&config.services);
        self.runs.send_replace(Arc::new(runs));
        self.host_memory.set_limit(config.execution.host_memory);
        self.client_memory.change(&config.clients);
        self.services.send_replace(config.services.clone());
        self.declared.send_replace(Arc::new(declared));
        self.clients.send_replace(config.clients);
        self.labels.send_replace(config.metrics_labels);
        self.desk.send_replace(config.clients.desk);
        self.retention.send_replace(config.retention);
        self.access.send_replace(Arc::new(config.access.clone()));
        self.tokens.send_replace(tokens);
        // Behind the rules that hold for clients of a new one.
        restart_needed.extend(listeners.change(opened, &config));
        let registry = refresher.configure(config.registry.clone()).await;
        self.config = config;
        info!(
            restart_needed = restart_needed.join(", "),
            "configuration reloaded"
        );
        let tokens = self.tokens.borrow();
        Ok(Reloaded {
            restart_needed,
            listeners: self.config.listen.len() + self.config.listeners.len(),
            rules: self.config.access.count(),
            tokens: tokens.as_ref().map_or(0, |tokens| tokens.count()),
            warnings,
            registry: Some(registry),
        })
    }
}

/// What a reload has read, checked.
struct Read {
    config: Config,
    warnings: Vec<String>,
    trust: Trust,
    tokens: Option<Arc<TokensFile>>,
    declared: Declarations,
    log: Prepared,
}

/// Says so if the configuration lets every host through.
fn warn_of_any_certificate(trust: &Trust) {
    if trust.accepts_anything() {
        warn!("neither ca_file nor known_certs_file is set: any host's certificate is accepted");
    }
}

/// The judge of hosts' certificates, which tells the log when its files cannot be used any more.
fn trust(config: &Config) -> Result<Trust, TrustError> {
    Trust::telling(config.trust.clone().into(), |unusable| match unusable {
        Some(error) => error!(
            error = with_causes(error),
            "trust file unusable, no host is called until it can be used again"
        ),
        None => info!("trust files are usable again"),
    })
}

/// The file, checked, with the files that it names.
async fn read(file: &Path, debug: bool) -> Result<Read, NotReloaded> {
    let file = file.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let (mut config, warnings) =
            Config::read(&file).map_err(|error| NotReloaded::File(with_causes(&error)))?;
        let mut warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        warnings.extend(config::exposed(&file, &config).map_err(NotReloaded::File)?);
        let trust = trust(&config).map_err(|error| refused("trust", with_causes(&error)))?;
        let tokens = config.tokens_file.as_deref().map(TokensFile::read);
        let tokens = tokens
            .transpose()
            .map_err(|error| refused("tokens_file", with_causes(&error)))?;
        let declared = Declarations::read(&config.procedures, config.describe_hosts)
            .map_err(|error| refused("procedure", error.to_string()))?;
        if debug {
            config.log.level = LevelFilter::DEBUG;
        }
        let log = Prepared::open(&config.log)
            .map_err(|error| refused("log_file", with_causes(&error)))?;
        Ok(Read {
            config,
            warnings,
            trust,
            tokens: tokens.map(Arc::new),
            declared,
            log,
        })
    });
    // The panic itself is in the log.
    let panicked = |_| NotReloaded::File("reading it met a fault of this program".to_owned());
    reading.await.map_err(panicked)?
}

fn refused(part: &'static str, why: String) -> NotReloaded {
    NotReloaded::Parts(BTreeMap::from([(part, why)]))
}

/// Keys that are different and cannot change while the daemon runs.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    if old.stream_directory != new.stream_directory {
        keys.push("stream_directory");
    }
    if old.cluster != new.cluster {
        keys.push("cluster");
    }
    if old.audit != new.audit {
        keys.push("audit_file");
    }
    if old.cache_size != new.cache_size {
        keys.push("cache_size");
    }
    if old.traces != new.traces {
        keys.push("traces");
    }
    keys
}
