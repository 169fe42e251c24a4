//! The one error type of the client API.

mod broken;
mod kind;

use std::fmt;
use std::sync::Arc;

use harp_host::{HostError, HostErrorKind, Phase as HostPhase};
use harp_proto::{Failure, Json, NotReturned, error_type};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

pub(crate) use broken::{Broken, Phase};
pub use kind::ErrorKind;

/// An error of a request, or a job's end if that is no result.
///
/// [`kind`](Error::kind) says what sort of thing it is; errors that came over the wire
/// also have its [type](Error::wire_type), [message](Error::wire_message) and
/// [data](Error::data). The source chain leads to the system's or serde's own error. Clones
/// are cheap and share it.
///
/// It serializes to an object with `kind`, `message` and `retryable`, beside them `phase`
/// and, as `error`, the [failure](Error::failure), where there are such.
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
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    message: String,
    failure: Option<Failure>,
    retryable: bool,
    /// How far the request had come.
    phase: Option<&'static str>,
    broken: Option<Broken>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// The sort of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The wire's `type`, if the error came over the wire; those with a fixed meaning are
    /// constants of [`error_type`](crate::error_type).
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

    /// With a communication error: how far the request had come. Of a dispatcher `turn` (as
    /// many requests as [`pool_size`](crate::HarpCallerBuilder::pool_size) allows were under
    /// way), `resolve`, `connect`, `tls`, `hello`, `request` or `reply`; of a direct call the
    /// wire's own words (harpcaller-protocol(7)).
    #[must_use]
    pub fn phase(&self) -> Option<&'static str> {
        self.0.phase
    }

    /// True if the kind [is a refusal](ErrorKind::is_refusal) of the dispatcher.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.kind().is_refusal()
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
    pub(crate) fn refused(address: &(impl fmt::Display + ?Sized), failure: Failure) -> Error {
        let kind = ErrorKind::of_refusal(&failure);
        let told = format!("dispatcher {address} refused the request: {failure}");
        let mut error = Error::new(kind, told);
        let inner = error.inner();
        inner.retryable = match kind {
            ErrorKind::ShuttingDown | ErrorKind::Busy => true,
            ErrorKind::Storage => certainly_no_job(&failure),
            _ => false,
        };
        inner.failure = Some(failure);
        error
    }

    pub(crate) fn unsupported(address: &(impl fmt::Display + ?Sized), feature: &str) -> Error {
        Error::new(
            ErrorKind::Unsupported,
            format!(
                "dispatcher {address}, phase hello: it does not know `{feature}`, an extension \
                 of newer dispatchers; do without, or install a newer one"
            ),
        )
    }

    pub(crate) fn broken(
        address: &(impl fmt::Display + ?Sized),
        broken: Broken,
        detail: impl fmt::Display,
    ) -> Error {
        let phase = broken.phase.as_str();
        let mut error = Error::new(
            ErrorKind::Communication,
            format!("dispatcher {address}, phase {phase}: {detail}"),
        );
        let inner = error.inner();
        inner.retryable = broken.phase != Phase::Reply && broken.may_pass();
        inner.phase = Some(phase);
        inner.broken = Some(broken);
        error
    }

    pub(crate) fn unexpected_packet(number: u64, source: serde_json::Error) -> Error {
        let told = format!("packet {number} is a value of another type: {source}");
        Error::new(ErrorKind::UnexpectedResult, told).with_source(source)
    }

    #[must_use]
    pub(crate) fn with_source(
        mut self,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        self.inner().source = Some(Arc::new(source));
        self
    }

    /// This one came after another of the same request, at another address.
    #[must_use]
    pub(crate) fn after(mut self, before: &Error) -> Error {
        self.inner().message = format!("{before}; then {self}");
        self
    }

    /// Says that the request can be made again whatever became of it.
    #[must_use]
    pub(crate) fn of_a_question(mut self) -> Error {
        let may_pass = self.0.broken.is_some_and(|broken| broken.may_pass());
        if may_pass || self.kind() == ErrorKind::Storage {
            self.inner().retryable = true;
        }
        self
    }

    pub(crate) fn broken_at(&self) -> Option<Broken> {
        self.0.broken
    }

    /// True if the dispatcher asks to try again later.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.kind(), ErrorKind::Busy | ErrorKind::ShuttingDown)
    }

    fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner {
            kind,
            message: message.into(),
            failure: None,
            retryable: false,
            phase: None,
            broken: None,
            source: None,
        }))
    }

    /// To be changed while it is being made.
    fn inner(&mut self) -> &mut Inner {
        Arc::make_mut(&mut self.0)
    }
}

impl From<NotReturned> for Error {
    fn from(end: NotReturned) -> Error {
        let (kind, failure) = match &end {
            NotReturned::Exception(failure) => (ErrorKind::Exception, Some(failure.clone())),
            NotReturned::Error(failure) => (ErrorKind::Remote, Some(failure.clone())),
            NotReturned::Cancelled => (ErrorKind::Cancelled, None),
            NotReturned::OtherType(_) => (ErrorKind::UnexpectedResult, None),
        };
        let mut error = Error::new(kind, end.to_string());
        let inner = error.inner();
        inner.failure = failure;
        if let NotReturned::OtherType(source) = end {
            inner.source = Some(Arc::new(source));
        }
        error
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
        let inner = error.inner();
        inner.phase = (kind == ErrorKind::Communication).then(|| host.phase().as_str());
        inner.retryable = match host.kind() {
            HostErrorKind::Remote(failure) => failure.error_type == error_type::SHUTDOWN,
            HostErrorKind::Network { code } if !code.may_pass() => false,
            _ => matches!(
                host.phase(),
                HostPhase::Resolve | HostPhase::Connect | HostPhase::Tls
            ),
        };
        inner.failure = Some(failure);
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

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", &self.kind())?;
        map.serialize_entry("message", &self.0.message)?;
        map.serialize_entry("retryable", &self.is_retryable())?;
        if let Some(phase) = self.phase() {
            map.serialize_entry("phase", phase)?;
        }
        if let Some(failure) = self.failure() {
            map.serialize_entry("error", failure)?;
        }
        map.end()
    }
}
