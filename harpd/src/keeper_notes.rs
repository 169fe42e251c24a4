//! Which keepers there are, on disk, for the next harpd: this one may be killed, and what
//! its calls have left has to be ended all the same.
//!
//! A file of slots that are written over: it outlives the process, and need not outlive the
//! system, which ends all processes anyway. So nothing is synced.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::process::Pid;

/// The file's name in `state_directory`.
const NAME: &str = "keepers";
/// Length of a slot, in bytes.
const SLOT: usize = 48;
/// Slots that the disk has room for from the start; the first one is for all.
const FIRST_SLOTS: usize = 64;
/// What a slot says of a program that is just being started, and of notes that could not
/// be made.
const STARTING: &str = "starting";
const INCOMPLETE: &str = "incomplete";

/// The notes of this harpd.
#[derive(Debug)]
pub struct KeeperNotes {
    file: File,
    slots: usize,
    free: Vec<usize>,
    of: HashMap<Pid, usize>,
}

/// The notes of another.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Its keepers, as far as they had not ended.
    pub keepers: Vec<NotedKeeper>,
    /// False if there may be others.
    pub is_complete: bool,
}

/// A keeper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotedKeeper {
    /// Its number.
    pub pid: Pid,
    /// When it began, in the system's ticks: with the number it is no other's.
    pub began: u64,
}

impl KeeperNotes {
    /// None yet, in a file of this directory that replaces the one before. Blocks.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn begin(directory: &Path) -> io::Result<KeeperNotes> {
        let empty = " ".repeat(SLOT - 1) + "\n";
        harp_service::private_file::write(
            &directory.join(NAME),
            empty.repeat(FIRST_SLOTS).as_bytes(),
        )?;
        let file = File::options().write(true).open(directory.join(NAME))?;
        Ok(KeeperNotes {
            file,
            slots: FIRST_SLOTS,
            free: (1..FIRST_SLOTS).rev().collect(),
            of: HashMap::new(),
        })
    }

    /// Reads what another has left; nothing, and complete, without a file. Blocks.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn read(directory: &Path) -> io::Result<Noted> {
        let text = match std::fs::read_to_string(directory.join(NAME)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut noted = Noted {
            keepers: Vec::new(),
            is_complete: true,
        };
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let keeper = line.split_once(' ').and_then(|(pid, began)| {
                let pid = Pid::from_raw(pid.parse().ok()?)?;
                let began = began.parse().ok()?;
                Some(NotedKeeper { pid, began })
            });
            match keeper {
                Some(keeper) => noted.keepers.push(keeper),
                None => noted.is_complete = false,
            }
        }
        Ok(noted)
    }

    /// A program is about to be started.
    pub fn starting(&mut self) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        });
        self.write(slot, STARTING);
        slot
    }

    /// It has been, below this keeper; without one it has not.
    pub fn started(&mut self, slot: usize, keeper: Option<Pid>) {
        let Some(keeper) = keeper else {
            self.write(slot, "");
            self.free.push(slot);
            return;
        };
        let began = began(keeper).unwrap_or_default();
        self.write(slot, &format!("{} {began}", keeper.as_raw_pid()));
        self.of.insert(keeper, slot);
    }

    /// Nothing is left below a keeper.
    pub fn over(&mut self, keeper: Pid) {
        if let Some(slot) = self.of.remove(&keeper) {
            self.write(slot, "");
            self.free.push(slot);
        }
    }

    fn write(&self, slot: usize, text: &str) {
        let line = format!("{text:width$}\n", width = SLOT - 1);
        let place = |slot: usize| (slot * SLOT) as u64;
        if let Err(error) = self.file.write_all_at(line.as_bytes(), place(slot)) {
            tracing::error!(%error, "cannot note which keepers there are");
            let line = format!("{INCOMPLETE:width$}\n", width = SLOT - 1);
            // There is room for this one since the beginning.
            let _ = self.file.write_all_at(line.as_bytes(), 0);
        }
    }
}

impl NotedKeeper {
    /// True if there still is this process.
    #[must_use]
    pub fn is_there(&self) -> bool {
        began(self.pid) == Some(self.began)
    }
}

/// When a process began, in the system's ticks (proc(5)); `None` without one, or if it has
/// ended and waits to be reaped.
fn began(pid: Pid) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
    // The name, in parentheses, may have anything in it.
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let mut fields = std::str::from_utf8(&stat[after_name..])
        .ok()?
        .split_ascii_whitespace();
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_found_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let noted = || KeeperNotes::read(directory).unwrap();
        assert!(noted().is_complete);
        let mut notes = KeeperNotes::begin(directory).unwrap();
        let own = rustix::process::getpid();
        let slots: Vec<_> = (0..2 * FIRST_SLOTS).map(|_| notes.starting()).collect();
        assert!(!noted().is_complete);
        for slot in &slots[1..] {
            notes.started(*slot, None);
        }
        assert!(!noted().is_complete);
        notes.started(slots[0], Some(own));
        let found = noted();
        assert!(found.is_complete);
        assert_eq!(found.keepers.len(), 1);
        assert!(found.keepers[0].is_there());
        let another = NotedKeeper {
            began: found.keepers[0].began + 1,
            ..found.keepers[0]
        };
        assert!(!another.is_there());
        notes.over(own);
        assert_eq!(noted().keepers, []);
        assert!(noted().is_complete);
        std::fs::write(directory.join(NAME), "12 \nnonsense\n").unwrap();
        assert!(!noted().is_complete);
    }
}
