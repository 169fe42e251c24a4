//! For how many calls at the same time the files and sockets are enough that this process may
//! have open.

use rustix::process::{Resource, getrlimit};

/// What a call takes: its connection, and one more while a name is looked up or a file read.
const PER_CALL: u64 = 2;
/// What everything else may take, beside what is open already.
const SPARE: u64 = 24;

/// How many calls can be under way at the same time, at least one, and the limit behind that;
/// `None` if there is no limit.
pub(crate) fn enough_for_calls() -> Option<(u64, u64)> {
    let limit = getrlimit(Resource::Nofile).current?;
    let open = std::fs::read_dir("/proc/self/fd").map_or(8, Iterator::count);
    Some((calls(limit, open as u64), limit))
}

fn calls(limit: u64, open: u64) -> u64 {
    (limit.saturating_sub(open + SPARE) / PER_CALL).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_and_spare_is_not_for_calls() {
        assert_eq!(calls(1024, 10), 495);
        assert_eq!(calls(64, 10), 15);
        assert_eq!(calls(36, 10), 1);
        assert_eq!(calls(3, 10), 1);
    }
}
