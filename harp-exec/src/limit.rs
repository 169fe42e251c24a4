//! Limits of a program's use of the system.

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// One limit of getrlimit(2). It holds for each process by itself, except for the number of
/// processes, which is that of all processes of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    resource: Resource,
    limit: Rlimit,
}

impl Limit {
    /// The size of a process's address space, in bytes.
    #[must_use]
    pub fn memory(bytes: u64) -> Limit {
        Limit::hard(Resource::As, bytes)
    }

    /// Time of a processor, in seconds: SIGXCPU then, and SIGKILL 5 seconds later.
    #[must_use]
    pub fn cpu(seconds: u64) -> Limit {
        let mut limit = Limit::hard(Resource::Cpu, seconds);
        limit.limit.maximum = Some(seconds.saturating_add(5));
        limit
    }

    /// Processes and threads of the user; for root there is no such limit.
    #[must_use]
    pub fn processes(count: u64) -> Limit {
        Limit::hard(Resource::Nproc, count)
    }

    /// Open files.
    #[must_use]
    pub fn open_files(count: u64) -> Limit {
        Limit::hard(Resource::Nofile, count)
    }

    /// The size of core dumps that this process has now.
    #[must_use]
    pub fn core_dumps_as_here() -> Limit {
        Limit {
            resource: Resource::Core,
            limit: getrlimit(Resource::Core),
        }
    }

    /// The open files that this process may have now.
    #[must_use]
    pub fn open_files_as_here() -> Limit {
        Limit {
            resource: Resource::Nofile,
            limit: getrlimit(Resource::Nofile),
        }
    }

    fn hard(resource: Resource, value: u64) -> Limit {
        Limit {
            resource,
            limit: Rlimit {
                current: Some(value),
                maximum: Some(value),
            },
        }
    }

    /// Holds for this process from now on. A limit that is above what this process may set
    /// for itself becomes the highest that it may. Async-signal-safe.
    pub(crate) fn set(self) -> Result<(), Errno> {
        let set = setrlimit(self.resource, self.limit);
        if set != Err(Errno::PERM) {
            return set;
        }
        let Some(highest) = getrlimit(self.resource).maximum else {
            return set;
        };
        let lowered = |value: Option<u64>| Some(value.map_or(highest, |value| value.min(highest)));
        let limit = Rlimit {
            current: lowered(self.limit.current),
            maximum: lowered(self.limit.maximum),
        };
        setrlimit(self.resource, limit)
    }
}
