//! Processes that descend from another one, as the system tells.

use std::collections::HashMap;
use std::io;

use rustix::io::Errno;
use rustix::process::{self, Pid, Signal};

/// Fields of one process in `/proc/PID/stat` (proc(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    is_zombie: bool,
    parent: i32,
    group: i32,
    session: i32,
}

/// Result of a round of signals.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// Processes that live.
    pub living: usize,
    /// Those of them that this process may not signal.
    pub forbidden: usize,
}

/// Signals everything that descends from a process, but not that one. Blocks while it looks
/// at every process of the system, some microseconds each.
///
/// Signalled are process groups as a whole, so none of their members can fork away: a
/// process in the session of a descendant descends from the process that made that session, so a group
/// of descendants has no other members. What is made meanwhile elsewhere may be
/// missed: a round is repeated until nothing is left.
///
/// The numbers of processes are handed out in a circle, so one that has become free is not
/// seen again between the look and the signal.
///
/// # Errors
///
/// If the processes cannot be listed.
pub fn signal_below(ancestor: Pid, signals: &[Signal]) -> io::Result<Round> {
    let all = processes()?;
    let below = below(&all, ancestor.as_raw_pid(), |_| true);
    Ok(signal(&all, &below, signals))
}

/// Signals all children of this process that are not `known`, and everything that descends
/// from those. Blocks as [`signal_below`].
///
/// # Errors
///
/// As [`signal_below`].
pub fn signal_strays(known: impl Fn(i32) -> bool, signals: &[Signal]) -> io::Result<usize> {
    let all = processes()?;
    let own = process::getpid().as_raw_pid();
    let below = below(&all, own, |pid| !known(pid));
    Ok(signal(&all, &below, signals).living)
}

/// Whether the process is a child of this one that leads a session and its group; `None`
/// if there is no such process.
pub fn is_child_that_leads(pid: Pid) -> Option<bool> {
    let number = pid.as_raw_pid();
    let found = look_at(number)?;
    let own = process::getpid().as_raw_pid();
    Some((found.parent, found.group, found.session) == (own, number, number))
}

/// The numbers of those who descend from a process by way of children that are `followed`.
fn below(all: &HashMap<i32, Found>, ancestor: i32, followed: impl Fn(i32) -> bool) -> Vec<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, found) in all {
        children.entry(found.parent).or_default().push(*pid);
    }
    let of = |parent| children.get(&parent).into_iter().flatten().copied();
    let mut below: Vec<i32> = of(ancestor).filter(|pid| followed(*pid)).collect();
    let mut next = 0;
    // The tree may have changed while it was read, but nobody is in it twice.
    while let Some(pid) = below.get(next) {
        below.extend(of(*pid));
        next += 1;
    }
    below
}

fn signal(all: &HashMap<i32, Found>, targets: &[i32], signals: &[Signal]) -> Round {
    let own_group = process::getpgrp().as_raw_pid();
    let mut round = Round::default();
    let mut groups = Vec::new();
    for number in targets {
        let (Some(pid), Some(found)) = (Pid::from_raw(*number), all.get(number)) else {
            continue;
        };
        if found.is_zombie {
            continue;
        }
        round.living += 1;
        // Numbers 0 and 1 would be others than a group of that number.
        let is_in_group = found.group > 1 && found.group != own_group;
        // A group counts as signalled if one of its members could be, so each is asked. None
        // gets a signal twice: what it does about SIGTERM would be done twice.
        let told = if is_in_group {
            process::test_kill_process(pid)
        } else {
            signals
                .iter()
                .try_for_each(|signal| process::kill_process(pid, *signal))
        };
        if told == Err(Errno::PERM) {
            round.forbidden += 1;
        }
        if is_in_group && !groups.contains(&found.group) {
            groups.push(found.group);
        }
    }
    for group in groups.into_iter().filter_map(Pid::from_raw) {
        for signal in signals {
            // Gone meanwhile, or counted above as forbidden.
            let _ = process::kill_process_group(group, *signal);
        }
    }
    round
}

/// The processes of the system, by number.
fn processes() -> io::Result<HashMap<i32, Found>> {
    let mut all = HashMap::new();
    for entry in std::fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let number = name.to_str().and_then(|name| name.parse().ok());
        // Without an answer: gone meanwhile.
        if let Some((number, found)) = number.and_then(|number| Some((number, look_at(number)?))) {
            all.insert(number, found);
        }
    }
    Ok(all)
}

fn look_at(pid: i32) -> Option<Found> {
    Found::parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

impl Found {
    fn parse(stat: &[u8]) -> Option<Found> {
        // The name, in parentheses, may have anything in it.
        let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
        let mut fields = std::str::from_utf8(&stat[after_name..])
            .ok()?
            .split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let group = fields.next()?.parse().ok()?;
        let session = fields.next()?.parse().ok()?;
        let threads: u32 = fields.nth(13)?.parse().ok()?;
        Some(Found {
            // A process whose first thread has ended shows its state, but others run.
            is_zombie: matches!(state, "Z" | "X") && threads <= 1,
            parent,
            group,
            session,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_taken_apart_whatever_the_name() {
        let rest = "7 5 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0";
        for (stat, is_zombie) in [
            (format!("12 (sh) S {rest} 1 0 99"), false),
            (format!("12 (a) Z 1 (b) Z {rest} 1 0 99"), true),
            (format!("12 (first thread ended) Z {rest} 3 0 99"), false),
        ] {
            let found = Found {
                is_zombie,
                parent: 7,
                group: 5,
                session: 9,
            };
            assert_eq!(Found::parse(stat.as_bytes()), Some(found), "{stat}");
        }
        assert_eq!(Found::parse(b"12 (sh"), None);
    }

    #[test]
    fn descendants_are_found_whatever_their_sessions() {
        let of = |parent| Found {
            is_zombie: false,
            parent,
            group: parent,
            session: parent,
        };
        let tree = [(10, 1), (20, 10), (21, 10), (30, 20), (40, 30), (50, 1)];
        let all = tree.map(|(pid, parent)| (pid, of(parent))).into();
        let found = |ancestor, but| {
            let mut found = below(&all, ancestor, |pid| pid != but);
            found.sort_unstable();
            found
        };
        assert_eq!(found(10, 0), [20, 21, 30, 40]);
        assert_eq!(found(10, 20), [21]);
        assert_eq!(found(1, 10), [50]);
        assert!(found(40, 0).is_empty());
    }
}
