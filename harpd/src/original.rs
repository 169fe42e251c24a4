//! What the original harpd, a program in Python 2, was configured with: recognised, so that
//! whoever brings it along is told what to do, and converted.

use std::path::{Path, PathBuf};

use harp_service::SettingsError;
use yaml_rust2::{Yaml, YamlLoader};

mod convert;

pub use convert::{ConvertError, Given, convert};

/// The configuration file that the original read if it was not told another one.
const ITS_DEFAULT: &str = "/etc/harpd/harpd.conf";
/// Tables that a configuration of the original's has to have.
const ITS_TABLES: [&str; 2] = ["network", "authentication"];

/// Why this configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// For a reason that has nothing to do with the original.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The file is one of the original's.
    #[error(
        "{file} is YAML, a configuration of the original harpd; `harpd convert {file}` prints one \
         for this harpd, see harpcaller-migration(7)",
        file = .0.display()
    )]
    Original(PathBuf),
    /// There is no file, but one of the original's.
    #[error(
        "{missing}; there is {ITS_DEFAULT} of the original harpd, which `harpd convert \
         {ITS_DEFAULT}` prints one from, see harpcaller-migration(7)"
    )]
    OnlyOriginal {
        /// What is wrong with the file that was looked for.
        missing: SettingsError,
    },
}

/// The error that helps with this file most.
#[must_use]
pub fn explained(path: &Path, error: SettingsError) -> ConfigError {
    match error {
        SettingsError::Unreadable { ref source, .. }
            if source.kind() == std::io::ErrorKind::NotFound && Path::new(ITS_DEFAULT).exists() =>
        {
            ConfigError::OnlyOriginal { missing: error }
        }
        SettingsError::Wrong(_) if is_original(path) => ConfigError::Original(path.to_owned()),
        error => ConfigError::Settings(error),
    }
}

fn is_original(path: &Path) -> bool {
    let Ok(text) = harp_files::regular::read_to_string(path) else {
        return false;
    };
    let Ok(documents) = YamlLoader::load_from_str(&text) else {
        return false;
    };
    let root = documents.first().and_then(Yaml::as_hash);
    root.is_some_and(|root| {
        ITS_TABLES
            .iter()
            .any(|table| root.contains_key(&Yaml::String((*table).to_owned())))
    })
}
