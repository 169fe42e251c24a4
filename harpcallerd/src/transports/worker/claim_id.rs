//! How a claim is named.

use std::fmt;
use std::str::FromStr;

use harp_proto::JobId;

/// The name of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClaimId {
    /// Its job.
    pub job: JobId,
    /// What cannot be guessed.
    pub secret: u64,
}

impl fmt::Display for ClaimId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}", self.job, self.secret)
    }
}

/// A text that names no claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no claim's name")]
pub struct NotAClaim;

impl FromStr for ClaimId {
    type Err = NotAClaim;

    fn from_str(text: &str) -> Result<ClaimId, NotAClaim> {
        let (job, secret) = text.split_once('.').ok_or(NotAClaim)?;
        let is_hex = secret.len() == 16 && secret.bytes().all(|byte| byte.is_ascii_hexdigit());
        let secret = is_hex.then(|| u64::from_str_radix(secret, 16));
        let (Ok(job), Some(Ok(secret))) = (job.parse(), secret) else {
            return Err(NotAClaim);
        };
        Ok(ClaimId { job, secret })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claims_name_is_read_again() {
        let job = JobId::submitted_at(1);
        let id = ClaimId { job, secret: 7 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in [
            "",
            ".",
            "x.0000000000000007",
            "019aa9c0-0000-7000-8000-000000000000.7",
        ] {
            assert_eq!(wrong.parse::<ClaimId>(), Err(NotAClaim), "{wrong}");
        }
    }
}
