//! Starting a program in a session of its own, with no descriptor but its standard
//! streams, as a given user, below a keeper that knows when nothing of it is left.
//!
//! # Why there is unsafe code here, and nowhere else
//!
//! A new session, supplementary groups and "close everything else" have to be asked for
//! by the new process itself, between `fork` and `exec`; the standard library offers
//! that as [`CommandExt::pre_exec`] alone, which is unsafe. The other way, a small
//! program in between that does it and then executes the real one, costs a second
//! `exec` for each call.
//!
//! What makes it unsafe: the process was forked from one with several threads, so any
//! lock may be held for ever by a thread that is not there, the allocator's among them.
//! Between `fork` and `exec` only async-signal-safe functions may run (signal-safety(7)).
//! `enter` and `execute` below, setting a limit and what is in `keeper` are all that runs there. They make
//! system calls, through rustix (which issues them directly: no lock, no allocation, no
//! `errno`) and through functions of `libc` that do nothing else; they use memory that was
//! allocated before the fork, and free none. Errors leave them as bare numbers, since
//! building a message would allocate.
//!
//! Beside that, the C library's allocator is told how to keep what is freed ([`heap`]): its
//! function for that has no safe name, and does nothing unsafe. And large blocks are left to it
//! by whoever takes another allocator for the rest ([`apart`]), which is a trait that is unsafe
//! to implement.
//!
//! The program is executed here too and not by the standard library, which asks
//! execvp(3): that gives a file that is no program to a shell.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::thread::{Gid, Uid};

mod apart;
mod heap;
mod keeper;
mod limit;
mod memory;
mod privileges;

pub use apart::LargeApart;
pub use heap::give_back_large_blocks;
pub use keeper::Report;
use keeper::Side;
pub use limit::Limit;
use memory::Dispensable;

/// A program with everything that it starts with. Its process will lead a session and a
/// process group of its own, has its standard streams and no other descriptors, and the
/// umask 022.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its file, by a path with a slash in it.
    pub file: PathBuf,
    /// Its command line; by custom the first word names the program.
    pub words: Vec<OsString>,
    /// All of its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The directory it starts in, which its user must be allowed to enter.
    pub directory: PathBuf,
    /// User and groups that it runs as; without them those of its starter.
    pub ids: Option<Ids>,
    /// Whether it keeps the ambient and inheritable capabilities of its starter, if it
    /// runs as that user. No other program does: of a user that is not root, it has none.
    pub keeps_capabilities: bool,
    /// Limits of the program, in place of its starter's.
    pub limits: Vec<Limit>,
    /// Its standard input; its standard error is a pipe.
    pub stdin: Stream,
    /// Its standard output.
    pub stdout: Stream,
    /// Whether what descends from it and loses its parent stays with its keeper, and is
    /// waited for there. If not, it goes to the nearest subreaper above.
    pub keeps_orphans: bool,
}

/// A program that was started.
#[derive(Debug)]
pub struct Started {
    /// The keeper's process, which ends when nothing of the program is left, with the
    /// program's exit status; and the ends of the program's pipes.
    pub child: Child,
    /// Pipe to which the keeper writes its [`Report`]s, one after the other.
    pub reports: OwnedFd,
}

/// One of the standard streams.
#[derive(Debug, Clone, Default)]
pub enum Stream {
    /// A pipe, whose other end the [`Child`] has.
    #[default]
    Pipe,
    /// `/dev/null`.
    Null,
    /// This.
    Given(Arc<OwnedFd>),
}

/// Whom a process runs as. All of it is set, nothing is kept of the one that starts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ids {
    /// The user: real, effective and saved.
    pub uid: u32,
    /// The primary group: real, effective and saved.
    pub gid: u32,
    /// The supplementary groups, these alone.
    pub groups: Vec<u32>,
}

/// A program could not be started.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {source}")]
pub struct SpawnError {
    /// The step that failed.
    pub step: Step,
    /// Why.
    pub source: io::Error,
}

/// The steps of a start, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Step {
    /// To make a process at all, and its pipes; and, at the end, to become the program.
    #[error("cannot execute the program")]
    Execute,
    /// A keeper for it.
    #[error("cannot make a process that keeps what descends from it")]
    Keeper,
    /// A session of its own.
    #[error("cannot make a session")]
    Session,
    /// What it may use.
    #[error("cannot set the limits")]
    Limits,
    /// That it inherits no descriptors.
    #[error("cannot close inherited descriptors")]
    Descriptors,
    /// Its groups.
    #[error("cannot set the groups")]
    Groups,
    /// Its user.
    #[error("cannot become the user")]
    User,
    /// That it has none of its starter's capabilities.
    #[error("cannot give up capabilities")]
    Capabilities,
    /// Its directory, which the user must be allowed to enter.
    #[error("cannot enter the directory")]
    Directory,
}

/// Steps are carried through the one number that comes back from the new process.
const STEPS: [Step; 9] = [
    Step::Execute,
    Step::Keeper,
    Step::Session,
    Step::Limits,
    Step::Descriptors,
    Step::Groups,
    Step::User,
    Step::Capabilities,
    Step::Directory,
];
/// What a program starts with, whatever it is of the one that starts it: a daemon keeps
/// its own files to itself, a program expects what is usual.
const UMASK: Mode = Mode::from_raw_mode(0o022);
/// More than any error number of the system.
const ERRNOS: i32 = 4096;

impl Program {
    /// Starts the program. Blocks until it is executed or has failed, typically less than
    /// a millisecond. `inherited` are limits that this process has changed for itself, as the
    /// program is to have them; its own come on top.
    ///
    /// # Errors
    ///
    /// The first step that failed. No process is left then.
    pub fn spawn(&self, inherited: &[Limit]) -> Result<Started, SpawnError> {
        let cannot = |source| SpawnError {
            step: Step::Execute,
            source,
        };
        let prepared = Prepared::new(self, inherited).map_err(cannot)?;
        let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (reports, its_reports) = pipe.map_err(|errno| cannot(errno.into()))?;
        let mut command = Command::new(&self.file);
        command
            .stdin(self.stdin.stdio().map_err(cannot)?)
            .stdout(self.stdout.stdio().map_err(cannot)?)
            .stderr(Stdio::piped());
        #[expect(unsafe_code, reason = "see the top of this file")]
        // SAFETY: `become_program` is async-signal-safe, and the closure does nothing else.
        // What it uses was allocated here and is only read.
        unsafe {
            command.pre_exec(move || {
                let Err((step, errno)) = become_program(&prepared, its_reports.as_fd());
                Err(io::Error::from_raw_os_error(encode(step, errno)))
            });
        }
        let child = command.spawn().map_err(decode)?;
        Ok(Started { child, reports })
    }
}

/// Has a command start with these limits in place of those that this process has set for
/// itself. Its start fails if one cannot be set.
pub fn limit(command: &mut Command, limits: Vec<Limit>) {
    #[expect(unsafe_code, reason = "see the top of this file")]
    // SAFETY: setting a limit is async-signal-safe, and the closure does nothing else. What it
    // uses was allocated here and is only read.
    unsafe {
        command.pre_exec(move || {
            let set = limits.iter().try_for_each(|limit| limit.set());
            set.map_err(|errno| io::Error::from_raw_os_error(errno.raw_os_error()))
        });
    }
}

impl Stream {
    fn stdio(&self) -> io::Result<Stdio> {
        Ok(match self {
            Stream::Pipe => Stdio::piped(),
            Stream::Null => Stdio::null(),
            Stream::Given(descriptor) => descriptor.try_clone()?.into(),
        })
    }
}

/// A [`Command`] in the form that the system's calls take.
struct Prepared {
    file: CString,
    words: Strings,
    environment: Strings,
    directory: CString,
    ids: Option<RawIds>,
    keeps_capabilities: bool,
    limits: Vec<Limit>,
    keeps_orphans: bool,
    /// Of the memory that the keeper starts with.
    dispensable: Dispensable,
}

impl Prepared {
    /// Fails if there is a zero byte in anything.
    fn new(program: &Program, inherited: &[Limit]) -> io::Result<Prepared> {
        let words = program.words.iter();
        let environment = program.environment.iter();
        Ok(Prepared {
            file: CString::new(program.file.as_os_str().as_bytes())?,
            words: Strings::new(words.map(|word| word.as_bytes().to_vec()))?,
            environment: Strings::new(
                environment.map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat()),
            )?,
            directory: CString::new(program.directory.as_os_str().as_bytes())?,
            ids: program.ids.as_ref().map(RawIds::from),
            keeps_capabilities: program.keeps_capabilities && program.ids.is_none(),
            limits: [inherited, &program.limits].concat(),
            keeps_orphans: program.keeps_orphans,
            dispensable: Dispensable::find(),
        })
    }
}

/// Strings as `execve` takes them.
struct Strings {
    /// Pointers to the strings, and a null behind them.
    pointers: Vec<*const libc::c_char>,
    /// Never touched again, so that the pointers stay true.
    _strings: Vec<CString>,
}

#[expect(unsafe_code, reason = "raw pointers are neither by themselves")]
// SAFETY: the pointers lead to the strings beside them, which go where they go and are
// only read.
unsafe impl Send for Strings {}
#[expect(unsafe_code, reason = "as above")]
// SAFETY: as above.
unsafe impl Sync for Strings {}

impl Strings {
    fn new(strings: impl Iterator<Item = Vec<u8>>) -> io::Result<Strings> {
        let strings = strings.map(CString::new).collect::<Result<Vec<_>, _>>()?;
        let pointers = strings.iter().map(|string| string.as_ptr());
        Ok(Strings {
            pointers: pointers.chain([std::ptr::null()]).collect(),
            _strings: strings,
        })
    }
}

/// [`Ids`] in the system's types.
struct RawIds {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl From<&Ids> for RawIds {
    fn from(ids: &Ids) -> RawIds {
        RawIds {
            uid: Uid::from_raw(ids.uid),
            gid: Gid::from_raw(ids.gid),
            groups: ids.groups.iter().copied().map(Gid::from_raw).collect(),
        }
    }
}

/// What the new process does: it becomes the keeper, and a second one the program. Returns
/// in that one only, and if it fails; the keeper ends by itself then.
/// Async-signal-safe.
fn become_program(
    prepared: &Prepared,
    reports: BorrowedFd<'_>,
) -> Result<Infallible, (Step, Errno)> {
    match keeper::divide(prepared.keeps_orphans) {
        Ok(Side::Program) => enter(prepared).and_then(|()| execute(prepared)),
        Ok(Side::Keeper(program)) => keeper::keep(program, reports, prepared.dispensable),
        Err(errno) => Err((Step::Keeper, errno)),
    }
}

/// What happens in the new process before the program. Async-signal-safe.
fn enter(prepared: &Prepared) -> Result<(), (Step, Errno)> {
    rustix::process::setsid().map_err(|errno| (Step::Session, errno))?;
    rustix::process::umask(UMASK);
    close_at_exec().map_err(|errno| (Step::Descriptors, errno))?;
    for limit in &prepared.limits {
        limit.set().map_err(|errno| (Step::Limits, errno))?;
    }
    if let Some(ids) = &prepared.ids {
        privileges::become_user(ids)?;
    }
    if !prepared.keeps_capabilities {
        privileges::give_up_capabilities().map_err(|errno| (Step::Capabilities, errno))?;
    }
    rustix::process::chdir(prepared.directory.as_c_str()).map_err(|errno| (Step::Directory, errno))
}

/// Becomes the program. Returns only if that fails. Async-signal-safe.
fn execute(prepared: &Prepared) -> Result<Infallible, (Step, Errno)> {
    #[expect(unsafe_code, reason = "the standard library would use a shell")]
    // SAFETY: the strings end in zero bytes and the lists of them in null pointers.
    unsafe {
        libc::execve(
            prepared.file.as_ptr(),
            prepared.words.pointers.as_ptr(),
            prepared.environment.pointers.as_ptr(),
        );
    }
    let errno = Errno::from_io_error(&io::Error::last_os_error());
    Err((Step::Execute, errno.unwrap_or(Errno::INVAL)))
}

/// Marks every descriptor but the standard streams to be closed by `exec`. Not closed at
/// once: one of them tells the parent if `exec` fails.
fn close_at_exec() -> Result<(), Errno> {
    #[expect(unsafe_code, reason = "rustix has no close_range")]
    // SAFETY: a system call of three numbers; with this flag it closes nothing now.
    let done = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3 as libc::c_uint,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_uint,
        )
    };
    if done == 0 {
        return Ok(());
    }
    // Before Linux 5.11: one by one, up to where descriptors may be.
    for descriptor in 3..=highest_descriptor().cast_signed() {
        #[expect(unsafe_code, reason = "descriptors of unknown owners")]
        // SAFETY: sets a flag; fails without harm where there is no such descriptor.
        unsafe {
            libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
    Ok(())
}

/// The system may allow more, but nobody has opened so many.
fn highest_descriptor() -> libc::c_uint {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.and_then(|limit| libc::c_uint::try_from(limit).ok());
    limit.unwrap_or(libc::c_uint::MAX).min(1 << 20)
}

fn encode(step: Step, errno: Errno) -> i32 {
    step as i32 * ERRNOS + errno.raw_os_error()
}

fn decode(error: io::Error) -> SpawnError {
    let Some(code) = error.raw_os_error() else {
        return SpawnError {
            step: Step::Execute,
            source: error,
        };
    };
    let step = usize::try_from(code / ERRNOS).ok();
    let step = step.and_then(|step| STEPS.get(step));
    SpawnError {
        step: step.copied().unwrap_or(Step::Execute),
        source: io::Error::from_raw_os_error(code % ERRNOS),
    }
}

#[cfg(test)]
mod tests;
