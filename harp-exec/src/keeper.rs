//! The process between the starter and the program: it keeps together what descends from
//! the program, and knows when nothing of it is left.
//!
//! A keeper is a child subreaper. A process that descends from its program and loses its parent
//! becomes its child, whatever session, group or user it has made itself, so all of them
//! are below the keeper in the tree of processes, and nobody else is. When the system says
//! that the keeper has no child, there is none of them any more: that is the proof, and
//! nothing has to be searched for.
//!
//! A keeper only waits. It signals nobody and answers to no signal but SIGKILL. What it
//! has to tell are [`Report`]s on a pipe: the program's number, its exit, and that nothing
//! is left. If the pipe ends without the last one, the keeper was killed, and what is left
//! are children of the nearest subreaper above it.

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions};

use crate::memory::Dispensable;

/// Reports of a keeper, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// The process that has become, or becomes, the program.
    Started(i32),
    /// The status, as of waitpid(2), with which that process has ended. It has been reaped.
    Ended(i32),
    /// Neither the program nor anything that descends from it is left.
    NothingLeft,
}

impl Report {
    /// The length of one on the pipe, in bytes.
    pub const SIZE: usize = 8;

    /// Two numbers in the machine's order of bytes: which one it is, and what it says.
    #[must_use]
    pub const fn encode(self) -> [u8; Report::SIZE] {
        let (kind, value) = match self {
            Report::Started(pid) => (1, pid),
            Report::Ended(status) => (2, status),
            Report::NothingLeft => (3, 0),
        };
        let (kind, value) = (i32::to_ne_bytes(kind), value.to_ne_bytes());
        [
            kind[0], kind[1], kind[2], kind[3], value[0], value[1], value[2], value[3],
        ]
    }

    /// `None` for what no keeper writes.
    #[must_use]
    pub fn decode(bytes: [u8; Report::SIZE]) -> Option<Report> {
        let [a, b, c, d, value @ ..] = bytes;
        let value = i32::from_ne_bytes(value);
        match i32::from_ne_bytes([a, b, c, d]) {
            1 => Some(Report::Started(value)),
            2 => Some(Report::Ended(value)),
            3 => Some(Report::NothingLeft),
            _ => None,
        }
    }
}

/// Which of the two a process is after [`divide`].
pub(crate) enum Side {
    /// The one that becomes the program.
    Program,
    /// The one that waits, for this child.
    Keeper(Pid),
}

/// Makes of this process two. The keeper has a session of its own from before there is a
/// second process, and blocks all signals; it is a subreaper if it `adopts`.
/// Async-signal-safe.
pub(crate) fn divide(adopts: bool) -> Result<Side, Errno> {
    rustix::process::setsid()?;
    if adopts {
        // Any number but 0 means yes.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    }
    let before = block_signals()?;
    match fork()? {
        Some(child) => Ok(Side::Keeper(child)),
        None => set_signals(&before).map(|()| Side::Program),
    }
}

/// Reports until nothing is left, then ends this process, with the exit status of the
/// program as a shell tells it. Async-signal-safe.
pub(crate) fn keep(program: Pid, reports: BorrowedFd<'_>, dispensable: Dispensable) -> ! {
    // For people that look at a list of processes; nothing depends on it.
    let _ = rustix::thread::set_name(c"harp-keeper");
    close_all_but(reports.as_raw_fd());
    #[expect(unsafe_code, reason = "takes away nearly everything")]
    // SAFETY: what is used below was passed by value, and is never returned from.
    unsafe {
        dispensable.give_back();
    }
    tell(reports, &Report::Started(program.as_raw_pid()).encode());
    let mut ended = None;
    let nothing_left = loop {
        // With a report still to be written, only looks whether there is more.
        let options = match ended {
            Some((_, false)) => WaitOptions::NOHANG,
            Some((_, true)) | None => WaitOptions::empty(),
        };
        match rustix::process::wait(options) {
            Ok(Some((pid, status))) if pid == program => ended = Some((status, false)),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => {
                if let Some((status, told @ false)) = &mut ended {
                    tell(reports, &Report::Ended(status.as_raw()).encode());
                    *told = true;
                }
            }
            Err(error) => break error == Errno::CHILD,
        }
    };
    let mut last = [0; 2 * Report::SIZE];
    let mut length = 0;
    let mut add = |report: Report| {
        last[length..length + Report::SIZE].copy_from_slice(&report.encode());
        length += Report::SIZE;
    };
    let status = ended.map(|(status, told)| {
        if !told {
            add(Report::Ended(status.as_raw()));
        }
        status
    });
    if nothing_left {
        add(Report::NothingLeft);
    }
    tell(reports, &last[..length]);
    let signalled = |signal| 128 + signal;
    let code = status.and_then(|status| {
        let signal = status.terminating_signal().map(signalled);
        status.exit_status().or(signal)
    });
    #[expect(
        unsafe_code,
        reason = "the standard library's would run what others registered"
    )]
    // SAFETY: does not return, and is async-signal-safe.
    unsafe {
        libc::_exit(code.unwrap_or(1))
    }
}

/// In one piece, since a pipe takes so little at once. If nobody listens any more, there is
/// nothing to be done about it.
fn tell(reports: BorrowedFd<'_>, bytes: &[u8]) {
    while rustix::io::write(reports, bytes) == Err(Errno::INTR) {}
}

/// fork(2) as a bare system call: that of the C library takes locks, which a thread that is
/// not there may hold. `None` in the new process.
fn fork() -> Result<Option<Pid>, Errno> {
    let none: libc::c_ulong = 0;
    let flags = libc::SIGCHLD as libc::c_ulong;
    // The stack comes first there.
    let [first, second] = if cfg!(target_arch = "s390x") {
        [none, flags]
    } else {
        [flags, none]
    };
    #[expect(unsafe_code, reason = "rustix has no fork")]
    // SAFETY: without a flag and a stack, the new process has a copy of everything. It has
    // this one thread, and does nothing but what is async-signal-safe.
    let made = unsafe { libc::syscall(libc::SYS_clone, first, second, none, none, none) };
    match made {
        0 => Ok(None),
        1.. => Ok(i32::try_from(made).ok().and_then(Pid::from_raw)),
        _ => Err(last_error()),
    }
}

/// Blocks every signal; returns what was blocked before.
fn block_signals() -> Result<libc::sigset_t, Errno> {
    let mut before = MaybeUninit::uninit();
    let mut all = MaybeUninit::uninit();
    #[expect(unsafe_code, reason = "rustix has no signal masks")]
    // SAFETY: both sets are written before they are read; the calls are async-signal-safe.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        match libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr()) {
            0 => Ok(before.assume_init()),
            _ => Err(last_error()),
        }
    }
}

fn set_signals(blocked: &libc::sigset_t) -> Result<(), Errno> {
    #[expect(unsafe_code, reason = "as above")]
    // SAFETY: reads a set that is there, and is async-signal-safe.
    match unsafe { libc::sigprocmask(libc::SIG_SETMASK, blocked, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(last_error()),
    }
}

/// The pipes to the program are the program's alone, or their ends would not be seen.
fn close_all_but(kept: libc::c_int) {
    let Ok(kept) = libc::c_uint::try_from(kept) else {
        return;
    };
    let ranges = [
        kept.checked_sub(1).map(|last| (0, last)),
        Some((kept + 1, libc::c_uint::MAX)),
    ];
    for (first, last) in ranges.into_iter().flatten() {
        #[expect(unsafe_code, reason = "rustix has no close_range")]
        // SAFETY: nothing in this process uses a descriptor but `kept` from here on.
        let done = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0 as libc::c_uint) };
        if done == 0 {
            continue;
        }
        // Before Linux 5.9: one by one, up to where descriptors may be.
        for descriptor in first..=last.min(crate::highest_descriptor()) {
            #[expect(unsafe_code, reason = "descriptors of unknown owners")]
            // SAFETY: as above.
            unsafe {
                libc::close(descriptor.cast_signed());
            }
        }
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}
