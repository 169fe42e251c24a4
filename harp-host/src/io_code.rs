//! The `code` of a wire error for a fault that the system reports (client protocol,
//! section 7).

use std::fmt;
use std::io;

use crate::names::Unresolved;

/// A fault of the network, the name service, TLS or our own system. [`Display`](fmt::Display)
/// and [`IoCode::as_str`] give its name on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IoCode {
    /// A connection ended that should not have.
    Closed,
    /// A name that does not exist.
    NoSuchName,
    /// A name that exists and has no address.
    NoAddress,
    /// The name service did not answer, or asks to come again.
    NameServiceBusy,
    /// The name service cannot answer.
    NameServiceFails,
    /// A time limit was reached.
    TimedOut,
    /// Anything wrong with TLS.
    Tls,
    /// Another error of the system, by the lower-case name of its number.
    System(&'static str),
}

impl IoCode {
    /// Finds the code for an error of the system.
    #[must_use]
    pub fn of(error: &io::Error) -> IoCode {
        if let Some(code) = error.raw_os_error().and_then(of_errno) {
            return code;
        }
        if let Some(unresolved) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            let Unresolved { code, .. } = unresolved;
            return *code;
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero | io::ErrorKind::BrokenPipe => {
                IoCode::Closed
            }
            io::ErrorKind::TimedOut => IoCode::TimedOut,
            io::ErrorKind::ConnectionReset => IoCode::System("econnreset"),
            io::ErrorKind::ConnectionRefused => IoCode::System("econnrefused"),
            io::ErrorKind::OutOfMemory => IoCode::System("enomem"),
            _ => IoCode::System("eio"),
        }
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            IoCode::Closed => "closed",
            IoCode::NoSuchName => "nxdomain",
            IoCode::NoAddress => "nodata",
            IoCode::NameServiceBusy => "eai_again",
            IoCode::NameServiceFails => "eai_fail",
            IoCode::TimedOut => "etimedout",
            IoCode::Tls => "tls",
            IoCode::System(name) => name,
        }
    }

    /// True for the failure of an address of a family that this machine has no way for: it
    /// tells least where others were tried, too.
    #[must_use]
    pub fn says_little(self) -> bool {
        matches!(
            self,
            IoCode::System("enetunreach" | "eafnosupport" | "eaddrnotavail")
        )
    }

    /// True if the peer, or its system, has ended the connection.
    pub(crate) fn is_end_of_connection(self) -> bool {
        matches!(self, IoCode::Closed | IoCode::System("econnreset"))
    }

    /// False for what stays as it is until somebody mends it: a name that does not exist,
    /// a certificate that is not accepted.
    #[must_use]
    pub fn may_pass(self) -> bool {
        !matches!(self, IoCode::NoSuchName | IoCode::NoAddress | IoCode::Tls)
    }
}

impl IoCode {
    /// Whether it is [our own system's](is_own_fault).
    #[must_use]
    pub fn is_own_fault(self) -> bool {
        matches!(
            self,
            IoCode::System("emfile" | "enfile" | "enomem" | "enobufs" | "eaddrnotavail")
        )
    }
}

impl fmt::Display for IoCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// True if it is our own system that cannot, not the peer or the way to it: it has no
/// descriptor, no memory, or no address and port of its own left to connect from.
#[must_use]
pub fn is_own_fault(error: &io::Error) -> bool {
    IoCode::of(error).is_own_fault()
}

fn of_errno(errno: i32) -> Option<IoCode> {
    Some(IoCode::System(match errno {
        // The peer has closed; that the news came while writing matters to nobody.
        libc::EPIPE => return Some(IoCode::Closed),
        libc::ETIMEDOUT => return Some(IoCode::TimedOut),
        libc::EACCES => "eacces",
        libc::EADDRNOTAVAIL => "eaddrnotavail",
        libc::EAFNOSUPPORT => "eafnosupport",
        libc::ECONNABORTED => "econnaborted",
        libc::ECONNREFUSED => "econnrefused",
        libc::ECONNRESET => "econnreset",
        libc::EHOSTDOWN => "ehostdown",
        libc::EHOSTUNREACH => "ehostunreach",
        libc::EINVAL => "einval",
        libc::EMFILE => "emfile",
        libc::ENETDOWN => "enetdown",
        libc::ENETRESET => "enetreset",
        libc::ENETUNREACH => "enetunreach",
        libc::ENFILE => "enfile",
        libc::ENOBUFS => "enobufs",
        libc::ENOMEM => "enomem",
        libc::ENOENT => "enoent",
        libc::ENOTCONN => "enotconn",
        libc::EPERM => "eperm",
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_what_the_system_reports() {
        for (errno, code, own) in [
            (libc::ECONNREFUSED, "econnrefused", false),
            (libc::EHOSTUNREACH, "ehostunreach", false),
            (libc::EPIPE, "closed", false),
            (libc::EMFILE, "emfile", true),
            (libc::ENFILE, "enfile", true),
            (libc::ENOMEM, "enomem", true),
            (libc::ENOBUFS, "enobufs", true),
            (libc::EADDRNOTAVAIL, "eaddrnotavail", true),
            (libc::EISDIR, "eio", false),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(IoCode::of(&error).as_str(), code);
            assert_eq!(is_own_fault(&error), own, "{code}");
        }
        let cut_off = io::ErrorKind::UnexpectedEof.into();
        assert_eq!(IoCode::of(&cut_off), IoCode::Closed);
    }
}
