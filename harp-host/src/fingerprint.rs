//! The SHA-256 of a certificate.

use std::fmt;
use std::str::FromStr;

use ring::digest;
use serde::{Deserialize, Serialize};

/// The SHA-256 of a certificate's DER form, as `openssl x509 -fingerprint -sha256`
/// shows it. Reads hexadecimal digits, colons and case of no matter; prints lower case
/// without colons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 32]);

/// A text that is no [`Fingerprint`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a SHA-256 fingerprint: expected 64 hexadecimal digits, as \
     `openssl x509 -noout -fingerprint -sha256 -in CERTIFICATE` prints after the `=`"
)]
pub struct NotAFingerprint;

impl Fingerprint {
    /// The fingerprint of a certificate in DER form.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Fingerprint {
        let digest = digest::digest(&digest::SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Fingerprint(bytes)
    }
}

impl FromStr for Fingerprint {
    type Err = NotAFingerprint;

    fn from_str(text: &str) -> Result<Fingerprint, NotAFingerprint> {
        let mut digits = text.chars().filter(|&character| character != ':');
        let mut digit = || {
            let value = digits.next().and_then(|digit| digit.to_digit(16));
            value.and_then(|value| u8::try_from(value).ok())
        };
        let mut bytes = [0; 32];
        for byte in &mut bytes {
            let (Some(high), Some(low)) = (digit(), digit()) else {
                return Err(NotAFingerprint);
            };
            *byte = high << 4 | low;
        }
        match digits.next() {
            None => Ok(Fingerprint(bytes)),
            Some(_) => Err(NotAFingerprint),
        }
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = NotAFingerprint;

    fn try_from(text: String) -> Result<Fingerprint, NotAFingerprint> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn colons_and_case_are_of_no_matter() {
        let shown: Fingerprint = EMPTY.parse().unwrap();
        assert_eq!(shown, Fingerprint::of(b""));
        assert_eq!(shown.to_string(), EMPTY);
        let pairs: Vec<&str> = (0..64).step_by(2).map(|at| &EMPTY[at..at + 2]).collect();
        assert_eq!(pairs.join(":").to_uppercase().parse(), Ok(shown));
        let json = serde_json::to_string(&shown).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), shown);
    }

    #[test]
    fn anything_else_is_refused() {
        let long = format!("{EMPTY}00");
        let not_hex = EMPTY.replace('e', "g");
        for text in ["", "e3", &EMPTY[1..], &long, &not_hex, "SHA256=00"] {
            assert_eq!(text.parse::<Fingerprint>(), Err(NotAFingerprint), "{text}");
        }
    }
}
