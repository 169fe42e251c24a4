//! What the configuration says about calls that outlive their connections.

use std::path::PathBuf;
use std::time::Duration;

use harp_service::Table;

/// How calls are kept, and how much of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeepSettings {
    /// False: only `harp/1` is spoken.
    pub keep_calls: bool,
    /// The longest that a call goes on alone.
    pub max_keep: Duration,
    /// What a call may keep in memory, in bytes.
    pub keep_memory: usize,
    /// What a call may keep in a file, in bytes.
    pub keep_spool: u64,
    /// What all calls together may keep in files, in bytes.
    pub keep_spool_total: u64,
    /// The directory of these files, and of what the next life has to know.
    pub state_directory: PathBuf,
    /// How long a stop waits for ends to be fetched.
    pub stop_grace: Duration,
}

impl KeepSettings {
    /// Takes the keys.
    #[must_use]
    pub fn take(root: &Table<'_>) -> KeepSettings {
        let seconds = |key, min, default| {
            root.seconds(key, min)
                .unwrap_or(Duration::from_secs(default))
        };
        let size = |key, default| root.size(key).unwrap_or(default);
        KeepSettings {
            keep_calls: root.boolean("keep_calls").unwrap_or(true),
            max_keep: seconds("max_keep", 1, 3600),
            keep_memory: usize::try_from(size("keep_memory", 256 << 10)).unwrap_or(usize::MAX),
            keep_spool: size("keep_spool", 64 << 20),
            keep_spool_total: size("keep_spool_total", 1 << 30),
            state_directory: root
                .path("state_directory")
                .unwrap_or_else(|| PathBuf::from("/var/lib/harpd")),
            stop_grace: seconds("stop_grace", 0, 10),
        }
    }
}
