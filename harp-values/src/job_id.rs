//! The name of a job.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The identifier of a job: a UUID, in lower case on the wire (client protocol,
/// section 2).
///
/// The dispatcher makes them of version 7, so that they sort by the time of submission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "std::borrow::Cow<'_, str>", into = "String")]
pub struct JobId(Uuid);

/// A text that is not the form of a job id, `8-4-4-4-12` hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a job id: expected a UUID such as 8ec71d6b-28d1-4ce2-aa23-f3ea7887beda")]
pub struct NotAJobId;

impl JobId {
    /// The id that names no job. A malformed id in a request is read as this one, since
    /// it names no job either (client protocol, section 7).
    pub const NONE: JobId = JobId(Uuid::nil());

    /// A new id for a job submitted at this time, given in milliseconds since 1970.
    #[must_use]
    pub fn submitted_at(milliseconds: u64) -> JobId {
        let nanoseconds = u32::try_from(milliseconds % 1000).unwrap_or_default() * 1_000_000;
        JobId(Uuid::new_v7(uuid::Timestamp::from_unix(
            uuid::NoContext,
            milliseconds / 1000,
            nanoseconds,
        )))
    }

    /// When the job was submitted, in milliseconds since 1970, as its id says: of an id that
    /// was not made by [`JobId::submitted_at`] it says anything.
    #[must_use]
    pub fn submitted(&self) -> u64 {
        let [a, b, c, d, e, f, ..] = *self.as_bytes();
        u64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// A new id for a job submitted at this time, given in milliseconds since 1970, of which
    /// everything else is chance.
    #[must_use]
    pub fn at(milliseconds: u64, chance: u128) -> JobId {
        let mut random = [0; 10];
        random.copy_from_slice(&chance.to_be_bytes()[6..]);
        JobId(uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid())
    }

    /// The sixteen bytes, which sort as the ids do.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id of these sixteen bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> JobId {
        JobId(Uuid::from_bytes(bytes))
    }
}

impl From<Uuid> for JobId {
    fn from(uuid: Uuid) -> JobId {
        JobId(uuid)
    }
}

impl From<JobId> for Uuid {
    fn from(id: JobId) -> Uuid {
        id.0
    }
}

impl FromStr for JobId {
    type Err = NotAJobId;

    fn from_str(text: &str) -> Result<JobId, NotAJobId> {
        // The other forms that the uuid crate reads (braces, urn:, no hyphens) were
        // never ours.
        if text.len() != 36 {
            return Err(NotAJobId);
        }
        Uuid::try_parse(text).map(JobId).map_err(|_| NotAJobId)
    }
}

impl TryFrom<std::borrow::Cow<'_, str>> for JobId {
    type Error = NotAJobId;

    fn try_from(text: std::borrow::Cow<'_, str>) -> Result<JobId, NotAJobId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> String {
        id.to_string()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_printed_in_lower_case_and_read_in_either() {
        let text = "8EC71D6B-28D1-4CE2-AA23-F3EA7887BEDA";
        let id: JobId = text.parse().unwrap();
        assert_eq!(id.to_string(), text.to_lowercase());
        for other in [
            "",
            "x",
            "8ec71d6b28d14ce2aa23f3ea7887beda",
            "{8ec71d6b-28d1-4ce2-aa23-f3ea7887beda}",
        ] {
            assert_eq!(other.parse::<JobId>(), Err(NotAJobId));
        }
    }

    #[test]
    fn ids_sort_by_the_time_of_submission() {
        let ids: Vec<_> = [1_000, 1_001, 2_000, 1_700_000_000_123]
            .map(JobId::submitted_at)
            .into();
        assert!(ids.is_sorted());
    }

    #[test]
    fn it_goes_through_serde_as_a_string() {
        let id = JobId::submitted_at(5);
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(text, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<JobId>(&text).unwrap(), id);
    }
}
