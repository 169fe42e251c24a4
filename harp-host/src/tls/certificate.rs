//! Certificates that are refused in any case.

use x509_parser::prelude::{FromDer, X509Certificate, X509Version};
use x509_parser::public_key::PublicKey;

/// The shortest RSA key whose signature proves anything today, in bits.
const SHORTEST_RSA_KEY: usize = 2048;

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
    #[error(
        "its certificate is X.509 version {version}, which is too old, only version 3 is accepted; {}",
        make_a_new_one!()
    )]
    OldVersion { version: u32 },
    #[error(
        "its certificate has an RSA key of {bits} bits, which is too short, 2048 is the least; {}",
        make_a_new_one!()
    )]
    ShortKey { bits: usize },
    #[error("its certificate cannot be read: {why}; {}", make_a_new_one!())]
    Unreadable { why: String },
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

/// Checks what is refused under every rule (daemon, "How a host's certificate is
/// judged").
pub(super) fn refuse_weak(certificate: &[u8]) -> Result<(), Refused> {
    let unreadable = |why: String| Refused::Unreadable { why };
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|error| unreadable(error.to_string()))?;
    if certificate.version() != X509Version::V3 {
        // The wire counts versions from 0.
        let version = certificate.version().0.saturating_add(1);
        return Err(Refused::OldVersion { version });
    }
    let key = certificate
        .public_key()
        .parsed()
        .map_err(|error| unreadable(error.to_string()))?;
    if let PublicKey::RSA(key) = key {
        let bits = bit_length(key.modulus);
        if bits < SHORTEST_RSA_KEY {
            return Err(Refused::ShortKey { bits });
        }
    }
    Ok(())
}

/// True for the certificate of a CA, which no CA can make good for a host.
pub(super) fn is_authority(certificate: &[u8]) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, certificate)| certificate.is_ca())
}

/// Length in bits of a big-endian number.
fn bit_length(number: &[u8]) -> usize {
    match number.iter().position(|&byte| byte != 0) {
        None => 0,
        Some(first) => (number.len() - first) * 8 - number[first].leading_zeros() as usize,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_bits_and_no_padding() {
        assert_eq!(bit_length(&[]), 0);
        assert_eq!(bit_length(&[0, 0]), 0);
        assert_eq!(bit_length(&[0, 1]), 1);
        assert_eq!(bit_length(&[0, 0x80, 0]), 16);
        assert_eq!(bit_length(&[0x7f, 0]), 15);
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        assert!(matches!(
            refuse_weak(b"not DER"),
            Err(Refused::Unreadable { .. })
        ));
    }
}
