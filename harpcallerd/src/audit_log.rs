//! Where the audit log is written: JSON lines in a file that are only ever appended.

mod file;
mod writing;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use harp_jobs::audit::Audit;
use harp_jobs::ledger::Ledger;
use harp_jobs::world::World;
use harp_service::Table;
use harp_service::tasks::Tasks;

use self::file::AuditFile;
use self::writing::write_down;

/// The keys `audit_file` and `audit_arguments`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// File of the lines.
    pub file: PathBuf,
    /// Whether the arguments of calls are in them.
    pub arguments: bool,
}

impl AuditSettings {
    /// Takes the keys out of the configuration; `None` without a file.
    pub(crate) fn take(table: &Table<'_>) -> Option<AuditSettings> {
        let arguments = table.boolean("audit_arguments").unwrap_or(false);
        Some(AuditSettings {
            file: table.path("audit_file")?,
            arguments,
        })
    }
}

/// Opens the file and starts writing, in a task among `tasks`. Blocks while the file is
/// opened.
///
/// # Errors
///
/// If the file cannot be opened, with its name.
///
/// # Panics
///
/// Outside a tokio runtime.
pub fn start(
    settings: &AuditSettings,
    ledger: Arc<dyn Ledger>,
    world: Arc<dyn World>,
    tasks: &Tasks,
) -> io::Result<Audit> {
    let file = AuditFile::open(&settings.file)?;
    let (audit, inbox) = Audit::open(world, settings.arguments);
    tasks.spawn("audit log", write_down(file, inbox, ledger));
    Ok(audit)
}
