//! Certificates that are refused in any case.

use harp_files::certificate::Outdated;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The hint that goes with every certificate that has to be replaced.
macro_rules! make_a_new_one {
    () => {
        "make a new one on the host: openssl req -x509 -newkey rsa:3072 -nodes -sha256 \
         -days 3650 -keyout harpd.key.pem -out harpd.cert.pem -subj /CN=HOST \
         -addext subjectAltName=DNS:HOST"
    };
}

/// Why a host's certificate is not accepted, where it is our own rule that says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error("its certificate {0}; {hint}", hint = make_a_new_one!())]
    Outdated(#[from] Outdated),
    #[error(
        "its certificate has the fingerprint {found}, not {wanted} as expected; \
         if it was given a new certificate, expect that one's (in the hosts registry, or \
         wherever the fingerprint is set)"
    )]
    OtherFingerprint {
        found: super::Fingerprint,
        wanted: super::Fingerprint,
    },
    #[error(
        "its certificate (fingerprint {found}) is not in known_certs_file; \
         add it there if it is the host's own"
    )]
    Unknown { found: super::Fingerprint },
    #[error(
        "its certificate is one of a CA (basicConstraints CA:TRUE, as `openssl req -x509` makes), \
         which ca_file cannot vouch for; add it to known_certs_file"
    )]
    Authority,
}

/// True for the certificate of a CA, which no CA can make good for a host.
pub(super) fn is_authority(certificate: &[u8]) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, certificate)| certificate.is_ca())
}
