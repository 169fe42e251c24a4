//! What the system tells of the processes of a session.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;

use nix::unistd;
use rustix::process::Pid;

/// What counts of one process in `/proc/PID/stat` (proc(5)).
#[derive(Debug, PartialEq, Eq)]
struct Member {
    is_zombie: bool,
    parent: i32,
    group: i32,
    session: i32,
}

/// The process groups in which there are processes of the session, zombies too. Blocks
/// while it asks for every process of the system, less than a microsecond each.
///
/// A process that is made meanwhile is found as a rule: the numbers are gone through
/// upwards, and new ones are given upwards. But they are given in a circle, so one that
/// is made while they begin again from below is missed. See [`are_none`].
///
/// # Errors
///
/// If the processes cannot be listed.
pub(super) fn groups(session: Pid) -> io::Result<Vec<Pid>> {
    let mut groups = Vec::new();
    for process in processes()? {
        let (pid, _) = process?;
        // By nix, since those of rustix do not expect 0, the answer for threads of the
        // kernel. An error: gone meanwhile.
        let pid = Some(unistd::Pid::from_raw(pid.as_raw_pid()));
        if unistd::getsid(pid).map(unistd::Pid::as_raw) != Ok(session.as_raw_pid()) {
            continue;
        }
        let group = unistd::getpgid(pid).ok();
        match group.and_then(|group| Pid::from_raw(group.as_raw())) {
            Some(group) if !groups.contains(&group) => groups.push(group),
            Some(_) | None => {}
        }
    }
    Ok(groups)
}

/// True if nothing is left of the session. Blocks while it goes through the system's
/// processes twice: what the first look has missed, since its number is below those of
/// processes that have ended meanwhile, the second one finds. To be missed twice, the
/// numbers would have to go round between the two.
///
/// # Errors
///
/// As [`groups`].
pub(super) fn are_none(session: Pid) -> io::Result<bool> {
    Ok(groups(session)?.is_empty() && groups(session)?.is_empty())
}

/// True if all that is left of the session are zombies which only somebody else can
/// reap: nothing of it runs, or will run again. Blocks while it looks at every process
/// of the system, twice as [`are_none`]. False when in doubt.
pub(super) fn are_zombies_of_others(session: Pid) -> bool {
    seem_zombies_of_others(session) && seem_zombies_of_others(session)
}

fn seem_zombies_of_others(session: Pid) -> bool {
    let own = rustix::process::getpid();
    let Ok(processes) = processes() else {
        return false;
    };
    let mut found = false;
    for process in processes {
        let Ok((_, directory)) = process else {
            return false;
        };
        // Gone meanwhile, most likely. Whoever is not seen for another reason is not
        // taken for a zombie: one must be found.
        let Ok(stat) = std::fs::read(directory.join("stat")) else {
            continue;
        };
        match Member::parse(&stat) {
            Some(member) if member.session != session.as_raw_pid() => {}
            Some(member) if member.is_zombie && member.parent != own.as_raw_pid() => found = true,
            Some(_) | None => return false,
        }
    }
    found
}

/// Whether the process is a child of this one that leads a session and its group; `None`
/// if there is no such process.
pub(super) fn is_child_that_leads(pid: Pid) -> Option<bool> {
    let number = pid.as_raw_pid();
    let stat = std::fs::read(format!("/proc/{number}/stat")).ok()?;
    let own = rustix::process::getpid().as_raw_pid();
    Some(Member::parse(&stat).is_some_and(|member| {
        (member.parent, member.group, member.session) == (own, number, number)
    }))
}

/// The processes of the system, with their directories in /proc.
fn processes() -> io::Result<impl Iterator<Item = io::Result<(Pid, PathBuf)>>> {
    let entries = std::fs::read_dir("/proc")?;
    Ok(entries.filter_map(|entry| match entry {
        Ok(entry) => number(&entry.file_name()).map(|pid| Ok((pid, entry.path()))),
        Err(error) => Some(Err(error)),
    }))
}

fn number(name: &OsStr) -> Option<Pid> {
    name.to_str()?.parse().ok().and_then(Pid::from_raw)
}

impl Member {
    fn parse(stat: &[u8]) -> Option<Member> {
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
        Some(Member {
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
    use std::ffi::OsString;

    use harp_exec::{Program, Stream};

    use super::*;

    #[test]
    fn a_stat_is_taken_apart_whatever_the_name() {
        let rest = "7 5 9 0 -1 4194560 1 2 3 4 5 6 7 8 20 0";
        for (stat, is_zombie) in [
            (format!("12 (sh) S {rest} 1 0 99"), false),
            (format!("12 (a) Z 1 (b) Z {rest} 1 0 99"), true),
            (format!("12 (first thread ended) Z {rest} 3 0 99"), false),
        ] {
            let member = Member {
                is_zombie,
                parent: 7,
                group: 5,
                session: 9,
            };
            assert_eq!(Member::parse(stat.as_bytes()), Some(member), "{stat}");
        }
        assert_eq!(Member::parse(b"12 (sh"), None);
    }

    #[test]
    fn the_own_stat_is_what_the_system_says() {
        let own = std::fs::read("/proc/self/stat").unwrap();
        let own = Member::parse(&own).unwrap();
        // Either may be 0: a leader outside of the container has no number inside.
        assert_eq!(own.session, unistd::getsid(None).unwrap().as_raw());
        assert_eq!(own.group, unistd::getpgrp().as_raw());
        assert!(!own.is_zombie);
    }

    #[test]
    fn a_session_is_found_until_nothing_is_left_of_it() {
        let program = Program {
            file: "/bin/sh".into(),
            words: ["sh", "-c", "read line"].map(OsString::from).to_vec(),
            environment: Vec::new(),
            directory: "/".into(),
            ids: None,
            stdin: Stream::Pipe,
            stdout: Stream::Null,
        };
        let mut child = program.spawn().unwrap();
        let session = Pid::from_child(&child);
        assert_eq!(groups(session).unwrap(), [session]);
        assert_eq!(is_child_that_leads(session), Some(true));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(are_none(session).unwrap());
        assert_eq!(is_child_that_leads(session), None);
    }
}
