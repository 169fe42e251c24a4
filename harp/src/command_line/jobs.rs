//! The words of `harp jobs`.

use clap::Args;
use harp_client::Json;

use super::{List, queue};

/// Which jobs are listed. Several values of one option are alternatives.
#[derive(Debug, Args)]
pub(crate) struct Jobs {
    /// Calls of this host: a name, or a pattern such as 'web*'.
    #[arg(long, value_name = "HOST")]
    pub(crate) host: Vec<String>,
    /// Calls of this procedure, or of those that a pattern matches.
    #[arg(long, value_name = "PROCEDURE")]
    pub(crate) procedure: Vec<String>,
    /// Jobs of this queue: a JSON object, or NAME for {"name":"NAME"}.
    #[arg(long, value_name = "NAME|JSON", value_parser = queue)]
    pub(crate) queue: Vec<Json>,
    /// Calls of this client, or of those that a pattern matches.
    #[arg(long, value_name = "CLIENT")]
    pub(crate) client: Vec<String>,
    /// Jobs that have ended so.
    #[arg(long, value_name = "OUTCOME", value_parser = ["returned", "exception", "error", "cancelled"])]
    pub(crate) outcome: Vec<String>,
    /// Jobs that were submitted at this time or later: 2026-11-27T12:00:00Z, 2026-11-27, today,
    /// yesterday (UTC), -2h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    #[command(flatten)]
    pub(crate) list: List,
}

impl Jobs {
    /// The list, with each option as the filter that it stands for.
    pub(crate) fn into_list(mut self) -> List {
        let names = [
            ("host", &self.host),
            ("procedure", &self.procedure),
            ("client", &self.client),
            ("outcome", &self.outcome),
        ];
        let mut filters = Vec::new();
        for (name, values) in names {
            filters.extend(values.iter().map(|value| format!("{name}={value}")));
        }
        let queues = self.queue.iter();
        filters.extend(queues.map(|queue| format!("queue={}", queue.as_str())));
        let since = self.since.iter();
        filters.extend(since.map(|since| format!("submitted_since={since}")));
        self.list.filters.extend(filters);
        self.list
    }
}
