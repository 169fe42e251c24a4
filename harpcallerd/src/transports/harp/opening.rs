//! Connections to hosts as they are opened, or cannot be: what is told of that.

use harp_host::{HostError, HostErrorKind};
use tokio::time::Instant;

use crate::host_contacts::HostContacts;
use crate::meters::Meters;
use crate::traces::Traces;

/// Those that are told.
#[derive(Debug, Clone, Default)]
pub struct Told {
    /// What counts.
    pub meters: Meters,
    /// What knows each host by name.
    pub contacts: HostContacts,
    /// What takes spans, of each call when its job has ended.
    pub traces: Traces,
}

impl Told {
    /// Opens a connection to a host, and tells what came of it. Cancel safe: of one that is
    /// given up nothing is told.
    pub(super) async fn opened<T>(
        &self,
        host: &str,
        opening: impl Future<Output = Result<T, HostError>>,
    ) -> Result<T, HostError> {
        let begun = Instant::now();
        let opened = opening.await;
        match &opened {
            Ok(_) => {
                self.meters.host_connect(Ok(begun.elapsed()));
                self.contacts.heard(host);
            }
            Err(error) => {
                let code = match error.kind() {
                    HostErrorKind::Network { code } | HostErrorKind::Os { code } => code.as_str(),
                    _ => crate::meters::OTHER,
                };
                self.meters.host_connect(Err(code));
                self.contacts.failed(host, &error.to_failure());
            }
        }
        opened
    }
}
