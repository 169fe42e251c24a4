//! The lives of harpd, in a file: what this one is called, and which came before. A caller
//! is told of an earlier one only if nothing of what that ran is left.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harp_service::private_file;
use ring::rand::{SecureRandom, SystemRandom};
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::descendants;
use crate::keeper_notes::{KeeperNotes, Noted, NotedKeeper};

/// The file of the lives, in `state_directory`, and the one whose lock the living holds.
const NAME: &str = "lives";
const LOCK: &str = "lock";
/// So many earlier lives are told.
const TOLD: usize = 8;
/// How long processes that survive SIGKILL are waited for at a start.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// This life. As long as it is held, no other harpd uses the directory.
#[derive(Debug)]
pub struct HarpdLife {
    directory: PathBuf,
    _lock: File,
    lives: Vec<NotedLife>,
}

/// One life, as it is noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct NotedLife {
    name: String,
    /// The machine's boot that it was in, by the system's name for it.
    machine: String,
    /// The control group that it was in.
    group: Option<String>,
    /// True if nothing of what it ran is left.
    gone: bool,
}

impl HarpdLife {
    /// Begins a life: ends what the one before has left, as far as that is known, SIGKILL
    /// coming `grace` after SIGTERM. Gives the place to note this one's keepers, too.
    ///
    /// # Errors
    ///
    /// If another harpd uses the directory, or the system does not let it be used.
    pub async fn begin(directory: &Path, grace: Duration) -> io::Result<(HarpdLife, KeeperNotes)> {
        private_file::create_directory(directory)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
            let directory = directory.display();
            io::Error::other(format!("another harpd uses {directory}: {error}"))
        })?;
        remove_unfinished(directory);
        let machine = machine();
        let group = control_group();
        let mut lives = read(directory);
        if let Some(last) = lives.last_mut()
            && !last.gone
            && last.machine == machine
        {
            let noted = KeeperNotes::read(directory)?;
            let ended = end_leftovers(noted, grace).await;
            last.gone = ended || is_emptied(last.group.as_deref(), group.as_deref());
            if !last.gone {
                warn!(
                    life = last.name,
                    "harpd was killed, and it is not known whether all that it ran has ended"
                );
            }
        }
        for life in &mut lives {
            // Nothing outlives the system.
            life.gone |= life.machine != machine;
        }
        lives.push(NotedLife {
            name: new_name()?,
            machine,
            group,
            gone: false,
        });
        let excess = lives.len().saturating_sub(TOLD + 1);
        lives.drain(..excess);
        let life = HarpdLife {
            directory: directory.to_owned(),
            _lock: lock,
            lives,
        };
        life.write()?;
        let notes = KeeperNotes::begin(directory)?;
        Ok((life, notes))
    }

    /// Its name, which no other has.
    #[must_use]
    pub fn name(&self) -> String {
        let this = self.lives.last();
        this.map(|life| life.name.clone()).unwrap_or_default()
    }

    /// The names of those before it of whose calls nothing is left, the newest last.
    #[must_use]
    pub fn earlier(&self) -> Vec<String> {
        let earlier = self.lives.iter().filter(|life| life.gone);
        earlier.map(|life| life.name.clone()).collect()
    }

    /// Notes that nothing of what this life ran is left. Blocks.
    pub fn end(&mut self) {
        if let Some(this) = self.lives.last_mut() {
            this.gone = true;
        }
        if let Err(error) = self.write() {
            warn!(%error, "cannot note that all calls have ended");
        }
    }

    fn write(&self) -> io::Result<()> {
        let text = serde_json::to_vec(&self.lives).map_err(io::Error::other)?;
        private_file::write(&self.directory.join(NAME), &text)
    }
}

fn read(directory: &Path) -> Vec<NotedLife> {
    let path = directory.join(NAME);
    let read = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(io::Error::other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => Err(error),
    };
    read.unwrap_or_else(|error| {
        warn!(file = %path.display(), %error, "earlier lives of harpd are not known");
        Vec::new()
    })
}

/// Removes files that a harpd which was killed had not given their names yet.
fn remove_unfinished(directory: &Path) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in entries {
        let is_unfinished = entry.file_name().to_string_lossy().starts_with(".tmp");
        if is_unfinished && let Err(error) = std::fs::remove_file(entry.path()) {
            warn!(file = %entry.path().display(), %error, "cannot remove what is left of a file");
        }
    }
}

/// Ends what is below the keepers of another life. True if that is certainly all that was
/// left.
async fn end_leftovers(noted: Noted, grace: Duration) -> bool {
    let (mut left, over): (Vec<_>, Vec<_>) =
        noted.keepers.into_iter().partition(NotedKeeper::is_there);
    // One that has ended by itself leaves nothing; one that was killed leaves all.
    let is_certain = noted.is_complete && over.is_empty();
    if left.is_empty() {
        return is_certain;
    }
    info!(
        calls = left.len(),
        "ending what calls of a harpd that was killed have left"
    );
    let began = Instant::now();
    let mut signals: &[Signal] = &[Signal::TERM, Signal::CONT];
    while began.elapsed() < grace + LAST_PATIENCE {
        if !signals.is_empty() {
            for keeper in &left {
                if let Err(error) = descendants::signal_below(keeper.pid, signals) {
                    warn!(%error, "cannot look for the processes of a call");
                }
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
        left.retain(NotedKeeper::is_there);
        if left.is_empty() {
            return is_certain;
        }
        signals = if began.elapsed() >= grace {
            &[Signal::KILL]
        } else {
            &[]
        };
    }
    warn!(
        calls = left.len(),
        "calls of a harpd that was killed do not end"
    );
    false
}

/// True if a life's control group has nobody in it but this process.
fn is_emptied(group: Option<&str>, own: Option<&str>) -> bool {
    let Some(group) = group else { return false };
    let directory = format!("/sys/fs/cgroup{group}");
    if own == Some(group) {
        let members = std::fs::read_to_string(format!("{directory}/cgroup.procs"));
        let own = rustix::process::getpid().as_raw_pid().to_string();
        return members.is_ok_and(|members| members.lines().all(|member| member == own));
    }
    match std::fs::read_to_string(format!("{directory}/cgroup.events")) {
        Ok(events) => events.lines().any(|line| line == "populated 0"),
        // A group is removed only when it is empty.
        Err(error) => {
            error.kind() == io::ErrorKind::NotFound
                && Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
        }
    }
}

/// The control group of this process, if that is one of its own (cgroups(7), version 2).
fn control_group() -> Option<String> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    // A unit's. In any other, who knows who else is in it.
    group.ends_with(".service").then(|| group.to_owned())
}

/// The name of the machine's boot.
fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
    name.unwrap_or_default().trim().to_owned()
}

/// A name that no life has had.
fn new_name() -> io::Result<String> {
    let mut bytes = [0; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| io::Error::other("the system gives no random numbers"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn eight_earlier_lives_are_told_the_newest_last() {
        let directory = tempfile::tempdir().unwrap();
        let mut names: Vec<String> = Vec::new();
        for _ in 0..TOLD + 3 {
            let (mut life, notes) = HarpdLife::begin(directory.path(), Duration::ZERO)
                .await
                .unwrap();
            let told = names.len().min(8);
            assert_eq!(life.earlier(), names[names.len() - told..]);
            names.push(life.name());
            life.end();
            drop(notes);
        }
    }
}
