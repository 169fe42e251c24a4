//! The one error type of the client API.

use std::fmt;

use harp_host::{HostError, HostErrorKind, IoCode, Phase as HostPhase};
use harp_proto::{Failure, Json, Outcome, error_type};

/// An error of a request, or a job's end if that is no result.
///
/// [`kind`](Error::kind) says what sort of thing it is; errors that came over the wire
/// also have its [type](Error::wire_type), [message](Error::wire_message) and
/// [data](Error::data). The source chain leads to the system's or serde's own error.
///
/// ```no_run
/// # async fn example(web01: harp_client::RemoteServer) -> Result<(), harp_client::Error> {
/// use harp_client::ErrorKind;
///
/// let error = match web01.call("restart", ("nginx",)).await {
///     Ok(job) => match job.get::<bool>().await {
///         Ok(_) => return Ok(()),
///         Err(error) => error,
///     },
///     Err(error) => error,
/// };
/// match error.kind() {
///     // The procedure's own words.
///     ErrorKind::Exception => println!(
///         "{:?}: {:?} ({:?})",
///         error.wire_type(),
///         error.wire_message(),
///         error.data()
///     ),
///     // It was not called, or not to its end: an unknown host, a time limit, a lost host.
///     ErrorKind::Remote if error.wire_type() == Some("timeout") => println!("too slow"),
///     ErrorKind::Remote => println!("{error}"),
///     ErrorKind::Cancelled => println!("somebody cancelled it"),
///     // The dispatcher is away or busy, and the call was certainly not made.
///     _ if error.is_retryable() => println!("try again: {error}"),
///     ErrorKind::Communication => println!("lost in phase {:?}: {error}", error.phase()),
///     _ => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    failure: Option<Failure>,
    retryable: bool,
    /// How far the request had come.
    phase: Option<&'static str>,
    broken: Option<Broken>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// Phase in which the connection to the dispatcher broke.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Broken {
    pub(crate) phase: Phase,
    /// Which fault it was.
    pub(crate) code: IoCode,
    /// True for a connection to a dispatcher that takes one request each, and closes
    /// without a word on requests that it does not like.
    pub(crate) taciturn: bool,
}

/// How far a request to the dispatcher had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Resolve,
    Connect,
    Tls,
    Hello,
    /// The request's line was not handed over whole: the dispatcher has not taken it.
    Request,
    /// From here on it may have.
    Reply,
}

/// The sort of an [`Error`].
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
    /// The dispatcher refused the request.
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

impl Error {
    /// The sort of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The wire's `type`, if the error came over the wire (client protocol, section 7).
    #[must_use]
    pub fn wire_type(&self) -> Option<&str> {
        self.failure().map(|failure| failure.error_type.as_str())
    }

    /// The wire's `message`, if the error came over the wire.
    #[must_use]
    pub fn wire_message(&self) -> Option<&str> {
        self.failure().map(|failure| failure.message.as_str())
    }

    /// The wire's `data`, if the error came over the wire and has any.
    #[must_use]
    pub fn data(&self) -> Option<&Json> {
        self.failure().and_then(|failure| failure.data.as_ref())
    }

    /// Type, message and data together.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        self.0.failure.as_ref()
    }

    /// True if the same request may succeed when it is made again, and cannot do
    /// anything twice by that: a call whose request may have reached the dispatcher is
    /// not retryable, a question always is.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// With a communication error: how far the request had come. Of a dispatcher
    /// `resolve`, `connect`, `hello`, `request` or `reply`; of a direct call the wire's
    /// own words (client protocol, section 7).
    #[must_use]
    pub fn phase(&self) -> Option<&'static str> {
        self.0.phase
    }

    /// True if this machine could not do its part: it had no descriptor, no memory, or no
    /// address and port left to connect from. Whoever was to be spoken to is not to blame.
    #[must_use]
    pub fn is_own_fault(&self) -> bool {
        let of_host = self.0.source.as_ref().is_some_and(|source| {
            let host = source.downcast_ref::<HostError>();
            host.is_some_and(|host| matches!(host.kind(), HostErrorKind::Os { .. }))
        });
        of_host
            || self
                .0
                .broken
                .is_some_and(|broken| broken.code.is_own_fault())
    }

    pub(crate) fn invalid_input(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidInput, message)
    }

    /// This machine cannot do its part.
    #[cfg(feature = "blocking")]
    pub(crate) fn own_system(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Communication, message)
    }

    pub(crate) fn protocol(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Protocol, message)
    }

    /// The dispatcher's answer to a request it does not take.
    pub(crate) fn refused(address: &impl fmt::Display, failure: Failure) -> Error {
        let mut error = Error::new(
            ErrorKind::Refused,
            format!("dispatcher {address} refused the request: {failure}"),
        );
        error.0.retryable = match failure.error_type.as_str() {
            error_type::SHUTDOWN | error_type::OVERLOADED => true,
            error_type::STORAGE_ERROR => certainly_no_job(&failure),
            _ => false,
        };
        error.0.failure = Some(failure);
        error
    }

    pub(crate) fn unsupported(address: &impl fmt::Display, feature: &str) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!(
                "dispatcher {address}, phase hello: it does not know `{feature}`, an extension \
                 of newer dispatchers; do without, or install a newer one"
            ),
        )
    }

    pub(crate) fn broken(
        address: &impl fmt::Display,
        broken: Broken,
        detail: impl fmt::Display,
    ) -> Error {
        let phase = broken.phase.as_str();
        let mut error = Error::new(
            ErrorKind::Communication,
            format!("dispatcher {address}, phase {phase}: {detail}"),
        );
        error.0.retryable = broken.phase != Phase::Reply && broken.may_pass();
        error.0.phase = Some(phase);
        error.0.broken = Some(broken);
        error
    }

    pub(crate) fn unexpected_result(source: serde_json::Error) -> Error {
        Error::new(
            ErrorKind::UnexpectedResult,
            format!("the procedure returned a value of another type: {source}"),
        )
        .with_source(source)
    }

    #[must_use]
    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Error {
        self.0.source = Some(source.into());
        self
    }

    /// Says that the request can be made again whatever became of it.
    #[must_use]
    pub(crate) fn of_a_question(mut self) -> Error {
        self.0.retryable |= self.0.broken.is_some_and(|broken| broken.may_pass())
            || self.wire_type() == Some(error_type::STORAGE_ERROR);
        self
    }

    pub(crate) fn broken_at(&self) -> Option<Broken> {
        self.0.broken
    }

    /// True if the dispatcher asks to try again later.
    pub(crate) fn is_busy(&self) -> bool {
        self.0.kind == ErrorKind::Refused
            && matches!(
                self.wire_type(),
                // The last two are those of HTTP.
                Some(
                    error_type::SHUTDOWN | error_type::OVERLOADED | "starting" | "too_many_streams"
                )
            )
    }

    fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            message: message.into(),
            failure: None,
            retryable: false,
            phase: None,
            broken: None,
            source: None,
        }))
    }

    fn ended(kind: ErrorKind, what: &str, failure: Failure) -> Error {
        let mut error = Error::new(kind, format!("{what}: {failure}"));
        error.0.failure = Some(failure);
        error
    }
}

impl Phase {
    fn as_str(self) -> &'static str {
        match self {
            Phase::Resolve => "resolve",
            Phase::Connect => "connect",
            Phase::Tls => "tls",
            Phase::Hello => "hello",
            Phase::Request => "request",
            Phase::Reply => "reply",
        }
    }
}

/// The value that a job returned, or the error that its end amounts to.
pub(crate) fn returned(outcome: Outcome) -> Result<Json, Error> {
    match outcome {
        Outcome::Returned(value) => Ok(value),
        Outcome::Exception(failure) => Err(Error::ended(
            ErrorKind::Exception,
            "the procedure raised an exception",
            failure,
        )),
        Outcome::Error(failure) => Err(Error::ended(
            ErrorKind::Remote,
            "the call did not come to its end",
            failure,
        )),
        Outcome::Cancelled => Err(Error::new(ErrorKind::Cancelled, "the job was cancelled")),
    }
}

impl From<HostError> for Error {
    fn from(host: HostError) -> Error {
        let kind = match host.kind() {
            HostErrorKind::Remote(_) => ErrorKind::Remote,
            HostErrorKind::Protocol { .. } => ErrorKind::Protocol,
            _ => ErrorKind::Communication,
        };
        let failure = host.to_failure();
        let mut error = Error::new(kind, host.to_string());
        error.0.phase = (kind == ErrorKind::Communication).then(|| host.phase().as_str());
        error.0.retryable = match host.kind() {
            HostErrorKind::Remote(failure) => failure.error_type == error_type::SHUTDOWN,
            HostErrorKind::Network { code } if !code.may_pass() => false,
            _ => matches!(
                host.phase(),
                HostPhase::Resolve | HostPhase::Connect | HostPhase::Tls
            ),
        };
        error.0.failure = Some(failure);
        error.with_source(host)
    }
}

/// True if the store says that it holds no job (client protocol, section 7).
fn certainly_no_job(failure: &Failure) -> bool {
    #[derive(serde::Deserialize)]
    struct Data {
        outcome: String,
    }
    failure
        .data
        .as_ref()
        .and_then(|data| data.decode::<Data>().ok())
        .is_some_and(|data| data.outcome == "none")
}

impl Broken {
    /// True if there was a connection for the request to go over.
    pub(crate) fn was_connected(&self) -> bool {
        matches!(self.phase, Phase::Request | Phase::Reply)
    }

    /// True if it may be otherwise the next time.
    pub(crate) fn may_pass(&self) -> bool {
        self.code.may_pass()
    }

    /// True if the connection ended without a single line.
    pub(crate) fn without_a_word(&self) -> bool {
        self.phase == Phase::Reply && self.code == IoCode::Closed
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("failure", &self.0.failure)
            .field("source", &self.0.source)
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}
