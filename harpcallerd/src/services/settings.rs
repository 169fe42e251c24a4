//! The table `[topchef]` of the configuration: what holds for services.

use std::sync::Arc;
use std::time::Duration;

use harp_service::Table;

/// What holds for services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceSettings {
    /// The host that calls to services name.
    pub host: Arc<str>,
    /// Longest execution of their jobs; the general one if it is `None`.
    pub max_exec_time: Option<Duration>,
    /// Whether clients of TopChef may register no schemas that cannot be used.
    pub strict_schemas: bool,
}

impl Default for ServiceSettings {
    fn default() -> ServiceSettings {
        ServiceSettings {
            host: "topchef".into(),
            max_exec_time: None,
            strict_schemas: false,
        }
    }
}

impl ServiceSettings {
    /// Takes the table out of the configuration.
    pub fn take(table: &Table<'_>) -> ServiceSettings {
        let default = ServiceSettings::default();
        let Some(table) = table.table("topchef") else {
            return default;
        };
        let host = table.string("host");
        if host.as_deref() == Some("") {
            table.problem("host", "must be the name of a host");
        }
        ServiceSettings {
            host: host.map_or(default.host, Arc::from),
            max_exec_time: table.seconds("max_exec_time", 1),
            strict_schemas: table.boolean("strict_schemas").unwrap_or(false),
        }
    }
}
