//! Explains a failed handshake to the operator who has to mend it.

use rustls::{AlertDescription, CertificateError, Error, OtherError, PeerIncompatible};

use super::certificate::Refused;

/// The kind of peer at the other end, for advice that fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peer {
    /// A host's `harpd`.
    Host,
    /// `harpcallerd`.
    Dispatcher,
}

/// Says what is wrong and what to do about it, for the place behind "the host ...:" or
/// "dispatcher ...:".
pub fn explain(error: &Error, peer: Peer) -> String {
    match (error, peer) {
        (Error::InvalidCertificate(error), _) => certificate(error, peer),
        (
            Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            )
            | Error::AlertReceived(AlertDescription::ProtocolVersion),
            _,
        ) => {
            let mut text = "it speaks neither TLS 1.2 nor 1.3".to_owned();
            if peer == Peer::Host {
                text.push_str("; a harpd of Python 2 knows only TLS 1.0 and has to be replaced");
            }
            text
        }
        (Error::AlertReceived(AlertDescription::CertificateRequired), Peer::Dispatcher) => {
            "it wants a certificate of the client: set Tls::client_certificate".to_owned()
        }
        (
            Error::AlertReceived(
                alert @ (AlertDescription::BadCertificate
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::AccessDenied
                | AlertDescription::DecryptError
                | AlertDescription::UnknownCA
                | AlertDescription::UnsupportedCertificate),
            ),
            Peer::Dispatcher,
        ) => format!("it does not accept the client's certificate (TLS alert {alert:?})"),
        (Error::AlertReceived(alert), _) => format!("it refused with the TLS alert {alert:?}"),
        (Error::InvalidMessage(_), Peer::Host) => {
            format!("what answered does not speak TLS ({error}); is it harpd, on its own port?")
        }
        (Error::InvalidMessage(_), Peer::Dispatcher) => format!(
            "what answered does not speak TLS ({error}); is it a TLS listener of harpcallerd, \
             and not its plain port?"
        ),
        (other, _) => other.to_string(),
    }
}

fn certificate(error: &CertificateError, peer: Peer) -> String {
    match (error, peer) {
        (CertificateError::Other(OtherError(refused)), _) if refused.is::<Refused>() => {
            refused.to_string()
        }
        (CertificateError::UnknownIssuer, Peer::Host) => {
            "no CA of ca_file has signed its certificate; \
             add the CA to ca_file, or the certificate itself to known_certs_file"
                .to_owned()
        }
        (CertificateError::UnknownIssuer, Peer::Dispatcher) => {
            "no CA that is trusted has signed its certificate; \
             trust the CA with Tls::ca_file, or the certificate itself with Tls::fingerprint"
                .to_owned()
        }
        (CertificateError::Expired | CertificateError::ExpiredContext { .. }, _) => {
            format!("its certificate is out of date ({error}); it needs a new one")
        }
        (CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }, _) => {
            format!("its certificate is not valid yet ({error}); is the clock right?")
        }
        (
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            _,
        ) => {
            let advice = match peer {
                Peer::Host => "set the host's tls_name to one of them, or verify_hostname = false",
                Peer::Dispatcher => "set Tls::server_name to one of them",
            };
            format!("its certificate has other names in subjectAltName ({error}); {advice}")
        }
        (CertificateError::BadSignature, _) => {
            "a signature is wrong: its key does not belong to its \
             certificate, or the certificate comes from another CA of the same name"
                .to_owned()
        }
        (other, _) => format!("its certificate is not accepted: {other}"),
    }
}
