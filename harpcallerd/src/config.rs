//! The configuration file as a checked value (daemon specification, "Configuration").

mod access;
mod clients;
mod descriptors;
mod exposed;
mod places;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use harp_host::tls::TrustFiles;
use harp_jobs::access::AccessRules;
use harp_proto::CLIENT_PORT;
use harp_proto::host::kept::MAX_KEEP;
use harp_service::address::ListenAddress;
use harp_service::logging::LogSettings;
use harp_service::settings::{Settings, SettingsError, Table, Warning};

use crate::audit_log::AuditSettings;
use crate::cluster::ClusterSettings;
use crate::declared::ProcedureSettings;
use crate::hosts::{Discovery, RegistryConfig};
use crate::limits::ClientLimits;
use crate::listener::settings::ListenerSettings;
use crate::meters::by_name::Labels;
use crate::retention::Retention;
use crate::rules::{ExecutionLimits, take_output};
use crate::services::settings::ServiceSettings;
use crate::traces::TraceSettings;

pub use descriptors::{connections_that_fit, too_many_descriptors};
pub use exposed::exposed;

/// Where the configuration is unless the command line says otherwise.
pub const DEFAULT_PATH: &str = "/etc/harpcaller/harpcaller.toml";

/// How long a host may go on with a call whose connection is gone: until harpd has noticed,
/// and has ended it as it does unless told otherwise, and a second for the rest.
const BREAK_GRACE: Duration = Duration::from_secs(
    harp_time::keepalive::NOTICED.as_secs() + harp_proto::host::KILL_GRACE.as_secs() + 1,
);

/// What a request or packet may be limited to: enough for the smallest, and no more than
/// a machine can hold a few of.
const SIZES: std::ops::RangeInclusive<u64> = 1024..=1024 * 1024 * 1024;

/// Everything the file says, defaults filled in.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where clients connect, in plain TCP.
    pub listen: Vec<ListenAddress>,
    /// Where they connect in other ways.
    pub listeners: Vec<ListenerSettings>,
    /// The tokens that clients may authenticate with.
    pub tokens_file: Option<PathBuf>,
    /// What they may do.
    pub access: AccessRules,
    /// Where it is written down what they did.
    pub audit: Option<AuditSettings>,
    /// Where jobs are kept, and what else belongs to this machine; `None` only if jobs are
    /// in a database.
    pub stream_directory: Option<PathBuf>,
    /// The database that jobs are kept in, in place of that.
    pub cluster: Option<ClusterSettings>,
    /// Memory of the store's cache in bytes.
    pub cache_size: u64,
    /// Limits of every execution.
    pub execution: ExecutionLimits,
    /// How hosts' certificates are judged.
    pub trust: TrustFiles,
    /// Where the hosts registry comes from.
    pub registry: RegistryConfig,
    /// What holds for services.
    pub services: ServiceSettings,
    /// What is declared of procedures.
    pub procedures: Vec<ProcedureSettings>,
    /// Whether hosts are asked for their procedures after each refresh of the registry.
    pub describe_hosts: bool,
    /// Limits of clients.
    pub clients: ClientLimits,
    /// Which ended jobs are kept.
    pub retention: Retention,
    /// Whether jobs that waited at the last stop run after the next start.
    pub resume_queued: bool,
    /// How long running calls may go on after a stop.
    pub stop_grace: Duration,
    /// Whether files that others could change are used by a dispatcher that is root's.
    pub allow_unsafe_permissions: bool,
    /// Where the log goes.
    pub log: LogSettings,
    /// What ends of jobs are told apart by in metrics.
    pub metrics_labels: Labels,
    /// Where spans go.
    pub traces: Option<TraceSettings>,
}

impl Config {
    /// Reads and checks a file. The warnings are for the log.
    ///
    /// # Errors
    ///
    /// Every problem of the file with its key, line and what was expected.
    pub fn read(path: &Path) -> Result<(Config, Vec<Warning>), SettingsError> {
        Config::check(&Settings::read(path)?)
    }

    /// Every key that a file may have, those of a table only if `sample` has the table:
    /// what the manual has to describe.
    ///
    /// # Errors
    ///
    /// If the sample is not TOML.
    pub fn keys(sample: &str) -> Result<BTreeSet<String>, SettingsError> {
        let settings = Settings::parse(sample, "sample")?;
        Config::take(&settings.table());
        Ok(settings.known_keys().into_values().flatten().collect())
    }

    /// The directory that jobs are kept in.
    ///
    /// # Errors
    ///
    /// If they are kept in a database.
    pub fn jobs_directory(&self) -> anyhow::Result<&Path> {
        let of_machine = self
            .stream_directory
            .as_deref()
            .filter(|_| self.cluster.is_none());
        of_machine.context("the jobs of this configuration are in a database ([cluster])")
    }

    fn check(settings: &Settings) -> Result<(Config, Vec<Warning>), SettingsError> {
        let table = settings.table();
        let config = Config::take(&table);
        Ok((config, settings.finish()?))
    }

    /// Takes the keys out of the table. What is wrong or missing is noted in the settings
    /// and has some value here.
    fn take(table: &Table<'_>) -> Config {
        if table.ignore("erlang") {
            table.warning("erlang", "is for the Erlang daemon and is not looked at");
        }
        // Which clients are trusted, which may come in, and what is written down of it. The rules guard
        // themselves.
        table.guard(&[
            "ca_file",
            "known_certs_file",
            "verify_hostname",
            "tokens_file",
            "listen",
            "audit_file",
            "audit_arguments",
        ]);
        table.guard_also("listener", &["listeners"]);
        table.guard_also("listen_http", &["http", "http_listener", "listener_http"]);
        table.guard_also("tokens_file", &["auth", "authentication", "token"]);
        let words = ["trust", "trusted_certs", "certificates", "fingerprints"];
        table.guard_also("known_certs_file", &words);
        const MIB: usize = 1024 * 1024;
        let seconds = |key, default| seconds(table, key, Duration::from_secs(default));

        let execution = ExecutionLimits {
            default_timeout: seconds("default_timeout", 600),
            max_exec_time: seconds("max_exec_time", 600),
            connect_timeout: seconds("connect_timeout", 10),
            connect_patience: table
                .seconds("connect_patience", 0)
                .unwrap_or(Duration::from_secs(15)),
            slot_grace: table
                .seconds("slot_grace", 0)
                .unwrap_or(Duration::from_secs(10)),
            break_grace: table.seconds("break_grace", 0).unwrap_or(BREAK_GRACE),
            last_words: table
                .seconds("last_words", 0)
                .unwrap_or(Duration::from_secs(5)),
            max_packet_size: size(table, "max_packet_size", 16 * MIB),
            host_memory: size(table, "host_memory", 16 * MIB),
            output: take_output(table),
            keep_calls: table.boolean("keep_calls").unwrap_or(true),
            keep_for: keep_for(table),
            max_idle_connections: table
                .integer("max_idle_connections", 0..=1000)
                .and_then(|most| usize::try_from(most).ok())
                .unwrap_or(8),
        };
        let trust = TrustFiles {
            ca_file: table.path("ca_file"),
            known_certs_file: table.path("known_certs_file"),
            verify_hostname: table.boolean("verify_hostname").unwrap_or(true),
        };
        let tokens_file = table.path("tokens_file");
        let tables = table.array_of_tables("listener");
        let listeners: Vec<_> = tables
            .iter()
            .filter_map(|table| {
                let settings = ListenerSettings::take(table, tokens_file.is_some())?;
                Some((table, settings))
            })
            .collect();
        let listen = match table.parsed_strings("listen") {
            Some(listen) => {
                if listen.is_empty() && tables.is_empty() {
                    table.problem("listen", "must have at least one \"ADDR:PORT\"");
                }
                listen
            }
            // An operator who says how clients connect does not mean every address in plain.
            None if !tables.is_empty() => Vec::new(),
            None => vec![ListenAddress::everywhere(CLIENT_PORT)],
        };
        let http_tables = table.array_of_tables("listen_http");
        let http = http_tables.iter().filter_map(|table| {
            let settings = ListenerSettings::take_http(table, tokens_file.is_some())?;
            Some((table, settings))
        });
        let listeners: Vec<_> = listeners.into_iter().chain(http).collect();
        places::check(table, &listen, &listeners);
        let listeners = listeners
            .into_iter()
            .map(|(_, settings)| settings)
            .collect();
        let required_path = |key| table.required(key, table.path(key)).unwrap_or_default();
        let cluster = ClusterSettings::take(table);
        let stream_directory = table.path("stream_directory");
        let stream_directory = match cluster {
            None => table.required("stream_directory", stream_directory),
            Some(_) => stream_directory,
        };
        let discovery = Discovery::take(table);
        let script = table.path("host_db_script");
        let script = match discovery {
            None => table.required("host_db_script", script),
            Some(_) => script,
        };
        let interval = seconds("host_db_refresh", 900);
        let script_timeout = seconds("host_db_script_timeout", 60);
        let resume_queued = table.boolean("resume_queued").unwrap_or(true);
        if cluster.is_some() && !resume_queued {
            let why = "jobs of a cluster wait for all of its nodes: it cannot be false here";
            table.problem("resume_queued", why);
        }
        let stop_grace = table
            .seconds("stop_grace", 0)
            .unwrap_or(Duration::from_secs(10));
        let cache_size = table.size("cache_size").unwrap_or(64 * MIB as u64);
        if cache_size < MIB as u64 {
            table.problem("cache_size", "must be 1M or more");
        }
        let log = LogSettings::take(table);
        Config {
            listen,
            listeners,
            tokens_file,
            access: access::take(table),
            audit: AuditSettings::take(table),
            stream_directory,
            cluster,
            cache_size,
            execution,
            trust,
            registry: RegistryConfig {
                script,
                discovery,
                script_timeout,
                cache: required_path("host_db"),
                interval,
                allow_empty: table.boolean("host_db_allow_empty").unwrap_or(false),
            },
            services: ServiceSettings::take(table),
            procedures: ProcedureSettings::take(table),
            describe_hosts: table.boolean("describe_hosts").unwrap_or(false),
            clients: clients::take(table),
            retention: Retention::take(table),
            resume_queued,
            stop_grace,
            allow_unsafe_permissions: table.boolean("allow_unsafe_permissions").unwrap_or(false),
            log,
            metrics_labels: Labels::take(table),
            traces: TraceSettings::take(table),
        }
    }
}

fn seconds(table: &Table<'_>, key: &str, default: Duration) -> Duration {
    table.seconds(key, 1).unwrap_or(default)
}

fn keep_for(table: &Table<'_>) -> Duration {
    let keep_for = table.seconds("keep_for", 1);
    if keep_for.is_some_and(|keep_for| keep_for.as_secs() > MAX_KEEP) {
        table.problem("keep_for", "must be a year or less");
    }
    keep_for.unwrap_or(Duration::from_secs(300))
}

fn size(table: &Table<'_>, key: &str, default: usize) -> usize {
    match table.size(key) {
        None => default,
        Some(bytes) if SIZES.contains(&bytes) => usize::try_from(bytes).unwrap_or(default),
        Some(_) => {
            table.problem(key, "must be a size from 1K to 1G");
            default
        }
    }
}

fn count(table: &Table<'_>, key: &str, default: usize) -> usize {
    let count = table.integer(key, 1..=u64::from(u32::MAX));
    count
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or(default)
}

#[cfg(test)]
mod tests;
