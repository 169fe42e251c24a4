//! Whether the hosts can know that the connections of an earlier dispatcher are gone.
//!
//! The system closes the connections of a process that ends, and tells the hosts, as long
//! as it runs itself. After a start of the machine (a power cut, a panic), or where the
//! store has come to another machine, nobody has told them: they notice by themselves,
//! some time later.
//!
//! A file beside the store, `boot.json`, has the boot of the machine that has used the
//! store last, and until when of that boot's time the hosts may not know:
//!
//! ```json
//! {"boot":"8ec71d6b-28d1-4ce2-aa23-f3ea7887beda","unaware_until":81234}
//! ```

use std::io;
use std::path::Path;
use std::time::Duration;

use harp_service::private_file;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{info, warn};

const FILE: &str = "boot.json";

/// File in which Linux has the id of its boot, another one each time.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    boot: String,
    /// In milliseconds since that boot.
    unaware_until: u64,
}

/// Until when hosts may go on with calls of an earlier dispatcher without knowing that it
/// is gone: `grace` after the first start of a dispatcher since the machine's. `None` if
/// they know. Reads and writes a file, which blocks.
///
/// Where the file is missing (a new store, or one of a version that had none), the hosts are
/// taken to know; likewise where this cannot be found out, which is logged. A file that says
/// nothing is taken for one of another boot.
#[must_use]
pub fn hosts_unaware_until(stream_directory: &Path, grace: Duration) -> Option<Instant> {
    let path = stream_directory.join(FILE);
    match look(&path, grace) {
        Ok(left) => left.map(|left| Instant::now() + left),
        Err(error) => {
            let path = path.display();
            warn!(%path, %error, "whether the machine was started anew cannot be noted");
            None
        }
    }
}

fn look(path: &Path, grace: Duration) -> io::Result<Option<Duration>> {
    let boot = std::fs::read_to_string(BOOT_ID)?.trim().to_owned();
    let now = since_boot();
    let known: Option<Note> = match std::fs::read(path) {
        Ok(text) => Some(serde_json::from_slice(&text).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let note = note(known.as_ref(), boot, now, grace);
    if known.as_ref() != Some(&note) {
        if known.is_some() {
            let seconds = grace.as_secs();
            info!(
                seconds,
                "the machine was started anew; places in queues are kept until hosts have noticed"
            );
        }
        private_file::write(path, &serde_json::to_vec(&note)?)?;
    }
    let left = Duration::from_millis(note.unaware_until.saturating_sub(now));
    // A clock that runs otherwise, as in a container, is no reason to wait for longer.
    let left = left.min(grace);
    Ok((!left.is_zero()).then_some(left))
}

/// Makes the note of this boot, which holds from now on.
fn note(known: Option<&Note>, boot: String, now: u64, grace: Duration) -> Note {
    let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
    let unaware_until = match known {
        None => 0,
        Some(known) if known.boot == boot => known.unaware_until,
        Some(_) => now.saturating_add(grace),
    };
    Note {
        boot,
        unaware_until,
    }
}

/// Milliseconds since the machine was started, those in which it slept included.
fn since_boot() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or_default();
    seconds * 1000 + nanoseconds / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(66);

    fn known(boot: &str, unaware_until: u64) -> Note {
        Note {
            boot: boot.to_owned(),
            unaware_until,
        }
    }

    #[test]
    fn only_a_start_of_the_machine_leaves_hosts_unaware() {
        let note = |known: Option<&Note>, now| note(known, "b".to_owned(), now, GRACE);
        assert_eq!(note(None, 5000), known("b", 0), "a new store");
        assert_eq!(note(Some(&known("b", 0)), 5000), known("b", 0));
        assert_eq!(note(Some(&known("a", 0)), 5000), known("b", 71_000));
        // However often the dispatcher is started in the same boot.
        assert_eq!(note(Some(&known("b", 71_000)), 20_000), known("b", 71_000));
        assert_eq!(note(Some(&known("a", 71_000)), 5), known("b", 66_005));
    }

    #[test]
    fn the_file_is_written_once_and_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        assert_eq!(hosts_unaware_until(directory.path(), GRACE), None);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut note: Note = serde_json::from_str(&text).unwrap();
        assert_eq!(hosts_unaware_until(directory.path(), GRACE), None);
        note.boot = "another".to_owned();
        std::fs::write(&path, serde_json::to_vec(&note).unwrap()).unwrap();
        for _ in 0..2 {
            let until = hosts_unaware_until(directory.path(), GRACE).unwrap();
            let left = until.duration_since(Instant::now());
            assert!(left <= GRACE && left > GRACE / 2, "{left:?}");
        }
        std::fs::write(&path, "nonsense").unwrap();
        assert!(hosts_unaware_until(directory.path(), GRACE).is_some());
    }
}
