//! How many descriptors a process may have.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit of open descriptors to the hard one, and returns it; `None` for none.
/// The soft limit is small for the sake of programs that use select(2), so what the daemon
/// starts is to have the one from before.
///
/// # Errors
///
/// The system's.
pub fn raise_limit() -> io::Result<Option<u64>> {
    let maximum = highest();
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(maximum)
}

/// How many descriptors this process could have after [`raise_limit`]; `None` for no limit.
#[must_use]
pub fn highest() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}
