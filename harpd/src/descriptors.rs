//! How the limit of open files is shared between calls and connections.

use rustix::process::{Resource, getrlimit};
use tracing::info;

/// Most connections at once.
const MAX_CONNECTIONS: u64 = 1024;
/// Connections that there may be however low the limit is.
const LEAST_CONNECTIONS: u64 = 16;
/// Files that harpd itself has open: standard streams, sockets, the runtime's own, and those
/// that it reads now and then.
const OWN_FILES: u64 = 64;
/// Files that a running call needs beside its connection: its pipes and its keeper's, both ends
/// while the command is being started.
const FILES_OF_A_CALL: u64 = 10;

/// How many connections there may be, so that descriptors are left for so many calls and for
/// harpd itself.
#[must_use]
pub fn connections_beside(max_calls: usize) -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    let connections = limit.map_or(MAX_CONNECTIONS, |limit| room(limit, max_calls));
    if let Some(limit) = limit
        && connections < MAX_CONNECTIONS
    {
        info!(
            connections,
            "the limit of open files ({limit}) allows fewer connections than {MAX_CONNECTIONS}"
        );
    }
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// What cannot be, and what can, if so many calls at once do not fit this limit of open files.
#[must_use]
pub fn too_many_calls(max_calls: usize, limit: Option<u64>) -> Option<String> {
    let limit = limit?;
    let needed = needed(max_calls).saturating_add(LEAST_CONNECTIONS);
    (needed > limit).then(|| {
        let fit = limit.saturating_sub(OWN_FILES + LEAST_CONNECTIONS) / FILES_OF_A_CALL;
        format!(
            "max_calls = {max_calls} takes {needed} descriptors, {FILES_OF_A_CALL} for each call \
             and {} for all else, and {limit} may be open: {fit} calls fit; lower it, or raise \
             the limit (LimitNOFILE= of the unit, ulimit -Hn)",
            OWN_FILES + LEAST_CONNECTIONS
        )
    })
}

fn needed(max_calls: usize) -> u64 {
    let calls = u64::try_from(max_calls).unwrap_or(u64::MAX);
    calls
        .saturating_mul(FILES_OF_A_CALL)
        .saturating_add(OWN_FILES)
}

fn room(limit: u64, max_calls: usize) -> u64 {
    let room = limit.saturating_sub(needed(max_calls));
    room.clamp(LEAST_CONNECTIONS, MAX_CONNECTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_come_first_and_what_does_not_fit_is_named() {
        assert_eq!(room(10_000, 64), 1024);
        assert_eq!(room(1024, 64), 320);
        assert_eq!(room(256, 64), 16);
        assert_eq!(too_many_calls(64, Some(1024)), None);
        assert_eq!(too_many_calls(1_000_000, None), None);
        let told = too_many_calls(1000, Some(1024)).unwrap();
        for named in ["max_calls = 1000", "10080", "1024", "94 calls fit"] {
            assert!(told.contains(named), "{told}");
        }
    }
}
