//! The `code` of a wire error for a fault that the system reports (client protocol,
//! section 7).

use std::io;

use crate::socket::Unresolved;

/// A connection ended that should not have.
pub const CLOSED: &str = "closed";
/// A name that does not exist.
pub const NXDOMAIN: &str = "nxdomain";
/// A name that exists and has no address.
pub const NODATA: &str = "nodata";
/// The name service did not answer, or asks to come again.
pub const EAI_AGAIN: &str = "eai_again";
/// The name service cannot answer.
pub const EAI_FAIL: &str = "eai_fail";
/// A time limit was reached.
pub const ETIMEDOUT: &str = "etimedout";
/// Anything wrong with TLS.
pub const TLS: &str = "tls";

/// The code of an error, a lower-case errno name where it has one.
pub fn of(error: &io::Error) -> &'static str {
    if let Some(code) = error.raw_os_error().and_then(of_errno) {
        return code;
    }
    if let Some(unresolved) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        let Unresolved { code, .. } = unresolved;
        return code;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::WriteZero | io::ErrorKind::BrokenPipe => {
            CLOSED
        }
        io::ErrorKind::ConnectionReset => "econnreset",
        io::ErrorKind::ConnectionRefused => "econnrefused",
        io::ErrorKind::TimedOut => ETIMEDOUT,
        io::ErrorKind::OutOfMemory => "enomem",
        _ => "eio",
    }
}

/// False for what stays as it is until somebody mends it: a name that does not exist, a
/// certificate that is not accepted.
pub fn may_pass(code: &str) -> bool {
    !matches!(code, NXDOMAIN | NODATA | TLS)
}

/// True if it is our own system that cannot, not the peer or the way to it.
pub fn is_own_fault(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::ENOBUFS)
    ) || error.kind() == io::ErrorKind::OutOfMemory
}

fn of_errno(errno: i32) -> Option<&'static str> {
    Some(match errno {
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
        // The peer has closed; that the news came while writing matters to nobody.
        libc::EPIPE => CLOSED,
        libc::ETIMEDOUT => ETIMEDOUT,
        _ => return None,
    })
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
            (libc::EISDIR, "eio", false),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(of(&error), code);
            assert_eq!(is_own_fault(&error), own, "{code}");
        }
        assert_eq!(of(&io::ErrorKind::UnexpectedEof.into()), "closed");
    }
}
