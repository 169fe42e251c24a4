//! State that the configuration and the files it names describe: all that a reload replaces.

use std::path::Path;
use std::sync::Arc;

use harp_proto::host::kept;
use harp_service::descriptors;
use harp_service::exposure::Exposed;
use harp_service::tls::{Protocols, ServerTls, TlsError, TlsFiles};

use crate::config::Config;
use crate::descriptors::too_many_calls;
use crate::exposed;
use crate::imports::{self, Imports};
use crate::original::ConfigError;
use crate::reaper::Reaper;
use crate::users::{UsersError, UsersFile};

/// The protocols that callers can choose from.
const KEEPING: Protocols = &[kept::ALPN, kept::ALPN_PLAIN];
const PLAIN: Protocols = &[kept::ALPN_PLAIN];

/// One reading of everything.
#[derive(Debug)]
pub struct State {
    /// The configuration file.
    pub config: Config,
    /// The certificate and key, and the authorities of callers.
    pub tls: ServerTls,
    /// The users file.
    pub users: UsersFile,
    /// Result of asking the Python module and the agents; nothing before
    /// [`State::import`].
    pub imports: Imports,
}

/// Why harpd cannot run with this configuration; one problem a line.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct LoadError(pub Vec<Problem>);

/// One thing that is wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificate or its key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The users file.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// Others could change a file that says what root runs.
    #[error("{0}; harpd runs as root, so it does not go by it (allow_unsafe_permissions)")]
    Exposed(Exposed),
    /// The log file.
    #[error(transparent)]
    Log(std::io::Error),
}

impl State {
    /// Reads the configuration and every file it names. Blocks. Also gives what its
    /// owner should be warned of.
    ///
    /// # Errors
    ///
    /// Everything that is wrong.
    pub fn load(path: &Path) -> Result<(State, Vec<String>), LoadError> {
        let (config, warnings) =
            Config::read(path).map_err(|error| LoadError(vec![error.into()]))?;
        let mut warnings: Vec<_> = warnings.iter().map(ToString::to_string).collect();
        let (refused, told) = exposed::look(path, &config);
        if !refused.is_empty() {
            let problems = refused.into_iter().map(Problem::Exposed);
            return Err(LoadError(problems.collect()));
        }
        warnings.extend(told.iter().map(ToString::to_string));
        warnings.extend(too_many_calls(config.max_calls, descriptors::highest()));
        let protocols = if config.keep.keep_calls {
            KEEPING
        } else {
            PLAIN
        };
        let tls = ServerTls::load(tls_files(&config), protocols);
        let users = UsersFile::read(&config.users_file);
        match (tls, users) {
            (Ok(tls), Ok(users)) => {
                let known = users.last_read();
                if known.count() == 0 {
                    warnings.push(format!(
                        "{}: no users in it, so nobody can call",
                        config.users_file.display()
                    ));
                }
                let unknown = config.permissions.users();
                warnings.extend(unknown.filter(|user| !known.has(user)).map(|user| {
                    format!(
                        "user.{user}: no such user in {}",
                        config.users_file.display()
                    )
                }));
                let state = State {
                    config,
                    tls,
                    users,
                    imports: Imports::default(),
                };
                Ok((state, warnings))
            }
            (tls, users) => {
                let tls = tls.err().map(Problem::from);
                let users = users.err().map(Problem::from);
                Err(LoadError(tls.into_iter().chain(users).collect()))
            }
        }
    }

    /// From now on says that no call can be kept, whatever the configuration says.
    ///
    /// # Errors
    ///
    /// If the certificate and its key have become unusable meanwhile.
    pub fn keep_nothing(&mut self) -> Result<(), TlsError> {
        self.config.keep.keep_calls = false;
        self.tls = ServerTls::load(tls_files(&self.config), PLAIN)?;
        Ok(())
    }

    /// Adds the procedures of the Python module and of agents to those of the
    /// configuration. To be done once, before any call.
    pub async fn import(&mut self, reaper: &Reaper) {
        self.imports = imports::import(&mut self.config, reaper).await;
    }

    /// The procedures that could not be started now, or hardly, each with the cause.
    /// Blocks.
    #[must_use]
    pub fn broken_procedures(&self) -> Vec<String> {
        let procedures = self.config.procedures.values();
        procedures
            .filter_map(|procedure| {
                let why = procedure.runner.check_thoroughly().err()?;
                Some(format!("procedure {}: {why}", procedure.name))
            })
            .collect()
    }

    /// Takes over from an earlier reading the slots of procedures that are still there,
    /// since calls of the earlier one may hold some.
    pub fn take_slots_of(&mut self, earlier: &State) {
        for (name, procedure) in &mut self.config.procedures {
            let Some(before) = earlier.config.procedures.get(name) else {
                continue;
            };
            // Nobody else has it yet.
            let Some(procedure) = Arc::get_mut(procedure) else {
                continue;
            };
            if let (Some(slots), Some(limit)) = (&before.slots, procedure.max_calls) {
                slots.resize(limit);
                procedure.slots = Some(Arc::clone(slots));
            }
        }
    }
}

fn tls_files(config: &Config) -> TlsFiles {
    TlsFiles {
        certificate: config.certificate.clone(),
        private_key: config.private_key.clone(),
        client_ca_file: config.client_ca_file.clone(),
    }
}
