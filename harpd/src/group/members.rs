//! What /proc tells of the processes of a group.

use rustix::process::Pid;

/// What counts of one process in `/proc/PID/stat` (proc(5)).
#[derive(Debug, PartialEq, Eq)]
struct Member {
    is_zombie: bool,
    parent: i32,
    group: i32,
}

/// True if all that is left of the group are zombies which only somebody else can reap:
/// nothing of it runs, or will run again. Blocks while it looks at every process of the
/// system. False when in doubt.
pub(super) fn are_zombies_of_others(group: Pid) -> bool {
    let own = rustix::process::getpid();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return false;
    };
    let mut found = false;
    for entry in entries {
        let Ok(entry) = entry else {
            return false;
        };
        let name = entry.file_name();
        let is_process = name
            .to_str()
            .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_process {
            continue;
        }
        // Gone meanwhile, most likely. Whoever is not seen for another reason is not
        // taken for a zombie: one must be found.
        let Ok(stat) = std::fs::read(entry.path().join("stat")) else {
            continue;
        };
        match Member::parse(&stat) {
            Some(member) if member.group != group.as_raw_pid() => {}
            Some(member) if member.is_zombie && member.parent != own.as_raw_pid() => found = true,
            Some(_) | None => return false,
        }
    }
    found
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
        let threads: u32 = fields.nth(14)?.parse().ok()?;
        Some(Member {
            // A process whose first thread has ended shows its state, but others run.
            is_zombie: matches!(state, "Z" | "X") && threads <= 1,
            parent,
            group,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_is_taken_apart_whatever_the_name() {
        let rest = "7 9 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0";
        for (stat, is_zombie) in [
            (format!("12 (sh) S {rest} 1 0 99"), false),
            (format!("12 (a) Z 1 (b) Z {rest} 1 0 99"), true),
            (format!("12 (first thread ended) Z {rest} 3 0 99"), false),
        ] {
            let member = Member {
                is_zombie,
                parent: 7,
                group: 9,
            };
            assert_eq!(Member::parse(stat.as_bytes()), Some(member), "{stat}");
        }
        assert_eq!(Member::parse(b"12 (sh"), None);
        let own = std::fs::read("/proc/self/stat").unwrap();
        let own = Member::parse(&own).unwrap();
        assert_eq!(own.group, rustix::process::getpgrp().as_raw_pid());
        assert!(!own.is_zombie);
    }
}
