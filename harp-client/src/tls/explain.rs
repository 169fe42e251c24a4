//! What a failed handshake means to the operator who has to mend it.

use rustls::{AlertDescription, CertificateError, Error, OtherError, PeerIncompatible};

use super::certificate::Refused;

/// Says what is wrong and what to do about it, for the place behind "the host ...:".
pub(crate) fn explain(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        )
        | Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            "it speaks neither TLS 1.2 nor 1.3; a harpd of Python 2 knows only TLS 1.0 \
             and has to be replaced"
                .to_owned()
        }
        Error::AlertReceived(alert) => format!("it refused with the TLS alert {alert:?}"),
        Error::InvalidMessage(_) => {
            format!("what answered does not speak TLS ({error}); is it harpd, on its own port?")
        }
        other => other.to_string(),
    }
}

fn certificate(error: &CertificateError) -> String {
    match error {
        CertificateError::Other(OtherError(refused)) if refused.is::<Refused>() => {
            refused.to_string()
        }
        CertificateError::UnknownIssuer => "no CA of ca_file has signed its certificate; \
             add the CA to ca_file, or the certificate itself to known_certs_file"
            .to_owned(),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("its certificate is out of date ({error}); give the host a new one")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet ({error}); is the clock right?")
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!(
                "its certificate has other names in subjectAltName ({error}); set the host's \
                 tls_name to one of them, or verify_hostname = false"
            )
        }
        CertificateError::BadSignature => "a signature is wrong: its key does not belong to its \
             certificate, or the certificate comes from another CA of the same name"
            .to_owned(),
        other => format!("its certificate is not accepted: {other}"),
    }
}
