//! Whom a program runs as, and that nothing of its starter's privileges is left to it.
//! All of it is async-signal-safe.

use std::os::fd::BorrowedFd;

use rustix::fs::fchown;
use rustix::io::Errno;
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use crate::{RawIds, Step};

/// Becomes this user. Standard streams that are pipes become the user's, who could not open
/// `/dev/stdout` otherwise.
pub(crate) fn become_user(ids: &RawIds) -> Result<(), (Step, Errno)> {
    for number in 0..=2 {
        #[expect(unsafe_code, reason = "the standard library's would allocate")]
        // SAFETY: a new process has its standard streams, and nobody closes them here.
        let stream = unsafe { BorrowedFd::borrow_raw(number) };
        if is_pipe(stream) {
            // A starter that may not do it starts the program all the same.
            let _ = fchown(stream, Some(ids.uid), Some(ids.gid));
        }
    }
    let groups = |errno| (Step::Groups, errno);
    let user = |errno| (Step::User, errno);
    // The process has this one thread. Groups first, while it still may.
    thread::set_thread_groups(&ids.groups).map_err(groups)?;
    thread::set_thread_res_gid(ids.gid, ids.gid, ids.gid).map_err(groups)?;
    thread::set_thread_res_uid(ids.uid, ids.uid, ids.uid).map_err(user)?;
    let gids = [rustix::process::getgid(), rustix::process::getegid()];
    let uids = [rustix::process::getuid(), rustix::process::geteuid()];
    if gids != [ids.gid; 2] {
        return Err(groups(Errno::PERM));
    }
    if uids != [ids.uid; 2] {
        return Err(user(Errno::PERM));
    }
    Ok(())
}

/// Gives up every capability that the program would not have by its user alone, and looks
/// whether they are gone. A change from root to another user does so by itself, but not
/// with all securebits, and nothing does it for a starter that is not root but has
/// capabilities: ambient ones survive the change of the user and `exec`, inheritable ones
/// are given to some programs.
pub(crate) fn give_up_capabilities() -> Result<(), Errno> {
    // A kernel that does not know the ambient set has none.
    match thread::clear_ambient_capability_set() {
        Ok(()) | Err(Errno::INVAL) => {}
        Err(errno) => return Err(errno),
    }
    let before = thread::capabilities(None)?;
    let none = CapabilitySet::empty();
    let kept = if rustix::process::geteuid().is_root() {
        (before.effective, before.permitted)
    } else {
        (none, none)
    };
    let wanted = CapabilitySets {
        effective: kept.0,
        permitted: kept.1,
        inheritable: none,
    };
    if before != wanted {
        thread::set_capabilities(None, wanted)?;
        if thread::capabilities(None)? != wanted {
            return Err(Errno::PERM);
        }
    }
    Ok(())
}

fn is_pipe(stream: BorrowedFd<'_>) -> bool {
    rustix::fs::fstat(stream)
        .is_ok_and(|found| rustix::fs::FileType::from_raw_mode(found.st_mode).is_fifo())
}
