//! The sorts of errors.

use std::fmt;

use harp_proto::{Failure, error_type};
use serde::{Deserialize, Serialize, Serializer};

/// The sort of an [`Error`](crate::Error).
///
/// # For answers over HTTP
///
/// [`ErrorKind::http_status`] is the status with which a web service passes an error on. It is
/// that of the dispatcher's own HTTP interface where there is one for it.
///
/// | kind | what has happened | status |
/// | --- | --- | --- |
/// | [`InvalidInput`](Self::InvalidInput) | an address, an option or the arguments cannot be used | 400 |
/// | [`Forbidden`](Self::Forbidden) | the dispatcher's rules do not allow it | 403 |
/// | [`NotFound`](Self::NotFound) | there is no such job, or no such service | 404 |
/// | [`Cancelled`](Self::Cancelled) | the job was cancelled | 409 |
/// | [`TooLarge`](Self::TooLarge) | the request is larger than the dispatcher takes | 413 |
/// | [`KeyTaken`](Self::KeyTaken) | the key stands for another call | 422 |
/// | [`InvalidArguments`](Self::InvalidArguments) | the procedure's schema wants other arguments | 422 |
/// | [`Exception`](Self::Exception) | the procedure raised an exception | 500 |
/// | [`Refused`](Self::Refused) | the dispatcher takes the request for wrong | 500 |
/// | [`Unsupported`](Self::Unsupported) | the dispatcher does not know what is asked for | 501 |
/// | [`Unauthorized`](Self::Unauthorized) | the dispatcher does not know this program: its own token is wrong, not that of its visitor | 502 |
/// | [`Protocol`](Self::Protocol) | the answer is none of the protocol | 502 |
/// | [`Remote`](Self::Remote) | the call was not made, or not to its end | 502 |
/// | [`UnexpectedResult`](Self::UnexpectedResult) | the result is of another type | 502 |
/// | [`Communication`](Self::Communication) | the dispatcher (or host) is away, or too slow | 503 |
/// | [`Busy`](Self::Busy) | a limit of the dispatcher is reached | 503 |
/// | [`ShuttingDown`](Self::ShuttingDown) | the dispatcher is stopping | 503 |
/// | [`Storage`](Self::Storage) | the dispatcher cannot read or write its jobs at present | 503 |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// An address, an option or the arguments cannot be used. Nothing was sent.
    InvalidInput,
    /// The dispatcher (or, in a direct call, the host) could not be reached, did not
    /// answer in time, or the connection broke.
    Communication,
    /// The answer is none of the protocol.
    Protocol,
    /// The dispatcher does not know something that the request needs. Nothing was sent.
    Unsupported,
    /// The dispatcher has no such job (`invalid_jobid`: it never was, or was pruned), or no
    /// such service or claim.
    NotFound,
    /// The dispatcher's rules do not allow it.
    Forbidden,
    /// The dispatcher wants to know who calls, or does not know the token.
    Unauthorized,
    /// A limit of the dispatcher is reached, or its start is not complete: the same request
    /// may succeed later.
    Busy,
    /// The dispatcher is stopping and takes nothing new.
    ShuttingDown,
    /// The request is longer than the dispatcher takes.
    TooLarge,
    /// The [key](crate::RemoteServer::key) stands for a call to another host, of another
    /// procedure or with other arguments.
    KeyTaken,
    /// The arguments are not what the procedure's schema wants; [`data`](crate::Error::data)
    /// has the `errors`.
    InvalidArguments,
    /// The dispatcher cannot read or write its jobs at present.
    Storage,
    /// The dispatcher refused the request for another reason: it takes it for wrong.
    Refused,
    /// The job ended in an exception that the procedure raised.
    Exception,
    /// The job ended in an error: its call could not be made or was not finished. Of a
    /// direct call: the host's own error.
    Remote,
    /// The job was cancelled.
    Cancelled,
    /// The procedure returned, but not a value of the wanted type.
    UnexpectedResult,
}

impl ErrorKind {
    /// The kind's word: its name in lower case with `_`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::InvalidInput => "invalid_input",
            ErrorKind::Communication => "communication",
            ErrorKind::Protocol => "protocol",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Forbidden => "forbidden",
            ErrorKind::Unauthorized => "unauthorized",
            ErrorKind::Busy => "busy",
            ErrorKind::ShuttingDown => "shutting_down",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::KeyTaken => "key_taken",
            ErrorKind::InvalidArguments => "invalid_arguments",
            ErrorKind::Storage => "storage",
            ErrorKind::Refused => "refused",
            ErrorKind::Exception => "exception",
            ErrorKind::Remote => "remote",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::UnexpectedResult => "unexpected_result",
        }
    }

    /// The status with which a web service passes the error on: the [table](ErrorKind).
    ///
    /// ```
    /// use harp_client::ErrorKind;
    ///
    /// assert_eq!(ErrorKind::NotFound.http_status(), 404);
    /// ```
    #[must_use]
    pub fn http_status(self) -> u16 {
        match self {
            ErrorKind::InvalidInput => 400,
            ErrorKind::Forbidden => 403,
            ErrorKind::NotFound => 404,
            ErrorKind::Cancelled => 409,
            ErrorKind::TooLarge => 413,
            ErrorKind::KeyTaken | ErrorKind::InvalidArguments => 422,
            ErrorKind::Exception | ErrorKind::Refused => 500,
            ErrorKind::Unsupported => 501,
            ErrorKind::Unauthorized
            | ErrorKind::Protocol
            | ErrorKind::Remote
            | ErrorKind::UnexpectedResult => 502,
            ErrorKind::Communication
            | ErrorKind::Busy
            | ErrorKind::ShuttingDown
            | ErrorKind::Storage => 503,
        }
    }

    /// True if the dispatcher was there and did not do what was asked: all kinds from
    /// [`NotFound`](Self::NotFound) to [`Refused`](Self::Refused).
    #[must_use]
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            ErrorKind::NotFound
                | ErrorKind::Forbidden
                | ErrorKind::Unauthorized
                | ErrorKind::Busy
                | ErrorKind::ShuttingDown
                | ErrorKind::TooLarge
                | ErrorKind::KeyTaken
                | ErrorKind::InvalidArguments
                | ErrorKind::Storage
                | ErrorKind::Refused
        )
    }

    /// The kind of the dispatcher's refusal (client protocol, section 7; the names that HTTP
    /// alone has stand beside them).
    pub(super) fn of_refusal(failure: &Failure) -> ErrorKind {
        match failure.error_type.as_str() {
            error_type::INVALID_JOB_ID | "unknown_service" | "unknown_claim" | "not_found" => {
                ErrorKind::NotFound
            }
            error_type::FORBIDDEN => ErrorKind::Forbidden,
            error_type::UNAUTHORIZED => ErrorKind::Unauthorized,
            error_type::OVERLOADED | "starting" | "too_many_streams" => ErrorKind::Busy,
            error_type::SHUTDOWN => ErrorKind::ShuttingDown,
            error_type::REQUEST_TOO_LARGE => ErrorKind::TooLarge,
            error_type::INVALID_ARGUMENTS => ErrorKind::InvalidArguments,
            error_type::STORAGE_ERROR => ErrorKind::Storage,
            "key_reused" => ErrorKind::KeyTaken,
            error_type::INVALID_REQUEST if is_of_key_taken(failure) => ErrorKind::KeyTaken,
            _ => ErrorKind::Refused,
        }
    }
}

/// True if the dispatcher says that it is the key which stands for another call.
fn is_of_key_taken(failure: &Failure) -> bool {
    #[derive(Deserialize)]
    struct Data {
        #[serde(default)]
        key_taken: bool,
    }
    let data = failure.data.as_ref();
    data.and_then(|data| data.decode::<Data>().ok())
        .is_some_and(|data| data.key_taken)
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
