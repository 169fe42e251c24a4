//! Which failures of a call leave no doubt that it was not run, and may pass.

use harp_host::{HostError, HostErrorKind, IoCode, Phase};
use harp_proto::{Failure, Json, error_type};
use rustls::{AlertDescription as Alert, Error as TlsError};
use serde_json::{Value, json};

/// True if the call was certainly not run, for a reason that the next attempt may not
/// meet. A host does nothing before it has the whole request, whose last byte has not
/// left this machine where it could not be sent. That a certificate is not accepted stays
/// so until somebody mends it.
pub(super) fn may_pass(error: &HostError) -> bool {
    match error.kind() {
        HostErrorKind::Remote(failure) => matches!(
            &*failure.error_type,
            error_type::SHUTDOWN | error_type::OVERLOADED
        ),
        HostErrorKind::Network { code: IoCode::Tls } => tls_may_pass(error),
        HostErrorKind::Network { .. } | HostErrorKind::Os { .. } => match error.phase() {
            Phase::Resolve | Phase::Connect | Phase::Tls | Phase::Request => true,
            Phase::Acknowledge | Phase::Stream => false,
        },
        _ => false,
    }
}

/// True unless one of the two ends has judged the other.
fn tls_may_pass(error: &HostError) -> bool {
    let before_request = matches!(error.phase(), Phase::Tls | Phase::Request);
    let source = std::error::Error::source(error);
    let tls = source
        .and_then(|source| source.downcast_ref::<std::io::Error>())
        .and_then(|error| error.get_ref())
        .and_then(|inner| inner.downcast_ref::<TlsError>());
    before_request
        && match tls {
            // A name or a file of our own that is of no use.
            None => false,
            Some(
                TlsError::InvalidCertificate(_)
                | TlsError::NoCertificatesPresented
                | TlsError::UnsupportedNameType
                | TlsError::PeerIncompatible(_)
                | TlsError::AlertReceived(
                    Alert::HandshakeFailure
                    | Alert::BadCertificate
                    | Alert::UnsupportedCertificate
                    | Alert::CertificateRevoked
                    | Alert::CertificateExpired
                    | Alert::CertificateUnknown
                    | Alert::UnknownCA
                    | Alert::AccessDenied
                    | Alert::ProtocolVersion
                    | Alert::InsufficientSecurity
                    | Alert::CertificateRequired,
                ),
            ) => false,
            Some(_) => true,
        }
}

/// True if the host is there, and has no room for the call at the moment.
pub(super) fn is_crowded(error: &HostError) -> bool {
    matches!(error.kind(), HostErrorKind::Remote(failure)
        if failure.error_type == error_type::OVERLOADED)
}

/// The failure of an attempt that was not the only one.
pub(super) fn after_attempts(failure: &Failure, attempts: u32, seconds: u64) -> Failure {
    let times = match attempts {
        0 | 1 => "once".to_owned(),
        _ => format!("{attempts} times"),
    };
    let message = format!("{}; tried {times} in {seconds} s", failure.message);
    let mut told = Failure::new(failure.error_type.clone(), message);
    told.data.clone_from(&failure.data);
    // What a host has said of itself stays as it came.
    if matches!(
        &*failure.error_type,
        error_type::NETWORK_ERROR | error_type::OS_ERROR
    ) && let Some(Value::Object(mut data)) = failure.data.as_ref().and_then(decoded)
    {
        data.insert("attempts".to_owned(), json!(attempts.max(1)));
        data.insert("seconds".to_owned(), json!(seconds));
        return told.with_data(&Value::Object(data));
    }
    told
}

fn decoded(data: &Json) -> Option<Value> {
    serde_json::from_slice(data.as_bytes()).ok()
}
