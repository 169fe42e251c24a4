//! Certificates that nobody should go by any more, whoever has signed them, and when one ends.

use x509_parser::prelude::{FromDer, X509Certificate, X509Version};
use x509_parser::public_key::PublicKey;

/// The shortest RSA key whose signature proves anything today, in bits.
const SHORTEST_RSA_KEY: usize = 2048;

/// Why a certificate has to be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outdated {
    /// It is of a version without extensions.
    #[error("is X.509 version {version}, which is too old, only version 3 is accepted")]
    OldVersion {
        /// The version, from 1 on.
        version: u32,
    },
    /// Its key can be found out.
    #[error("has an RSA key of {bits} bits, which is too short, {SHORTEST_RSA_KEY} is the least")]
    ShortKey {
        /// The length of the modulus.
        bits: usize,
    },
    /// It is no certificate.
    #[error("cannot be read: {why}")]
    Unreadable {
        /// What is wrong.
        why: String,
    },
}

/// Checks a certificate in DER.
///
/// # Errors
///
/// Why it has to be replaced.
pub fn check(certificate: &[u8]) -> Result<(), Outdated> {
    let unreadable = |why: String| Outdated::Unreadable { why };
    let (_, certificate) =
        X509Certificate::from_der(certificate).map_err(|error| unreadable(error.to_string()))?;
    if certificate.version() != X509Version::V3 {
        // The wire counts versions from 0.
        let version = certificate.version().0.saturating_add(1);
        return Err(Outdated::OldVersion { version });
    }
    let key = certificate
        .public_key()
        .parsed()
        .map_err(|error| unreadable(error.to_string()))?;
    if let PublicKey::RSA(key) = key {
        let bits = bit_length(key.modulus);
        if bits < SHORTEST_RSA_KEY {
            return Err(Outdated::ShortKey { bits });
        }
    }
    Ok(())
}

/// When a certificate in DER ends, in seconds since 1970; `None` if it cannot be read.
#[must_use]
pub fn ends(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
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
    fn what_is_no_certificate_is_told() {
        let checked = check(b"not DER");
        assert!(matches!(checked, Err(Outdated::Unreadable { .. })));
    }
}
